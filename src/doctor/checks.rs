//! The checks: each says what it found, how that is known, and what would mend it.

use serde::Serialize;

use crate::capabilities::{Capabilities, Generation};
use crate::error::{Attempt, AttemptKind, Error};
use crate::host::Kvm;
use crate::symbols::Function;

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Fine.
    Pass,
    /// It may be in the way.
    Warn,
    /// It is in the way.
    Fail,
    /// It cannot be checked without something else that is missing.
    Skip,
}

/// One check.
#[derive(Clone, Debug, Serialize)]
pub struct Check {
    /// Its name, stable across releases.
    pub id: &'static str,
    /// How it came out.
    pub status: Status,
    /// In one line.
    pub summary: String,
    /// What that rests on.
    pub detail: Option<String>,
    /// What would mend it.
    pub fix: Option<String>,
}

impl Check {
    fn new(id: &'static str, status: Status, summary: impl Into<String>) -> Check {
        Check { id, status, summary: summary.into(), detail: None, fix: None }
    }

    fn detail(mut self, detail: impl Into<String>) -> Check {
        self.detail = Some(detail.into());
        self
    }

    fn fix(mut self, fix: impl Into<String>) -> Check {
        self.fix = Some(fix.into());
        self
    }
}

/// All checks, in the order of the report.
pub(super) fn all(
    capabilities: Option<&Capabilities>,
    attempts: &[Attempt],
    failure: Option<&Error>,
    kvm: &Kvm,
) -> Vec<Check> {
    let mut checks = vec![library(capabilities, attempts, failure)];
    if let Some(capabilities) = capabilities {
        checks.push(version(capabilities));
        checks.push(mounts(capabilities));
        checks.push(read_only(capabilities));
        checks.push(firmware(capabilities));
    }
    checks.push(kvm_device(kvm));
    checks.push(kvm_guests(kvm));
    checks
}

fn library(capabilities: Option<&Capabilities>, attempts: &[Attempt], failure: Option<&Error>) -> Check {
    const ID: &str = "library";
    if let Some(error) = failure {
        return Check::new(ID, Status::Fail, "libkrun cannot be looked at").detail(error.to_string());
    }
    let Some(capabilities) = capabilities else {
        let broken =
            attempts.iter().find(|attempt| attempt.error.as_ref().is_some_and(|e| e.kind != AttemptKind::Missing));
        return match broken {
            None => Check::new(ID, Status::Fail, format!("no libkrun in any of {} places", attempts.len()))
                .fix("install libkrun and libkrunfw, or name the file with KRUNDL_LIBRARY or --library"),
            Some(attempt) => {
                let error = attempt.error.as_ref().map(|error| error.message.clone()).unwrap_or_default();
                Check::new(ID, Status::Fail, format!("{} does not open", attempt.candidate)).detail(error)
            }
        };
    };
    let observation = &capabilities.observation;
    let summary = format!("{} ({})", observation.real_path.display(), observation.origin.describe());
    match capabilities.generation {
        Generation::One => Check::new(ID, Status::Pass, summary).detail(format!(
            "{} of {} functions; known by opening it and asking for each",
            observation.functions.len(),
            Function::ALL.len()
        )),
        Generation::Unknown => Check::new(ID, Status::Fail, format!("{summary} speaks an API that krundl does not"))
            .detail(capabilities.generation_reason.clone())
            .fix("install libkrun 1.x, or name another library with KRUNDL_LIBRARY or --library"),
    }
}

fn version(capabilities: &Capabilities) -> Check {
    let version = &capabilities.version;
    let unknown = &capabilities.observation.exported_unknown;
    let summary = format!("libkrun {}", version.range);
    let status = if version.conflicts.is_empty() && unknown.is_empty() { Status::Pass } else { Status::Warn };
    let mut detail: Vec<String> =
        version.evidence.iter().map(|e| format!("{} because {}", e.says, e.because)).collect();
    detail.extend(version.conflicts.iter().map(|conflict| format!("contradiction: {conflict}")));
    if !unknown.is_empty() {
        detail.push(format!("functions that no release has (a fork, or a newer one): {}", unknown.join(", ")));
    }
    Check::new("library.version", status, summary).detail(detail.join("\n"))
}

