//! The part that runs inside the lab, as the first process of the emulated machine: makes the lab look like the outside,
//! runs the command, and sends to the outside what comes of it.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::wire::{Frames, Job, Kind, PORT, write_frame};

/// The word after the program's name that leads here; the lab's own init says it.
pub const ARGUMENT: &str = "lab-inside";

/// How often the lab says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(2);

/// How long output is waited for that a process left behind by the command may still write.
const QUIET: Duration = Duration::from_millis(300);

type Port = Arc<Mutex<File>>;

/// Runs the job that the outside sends and ends the machine.
pub fn main() -> ! {
    // Without a port there is nobody to tell; the console's log is what the outside shows then.
    match open_port() {
        Ok(port) => {
            let port: Port = Arc::new(Mutex::new(port));
            let _ = match run(&port) {
                Ok(status) => send(&port, Kind::Exit, &[status]),
                Err(error) => send(&port, Kind::Failed, format!("{error:#}").as_bytes()),
            };
        }
        Err(error) => eprintln!("the lab's inside failed: {error:#}"),
    }
    // SAFETY: sync takes nothing; reboot is called with a valid command, and this is the machine's first process.
    unsafe {
        libc::sync();
        libc::reboot(libc::RB_POWER_OFF);
    }
    unreachable!("the machine is off")
}

fn run(port: &Port) -> Result<u8> {
    let heart = Arc::clone(port);
    thread::spawn(move || {
        while send(&heart, Kind::Alive, &[]).is_ok() {
            thread::sleep(HEARTBEAT);
        }
    });
    let mut reader = port.lock().expect("no thread panics while it sends").try_clone()?;
    let mut frames = Frames::default();
    let mut expect = |expected: Kind| match next_frame(&mut frames, &mut reader)? {
        (kind, bytes) if kind == expected => Ok(bytes),
        (kind, _) => bail!("the lab was sent a frame of kind {kind:?} instead of {expected:?}"),
    };
    set_clock(&expect(Kind::Clock)?)?;
    let job = Job::decode(&expect(Kind::Job)?)?;
    furnish(&job)?;
    let mut child = match start(&job) {
        Ok(child) => child,
        Err(error) => {
            let program = job.command[0].to_string_lossy();
            send(port, Kind::Error, format!("lab: could not start {program}: {error}\n").as_bytes())?;
            return Ok(if error.kind() == io::ErrorKind::NotFound { 127 } else { 126 });
        }
    };
    send(port, Kind::Started, &[])?;
    let flow = Flow::default();
    let outputs = [
        flow.forward(child.stdout.take().expect("stdout is a pipe").into(), port, Kind::Output),
        flow.forward(child.stderr.take().expect("stderr is a pipe").into(), port, Kind::Error),
    ];
    let mut stdin = child.stdin.take();
    thread::spawn(move || {
        while let Ok((kind, bytes)) = next_frame(&mut frames, &mut reader) {
            // A command that closed its stdin or ended does not want the rest; that is no failure.
            let wanted = kind == Kind::Input && stdin.as_mut().is_some_and(|pipe| pipe.write_all(&bytes).is_ok());
            if !wanted {
                stdin = None;
            }
        }
    });
    let status = wait(&child)?;
    flow.drain(&outputs);
    // The outside may end the machine as soon as it has the exit status.
    // SAFETY: sync takes nothing and cannot fail.
    unsafe { libc::sync() };
    Ok(status)
}

/// The port to the outside, found by its name.
fn open_port() -> Result<File> {
    let class = Path::new("/sys/class/virtio-ports");
    for entry in fs::read_dir(class).with_context(|| format!("could not read {}", class.display()))? {
        let path = entry?.path();
        if fs::read_to_string(path.join("name")).is_ok_and(|name| name.trim() == PORT) {
            let device = Path::new("/dev").join(path.file_name().unwrap_or_default());
            let file = OpenOptions::new().read(true).write(true).open(&device);
            return file.with_context(|| format!("could not open {}", device.display()));
        }
    }
    bail!("there is no port called {PORT}")
}

fn send(port: &Port, kind: Kind, payload: &[u8]) -> io::Result<()> {
    write_frame(&mut *port.lock().expect("no thread panics while it sends"), kind, payload)
}

fn next_frame(frames: &mut Frames, reader: &mut File) -> io::Result<(Kind, Vec<u8>)> {
    loop {
        if let Some(frame) = frames.next_frame()? {
            return Ok(frame);
        }
        if frames.read_from(reader)? == 0 {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the outside is gone"));
        }
    }
}

fn set_clock(bytes: &[u8]) -> Result<()> {
    let number =
        |at: usize| bytes.get(at..at + 8).map(|bytes| i64::from_le_bytes(bytes.try_into().expect("eight bytes")));
    let (Some(tv_sec), Some(tv_nsec)) = (number(0), number(8)) else { bail!("the lab was sent no time") };
    let time = libc::timespec { tv_sec, tv_nsec };
    // SAFETY: `time` is valid for the read and outlives the call.
    if unsafe { libc::clock_settime(libc::CLOCK_REALTIME, &time) } != 0 {
        return Err(io::Error::last_os_error()).context("could not set the lab's clock");
    }
    Ok(())
}

