//! A running VM.

use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::process::{ChildStderr, ChildStdin, ChildStdout};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use super::outcome::Exit;
use super::state::State;
use super::wake::Watched;
use crate::error::{Error, Result};
use crate::guest_words::{Request, Word};
use crate::plan::OpenPort;

/// A VM that runs, or has ended.
///
/// Any thread may call any method at any time: one may wait while another one kills. Waiting blocks in the kernel:
/// nothing sleeps and nothing is polled, and no thread is used. Dropping it kills the VM and waits for its process,
/// unless [`Vm::detach`] was called.
///
/// It belongs to the process that launched it. In a fork of that (by whoever forks: Python's `multiprocessing`, a
/// daemon), every method that would look or act is refused with [`Error::InvalidArgument`], and dropping it does nothing:
/// the VM is not the fork's child, and what the VM has to say is heard once.
pub struct Vm {
    pid: u32,
    /// The process that launched it.
    owner: u32,
    pidfd: Option<Arc<OwnedFd>>,
    state: Mutex<State>,
    detached: bool,
}

/// Who was asked to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// The workload, by krundl's program in the guest.
    Workload,
    /// The VM's process: the workload could not be asked.
    Process,
}

/// What a signal that comes while a [`Vm`] is waited for does: [`ControlFlow::Break`] ends the waiting.
pub type Interrupted<'a> = &'a mut dyn FnMut() -> ControlFlow<()>;

/// How waiting came to its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Waited {
    Happened,
    TimedOut,
    Interrupted,
}

impl Vm {
    pub(super) fn new(state: State) -> Vm {
        Vm {
            pid: state.child.id(),
            owner: std::process::id(),
            pidfd: state.pidfd.clone(),
            state: Mutex::new(state),
            detached: false,
        }
    }

    /// Whether this process launched it, and is no fork of the one that did.
    pub fn is_own(&self) -> bool {
        std::process::id() == self.owner
    }

    /// Refuses the use of a VM that is another process's.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] unless [`Vm::is_own`].
    pub fn check_own(&self) -> Result<()> {
        if self.is_own() {
            return Ok(());
        }
        Err(Error::argument(
            "vm",
            format!("it belongs to process {}, which launched it, and not to its fork", self.owner),
        ))
    }

