//! What happens in the helper process, or in one that a caller forked for it: the only place where libkrun is called.
//!
//! It may abort, hang, or never return; the caller sees that from outside.

mod bootstrap;
mod here;
mod mac;
mod network;
mod one;
mod parent;
mod probe;
mod run;
mod streams;

pub use here::enter;

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use crate::helper::wire::{self, Request, Status};
use crate::helper::{Mode, Started, asks_for_program, handover, started_as};

/// Exit status of a helper that could not do what it was started for; its statuses say why.
const EXIT_FAILED: i32 = 125;

/// Makes this program its own helper: call it first thing in `main`.
///
/// Does nothing in an ordinary start, except to note that this program can be started again as the process that runs
/// libkrun, so that no `krundl-vmm` needs to be installed beside it. In such a start it does that work and never
/// returns.
pub fn vmm_main() {
    crate::helper::become_own_helper();
    if asks_for_program(std::env::args_os()) {
        let given = bootstrap::program().and_then(|program| io::stdout().write_all(program));
        if let Err(error) = given {
            eprintln!("krundl-vmm: {error}");
            exit(EXIT_FAILED);
        }
        exit(0);
    }
    if let Some(started) = started_as(std::env::args_os()) {
        serve(&started);
    }
}

/// Serves one request.
fn serve(started: &Started) -> ! {
    let (request, status, extra) = match started.mode {
        Mode::Probe => connected().map(|connection| (None, connection, Vec::new())),
        Mode::Run => numbered(&started.descriptors).map(|(request, status, extra)| (Some(request), status, extra)),
    }
    .unwrap_or_else(|error| {
        eprintln!("krundl-vmm: its descriptors are not open ({error}): it is started by krundl, not by hand");
        exit(2);
    });
    let mut status = Reporter { out: status.into() };
    status.greet();
    let request = request.map_or_else(|| handover::take(&status.out), Ok).map_err(|error| error.to_string());
    let request = match request.and_then(|request| wire::receive_request(&mut File::from(request))) {
        Ok(request) => request,
        Err(reason) => {
            // The caller compares the first lines as well, and names both programs.
            eprintln!("krundl-vmm: {reason}");
            exit(EXIT_FAILED);
        }
    };
    match request {
        Request::Probe { options, kernel_release } if started.mode == Mode::Probe => {
            probe::probe(&options, kernel_release, &mut status)
        }
        Request::Run { plan, how } if started.mode == Mode::Run => run::run(*plan, &how, extra, status),
        _ => {
            eprintln!("krundl-vmm: the request is not what it was started for");
            exit(EXIT_FAILED)
        }
    }
}

/// The request, the statuses and what the plan needs, by their numbers.
fn numbered(numbers: &[RawFd]) -> io::Result<(OwnedFd, OwnedFd, Vec<OwnedFd>)> {
    let mut descriptors = numbers.iter().map(|fd| take(*fd));
    let mut next = || descriptors.next().unwrap_or_else(|| Err(io::ErrorKind::InvalidInput.into()));
    Ok((next()?, next()?, descriptors.collect::<io::Result<_>>()?))
}

/// The connection to the caller, which is standard input at first. What the caller has left open for others is not kept.
fn connected() -> io::Result<OwnedFd> {
    close_inherited();
    let connection = rustix::io::fcntl_dupfd_cloexec(io::stdin(), libc::STDERR_FILENO + 1)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    Ok(connection)
}

/// Closes every descriptor but the standard ones. The caller of the run does it between fork and exec; that of a probe
/// does not fork.
fn close_inherited() {
    const FIRST: RawFd = libc::STDERR_FILENO + 1;
    #[cfg(target_os = "linux")]
    // SAFETY: this process has just begun and has opened nothing itself; no memory is touched.
    let done = unsafe { libc::syscall(libc::SYS_close_range, FIRST, libc::c_uint::MAX, 0) } == 0;
    #[cfg(not(target_os = "linux"))]
    let done = false;
    if !done {
        // Kernels before 5.9: one by one, as many as there can be in practice.
        for fd in FIRST..4096 {
            // SAFETY: as above; a number that is not open is an error without effect.
            unsafe { libc::close(fd) };
        }
    }
}

/// Takes over a descriptor whose number the caller told.
fn take(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: only asks for flags and sets one; an unopened number is an error without effect.
    if unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: it is open, and it was given to this process for this purpose alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Ends the process at once: the exit handlers of libraries that were opened are none of our business.
fn exit(code: i32) -> ! {
    // SAFETY: _exit takes a number and does not return.
    unsafe { libc::_exit(code) }
}

/// Says statuses to the caller. If the caller is gone there is nobody left to tell, so failures are not looked at.
struct Reporter {
    out: File,
}

impl Reporter {
    fn greet(&mut self) {
        let _ = self.out.write_all(wire::greeting().as_bytes());
    }

    fn say(&mut self, status: &Status) {
        let _ = wire::send(&mut self.out, status);
    }

    /// Says that something of the helper's own failed, and ends.
    fn fail(&mut self, what: impl Into<String>, error: &io::Error) -> ! {
        self.say(&Status::Failed { what: what.into(), errno: error.raw_os_error().unwrap_or(libc::EIO) });
        exit(EXIT_FAILED)
    }
}