fn mounts(capabilities: &Capabilities) -> Check {
    const ID: &str = "mounts";
    if capabilities.has(Function::krun_add_virtiofs) {
        let overlay = capabilities.has(Function::krun_fs_add_overlay_file);
        let way = if overlay {
            "krundl's program is laid over the root"
        } else {
            "krundl's program comes by a share that the root's own /bin/sh and mount bring in"
        };
        Check::new(ID, Status::Pass, "directories of the host can be mounted").detail(way)
    } else {
        needs(ID, "directories of the host cannot be mounted", Function::krun_add_virtiofs)
    }
}

fn read_only(capabilities: &Capabilities) -> Check {
    const ID: &str = "mounts.read_only";
    if capabilities.has(Function::krun_add_virtiofs3) {
        Check::new(ID, Status::Pass, "read-only mounts, enforced on the host's side")
    } else {
        Check { status: Status::Warn, ..needs(ID, "mounts cannot be made read-only", Function::krun_add_virtiofs3) }
    }
}

fn needs(id: &'static str, summary: &str, function: Function) -> Check {
    let since = function.symbol().since;
    Check::new(id, Status::Fail, format!("{summary}: no {function}")).fix(format!("install libkrun {since} or later"))
}

fn firmware(capabilities: &Capabilities) -> Check {
    const ID: &str = "firmware";
    let firmware = &capabilities.observation.firmware;
    let wanted = firmware.wanted.as_deref().unwrap_or("libkrunfw");
    match &firmware.path {
        Some(path) => {
            let how = if firmware.preload { "krundl loads it by its path" } else { "the system's loader finds it" };
            let kernel = firmware.kernel.as_ref().map(|kernel| {
                format!(
                    "; its kernel takes {} MiB of the guest's memory",
                    (kernel.load_address + kernel.size).div_ceil(1 << 20)
                )
            });
            Check::new(ID, Status::Pass, format!("{wanted}: {}", path.display()))
                .detail(format!("{how}{}", kernel.unwrap_or_default()))
        }
        None => Check::new(
            ID,
            Status::Warn,
            format!("{wanted} was not found: only VMs with a kernel of their own can start"),
        )
        .detail(firmware.evidence.clone())
        .fix(format!("install libkrunfw, so that {wanted} lies beside libkrun or where the loader looks")),
    }
}

fn kvm_device(kvm: &Kvm) -> Check {
    const ID: &str = "kvm";
    if !kvm.exists {
        return Check::new(ID, Status::Fail, "/dev/kvm does not exist")
            .fix("enable virtualisation in the firmware and load kvm_intel or kvm_amd; in a container or VM, pass the device through or enable nesting");
    }
    let error = kvm.error.clone().unwrap_or_default();
    if !kvm.accessible {
        return Check::new(ID, Status::Fail, "/dev/kvm exists and this user cannot open it")
            .detail(error)
            .fix("sudo usermod -aG kvm $USER, then log in again");
    }
    if kvm.api_version != Some(12) || kvm.creates_vm != Some(true) {
        return Check::new(ID, Status::Fail, "/dev/kvm opens and creates no VM").detail(error);
    }
    let vcpus = kvm.max_vcpus.map_or("an unknown number of".to_owned(), |n| n.to_string());
    Check::new(ID, Status::Pass, format!("/dev/kvm opens and creates a VM; up to {vcpus} vCPUs"))
        .detail("known by asking it; whether guests run is another question")
}

fn kvm_guests(kvm: &Kvm) -> Check {
    const ID: &str = "kvm.guests";
    let modules = if kvm.modules.is_empty() { "none that tells".to_owned() } else { kvm.modules.join(", ") };
    match kvm.runs_ordinary_guests() {
        None => Check::new(ID, Status::Pass, "nothing speaks against running guests; only a boot proves it").detail(format!("modules: {modules}")),
        Some(_) if kvm.accessible && kvm.creates_vm == Some(true) => {
            Check::new(ID, Status::Fail, format!("this host's KVM ({modules}) is not one that runs ordinary guests"))
                .detail("known by the kernel modules: on x86-64 ordinary guests take kvm_intel or kvm_amd; only a boot proves either")
                .fix("run on a host with hardware virtualisation, or see a real boot in software emulation: cargo xtask demo")
        }
        Some(_) => Check::new(ID, Status::Skip, "cannot be told without a KVM that works"),
    }
}
