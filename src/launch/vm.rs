//! A running VM.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStderr, ChildStdin, ChildStdout};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::channel::ChannelHost;
use super::log::Log;
use super::outcome::Exit;
use super::terminal::SavedTerminal;
use crate::error::{Ended, Error, Result, Words};
use crate::guest_words::Word;
use crate::helper::wire::{Inbox, Status};
use crate::helper::{Helper, Running};
use crate::plan::Call;
use crate::symbols::Function;

/// A VM that runs, or has ended.
///
/// Waiting blocks in the kernel: nothing sleeps and nothing is polled. No thread is used. Dropping it kills the VM and
/// waits for its process, unless [`Vm::detach`] was called.
pub struct Vm {
    child: Child,
    /// `None` where the kernel has no pidfds; the end of the statuses is the end of the process just as well.
    pidfd: Option<OwnedFd>,
    helper: Helper,
    library: PathBuf,
    calls: Vec<Call>,
    status: Option<File>,
    inbox: Inbox,
    progress: Progress,
    log: Log,
    channel: ChannelHost,
    terminal: Option<SavedTerminal>,
    /// The bootstrap share's directory, until it is removed.
    share: Option<PathBuf>,
    /// Sockets that libkrun makes and does not remove.
    sockets: Vec<PathBuf>,
    ended: Option<Ended>,
    /// The signal with which the caller stopped it.
    stopped: Option<i32>,
    detached: bool,
}

/// How far the helper has come.
#[derive(Default)]
struct Progress {
    calling: Option<usize>,
    entered: bool,
    /// What it said when it gave up.
    failure: Option<Status>,
    /// Its first words were not krundl's.
    foreign: Option<String>,
}

impl Vm {
    pub(super) fn new(
        running: Running,
        helper: Helper,
        library: PathBuf,
        calls: Vec<Call>,
        log: Log,
        channel: ChannelHost,
        terminal: Option<SavedTerminal>,
    ) -> Vm {
        let Running { child, status } = running;
        Vm {
            pidfd: pidfd(&child),
            child,
            helper,
            library,
            calls,
            status: Some(status),
            inbox: Inbox::default(),
            progress: Progress::default(),
            log,
            channel,
            terminal,
            share: None,
            sockets: Vec::new(),
            ended: None,
            stopped: None,
            detached: false,
        }
    }

    /// Sockets that libkrun makes and that go with the VM.
    pub(super) fn owns(&mut self, sockets: Vec<PathBuf>) {
        self.sockets = sockets;
    }

