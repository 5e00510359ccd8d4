//! Carries out a plan: opens the library that was probed, makes the calls, enters.

use std::io;
use std::os::fd::OwnedFd;

use super::bootstrap::Share;
use super::one::{Caller, NotMade};
use super::streams::Streams;
use super::{EXIT_FAILED, Reporter, exit, network, parent};
use crate::capabilities::Generation;
use crate::helper::wire::{How, Status};
use crate::library::reopen;
use crate::plan::{Call, Plan, Shared};

pub(super) fn run(plan: Plan, how: &How, extra: Vec<OwnedFd>, mut status: Reporter) -> ! {
    if how.die_with_parent
        && let Err(error) = parent::die_with(how.parent)
    {
        status.fail("watching the caller's process", &error);
    }
    // SAFETY: this process exists to run this library; what its constructors do, they do to it alone.
    let last = unsafe { carry_out(&plan, extra, &mut |said| status.say(said)) };
    status.say(&last);
    exit(EXIT_FAILED)
}

/// Carries out a plan; comes back only when that failed, with the status that says why. `extra` is the log, the channel
/// and the private control port's directory where the plan has them, then what the host checks kept open.
///
/// # Safety
/// The constructors of libkrun and libkrunfw run in this process, and `krun_start_enter` ends it.
pub(super) unsafe fn carry_out(plan: &Plan, extra: Vec<OwnedFd>, say: &mut dyn FnMut(&Status)) -> Status {
    raise_descriptor_limit();
    let told = |call: &Call| matches!(call, Call::AddVirtioConsoleDefault { .. } | Call::SetConsoleOutput { .. });
    let mut streams = match Streams::new(extra, plan, plan.calls.iter().any(told)) {
        Ok(streams) => streams,
        Err(error) => return failed("arranging the standard streams", &error),
    };
    if plan.calls.iter().any(|call| matches!(call, Call::Setuid { .. } | Call::Setgid { .. }))
        && let Err(error) = drop_groups()
    {
        return failed("dropping the supplementary groups", &error);
    }
    for network in &plan.networks {
        match network::start(network, streams.log()) {
            Ok(serving) => {
                streams.networks.push(serving.connection);
                say(&Status::Network { pid: serving.pid, ports: serving.ports });
            }
            Err(reason) => {
                let (field, program) = (network.field.clone(), network.program.clone());
                return Status::NetworkFailed { field, program, reason };
            }
        }
    }
    let share = match make_share(plan, streams.ports()) {
        Ok(share) => share,
        Err(error) => {
            return failed(format!("making the bootstrap share in {}", std::env::temp_dir().display()), &error);
        }
    };
    if let Some(share) = &share {
        let _ = parent::SHARE.set(share.path.clone());
        say(&Status::Share { path: share.path.clone() });
    }
    // SAFETY: the caller vouches for the constructors.
    let functions = match unsafe { reopen(&plan.library, &plan.identity, plan.firmware.as_deref()) } {
        Ok(functions) => functions,
        Err(reason) => return Status::LibraryChanged { reason },
    };
    match plan.generation {
        Generation::One => {
            let mut caller = Caller::new(&functions, &streams, plan.guest.as_ref(), share.as_ref());
            for (index, call) in plan.calls.iter().enumerate() {
                let entering = matches!(call, Call::StartEnter {});
                say(&if entering { Status::Entered } else { Status::Calling { index } });
                // SAFETY: reopen gave the functions of the library that was probed as generation one; it is never
                // closed.
                let returned = match unsafe { caller.call(call) } {
                    Ok(returned) => returned,
                    Err(NotMade::Missing) => {
                        let reason = format!("{} is not there any more", call.function());
                        return Status::LibraryChanged { reason };
                    }
                    Err(NotMade::Os(error)) => return failed(format!("preparing {}", call.function()), &error),
                };
                if entering {
                    return Status::Returned { returned };
                }
                if returned < 0 {
                    return Status::Refused { index, returned };
                }
            }
        }
        Generation::Unknown => {}
    }
    failed("carrying out the plan: it does not start anything", &io::Error::from_raw_os_error(libc::EINVAL))
}

fn failed(what: impl Into<String>, error: &io::Error) -> Status {
    Status::Failed { what: what.into(), errno: error.raw_os_error().unwrap_or(libc::EIO) }
}

fn make_share(plan: &Plan, ports: u32) -> io::Result<Option<Share>> {
    let is_bootstrap = |call: &Call| match call {
        Call::AddVirtiofs { dir, .. }
        | Call::AddVirtiofs2 { dir, .. }
        | Call::AddVirtiofs3 { dir, .. }
        | Call::AddVirtiofs4 { dir, .. } => {
            matches!(dir, Shared::Bootstrap { .. })
        }
        _ => false,
    };
    let Some(guest) = plan.guest.as_ref().filter(|_| plan.calls.iter().any(is_bootstrap)) else { return Ok(None) };
    let owner = plan.calls.iter().fold((None, None), |(uid, gid), call| match call {
        Call::Setuid { uid } => (Some(*uid), gid),
        Call::Setgid { gid } => (uid, Some(*gid)),
        _ => (uid, gid),
    });
    Share::make(guest, ports, owner).map(Some)
}

/// libkrun changes user and group and leaves these.
fn drop_groups() -> io::Result<()> {
    // SAFETY: no group is read from the null pointer, as their number is 0.
    if unsafe { libc::setgroups(0, std::ptr::null()) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// virtio-fs holds a descriptor for every file that the guest knows.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}
