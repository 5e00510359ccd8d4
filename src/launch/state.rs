//! What is known of a VM's process: everything it, libkrun and the guest have said, and how it ended.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::Arc;
use std::time::Duration;

use super::channel::ChannelHost;
use super::log::Log;
use super::outcome::Exit;
use super::terminal::SavedTerminal;
use super::wake::{Wake, Watched};
use crate::error::{Ended, Error, Result, Words};
use crate::guest_words::Word;
use crate::helper::wire::{Inbox, Status};
use crate::helper::{Helper, ends_within, pidfd};
use crate::plan::{Call, OpenPort};
use crate::sockets::{self, OwnDir};
use crate::symbols::Function;

/// What is known of a VM's process.
pub(super) struct State {
    pub child: Child,
    /// `None` where the kernel has no pidfds; the end of the statuses is the end of the process just as well.
    pub pidfd: Option<Arc<OwnedFd>>,
    pub helper: Helper,
    pub library: PathBuf,
    pub calls: Vec<Call>,
    pub status: Option<Arc<File>>,
    pub inbox: Inbox,
    pub progress: Progress,
    pub log: Log,
    pub channel: ChannelHost,
    pub terminal: Option<SavedTerminal>,
    /// The bootstrap share's directory, until it is removed.
    pub share: Option<PathBuf>,
    /// Sockets that libkrun makes and does not remove.
    pub sockets: Vec<PathBuf>,
    /// Whether they are noted as ours.
    pub noted: bool,
    /// The control port's socket.
    pub control: Option<PathBuf>,
    /// The directory that was made for it.
    pub private: Option<OwnDir>,
    pub ended: Option<Ended>,
    /// The signals with which the caller stopped it.
    pub stopped: Vec<i32>,
    /// Tells those who wait that another thread has taken the news.
    pub wake: Wake,
}

/// How far the helper has come.
#[derive(Default)]
pub(super) struct Progress {
    pub calling: Option<usize>,
    pub entered: bool,
    /// What it said when it gave up.
    pub failure: Option<Status>,
    /// Its first words were not krundl's.
    pub foreign: Option<String>,
    /// The programs that serve the network cards.
    pub networks: Vec<OwnedFd>,
    /// The ports that they have opened.
    pub ports: Vec<OpenPort>,
}

impl State {
    /// What to wait on for news.
    pub(super) fn watched(&self) -> Vec<Watched> {
        self.sources().chain([self.wake.watched()]).collect()
    }

    /// Where news come from.
    pub(super) fn sources(&self) -> impl Iterator<Item = Watched> {
        let pidfd = self.pidfd.clone().map(|fd| fd as Watched);
        let status = self.status.clone().map(|file| file as Watched);
        [pidfd, status, self.log.watched(), self.channel.watched()].into_iter().flatten()
    }

    /// Whether there is nothing left that tells of the process: only its end can be the reason.
    pub(super) fn deaf(&self) -> bool {
        self.pidfd.is_none() && self.status.is_none()
    }

    /// Sends a signal that is to stop the VM.
    pub(super) fn stop_with(&mut self, signal: i32) -> Result<()> {
        self.send(signal)?;
        self.stopped.push(signal);
        Ok(())
    }

    /// Sends a signal.
    pub(super) fn send(&self, signal: i32) -> Result<()> {
        let pid = i32::try_from(self.child.id()).expect("process numbers are positive");
        send(self.pidfd.as_ref().map(|fd| fd.as_fd()), pid, signal)
            .map_err(|error| Error::os(format!("sending signal {signal} to the VM's process {pid}"), error))
    }

    /// Takes what has come from everywhere, without waiting, and tells whoever waits.
    pub(super) fn drain(&mut self) {
        self.log.drain();
        let mut news = self.drain_status();
        news |= self.channel.drain(self.child.id());
        let told = self.channel.said.up || self.channel.said.last.is_some();
        if told || self.ended.is_some() {
            self.remove_share();
        }
        if told && !self.noted {
            // libkrun has made them by now.
            self.noted = true;
            self.sockets.iter().for_each(|path| sockets::note(path));
        }
        if news {
            self.wake.news();
        }
    }

