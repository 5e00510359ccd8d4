//! Runs a VM in this very process, for those who fork on their own.

use std::io;
use std::os::fd::OwnedFd;

use super::run::carry_out;
use crate::error::{Error, Words};
use crate::launch::{Prepared, failure_of};

/// Carries out a plan in this process, which becomes the VM's: made for a child that the caller has forked, and for
/// programs that exist to run one VM. Comes back only when that failed.
///
/// libkrun ends the process with the workload's status, or with 0 whatever happened where the root is on a disk: nobody
/// hears the guest's own word. libkrun's log and its own words go to standard error, or to the spec's `log_file`. The
/// sockets of the plan, and the `krundl-share-*` directory in `TMPDIR` that libkrun before 1.19.0 takes, are left behind;
/// the next VM removes the latter.
///
/// After a failure the process can tell of it and exit: its standard streams may be rearranged, and libkrun stays loaded.
///
/// # Safety
/// The constructors of libkrun and libkrunfw run in this process, and whatever they do wrong, they do to it. In a child
/// that was forked from a process with several threads, no other thread may have held a lock that this needs.
pub unsafe fn enter(prepared: Prepared) -> Error {
    let Prepared { plan, held } = prepared;
    let plan = plan.without_channel();
    let log = match plan.log_file.and_then(|n| held.get(n as usize)) {
        Some(file) => file.try_clone(),
        None => rustix::io::fcntl_dupfd_cloexec(io::stderr(), 3).map_err(io::Error::from),
    };
    let log = match log {
        Ok(log) => log,
        Err(error) => return Error::os("keeping the log", error),
    };
    let extra: Vec<OwnedFd> = std::iter::once(log).chain(held).collect();
    // SAFETY: the caller's promise is the same.
    let last = unsafe { carry_out(&plan, extra, &mut |_| {}) };
    let here = std::env::current_exe().unwrap_or_default();
    failure_of(&last, &plan.calls, &plan.library, &here, Words::default())
        .unwrap_or_else(|| Error::Internal { message: format!("an odd end of a plan: {last:?}") })
}
