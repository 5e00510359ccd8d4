//! The checks themselves: one function each, from what was found out to a judgement.

mod abilities;
mod firmware;
mod host;
mod kernel;
mod library;
mod mounts;
mod proof;

use std::path::Path;

use super::boot::Proof;
use super::check::Check;
use super::compare::Comparison;
use super::distro::Distribution;
use super::kernel::KernelReport;
use super::mounts::MountReport;
use super::others::Other;
use super::world::World;
use crate::capabilities::Capabilities;
use crate::error::{Attempt, Error, Words};

/// Everything that was found out.
pub(super) struct Facts<'a> {
    pub world: &'a World,
    pub distribution: Distribution,
    pub capabilities: Option<&'a Capabilities>,
    pub attempts: &'a [Attempt],
    /// Why the probe itself could not be made.
    pub failure: Option<&'a Error>,
    /// What libraries printed when they were opened.
    pub words: &'a Words,
    /// How the process ended that asked libkrunfw, if not well.
    pub died: Option<&'a str>,
    /// krundl-vmm.
    pub helper: Option<&'a Path>,
    pub others: &'a [Other],
    pub comparison: Option<&'a Comparison>,
    pub mounts: &'a [MountReport],
    pub kernel: Option<&'a KernelReport>,
    pub proof: Option<&'a Proof>,
}

/// All checks that apply, in the order of the catalog.
pub(super) fn all(facts: &Facts<'_>) -> Vec<Check> {
    let mut checks = library::all(facts);
    checks.extend(facts.capabilities.iter().flat_map(|capabilities| abilities::all(capabilities)));
    checks.extend(facts.comparison.map(abilities::compare));
    if let Some(capabilities) = facts.capabilities {
        checks.extend(firmware::all(capabilities, facts));
    }
    checks.extend(host::all(facts));
    checks.extend(facts.mounts.iter().flat_map(|mount| mounts::all(mount, facts)));
    checks.extend(facts.kernel.iter().flat_map(|kernel| kernel::all(kernel, &facts.world.machine.architecture)));
    checks.extend(facts.proof.iter().flat_map(|proof| proof::all(proof)));
    checks
}
