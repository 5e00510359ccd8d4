//! Starting the helper: it inherits what is meant for it and nothing else.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use rustix::process::Pid;

use super::find::{Helper, Mode};
use super::handover;
use super::memory::unnamed_file;
use super::wire::{self, Request};
use crate::error::{Error, Result, Words};
use crate::system::end_of;

/// The variables that the helper inherits: those that the loader and libkrun need to find files, none that may hold
/// a secret. `RUST_LOG` stays out, for it could silence libkrun's only explanation of a failure.
const INHERITED: &[&str] = &[
    "PATH",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "DYLD_LIBRARY_PATH",
    "DYLD_FALLBACK_LIBRARY_PATH",
    "TMPDIR",
    "XDG_RUNTIME_DIR",
    "RUST_BACKTRACE",
    "LANG",
    "LC_ALL",
    "TZ",
];

/// How to start it to run a VM.
pub(crate) struct Spawn<'a> {
    pub helper: &'a Helper,
    pub request: &'a Request,
    /// Standard input, output and error.
    pub stdio: [Stdio; 3],
    /// Further descriptors; the helper gets their numbers in this order.
    pub extra: Vec<BorrowedFd<'a>>,
    /// Whether it leads a session of its own, away from the caller's terminal.
    pub new_session: bool,
}

/// A helper that runs.
pub(crate) struct Running {
    pub child: Child,
    /// What it says; the end of it is the end of the process.
    pub status: File,
}

/// A descriptor that becomes readable when the child's process ends; `None` where the kernel gives none. On Linux it
/// stands for that process, and no other, in signals.
pub(crate) fn pidfd(child: u32) -> Option<OwnedFd> {
    end_of(Pid::from_raw(i32::try_from(child).ok()?)?).ok()
}

/// Waits for a child's end, but not longer than `timeout`; `true` where the kernel cannot tell.
pub(crate) fn child_ends_within(child: &Child, timeout: std::time::Duration) -> bool {
    pidfd(child.id()).is_none_or(|pidfd| ends_within(pidfd, timeout))
}

/// Waits for a process's end, but not longer than `timeout`.
pub(crate) fn ends_within(pidfd: impl AsFd, timeout: std::time::Duration) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let deadline = std::time::Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        let mut watched = [PollFd::new(&pidfd, PollFlags::IN)];
        match poll(&mut watched, Timespec::try_from(left).ok().as_ref()) {
            Err(rustix::io::Errno::INTR) => {}
            answer => return answer != Ok(0),
        }
    }
}

/// Starts the helper to probe. What the library prints goes to `output`.
///
/// Its standard input is a connection: on it comes a descriptor with the request, and on it go the statuses. So it needs
/// no other descriptor, and is started without a fork, which for a caller with much memory takes longer than all the rest.
pub(crate) fn start_to_probe(helper: &Helper, request: &Request, output: io::PipeWriter) -> Result<Running> {
    let fail = |what: &str| failure(helper, what);
    let request = unnamed_file(&wire::request(request)).map_err(fail("making the request"))?;
    let (ours, theirs) = UnixStream::pair().map_err(fail("making a connection"))?;
    // Both ends are open, so nobody is sent a signal, and a byte never has to wait.
    handover::give(&ours, &request).map_err(fail("giving the request"))?;
    let copy = output.try_clone().map_err(fail("copying a pipe"))?;
    let mut command = command(helper, Mode::Probe, [OwnedFd::from(theirs).into(), output.into(), copy.into()]);
    let child = command.arg(libc::STDIN_FILENO.to_string()).spawn().map_err(not_started(helper))?;
    Ok(Running { child, status: OwnedFd::from(ours).into() })
}

impl Spawn<'_> {
    pub(crate) fn start(self) -> Result<Running> {
        let fail = |what: &str| failure(self.helper, what);
        let request = unnamed_file(&wire::request(self.request)).map_err(fail("making the request"))?;
        let (status, status_in) = io::pipe().map_err(fail("making a pipe"))?;

        // Copies, because a caller without standard streams may have given descriptors 0 to 2, which the helper's
        // own are going to replace. Their numbers stay as they are: moving one onto a fixed number could hit the
        // descriptor on which the standard library waits for exec.
        let sources: Vec<OwnedFd> = [request.as_fd(), status_in.as_fd()]
            .iter()
            .chain(&self.extra)
            .map(copy_above_standard)
            .collect::<io::Result<_>>()
            .map_err(fail("copying descriptors"))?;
        let numbers: Vec<RawFd> = sources.iter().map(AsRawFd::as_raw_fd).collect();

        let mut command = command(self.helper, Mode::Run, self.stdio);
        command.args(numbers.iter().map(RawFd::to_string));
        let new_session = self.new_session;
        // SAFETY: between fork and exec only async-signal-safe functions are called (fcntl, close_range, setsid), and
        // nothing is allocated: `numbers` was made before.
        unsafe {
            command.pre_exec(move || {
                close_others();
                for fd in &numbers {
                    if libc::fcntl(*fd, libc::F_SETFD, 0) < 0 {
                        return Err(io::Error::last_os_error());
                    }
                }
                if new_session && libc::setsid() < 0 {
                    return Err(io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = command.spawn().map_err(not_started(self.helper))?;
        Ok(Running { child, status: OwnedFd::from(status).into() })
    }
}

fn command(helper: &Helper, mode: Mode, stdio: [Stdio; 3]) -> Command {
    let [stdin, stdout, stderr] = stdio;
    let mut command = Command::new(&helper.path);
    command.args(mode.arguments()).env_clear().envs(inherited()).stdin(stdin).stdout(stdout).stderr(stderr);
    command
}

fn failure(helper: &Helper, what: &str) -> impl FnOnce(io::Error) -> Error + use<> {
    let what = format!("{what} for {}", helper.path.display());
    move |error| Error::os(what, error)
}

fn not_started(helper: &Helper) -> impl FnOnce(io::Error) -> Error {
    |error| Error::HelperFailed {
        helper: helper.path.clone(),
        reason: format!("it cannot be started: {error}"),
        words: Words::default(),
    }
}

fn inherited() -> impl Iterator<Item = (&'static str, OsString)> {
    INHERITED.iter().filter_map(|name| Some((*name, std::env::var_os(name)?)))
}

fn copy_above_standard(fd: &BorrowedFd<'_>) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, libc::STDERR_FILENO + 1)?)
}

/// Marks every descriptor but the standard ones to be closed by exec, also those that other code of this process
/// opened without that mark.
pub(crate) fn close_others() {
    const FIRST: RawFd = libc::STDERR_FILENO + 1;
    #[cfg(target_os = "linux")]
    // SAFETY: sets a flag on this (forked) process's descriptors; no memory is touched.
    let done =
        unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC) } == 0;
    #[cfg(not(target_os = "linux"))]
    let done = false;
    if !done {
        // Kernels before 5.11: one by one, as many as there can be in practice.
        for fd in FIRST..4096 {
            // SAFETY: as above; a number that is not open is an error without effect.
            unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) };
        }
    }
}
