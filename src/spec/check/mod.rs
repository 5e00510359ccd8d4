//! Does this host take the spec as it stands? All problems at once, each with its field.
//!
//! What is checked is opened first and kept open, and the very thing that was opened is what libkrun is given
//! (as `/proc/self/fd/N`), so that a name that changes in between changes nothing.

mod console;
mod disks;
mod exec;
mod files;
mod identity;
mod kernel;
mod machine;
mod mounts;
mod network;
mod overlay;
mod passt;
mod root;
mod shape;

use std::fs::File;
use std::os::fd::OwnedFd;

use identity::Identity;
pub(crate) use root::no_disk;

use super::findings::Findings;
use super::model::VmSpec;
use crate::error::{Problem, ProblemKind};

/// A spec, what the host says about it, and the things that were opened for it.
#[derive(Debug)]
pub struct Checked {
    /// What the host says.
    pub findings: Findings,
    /// What was opened; [`super::HostPath::held`] counts into it. Closed when dropped.
    pub held: Vec<OwnedFd>,
    /// Everything that stands in the way; the findings of a field with a problem are placeholders.
    pub problems: Vec<Problem>,
}

/// Checks a spec against this host and keeps open what it checked. Files that the VM is to write to (console, ports,
/// log) are made where there are none.
pub fn check(spec: &VmSpec) -> Checked {
    let mut checker = Checker { held: Vec::new(), problems: Vec::new(), identity: Identity::of(spec) };
    let findings = checker.run(spec);
    Checked { findings, held: checker.held, problems: checker.problems }
}

struct Checker {
    held: Vec<OwnedFd>,
    problems: Vec<Problem>,
    /// Who the VM's process becomes, where that is not who we are.
    identity: Option<Identity>,
}

impl Checker {
    fn invalid(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.problems.push(Problem::new(ProblemKind::Invalid, field, reason));
    }

    fn host(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.problems.push(Problem::new(ProblemKind::Host, field, reason));
    }

    fn run(&mut self, spec: &VmSpec) -> Findings {
        self.shape(spec);
        self.machine(spec);
        self.who(spec);
        let mut findings = Findings { disks: self.disks(&spec.disks), ..Findings::default() };
        let root_dir: Option<File> = match &spec.root {
            Some(root) if spec.has_guest_program() || spec.has_own_init() => self.root(root, spec, &mut findings),
            _ => None,
        };
        findings.overlay_files = self.overlay(&spec.overlay, root_dir.as_ref());
        findings.kernel =
            spec.kernel.as_ref().and_then(|kernel| self.kernel(kernel, spec.memory_mib, spec.exec.is_some()));
        self.kernel_console(spec);
        findings.firmware = spec.firmware.as_ref().and_then(|path| self.readable("firmware", path));
        if let Some(exec) = &spec.exec {
            self.exec(exec);
        }
        let on_disk = spec.root.as_ref().is_some_and(|root| root.disk.is_some());
        findings.mounts = self.mounts(&spec.mounts, root_dir.as_ref(), on_disk);
        self.network(spec, &mut findings);
        self.consoles(spec, &mut findings);
        self.devices(spec, &mut findings);
        findings
    }
}