    /// The number of the VM's process.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// A descriptor that becomes readable when the VM's process ends, for event loops; `None` where the kernel has
    /// none. It stays this value's own.
    pub fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        self.pidfd.as_ref().map(|fd| fd.as_fd())
    }

    /// The socket of the control port, where the spec has one (`krundl::control`).
    pub fn control(&self) -> Option<PathBuf> {
        self.state().control.clone()
    }

    /// The ports of this host that lead to the guest through a network card's own program: known as soon as libkrun has
    /// been entered, each with its number, also where the spec left that open.
    pub fn ports(&self) -> Vec<OpenPort> {
        let mut state = self.state();
        state.drain();
        state.progress.ports.clone()
    }

    /// Takes the write end of the workload's standard input, where it is [`super::Stream::Piped`].
    pub fn take_stdin(&self) -> Option<ChildStdin> {
        self.own_state()?.child.stdin.take()
    }

    /// Takes the read end of the workload's standard output, where it is [`super::Stream::Piped`].
    pub fn take_stdout(&self) -> Option<ChildStdout> {
        self.own_state()?.child.stdout.take()
    }

    /// Takes the read end of the workload's standard error, where it is [`super::Stream::Piped`].
    pub fn take_stderr(&self) -> Option<ChildStderr> {
        self.own_state()?.child.stderr.take()
    }

    /// What libkrun has written so far: its log and its own words, at most about 128 KiB, the middle left out.
    pub fn log(&self) -> Vec<u8> {
        // What a fork took from the pipe would be lost for the process whose VM it is.
        let Some(mut state) = self.own_state() else { return Vec::new() };
        state.log.drain();
        state.log.bytes()
    }

    /// Waits for the guest's first word: everything is mounted and the workload runs.
    ///
    /// # Errors
    /// [`Error::TimedOut`]; [`Error::ReadinessUnknown`] where this libkrun has no channel; whatever ended the VM
    /// before: [`Error::Start`], [`Error::Crashed`], [`Error::NeverUp`], [`Error::GuestSetup`].
    pub fn wait_ready(&self, timeout: Option<Duration>) -> Result<()> {
        self.wait_ready_with(timeout, &mut || ControlFlow::Continue(())).map(|_| ())
    }

    /// As [`Vm::wait_ready`], for callers whose signals have handlers of their own: `interrupted` is called when a
    /// signal has interrupted the waiting; `false` when it has ended it.
    ///
    /// # Errors
    /// As [`Vm::wait_ready`].
    pub fn wait_ready_with(&self, timeout: Option<Duration>, interrupted: Interrupted<'_>) -> Result<bool> {
        self.check_own()?;
        if !self.state().channel.exists {
            let reason = "this libkrun has no channel for the guest's first word".to_owned();
            return Err(Error::ReadinessUnknown { reason });
        }
        let seen = |vm: &State| vm.channel.said.up || vm.channel.said.last.is_some() || vm.progress.failure.is_some();
        let waited = self.pump(deadline(timeout), interrupted, seen)?;
        {
            let state = self.state();
            match (&state.channel.said.last, state.ended) {
                (Some(Word::Failed { message, .. }), _) => return Err(state.guest_setup(message.clone())),
                (Some(_), _) => return Ok(true),
                (None, _) if state.channel.said.up => return Ok(true),
                (None, Some(_)) => return Err(state.failure()),
                (None, None) if waited == Waited::TimedOut => {
                    return Err(state.timed_out("the guest's first word", timeout));
                }
                (None, None) if waited == Waited::Interrupted => return Ok(false),
                (None, None) => {}
            }
        }
        // The helper has said why it gives up; its end is near.
        match self.pump(None, interrupted, |_| false)? {
            Waited::Interrupted => Ok(false),
            _ => Err(self.state().failure()),
        }
    }

    /// Waits until the VM has ended and says how.
    ///
    /// # Errors
    /// Where the workload's end is not on the guest's word: [`Error::Start`], [`Error::Crashed`], [`Error::NeverUp`],
    /// [`Error::GuestSetup`], [`Error::GuestLost`].
    pub fn wait(&self) -> Result<Exit> {
        self.pump(None, &mut || ControlFlow::Continue(()), |_| false)?;
        self.state().outcome()
    }

    /// As [`Vm::wait`], but not longer than `timeout`; `None` when it still runs then.
    ///
    /// # Errors
    /// As [`Vm::wait`].
    pub fn wait_timeout(&self, timeout: Duration) -> Result<Option<Exit>> {
        self.wait_with(Some(timeout), &mut || ControlFlow::Continue(()))
    }

    /// As [`Vm::wait`], without waiting.
    ///
    /// # Errors
    /// As [`Vm::wait`].
    pub fn try_wait(&self) -> Result<Option<Exit>> {
        self.wait_timeout(Duration::ZERO)
    }

    /// As [`Vm::wait_timeout`], for callers whose signals have handlers of their own: `interrupted` is called when a
    /// signal has interrupted the waiting; `None` when it has ended it, or the time is over.
    ///
    /// # Errors
    /// As [`Vm::wait`].
    pub fn wait_with(&self, timeout: Option<Duration>, interrupted: Interrupted<'_>) -> Result<Option<Exit>> {
        self.pump(deadline(timeout), interrupted, |_| false)?;
        let state = self.state();
        if state.ended.is_some() { state.outcome().map(Some) } else { Ok(None) }
    }

    /// The error of having waited in vain for `what`, for callers who wait by themselves.
    pub fn timed_out(&self, what: &'static str, after: Duration) -> Error {
        if let Err(error) = self.check_own() {
            return error;
        }
        let mut state = self.state();
        state.drain();
        state.timed_out(what, Some(after))
    }

    /// Asks the workload to end: krundl's program in the guest sends it SIGTERM, and whatever it makes of that is told
    /// by [`Vm::wait`]. Where nobody there can hear (it is not up yet, or has no channel) the VM's process gets SIGTERM
    /// instead, which ends it at once. libkrun itself has no way to ask a guest on Linux.
    ///
    /// # Errors
    /// [`Error::Os`] when the signal cannot be sent. A VM that has ended already is no error.
    pub fn terminate(&self) -> Result<Asked> {
        self.pump(Some(Instant::now()), &mut || ControlFlow::Continue(()), |_| false)?;
        if self.state().ended.is_none() && self.state().channel.ask(Request::Terminate) {
            return Ok(Asked::Workload);
        }
        self.signal(libc::SIGTERM).map(|()| Asked::Process)
    }

    /// Kills the VM's process (SIGKILL); the guest is not asked.
    ///
    /// # Errors
    /// As [`Vm::terminate`].
    pub fn kill(&self) -> Result<()> {
        self.signal(libc::SIGKILL)
    }

    /// Presses ^C, as a terminal would: libkrun hands a SIGINT of its process to the guest's console, where it reaches
    /// the workload if the workload's streams are there.
    ///
    /// # Errors
    /// As [`Vm::terminate`].
    pub fn interrupt(&self) -> Result<()> {
        self.pump(Some(Instant::now()), &mut || ControlFlow::Continue(()), |_| false)?;
        let state = self.state();
        if state.ended.is_some() { Ok(()) } else { state.send(libc::SIGINT) }
    }

    /// Ends the VM and waits for it: as [`Vm::terminate`], and as [`Vm::kill`] when it still runs after `grace`.
    ///
    /// # Errors
    /// As [`Vm::terminate`] and [`Vm::wait`].
    pub fn stop(&self, grace: Duration) -> Result<Exit> {
        self.terminate()?;
        if let Some(exit) = self.wait_timeout(grace)? {
            return Ok(exit);
        }
        self.kill()?;
        self.wait()
    }

    /// Lets the VM run on, with the sockets that libkrun made for it, and returns the number of its process. The
    /// caller reaps it; nobody watches it any more, keeps its log or puts the terminal right.
    pub fn detach(mut self) -> u32 {
        self.detached = true;
        if let Some(terminal) = self.exclusive_state().terminal.take() {
            terminal.forget();
        }
        if let Some(private) = self.exclusive_state().private.take() {
            private.keep();
        }
        self.pid()
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn own_state(&self) -> Option<MutexGuard<'_, State>> {
        self.is_own().then(|| self.state())
    }

    /// Without the lock, which another thread may have held when the process was forked.
    fn exclusive_state(&mut self) -> &mut State {
        self.state.get_mut().unwrap_or_else(PoisonError::into_inner)
    }

    fn signal(&self, signal: i32) -> Result<()> {
        self.pump(Some(Instant::now()), &mut || ControlFlow::Continue(()), |_| false)?;
        let mut state = self.state();
        if state.ended.is_some() { Ok(()) } else { state.stop_with(signal) }
    }

    /// Whether libkrun has been entered: every call before that was accepted. Does not wait.
    ///
    /// # Errors
    /// As [`super::launch()`], but for the time.
    pub fn is_entered(&self) -> Result<bool> {
        self.look_entered(Instant::now())?;
        let state = self.state();
        if state.progress.entered || state.ended.is_none() { Ok(state.progress.entered) } else { Err(state.failure()) }
    }

    fn look_entered(&self, deadline: Instant) -> Result<()> {
        let until = |state: &State| state.progress.entered || state.progress.foreign.is_some();
        self.pump(Some(deadline), &mut || ControlFlow::Continue(()), until)?;
        let mut state = self.state();
        if let Some(reason) = state.progress.foreign.take().filter(|_| !state.progress.entered) {
            state.force_end();
            return Err(state.mismatch(reason));
        }
        Ok(())
    }

    pub(super) fn wait_entered(&self, timeout: Duration) -> Result<()> {
        self.look_entered(Instant::now() + timeout)?;
        let mut state = self.state();
        if state.progress.entered {
            return Ok(());
        }
        if state.ended.is_none() {
            state.force_end();
            return Err(state.timed_out("entering libkrun", Some(timeout)));
        }
        Err(state.failure())
    }

    /// Waits until `until` or the VM's end, or `deadline`, or `interrupted` ends it. The state is not locked while the
    /// thread sleeps.
    fn pump(
        &self,
        deadline: Option<Instant>,
        interrupted: Interrupted<'_>,
        until: impl Fn(&State) -> bool,
    ) -> Result<Waited> {
        self.check_own()?;
        let mut waiter = Waiter { vm: self, id: None };
        loop {
            let watched = {
                let mut state = self.state();
                state.drain();
                // Without a pidfd the end of the statuses, which has just been taken, is the last sign there will be.
                if state.deaf() {
                    state.reap();
                }
                if until(&state) || state.ended.is_some() {
                    return Ok(Waited::Happened);
                }
                match waiter.id {
                    Some(id) => state.wake.seen(id),
                    None => waiter.id = Some(state.wake.enter()),
                }
                state.watched()
            };
            let wait = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            match sleep(&watched, wait) {
                Ok(0) if wait.is_some_and(|wait| wait.is_zero()) => return Ok(Waited::TimedOut),
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => {
                    if interrupted().is_break() {
                        return Ok(Waited::Interrupted);
                    }
                }
                Err(errno) => return Err(Error::os("waiting for the VM's process", errno)),
            }
            let ended =
                |pidfd: &Arc<OwnedFd>| sleep(&[pidfd.clone() as Watched], Some(Duration::ZERO)).is_ok_and(|n| n > 0);
            if self.pidfd.as_ref().is_some_and(ended) {
                let mut state = self.state();
                // What it said before its end comes first: a caller who waits for no more may want to reap it.
                state.drain();
                if until(&state) {
                    return Ok(Waited::Happened);
                }
                state.reap();
            }
        }
    }
}

fn deadline(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}

/// Sleeps until one of the descriptors has something, and returns how many have.
fn sleep(watched: &[Watched], timeout: Option<Duration>) -> rustix::io::Result<usize> {
    let mut watched: Vec<PollFd<'_>> =
        watched.iter().map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)).collect();
    let timeout = timeout.and_then(|timeout| Timespec::try_from(timeout).ok());
    poll(&mut watched, timeout.as_ref())
}

/// A thread that waits.
struct Waiter<'a> {
    vm: &'a Vm,
    id: Option<u64>,
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.vm.state().wake.leave(id);
        }
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        let (own, detached) = (self.is_own(), self.detached);
        let state = self.exclusive_state();
        if !own {
            // The terminal is as the VM has it, and it runs on.
            if let Some(terminal) = state.terminal.take() {
                terminal.forget();
            }
        } else if !detached {
            state.force_end();
            state.remove_share();
        }
    }
}

impl std::fmt::Debug for Vm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ended = self.own_state().and_then(|state| state.ended);
        f.debug_struct("Vm").field("pid", &self.pid).field("ended", &ended).finish_non_exhaustive()
    }
}