    fn drain_status(&mut self) -> bool {
        let mut buffer = [0; 4096];
        let mut news = false;
        while let Some(status) = self.status.clone() {
            match (&*status).read(&mut buffer) {
                Ok(0) => {
                    self.status = None;
                    news = true;
                }
                Ok(n) => {
                    self.inbox.push(&buffer[..n]);
                    self.read_statuses();
                    news = true;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => break,
            }
        }
        news
    }

    fn read_statuses(&mut self) {
        loop {
            match self.inbox.next::<Status>() {
                Ok(None) => return,
                Ok(Some(Status::Calling { index })) => self.progress.calling = Some(index),
                Ok(Some(Status::Entered)) => self.progress.entered = true,
                Ok(Some(Status::Share { path })) => self.share = Some(path),
                Ok(Some(Status::Network { pid, ports })) => self.serves(pid, ports),
                Ok(Some(other)) => self.progress.failure = Some(other),
                Err(reason) => {
                    self.progress.foreign = Some(reason);
                    self.status = None;
                    return;
                }
            }
        }
    }

    fn serves(&mut self, pid: u32, ports: Vec<OpenPort>) {
        self.progress.ports.extend(ports);
        // As long as the VM's process lives, which leaves its child's status alone, the number is that child's.
        let network = pidfd(pid);
        if self.pidfd.as_ref().is_some_and(|vmm| !ends_within(vmm, Duration::ZERO)) {
            self.progress.networks.extend(network);
        }
    }

    /// Takes the end of the process, which is at hand.
    pub(super) fn reap(&mut self) {
        if self.ended.is_some() {
            return;
        }
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
        self.end_networks();
        self.terminal = None;
        self.wake.news();
    }

    pub(super) fn remove_share(&mut self) {
        if let Some(path) = self.share.take() {
            let _ = std::fs::remove_dir_all(path);
        }
    }

    /// Before libkrun was entered it had made none, so whatever is there is somebody else's.
    fn remove_sockets(&mut self) {
        for path in self.sockets.drain(..).filter(|_| self.progress.entered) {
            sockets::remove(&path);
        }
        self.private = None;
    }

    /// They end by themselves, as the other end of their connection is closed or the kernel ends them. Once the VM's end
    /// is told their ports are to be free.
    fn end_networks(&mut self) {
        #[cfg(target_os = "linux")]
        for network in self.progress.networks.drain(..) {
            let _ = rustix::process::pidfd_send_signal(&network, rustix::process::Signal::KILL);
            ends_within(&network, Duration::from_secs(5));
        }
    }

    pub(super) fn force_end(&mut self) {
        if self.ended.is_none() {
            let _ = self.child.kill();
            self.reap();
        }
    }

    fn words(&self) -> Words {
        Words::quote(&self.log.bytes())
    }

    pub(super) fn outcome(&self) -> Result<Exit> {
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
        if let Some(first) = self.stopped.first().filter(|_| self.progress.failure.is_none()) {
            let by = self.stopped.iter().find(|signal| self.ended == Some(Ended::Signal(**signal)));
            return Ok(Exit::Stopped(*by.unwrap_or(first)));
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

    pub(super) fn guest_setup(&self, message: String) -> Error {
        Error::GuestSetup { message, words: self.words() }
    }

    pub(super) fn timed_out(&self, what: &'static str, after: Option<Duration>) -> Error {
        Error::TimedOut { what, after: after.unwrap_or_default(), during: self.last_call(), words: self.words() }
    }

    pub(super) fn mismatch(&self, reason: String) -> Error {
        Error::HelperMismatch { helper: self.helper.path.clone(), caller: self.helper.caller.clone(), reason }
    }

    /// Why a VM that has ended did not do what it was for.
    pub(super) fn failure(&self) -> Error {
        let ended = self.ended.unwrap_or(Ended::Unknown);
        let words = self.words();
        let told = self.progress.failure.as_ref();
        let told = told.and_then(|last| failure_of(last, &self.calls, &self.library, &self.helper.path, words.clone()));
        if let Some(error) = told {
            return error;
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

/// The error that a process's last status stands for; `None` where it is none. `process` is its program.
pub(crate) fn failure_of(last: &Status, calls: &[Call], library: &Path, process: &Path, words: Words) -> Option<Error> {
    Some(match last {
        Status::Refused { index, returned } => {
            let call = calls.get(*index);
            Error::Call {
                function: call.map_or(Function::krun_start_enter, Call::function),
                args: call.map(Call::args).unwrap_or_default(),
                errno: returned.wrapping_neg(),
                words,
            }
        }
        Status::Returned { returned } => Error::Start { errno: returned.wrapping_neg(), words },
        Status::NetworkFailed { field, program, reason } => Error::Network {
            field: field.clone(),
            program: program.clone(),
            reason: reason.clone(),
            words: words.of_program(),
        },
        Status::LibraryChanged { reason } => Error::LibraryChanged { path: library.to_owned(), reason: reason.clone() },
        Status::Failed { what, errno } => {
            let reason = format!("{what}: {}", crate::errno::describe(*errno));
            Error::HelperFailed { helper: process.to_owned(), reason, words }
        }
        _ => return None,
    })
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
