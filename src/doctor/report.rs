//! The report as typed values; in JSON its names are stable within a schema version.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::boot::Proof;
use super::check::{Check, Status};
use super::compare::Comparison;
use super::kernel::KernelReport;
use super::mounts::MountReport;
use super::others::Other;
use crate::capabilities::{Capabilities, Doubt, Evidence, Generation, Levels, Support, Version};
use crate::error::{Attempt, Origin, Words};
use crate::host::Kvm;
use crate::library::{FeatureState, Firmware, Flavour, Identity};
use crate::probe::Probed;
use crate::symbols::{Feature, Function};

/// The version of the names in the JSON.
const SCHEMA_VERSION: u32 = 1;

/// Everything that the doctor found.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Report {
    /// Grows when a name changes its meaning or goes.
    pub schema_version: u32,
    /// krundl's own version.
    pub krundl_version: &'static str,
    /// krundl-vmm, the program that opens libkrun.
    pub helper: Option<PathBuf>,
    /// The library that was chosen.
    pub library: Option<LibraryReport>,
    /// How far each group of its functions goes.
    pub levels: Option<Levels>,
    /// Functions of it that are there and prove nothing.
    pub doubts: Vec<Doubt>,
    /// Every candidate, in the order in which they were tried; the chosen one has no error.
    pub attempts: Vec<Attempt>,
    /// Files of that name beside the chosen one: it shadows them.
    pub others: Vec<Other>,
    /// What another release would add.
    pub compare: Option<Comparison>,
    /// The libkrunfw that it asks for.
    pub firmware: Option<Firmware>,
    /// This machine's KVM.
    pub kvm: Kvm,
    /// The mounts that were asked about.
    pub mounts: Vec<MountReport>,
    /// The kernel that was asked about.
    pub kernel: Option<KernelReport>,
    /// What a real guest has shown.
    pub proof: Option<Proof>,
    /// What was judged.
    pub checks: Vec<Check>,
}

/// What a probe found, as plain data: the part of a [`Report`] that is about libkrun alone.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ProbeReport {
    /// Grows when a name changes its meaning or goes.
    pub schema_version: u32,
    /// krundl's own version.
    pub krundl_version: &'static str,
    /// The library that was chosen.
    pub library: LibraryReport,
    /// How far each group of its functions goes.
    pub levels: Levels,
    /// Whether it shares directories of the host.
    pub can_mount: bool,
    /// Whether it shares them read-only, enforced on the host's side.
    pub can_mount_read_only: bool,
    /// Functions of it that are there and prove nothing.
    pub doubts: Vec<Doubt>,
    /// The libkrunfw that it asks for.
    pub firmware: Firmware,
    /// Every candidate, in the order in which they were tried; the chosen one has no error.
    pub attempts: Vec<Attempt>,
    /// What libraries printed when they were opened.
    pub words: Words,
    /// How the process that opened it ended, if not well.
    pub died: Option<String>,
}

impl ProbeReport {
    /// What the probe found.
    pub fn new(probed: &Probed) -> ProbeReport {
        let capabilities = &probed.capabilities;
        ProbeReport {
            schema_version: SCHEMA_VERSION,
            krundl_version: env!("CARGO_PKG_VERSION"),
            library: LibraryReport::new(capabilities),
            levels: capabilities.levels.clone(),
            can_mount: capabilities.can_mount(),
            can_mount_read_only: capabilities.can_mount_read_only(),
            doubts: capabilities.doubts.clone(),
            firmware: capabilities.observation.firmware.clone(),
            attempts: probed.attempts.clone(),
            words: probed.words.clone(),
            died: probed.died.clone(),
        }
    }
}

/// The library that was chosen.
#[derive(Clone, Debug, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LibraryReport {
    /// As it was found.
    pub path: PathBuf,
    /// The same without links.
    pub real_path: PathBuf,
    /// Why it was tried.
    pub origin: Origin,
    /// Which file it is.
    pub identity: Identity,
    /// The name that it gives itself.
    pub soname: Option<String>,
    /// The variant.
    pub flavour: Flavour,
    /// How that is known.
    pub flavour_reason: String,
    /// The libraries that it is linked with.
    pub needed: Vec<String>,
    /// The language of its functions.
    pub generation: Generation,
    /// How that was told.
    pub generation_reason: String,
    /// Which release it is, as far as that can be told.
    pub version: VersionReport,
    /// Every function of the table: whether it is there.
    pub functions: BTreeMap<Function, bool>,
    /// Every function that is there: whether it does what its name says.
    pub support: BTreeMap<Function, Support>,
    /// What it says of each feature.
    pub features: BTreeMap<Feature, FeatureState>,
    /// Functions that the table does not know.
    pub unknown_functions: Vec<String>,
}

/// Which release it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct VersionReport {
    /// A semver requirement that the release fulfils.
    pub range: String,
    /// What bears witness.
    pub evidence: Vec<Evidence>,
    /// What contradicts what.
    pub conflicts: Vec<String>,
}

impl VersionReport {
    pub(super) fn new(version: &Version) -> VersionReport {
        VersionReport {
            range: version.range.to_string(),
            evidence: version.evidence.clone(),
            conflicts: version.conflicts.clone(),
        }
    }
}

impl Report {
    pub(super) fn new(
        capabilities: Option<&Capabilities>,
        attempts: Vec<Attempt>,
        kvm: Kvm,
        checks: Vec<Check>,
    ) -> Report {
        Report {
            schema_version: SCHEMA_VERSION,
            krundl_version: env!("CARGO_PKG_VERSION"),
            helper: None,
            library: capabilities.map(LibraryReport::new),
            levels: capabilities.map(|c| c.levels.clone()),
            doubts: capabilities.map(|c| c.doubts.clone()).unwrap_or_default(),
            attempts,
            others: Vec::new(),
            compare: None,
            firmware: capabilities.map(|c| c.observation.firmware.clone()),
            kvm,
            mounts: Vec::new(),
            kernel: None,
            proof: None,
            checks,
        }
    }

    /// Whether nothing is in the way; with `strict`: nor may be.
    pub fn is_fine(&self, strict: bool) -> bool {
        !self.checks.iter().any(|check| check.status.is_bad() || strict && check.status == Status::Warn)
    }

    /// The number of checks with this status.
    pub fn count(&self, status: Status) -> usize {
        self.checks.iter().filter(|check| check.status == status).count()
    }
}

/// What a probe alone finds, as JSON: a [`ProbeReport`].
pub fn probed_as_json(probed: &Probed) -> String {
    serde_json::to_string_pretty(&ProbeReport::new(probed)).expect("a report is plain data")
}

impl LibraryReport {
    fn new(capabilities: &Capabilities) -> LibraryReport {
        let observation = &capabilities.observation;
        let version = &capabilities.version;
        let (flavour, flavour_reason) = capabilities.flavour();
        LibraryReport {
            path: observation.path.clone(),
            real_path: observation.real_path.clone(),
            origin: observation.origin,
            identity: observation.identity.clone(),
            soname: observation.soname.clone(),
            flavour,
            flavour_reason,
            needed: observation.needed.clone(),
            generation: capabilities.generation,
            generation_reason: capabilities.generation_reason.clone(),
            version: VersionReport::new(version),
            functions: Function::ALL.iter().map(|f| (*f, capabilities.has(*f))).collect(),
            support: observation.functions.iter().map(|f| (f, capabilities.support(f))).collect(),
            features: observation.features.clone(),
            unknown_functions: observation.exported_unknown.clone(),
        }
    }
}
