//! The report as typed values; in JSON its names are stable within a schema version.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Serialize;

use super::checks::{Check, Status};
use crate::capabilities::{Capabilities, Doubt, Evidence, Generation, Levels};
use crate::error::{Attempt, Origin};
use crate::host::Kvm;
use crate::library::{FeatureState, Firmware, Flavour};
use crate::symbols::{Feature, Function};

/// Everything that the doctor found.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Grows when a name changes its meaning or goes.
    pub schema_version: u32,
    /// krundl's own version.
    pub krundl_version: &'static str,
    /// The library that was chosen.
    pub library: Option<LibraryReport>,
    /// How far each group of its functions goes.
    pub levels: Option<Levels>,
    /// Functions of it that are there and prove nothing.
    pub doubts: Vec<Doubt>,
    /// Every candidate, in the order in which they were tried.
    pub attempts: Vec<Attempt>,
    /// The libkrunfw that it asks for.
    pub firmware: Option<Firmware>,
    /// This machine's KVM.
    pub kvm: Kvm,
    /// What was judged.
    pub checks: Vec<Check>,
}

/// The library that was chosen.
#[derive(Clone, Debug, Serialize)]
pub struct LibraryReport {
    /// As it was found.
    pub path: PathBuf,
    /// The same without links.
    pub real_path: PathBuf,
    /// Why it was tried.
    pub origin: Origin,
    /// The name that it gives itself.
    pub soname: Option<String>,
    /// The variant.
    pub flavour: Flavour,
    /// The language of its functions.
    pub generation: Generation,
    /// How that was told.
    pub generation_reason: String,
    /// Which release it is, as far as that can be told.
    pub version: VersionReport,
    /// Every function of the table: whether it is there.
    pub functions: BTreeMap<Function, bool>,
    /// What it says of each feature.
    pub features: BTreeMap<Feature, FeatureState>,
    /// Functions that the table does not know.
    pub unknown_functions: Vec<String>,
}

/// Which release it is.
#[derive(Clone, Debug, Serialize)]
pub struct VersionReport {
    /// A semver requirement that the release fulfils.
    pub range: String,
    /// What bears witness.
    pub evidence: Vec<Evidence>,
    /// What contradicts what.
    pub conflicts: Vec<String>,
}

impl Report {
    pub(super) fn new(
        capabilities: Option<&Capabilities>,
        attempts: Vec<Attempt>,
        kvm: Kvm,
        checks: Vec<Check>,
    ) -> Report {
        Report {
            schema_version: 1,
            krundl_version: env!("CARGO_PKG_VERSION"),
            library: capabilities.map(LibraryReport::new),
            levels: capabilities.map(|c| c.levels.clone()),
            doubts: capabilities.map(|c| c.doubts.clone()).unwrap_or_default(),
            attempts,
            firmware: capabilities.map(|c| c.observation.firmware.clone()),
            kvm,
            checks,
        }
    }

    /// Whether nothing fails.
    pub fn is_fine(&self) -> bool {
        self.checks.iter().all(|check| check.status != Status::Fail)
    }
}

impl LibraryReport {
    fn new(capabilities: &Capabilities) -> LibraryReport {
        let observation = &capabilities.observation;
        let version = &capabilities.version;
        LibraryReport {
            path: observation.path.clone(),
            real_path: observation.real_path.clone(),
            origin: observation.origin,
            soname: observation.soname.clone(),
            flavour: observation.flavour,
            generation: capabilities.generation,
            generation_reason: capabilities.generation_reason.clone(),
            version: VersionReport {
                range: version.range.to_string(),
                evidence: version.evidence.clone(),
                conflicts: version.conflicts.clone(),
            },
            functions: Function::ALL.iter().map(|f| (*f, capabilities.has(*f))).collect(),
            features: observation.features.clone(),
            unknown_functions: observation.exported_unknown.clone(),
        }
    }
}
