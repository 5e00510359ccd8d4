//! What this machine's libkrun can do, whether a VM could run here, and what is in the way.

mod checks;
mod report;

pub use checks::{Check, Status};
pub use report::{LibraryReport, Report, VersionReport};

use crate::error::{Attempt, Error};
use crate::host::Kvm;
use crate::probe::{ProbeOptions, Probed, probe_isolated};

/// Looks at libkrun (in a child process) and at this machine. Never fails: what cannot be found out is part of the
/// report.
pub fn doctor(options: &ProbeOptions) -> Report {
    let (probed, attempts, failure) = match probe_isolated(options) {
        Ok(Probed { capabilities, attempts, .. }) => (Some(capabilities), attempts, None),
        Err(Error::LibraryNotFound { attempts }) => (None, attempts, None),
        Err(error) => (None, Vec::<Attempt>::new(), Some(error)),
    };
    let kvm = Kvm::probe();
    let checks = checks::all(probed.as_ref(), &attempts, failure.as_ref(), &kvm);
    Report::new(probed.as_ref(), attempts, kvm, checks)
}