    /// The number of the VM's process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A descriptor that becomes readable when the VM's process ends, for event loops; `None` where the kernel has
    /// none. It stays this value's own.
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(AsFd::as_fd)
    }

    /// Takes the write end of the workload's standard input, where it is [`super::Stream::Piped`].
    pub fn take_stdin(&mut self) -> Option<ChildStdin> {
        self.child.stdin.take()
    }

    /// Takes the read end of the workload's standard output, where it is [`super::Stream::Piped`].
    pub fn take_stdout(&mut self) -> Option<ChildStdout> {
        self.child.stdout.take()
    }

    /// Takes the read end of the workload's standard error, where it is [`super::Stream::Piped`].
    pub fn take_stderr(&mut self) -> Option<ChildStderr> {
        self.child.stderr.take()
    }

    /// What libkrun has written so far: its log and its own words, at most about 128 KiB, the middle left out.
    pub fn log(&mut self) -> Vec<u8> {
        self.log.drain();
        self.log.bytes()
    }

    /// Waits for the guest's first word: everything is mounted and the workload runs.
    ///
    /// # Errors
    /// [`Error::TimedOut`]; [`Error::ReadinessUnknown`] where this libkrun has no channel; whatever ended the VM
    /// before: [`Error::Start`], [`Error::Crashed`], [`Error::NeverUp`], [`Error::GuestSetup`].
    pub fn wait_ready(&mut self, timeout: Option<Duration>) -> Result<()> {
        if !self.channel.exists {
            let reason = "this libkrun has no channel for the guest's first word".to_owned();
            return Err(Error::ReadinessUnknown { reason });
        }
        let seen = |vm: &Vm| vm.channel.said.up || vm.channel.said.last.is_some() || vm.progress.failure.is_some();
        let happened = self.pump(timeout.map(|timeout| Instant::now() + timeout), seen)?;
        match (&self.channel.said.last, self.ended) {
            (Some(Word::Failed { message, .. }), _) => Err(self.guest_setup(message.clone())),
            (Some(_), _) => Ok(()),
            (None, _) if self.channel.said.up => Ok(()),
            (None, None) if !happened => Err(self.timed_out("the guest's first word", timeout)),
            (None, None) => {
                // The helper said that libkrun came back; its end follows at once.
                self.pump(None, |_| false)?;
                Err(self.failure())
            }
            (None, Some(_)) => Err(self.failure()),
        }
    }

    /// Waits until the VM has ended and says how.
    ///
    /// # Errors
    /// Where the workload's end is not on the guest's word: [`Error::Start`], [`Error::Crashed`], [`Error::NeverUp`],
    /// [`Error::GuestSetup`], [`Error::GuestLost`].
    pub fn wait(&mut self) -> Result<Exit> {
        self.pump(None, |_| false)?;
        self.outcome()
    }

    /// As [`Vm::wait`], but not longer than `timeout`; `None` when it still runs then.
    ///
    /// # Errors
    /// As [`Vm::wait`].
    pub fn wait_timeout(&mut self, timeout: Duration) -> Result<Option<Exit>> {
        self.pump(Some(Instant::now() + timeout), |_| false)?;
        if self.ended.is_some() { self.outcome().map(Some) } else { Ok(None) }
    }

    /// As [`Vm::wait`], without waiting.
    ///
    /// # Errors
    /// As [`Vm::wait`].
    pub fn try_wait(&mut self) -> Result<Option<Exit>> {
        self.wait_timeout(Duration::ZERO)
    }

    /// Asks the VM's process to end (SIGTERM): libkrun ends at once, the guest is not asked.
    ///
    /// # Errors
    /// [`Error::Os`] when the signal cannot be sent. A VM that has ended already is no error.
    pub fn terminate(&mut self) -> Result<()> {
        self.signal(libc::SIGTERM)
    }

    /// Kills the VM's process (SIGKILL).
    ///
    /// # Errors
    /// As [`Vm::terminate`].
    pub fn kill(&mut self) -> Result<()> {
        self.signal(libc::SIGKILL)
    }

    /// Lets the VM run on and returns the number of its process, with the sockets that libkrun made for it. The caller reaps it; nobody watches it any more,
    /// keeps its log or puts the terminal right.
    pub fn detach(mut self) -> u32 {
        self.detached = true;
        // The VM goes on using the terminal.
        if let Some(terminal) = self.terminal.take() {
            terminal.forget();
        }
        self.pid()
    }

    fn signal(&mut self, signal: i32) -> Result<()> {
        self.pump(Some(Instant::now()), |_| false)?;
        if self.ended.is_some() {
            return Ok(());
        }
        let pid = i32::try_from(self.pid()).expect("process numbers are positive");
        send(self.pidfd(), pid, signal)
            .map_err(|error| Error::os(format!("sending signal {signal} to the VM's process {pid}"), error))?;
        self.stopped.get_or_insert(signal);
        Ok(())
    }

    pub(super) fn wait_entered(&mut self, deadline: Instant, timeout: Duration) -> Result<()> {
        let happened = self.pump(Some(deadline), |vm| vm.progress.entered || vm.progress.foreign.is_some())?;
        if self.progress.entered {
            return Ok(());
        }
        if let Some(reason) = self.progress.foreign.take() {
            self.force_end();
            return Err(self.mismatch(reason));
        }
        if !happened && self.ended.is_none() {
            self.force_end();
            return Err(self.timed_out("entering libkrun", Some(timeout)));
        }
        Err(self.failure())
    }

    /// Waits until `until` or the VM's end, or `deadline`; returns whether one of the former has come.
    fn pump(&mut self, deadline: Option<Instant>, until: impl Fn(&Vm) -> bool) -> Result<bool> {
        loop {
            self.drain();
            if until(self) || self.ended.is_some() {
                return Ok(true);
            }
            let wait = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let wait_spec = wait.and_then(|wait| Timespec::try_from(wait).ok());
            let gone = {
                let mut watched = Vec::with_capacity(4);
                let pidfd = self.pidfd.as_ref().map(AsFd::as_fd);
                let status = self.status.as_ref().map(AsFd::as_fd);
                let ends = usize::from(pidfd.is_some());
                for fd in [pidfd, status, self.log.watched(), self.channel.watched()].into_iter().flatten() {
                    watched.push(PollFd::from_borrowed_fd(fd, PollFlags::IN));
                }
                match poll(&mut watched, wait_spec.as_ref()) {
                    Ok(0) if wait.is_some_and(|wait| wait.is_zero()) => return Ok(false),
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(errno) => return Err(Error::os("waiting for the VM's process", errno)),
                }
                ends > 0 && !watched[0].revents().is_empty()
            };
            // Without a pidfd the end of the statuses is the sign: the helper holds them open as long as it lives.
            if gone || (self.pidfd.is_none() && self.status.is_none()) {
                self.reap();
            }
        }
    }

    /// Takes what has come from everywhere, without waiting.
    fn drain(&mut self) {
        self.drain_status();
        self.log.drain();
        self.channel.drain(self.child.id());
        let told = self.channel.said.up || self.channel.said.last.is_some();
        if told || self.ended.is_some() {
            self.remove_share();
        }
    }

    fn drain_status(&mut self) {
        let mut buffer = [0; 4096];
        while let Some(status) = &mut self.status {
            match status.read(&mut buffer) {
                Ok(0) => self.status = None,
                Ok(n) => {
                    self.inbox.push(&buffer[..n]);
                    self.read_statuses();
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn read_statuses(&mut self) {
        loop {
            match self.inbox.next::<Status>() {
                Ok(None) => return,
                Ok(Some(Status::Calling { index })) => self.progress.calling = Some(index),
                Ok(Some(Status::Entered)) => self.progress.entered = true,
                Ok(Some(Status::Share { path })) => self.share = Some(path),
                Ok(Some(other)) => self.progress.failure = Some(other),
                Err(reason) => {
                    self.progress.foreign = Some(reason);
                    self.status = None;
                    return;
                }
            }
        }
    }

    fn reap(&mut self) {
        let ended = match self.child.wait() {
            Ok(status) => match (status.code(), status.signal()) {
                (Some(code), _) => Ended::Exit(code),
                (None, Some(signal)) => Ended::Signal(signal),
                (None, None) => Ended::Unknown,
            },
            // Somebody else waited for it.
            Err(_) => Ended::Unknown,
        };
        self.ended = Some(ended);
        // What it wrote last is still in the pipes.
        self.drain();
        self.remove_sockets();
        self.terminal = None;
    }

    fn remove_share(&mut self) {
        if let Some(path) = self.share.take() {
            let _ = std::fs::remove_dir_all(path);
        }
    }

    /// Before libkrun was entered it had made none, so whatever is there is somebody else's.
    fn remove_sockets(&mut self) {
        let is_socket = |path: &PathBuf| std::fs::symlink_metadata(path).is_ok_and(|m| m.file_type().is_socket());
        for path in self.sockets.drain(..).filter(|path| self.progress.entered && is_socket(path)) {
            let _ = std::fs::remove_file(path);
        }
    }

    fn force_end(&mut self) {
        if self.ended.is_none() {
            let _ = self.child.kill();
            self.reap();
        }
    }

    fn words(&self) -> Words {
        Words::quote(&self.log.bytes())
    }

    fn outcome(&self) -> Result<Exit> {
        match &self.channel.said.last {
            Some(Word::Exit(status)) => return Ok(Exit::Code(*status)),
            Some(Word::Signal(signal)) => return Ok(Exit::Signal(*signal)),
            Some(Word::FailedExec { errno, message }) => {
                let status = if *errno == libc::ENOENT { 127 } else { 126 };
                return Ok(Exit::NotExecuted { status, reason: message.clone() });
            }
            Some(Word::Failed { message, .. }) => return Err(self.guest_setup(message.clone())),
            _ => {}
        }
        if let Some(signal) = self.stopped.filter(|_| self.progress.failure.is_none()) {
            return Ok(Exit::Stopped(signal));
        }
        match self.ended {
            Some(Ended::Exit(status))
                if !self.channel.exists && self.progress.entered && self.progress.failure.is_none() =>
            {
                Ok(Exit::Unproved(status))
            }
            _ => Err(self.failure()),
        }
    }

    fn guest_setup(&self, message: String) -> Error {
        Error::GuestSetup { message, words: self.words() }
    }

    fn timed_out(&self, what: &'static str, after: Option<Duration>) -> Error {
        Error::TimedOut { what, after: after.unwrap_or_default(), during: self.last_call(), words: self.words() }
    }

    fn mismatch(&self, reason: String) -> Error {
        Error::HelperMismatch { helper: self.helper.path.clone(), caller: self.helper.caller.clone(), reason }
    }

    /// Why a VM that has ended did not do what it was for.
    fn failure(&self) -> Error {
        let ended = self.ended.unwrap_or(Ended::Unknown);
        let words = self.words();
        match &self.progress.failure {
            Some(Status::Refused { index, returned }) => {
                let call = self.calls.get(*index);
                return Error::Call {
                    function: call.map_or(Function::krun_start_enter, Call::function),
                    args: call.map(Call::args).unwrap_or_default(),
                    errno: returned.wrapping_neg(),
                    words,
                };
            }
            Some(Status::Returned { returned }) => return Error::Start { errno: returned.wrapping_neg(), words },
            Some(Status::LibraryChanged { reason }) => {
                return Error::LibraryChanged { path: self.library.clone(), reason: reason.clone() };
            }
            Some(Status::Failed { what, errno }) => {
                let reason = format!("{what}: {}", crate::errno::describe(*errno));
                return Error::HelperFailed { helper: self.helper.path.clone(), reason, words };
            }
            _ => {}
        }
        if !self.inbox.greeted() {
            return self.mismatch(format!("it {ended} without a word of krundl's{words}"));
        }
        if self.channel.said.up {
            return Error::GuestLost { ended, words };
        }
        match ended {
            Ended::Exit(_) if self.progress.entered => Error::NeverUp { ended, words },
            _ => Error::Crashed { ended, during: self.last_call(), words },
        }
    }

    /// The function during which the process died.
    fn last_call(&self) -> Option<Function> {
        if self.progress.entered {
            return Some(Function::krun_start_enter);
        }
        Some(self.calls.get(self.progress.calling?)?.function())
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        if !self.detached {
            self.force_end();
            self.remove_share();
        }
    }
}

impl std::fmt::Debug for Vm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Vm").field("pid", &self.child.id()).field("ended", &self.ended).finish_non_exhaustive()
    }
}

/// Sends a signal to our own child; through its pidfd where there is one, which cannot mean another process even when
/// somebody else in this process has reaped the child.
fn send(pidfd: Option<BorrowedFd<'_>>, pid: i32, signal: i32) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    if let (Some(pidfd), Some(signal)) = (pidfd, rustix::process::Signal::from_named_raw(signal)) {
        return match rustix::process::pidfd_send_signal(pidfd, signal) {
            // It has ended in the meantime.
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(errno) => Err(errno.into()),
        };
    }
    let _ = pidfd;
    // SAFETY: sends a signal; no memory is touched.
    if unsafe { libc::kill(pid, signal) } == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

#[cfg(target_os = "linux")]
fn pidfd(child: &Child) -> Option<OwnedFd> {
    use rustix::process::{Pid, PidfdFlags, pidfd_open};
    let pid = Pid::from_raw(i32::try_from(child.id()).ok()?)?;
    pidfd_open(pid, PidfdFlags::empty()).ok()
}

#[cfg(not(target_os = "linux"))]
fn pidfd(_: &Child) -> Option<OwnedFd> {
    None
}
