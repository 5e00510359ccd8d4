//! `krundl exec`, `krundl figures`, `krundl stop`, `krundl ps`: what is asked of a guest that runs.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{IsTerminal, Read};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use krundl::Error;
use krundl::control::{self, CONNECT_TIMEOUT, Command, Exec, Sink, Size, Source, Streams, named, socket_of};
use krundl::spec::Text;
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetwinsize, tcsetattr};

use super::args::{ExecArgs, FiguresArgs, PsArgs, StopArgs};
use super::print;
use super::run::{FAILED, variable};
use super::signals::catch;

/// What is passed on to the command.
const SIGNALS: [i32; 6] = [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2];

pub fn exec(args: ExecArgs) -> i32 {
    try_exec(args).unwrap_or_else(|message| {
        eprintln!("krundl: {message}");
        FAILED
    })
}

fn try_exec(args: ExecArgs) -> Result<i32, String> {
    let (socket, wait) = socket(&args.vm, args.wait)?;
    let mut words = args.command.into_iter();
    let mut command = Command {
        path: words.next().unwrap_or_default().into(),
        args: words.map(Text::from).collect(),
        env: variables(args.env)?,
        clear_env: args.clear_env,
        workdir: args.workdir.map(Text::from),
        terminal: args.tty,
        ..Command::default()
    };
    if let Some(user) = args.user {
        command.uid = Some(user.0);
        command.gid = user.1;
    }
    let stdin = std::io::stdin();
    if args.tty
        && let Some(term) = std::env::var_os("TERM")
    {
        command.env.entry("TERM".to_owned()).or_insert_with(|| term.into());
    }
    let own = |fd: std::os::fd::BorrowedFd<'_>| {
        fd.try_clone_to_owned().map_err(|error| format!("a standard stream: {error}"))
    };
    let streams = Streams {
        stdin: Source::Fd(own(stdin.as_fd())?),
        stdout: Sink::Fd(own(std::io::stdout().as_fd())?),
        stderr: Sink::Fd(own(std::io::stderr().as_fd())?),
    };
    // Before the start, so that no signal falls between it and our readiness.
    let mut signals = SIGNALS.to_vec();
    if args.tty {
        signals.push(libc::SIGWINCH);
    }
    let mut news = catch(&signals).map_err(|error| format!("making a pipe: {error}"))?;
    let exec = Exec::start(&socket, &command, window(), streams, wait).map_err(|error| error.to_string())?;
    let raw = (args.tty && stdin.is_terminal()).then(Raw::new).flatten();
    let ended = std::thread::scope(|scope| {
        let exec = &exec;
        let (ours, done) = std::io::pipe().map_err(|error| format!("making a pipe: {error}"))?;
        scope.spawn(move || {
            while let Some(signal) = next(&mut news, &ours) {
                if signal == libc::SIGWINCH { exec.resize(window()) } else { exec.signal(signal) }
            }
        });
        let ended = exec.wait().map_err(|error| error.to_string());
        drop(done);
        ended
    });
    drop(raw);
    let exit = ended?;
    if let krundl::Exit::NotExecuted { reason, .. } = &exit {
        eprintln!("krundl: {reason}");
    }
    Ok(exit.status())
}

/// The next signal; nothing when nobody waits for the command any more.
fn next(news: &mut std::io::PipeReader, done: &std::io::PipeReader) -> Option<i32> {
    use rustix::event::{PollFd, PollFlags, poll};
    loop {
        let mut fds = [PollFd::new(news, PollFlags::IN), PollFd::new(done, PollFlags::IN)];
        if poll(&mut fds, None).is_err() {
            continue;
        }
        let over = !fds[1].revents().is_empty();
        if over {
            return None;
        }
        let mut bytes = [0; 2];
        news.read_exact(&mut bytes).ok()?;
        return Some(bytes[0].into());
    }
}

/// The size of the terminal that we are on; that of old ones where there is none.
fn window() -> Size {
    let of = |fd: std::os::fd::BorrowedFd<'_>| tcgetwinsize(fd).ok();
    let found = of(std::io::stdin().as_fd()).or_else(|| of(std::io::stdout().as_fd()));
    found.map_or(Size { rows: 24, columns: 80 }, |size| Size { rows: size.ws_row, columns: size.ws_col })
}

/// Our own terminal, which hands on every key as long as this lives.
struct Raw(Termios);

impl Raw {
    fn new() -> Option<Raw> {
        let before = tcgetattr(std::io::stdin()).ok()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(std::io::stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Raw(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        let _ = tcsetattr(std::io::stdin(), OptionalActions::Now, &self.0);
    }
}

fn variables(given: Vec<OsString>) -> Result<BTreeMap<String, Text>, String> {
    given.into_iter().filter_map(|text| variable(text).transpose()).collect()
}

/// The socket, and how long a guest that does not answer yet is waited for. One that runs under a name may still be
/// starting; where there is a path it is up to the caller.
fn socket(vm: &str, wait: Option<f64>) -> Result<(PathBuf, Duration), String> {
    let socket = socket_of(vm).map_err(|error| error.to_string())?;
    let usual = if vm.contains('/') { Duration::ZERO } else { CONNECT_TIMEOUT };
    let wait = match wait {
        None => usual,
        Some(seconds) => Duration::try_from_secs_f64(seconds).map_err(|error| format!("--wait {seconds}: {error}"))?,
    };
    Ok((socket, wait))
}

/// What a request that has no status of its own comes to.
fn status(done: Result<(), String>) -> i32 {
    match done {
        Ok(()) => 0,
        Err(message) => {
            eprintln!("krundl: {message}");
            1
        }
    }
}

pub fn figures(args: &FiguresArgs) -> i32 {
    status(socket(&args.vm, args.wait).and_then(|(socket, wait)| {
        let figures = control::figures(&socket, wait).map_err(|error| error.to_string())?;
        print(&if args.json {
            format!("{}\n", serde_json::to_string_pretty(&figures).expect("they are plain data"))
        } else {
            figures.to_string()
        });
        Ok(())
    }))
}

/// Asks, and waits until the socket is served no more.
pub fn stop(args: &StopArgs) -> i32 {
    status((|| {
        let (socket, wait) = socket(&args.vm, None)?;
        control::terminate(&socket, wait).map_err(|error| error.to_string())?;
        let deadline = Instant::now() + Duration::from_secs(args.timeout);
        while !matches!(control::figures(&socket, Duration::ZERO), Err(Error::ControlLost { .. })) {
            if Instant::now() >= deadline {
                return Err(format!("the workload was asked to end, and has not after {} s", args.timeout));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    })())
}

pub fn ps(args: &PsArgs) -> i32 {
    status(named().map_err(|error| error.to_string()).map(|vms| {
        if args.json {
            return print(&format!("{}\n", serde_json::to_string_pretty(&vms).expect("they are plain data")));
        }
        let width = vms.iter().map(|vm| vm.name.len()).max().unwrap_or(0).max(4);
        print(&format!("{:width$}  {:>7}  SOCKET\n", "NAME", "PID"));
        for vm in vms {
            let pid = vm.pid.map_or_else(|| "-".to_owned(), |pid| pid.to_string());
            print(&format!("{:width$}  {pid:>7}  {}\n", vm.name, vm.socket.display()));
        }
    }))
}
