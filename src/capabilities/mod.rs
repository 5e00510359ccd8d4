//! What a libkrun can do, and how we know.
//!
//! Everything here is judged from an [`Observation`]; nothing is opened or called.

mod levels;
mod operations;
mod unopened;
mod version;

use serde::{Deserialize, Serialize};

pub use levels::{Doubt, Levels};
pub use unopened::{features_of_functions, version_of_file};
pub use version::{Evidence, EvidenceKind, Version};

use crate::library::{FeatureState, Flavour, Observation};
use crate::symbols::{Build, Feature, Function, Without};

/// An API generation: the language that a library's functions speak. Each has its own negotiation
/// ([`crate::plan::negotiate`]) and its own caller in the child; spec and launch are the same for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Generation {
    /// Context numbers and setters: libkrun 0.1 to 1.19.
    One,
    /// Another; krundl reports it and never calls it.
    Unknown,
}

/// What a library can do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Capabilities {
    /// What was seen.
    pub observation: Observation,
    /// The API generation.
    pub generation: Generation,
    /// How the generation was told.
    pub generation_reason: String,
    /// The level of each group of functions.
    pub levels: Levels,
    /// Where presence proves nothing.
    pub doubts: Vec<Doubt>,
    /// Which release it is.
    pub version: Version,
}

/// Whether a function does what its name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Support {
    /// It is there, and a build that has it means it.
    Yes,
    /// It is not there.
    Absent,
    /// It is there and refuses: this build lacks the means.
    Refuses,
    /// It is there, returns 0 and does nothing: this build lacks the means.
    NoEffect,
    /// It is there, and whether this build has the means cannot be told.
    Unknown,
}

/// The functions without which nothing of generation one works.
const CORE: &[Function] = &[
    Function::krun_create_ctx,
    Function::krun_free_ctx,
    Function::krun_set_vm_config,
    Function::krun_set_exec,
    Function::krun_start_enter,
];

impl Capabilities {
    /// Judges what was seen.
    pub fn judge(observation: Observation) -> Capabilities {
        let (generation, generation_reason) = generation(&observation);
        let version = version::judge(&observation);
        let mut capabilities = Capabilities {
            observation,
            generation,
            generation_reason,
            levels: Levels::default(),
            doubts: Vec::new(),
            version,
        };
        // In another language the same names may mean other things, so their presence is no level of anything.
        if generation == Generation::One {
            (capabilities.levels, capabilities.doubts) = levels::judge(&capabilities);
        }
        capabilities
    }

    /// Whether the library has the function.
    pub fn has(&self, function: Function) -> bool {
        self.observation.functions.contains(function)
    }

    /// Whether the library was built with a feature, as it says itself.
    pub fn feature(&self, feature: Feature) -> FeatureState {
        self.observation.features.get(&feature).copied().unwrap_or(FeatureState::Unasked)
    }

    /// The variant, and how that is known. What the library says of its features comes before the names of its files,
    /// because builds by cargo alone are all named like the plain one.
    pub fn flavour(&self) -> (Flavour, String) {
        let told = [
            (Feature::AmdSev, Flavour::Sev),
            (Feature::IntelTdx, Flavour::Tdx),
            (Feature::AwsNitro, Flavour::AwsNitro),
            (Feature::Efi, Flavour::Efi),
        ];
        if let Some((feature, flavour)) = told.into_iter().find(|(of, _)| self.feature(*of) == FeatureState::Yes) {
            return (flavour, format!("krun_has_feature says {feature}"));
        }
        (self.observation.flavour, "the names of its files; no feature says otherwise".to_owned())
    }

    /// Whether it is a build for confidential guests, whose `krun_set_kernel` is another function.
    pub fn is_tee(&self) -> bool {
        self.feature(Feature::Tee) == FeatureState::Yes
            || self.has(Function::krun_set_tee_config_file)
            || matches!(self.observation.flavour, Flavour::Sev | Flavour::Tdx)
    }

    /// Whether a function does what its name says; presence alone is not proof.
    pub fn support(&self, function: Function) -> Support {
        if !self.has(function) {
            return Support::Absent;
        }
        let symbol = function.symbol();
        // A build for confidential guests is told by its other functions.
        if symbol.build == Build::NotTee {
            return if self.is_tee() { Support::Refuses } else { Support::Yes };
        }
        let without = match symbol.without {
            Without::Always | Without::Absent => return Support::Yes,
            Without::Refuses => Support::Refuses,
            Without::NoEffect => Support::NoEffect,
            // From that release on its presence is proof, and only the functions that came with it show the release.
            Without::AbsentSince(_) if self.has(Function::krun_add_net_unixstream) => return Support::Yes,
            Without::AbsentSince(_) => return Support::Unknown,
        };
        let feature = match symbol.build {
            Build::Gpu => Feature::Gpu,
            Build::Snd => Feature::Snd,
            Build::Input => Feature::Input,
            _ => return Support::Unknown,
        };
        match self.feature(feature) {
            FeatureState::Yes => Support::Yes,
            FeatureState::No => without,
            FeatureState::Unknown | FeatureState::Unasked => Support::Unknown,
        }
    }

    /// Whether it shares directories of the host.
    pub fn can_mount(&self) -> bool {
        self.levels.virtiofs >= 1
    }

    /// Whether it shares them read-only, enforced on the host's side.
    pub fn can_mount_read_only(&self) -> bool {
        self.levels.virtiofs >= 3
    }

    /// Whether the library is this release or a later one, as its functions prove: file names do not count.
    pub fn at_least(&self, release: &semver::Version) -> bool {
        self.observation.functions.iter().any(|function| function.since() >= *release)
    }

    /// The library in a few words, for refusals: `libkrun >=1.18.0, <1.19.0 (/usr/lib64/libkrun.so.1.18.1)`.
    pub fn describe(&self) -> String {
        format!("libkrun {} ({})", self.version.range, self.observation.real_path.display())
    }
}

/// A generation is told by its functions; a soname of another major says that the same names may mean other things.
fn generation(observation: &Observation) -> (Generation, String) {
    let missing: Vec<&str> = CORE.iter().filter(|f| !observation.functions.contains(**f)).map(|f| f.name()).collect();
    match observation.soname_major {
        Some(major) if major > 1 => {
            let name = observation.soname.clone().unwrap_or_else(|| observation.real_path.display().to_string());
            (Generation::Unknown, format!("its name {name} is of major {major}, and krundl speaks the majors 0 and 1"))
        }
        _ if !missing.is_empty() => (Generation::Unknown, format!("it lacks {}", missing.join(", "))),
        _ => (Generation::One, "it has the functions of contexts and setters".to_owned()),
    }
}