/// Mounts and sets up what a Linux system usually has, and the directories of the job.
fn furnish(job: &Job) -> Result<()> {
    // Opened before the empty /tmp and /run hide them.
    let readable = job.readable.iter().map(|path| Ok((path, open_path(path)?))).collect::<Result<Vec<_>>>()?;
    mount("devpts", Path::new("/dev/pts"), "devpts", "ptmxmode=666")?;
    mount("shm", Path::new("/dev/shm"), "tmpfs", "mode=1777")?;
    mount("tmp", Path::new("/tmp"), "tmpfs", "mode=1777")?;
    mount("run", Path::new("/run"), "tmpfs", "mode=755")?;
    mount("cgroup2", Path::new("/sys/fs/cgroup"), "cgroup2", "")?;
    for (link, target) in [("fd", "fd"), ("stdin", "fd/0"), ("stdout", "fd/1"), ("stderr", "fd/2")] {
        let link = Path::new("/dev").join(link);
        symlink(Path::new("/proc/self").join(target), &link)
            .with_context(|| format!("could not link {}", link.display()))?;
    }
    fs::write("/proc/sys/kernel/hostname", "lab").context("could not set the host name")?;
    fs::set_permissions("/dev/kvm", fs::Permissions::from_mode(0o666)).context("the lab's machine has no /dev/kvm")?;
    for (path, descriptor) in readable {
        let source = PathBuf::from(format!("/proc/self/fd/{}", descriptor.as_raw_fd()));
        if path.is_dir() || source.is_dir() {
            fs::create_dir_all(path)
        } else {
            fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).and_then(|()| File::create(path).map(drop))
        }
        .with_context(|| format!("could not create {}", path.display()))?;
        raw_mount(source.as_os_str(), path, "", libc::MS_BIND, "")?;
    }
    for (number, path) in job.writable.iter().enumerate() {
        mount(&format!("writable{number}"), path, "9p", "trans=virtio,version=9p2000.L,msize=512000,cache=mmap")?;
    }
    Ok(())
}

fn open_path(path: &Path) -> Result<OwnedFd> {
    let file = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path);
    Ok(file.with_context(|| format!("could not open {} in the lab", path.display()))?.into())
}

fn mount(source: &str, target: &Path, kind: &str, options: &str) -> Result<()> {
    fs::create_dir_all(target).with_context(|| format!("could not create {} in the lab", target.display()))?;
    raw_mount(OsStr::new(source), target, kind, 0, options)
}

fn raw_mount(source: &OsStr, target: &Path, kind: &str, flags: libc::c_ulong, options: &str) -> Result<()> {
    let text = |text: &OsStr| CString::new(text.as_bytes()).context("a NUL in what is to be mounted");
    let (from, to) = (text(source)?, text(target.as_os_str())?);
    let (kind, options) = (text(OsStr::new(kind))?, text(OsStr::new(options))?);
    // SAFETY: all four are NUL-terminated strings that outlive the call; none of these file systems wants other data.
    let done = unsafe { libc::mount(from.as_ptr(), to.as_ptr(), kind.as_ptr(), flags, options.as_ptr().cast()) };
    if done != 0 {
        let error = io::Error::last_os_error();
        bail!("could not mount {} at {} in the lab: {error}", source.to_string_lossy(), target.display());
    }
    Ok(())
}

fn start(job: &Job) -> io::Result<Child> {
    let environment = job.environment.iter().map(|(name, value): &(OsString, OsString)| (name, value));
    let mut command = Command::new(&job.command[0]);
    command.args(&job.command[1..]).current_dir(&job.directory).env_clear().envs(environment);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // SAFETY: setsid is a system call that touches no memory, fit for the time between fork and exec.
    unsafe { command.pre_exec(|| if libc::setsid() < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }) };
    command.spawn()
}

/// Waits for the command and, as the first process must, for every orphan that ends meanwhile.
fn wait(child: &Child) -> Result<u8> {
    loop {
        let mut status = 0;
        // SAFETY: `status` is valid for the write; nothing else in this process waits for children.
        let pid = unsafe { libc::waitpid(-1, &mut status, 0) };
        if pid < 0 {
            let error = io::Error::last_os_error();
            if error.kind() != io::ErrorKind::Interrupted {
                return Err(error).context("could not wait for the command");
            }
        }
        if pid == child.id() as libc::pid_t {
            let signal = libc::WTERMSIG(status);
            return Ok(if libc::WIFSIGNALED(status) { 128 + signal as u8 } else { libc::WEXITSTATUS(status) as u8 });
        }
    }
}

/// What is on its way from the command to the outside.
#[derive(Clone, Default)]
struct Flow {
    chunks: Arc<AtomicUsize>,
    sent: Arc<AtomicUsize>,
}

impl Flow {
    fn forward(&self, pipe: OwnedFd, port: &Port, kind: Kind) -> thread::JoinHandle<()> {
        let (flow, port, mut pipe) = (self.clone(), Arc::clone(port), File::from(pipe));
        thread::spawn(move || {
            let mut bytes = vec![0; 1 << 16];
            while let Ok(count @ 1..) = pipe.read(&mut bytes) {
                flow.chunks.fetch_add(1, Ordering::SeqCst);
                let sent = send(&port, kind, &bytes[..count]);
                flow.sent.fetch_add(1, Ordering::SeqCst);
                if sent.is_err() {
                    return;
                }
            }
        })
    }

    /// Waits until both pipes are at their end. Something that the command left running may hold them open: then until
    /// nothing has come for a while and everything that came is sent.
    fn drain(&self, outputs: &[thread::JoinHandle<()>]) {
        let (mut seen, mut since) = (self.chunks.load(Ordering::SeqCst), Instant::now());
        while !outputs.iter().all(thread::JoinHandle::is_finished) {
            let now = self.chunks.load(Ordering::SeqCst);
            if now != seen || self.sent.load(Ordering::SeqCst) != now {
                (seen, since) = (now, Instant::now());
            } else if since.elapsed() > QUIET {
                return;
            }
            thread::sleep(Duration::from_millis(2));
        }
    }
}
