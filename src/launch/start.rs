//! Starts the process that carries out a plan, and waits until libkrun is entered.

use std::os::fd::AsFd;
use std::sync::Arc;

use super::channel::ChannelHost;
use super::log::Log;
use super::options::{LaunchOptions, LogTarget, Stream};
use super::prepare::Prepared;
use super::state::{Progress, State};
use super::terminal::SavedTerminal;
use super::vm::Vm;
use super::wake::{Wake, nonblocking};
use crate::error::{Error, Result};
use crate::helper::wire::{How, Inbox, Request};
use crate::helper::{Helper, Running, Spawn, pidfd};
use crate::plan::{Call, Socket};
use crate::sockets::{self, OwnDir};

/// Starts a VM. Returns when libkrun has been entered: every call before that was accepted. Whether the guest comes
/// up is told by [`Vm::wait_ready`], how it ends by [`Vm::wait`].
///
/// # Errors
/// What went wrong before libkrun was entered: [`Error::Call`], [`Error::Crashed`], [`Error::LibraryChanged`],
/// [`Error::TimedOut`], and those of the helper. Nothing is left running then.
pub fn launch(prepared: Prepared, options: LaunchOptions) -> Result<Vm> {
    let timeout = options.start_timeout;
    let vm = start(prepared, options)?;
    vm.wait_entered(timeout)?;
    Ok(vm)
}

/// Starts a VM's process and does not wait until libkrun has been entered, for callers with an event loop:
/// [`Vm::is_entered`] tells, [`super::Watch`] when to ask. `start_timeout` is the caller's to keep.
///
/// # Errors
/// The helper could not be started.
pub fn start(prepared: Prepared, options: LaunchOptions) -> Result<Vm> {
    let os = |what: &'static str| move |error| Error::os(what, error);
    let helper = Helper::find(options.helper.as_deref())?;
    let Prepared { plan, held } = prepared;
    let changes_user = plan.calls.iter().any(|call| matches!(call, Call::Setuid { .. } | Call::Setgid { .. }));
    let (channel, channel_given) =
        ChannelHost::new(plan.channel(), changes_user).map_err(os("making the guest's channel"))?;
    let target = match (options.log, plan.log_file.and_then(|n| held.get(n as usize))) {
        (LogTarget::Captured, Some(file)) => LogTarget::File(file.try_clone().map_err(os("keeping the log"))?.into()),
        (target, _) => target,
    };
    let owner = plan.calls.iter().fold((None, None), |(uid, gid), call| match call {
        Call::Setuid { uid } => (Some(*uid), gid),
        Call::Setgid { gid } => (uid, Some(*gid)),
        _ => (uid, gid),
    });
    let private = plan.has_private_control().then(|| OwnDir::make(owner)).transpose();
    let private = private.map_err(os("making the directory of the control port's socket"))?;
    let control = match (&private, plan.control()) {
        (Some(private), _) => Some(private.socket()),
        (None, Some(Socket::Host(socket))) => Some(socket.path()),
        (None, _) => None,
    };
    let (log, log_given) = Log::new(target).map_err(os("making the log"))?;
    let wake = Wake::new().map_err(os("making a pipe"))?;
    let inherits = |stream: &Stream| matches!(stream, Stream::Inherit);
    let terminal = [&options.stdin, &options.stdout, &options.stderr]
        .into_iter()
        .any(inherits)
        .then(SavedTerminal::of_standard_streams)
        .flatten();

    let calls = plan.calls.clone();
    let sockets = plan.sockets.clone();
    sockets.iter().for_each(|path| sockets::remove_stale(path));
    let library = plan.library.clone();
    let how = How { parent: std::process::id(), die_with_parent: options.die_with_parent };
    let request = Request::Run { plan: Box::new(plan), how };
    let running = Spawn {
        helper: &helper,
        request: &request,
        stdio: [options.stdin.into(), options.stdout.into(), options.stderr.into()],
        extra: [
            Some(log_given.as_fd()),
            channel_given.as_ref().map(AsFd::as_fd),
            private.as_ref().map(|dir| dir.given.as_fd()),
        ]
        .into_iter()
        .flatten()
        .chain(held.iter().map(AsFd::as_fd))
        .collect(),
        new_session: options.new_session,
    }
    .start()?;
    nonblocking(running.status.as_fd()).map_err(os("reading the helper's statuses"))?;
    drop((log_given, channel_given, held));

    let Running { child, status } = running;
    Ok(Vm::new(State {
        pidfd: pidfd(child.id()).map(Arc::new),
        child,
        helper,
        library,
        calls,
        status: Some(Arc::new(status)),
        inbox: Inbox::default(),
        progress: Progress::default(),
        log,
        channel,
        terminal,
        share: None,
        sockets,
        control,
        private,
        noted: false,
        ended: None,
        stopped: Vec::new(),
        wake,
    }))
}
