//! The emulated machine: QEMU, which emulates an x86-64 processor with AMD's virtualisation and nested paging.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use anyhow::{Context, Result};

use super::parts::Parts;
use super::wire::{PORT, to_hex};

/// How much of the console is kept, in bytes: enough for a panic with its trace.
const LOG_SIZE: usize = 16 << 10;

/// What the machine consists of.
#[derive(Clone, Debug)]
pub struct Plan {
    /// QEMU.
    pub qemu: PathBuf,
    /// Kernel and first file system.
    pub parts: Parts,
    /// The number of emulated processors.
    pub cpus: u32,
    /// The memory of the machine in MiB.
    pub memory_mib: u32,
    /// This task's own program, which runs inside as well.
    pub program: PathBuf,
    /// Directories that are writable inside.
    pub writable: Vec<PathBuf>,
}

/// A running machine. Dropping it ends it.
#[derive(Debug)]
pub struct Machine {
    qemu: Child,
    log: Log,
}

impl Machine {
    /// Starts the machine; the stream is the other end of its virtio-serial port.
    pub fn start(plan: &Plan) -> Result<(Self, UnixStream)> {
        let (wire, qemu_wire) = UnixStream::pair().context("could not make a socket pair")?;
        let (console, qemu_console) = UnixStream::pair().context("could not make a socket pair")?;
        let mut command = Command::new(&plan.qemu);
        // QEMU takes both sockets as its descriptors 0 and 1, which it uses for nothing else: no names, nothing to clean up.
        command.args(arguments(plan)).stdin(OwnedFd::from(qemu_wire)).stdout(OwnedFd::from(qemu_console));
        command.stderr(Stdio::piped());
        die_with_parent(&mut command);
        let mut qemu = command.spawn().with_context(|| format!("could not start {}", plan.qemu.display()))?;
        let log = Log::default();
        log.keep(console);
        log.keep(qemu.stderr.take().expect("stderr is a pipe"));
        Ok((Self { qemu, log }, wire))
    }

    /// Ends the machine and tells what its console and QEMU said last.
    pub fn end(mut self) -> String {
        self.stop();
        self.log.text()
    }

    fn stop(&mut self) {
        // Both fail only if it has ended already.
        let _ = self.qemu.kill();
        let _ = self.qemu.wait();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        self.stop();
    }
}

fn arguments(plan: &Plan) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = Vec::new();
    let mut add = |words: &[&OsStr]| arguments.extend(words.iter().map(|&word| word.to_owned()));
    let text = |text: &str| OsString::from(text);
    for word in "-nodefaults -no-user-config -display none -no-reboot -cpu max".split(' ') {
        add(&[OsStr::new(word)]);
    }
    add(&[OsStr::new("-accel"), &text("tcg,thread=multi,tb-size=1024")]);
    add(&[OsStr::new("-smp"), &text(&plan.cpus.to_string())]);
    add(&[OsStr::new("-m"), &text(&plan.memory_mib.to_string())]);
    add(&[OsStr::new("-kernel"), plan.parts.kernel.as_os_str()]);
    add(&[OsStr::new("-initrd"), plan.parts.initramfs.as_os_str()]);
    // What protects or tests the kernel is of no use here and slow to emulate.
    let options = format!(
        "console=ttyS0 quiet panic=-1 mitigations=off nokaslr cryptomgr.notests rcupdate.rcu_expedited=1 \
         no_timer_check krundl.program={}",
        to_hex(plan.program.as_os_str())
    );
    add(&[OsStr::new("-append"), &text(&options)]);
    add(&[OsStr::new("-chardev"), &text("socket,id=console,fd=1"), OsStr::new("-serial"), &text("chardev:console")]);
    add(&[OsStr::new("-chardev"), &text("socket,id=wire,fd=0"), OsStr::new("-device"), &text("virtio-serial-pci")]);
    add(&[OsStr::new("-device"), &text(&format!("virtserialport,chardev=wire,name={PORT}"))]);
    add(&[OsStr::new("-virtfs"), &virtfs("root", Path::new("/"), ",readonly=on")]);
    for (number, path) in plan.writable.iter().enumerate() {
        add(&[OsStr::new("-virtfs"), &virtfs(&format!("writable{number}"), path, "")]);
    }
    arguments
}

fn virtfs(tag: &str, path: &Path, more: &str) -> OsString {
    let mut option = b"local,path=".to_vec();
    for byte in path.as_os_str().as_bytes() {
        // A comma in a value is doubled.
        option.extend(std::iter::repeat_n(*byte, if *byte == b',' { 2 } else { 1 }));
    }
    option.extend_from_slice(format!(",mount_tag={tag},security_model=none,multidevs=remap{more}").as_bytes());
    OsString::from_vec(option)
}

/// Lets the kernel end the child when this process ends in whatever way, so that an interrupt leaves nothing behind.
fn die_with_parent(command: &mut Command) {
    let parent = std::process::id() as libc::pid_t;
    let prepare = move || {
        // SAFETY: both are system calls that touch no memory, fit for the time between fork and exec.
        unsafe {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) < 0 {
                return Err(io::Error::last_os_error());
            }
            // The parent may have ended before it was asked for its death.
            if libc::getppid() != parent {
                return Err(io::Error::from_raw_os_error(libc::ESRCH));
            }
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls only: it allocates nothing and takes no lock.
    unsafe { command.pre_exec(prepare) };
}

/// The end of everything that the console and QEMU said.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn keep(&self, mut source: impl Read + Send + 'static) {
        let log = Arc::clone(&self.0);
        thread::spawn(move || {
            let mut bytes = [0; 4096];
            while let Ok(count @ 1..) = source.read(&mut bytes) {
                let mut log = log.lock().expect("no thread panics while it holds the log");
                log.extend_from_slice(&bytes[..count]);
                let excess = log.len().saturating_sub(LOG_SIZE);
                log.drain(..excess);
            }
        });
    }

    fn text(&self) -> String {
        let log = self.0.lock().expect("no thread panics while it holds the log");
        String::from_utf8_lossy(&log).replace('\r', "")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comma_in_a_path_stays_in_the_path() {
        let option = virtfs("writable0", Path::new("/a,b c"), "");
        assert_eq!(option, "local,path=/a,,b c,mount_tag=writable0,security_model=none,multidevs=remap");
    }
}
