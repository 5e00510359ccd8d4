//! What this machine's libkrun can do, whether a VM could run here, what is in the way, and what would mend it.
//!
//! [`doctor`] finds out and judges; the report is plain data, and its faces ([`Format`]) only render it.

mod boot;
mod catalog;
mod check;
mod checks;
mod compare;
mod distro;
mod formats;
mod ground;
mod inspect;
mod kernel;
mod kernel_check;
mod mounts;
mod others;
mod redact;
mod report;
mod text;
mod world;

use std::path::PathBuf;

pub use boot::Proof;
pub use catalog::{CATALOG, Group, Id, Info, explain, is_selectable, list, markdown};
pub use check::{By, Check, Known, Status};
pub use compare::{Comparison, Gain, newest};
pub use formats::Format;
pub use inspect::{Inspected, Part, inspect, inspect_root, text as inspected_as_text};
pub use kernel::{ConfigSource, KernelReport, Purpose};
pub use kernel_check::{KernelCheck, MissingOption, check_kernel};
pub use mounts::{HostMount, MountReport};
pub use others::Other;
pub use redact::Secrets;
pub use report::{LibraryReport, ProbeReport, Report, VersionReport, probed_as_json};
pub use text::Style;
pub use world::{Machine, World};

use crate::error::{Error, Words};
use crate::helper::Helper;
use crate::probe::{ProbeOptions, Probed, probe_isolated};
use crate::spec::Mount;
use checks::Facts;

/// What to find out.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// Which libkrun, and how it is probed.
    pub probe: ProbeOptions,
    /// Mounts to judge.
    pub mounts: Vec<Mount>,
    /// A kernel to judge.
    pub kernel: Option<PathBuf>,
    /// A release to compare with.
    pub compare: Option<String>,
    /// Whether to boot a guest.
    pub boot: bool,
    /// Only these checks, by name or group; all if empty.
    pub only: Vec<String>,
}

/// What is being done, for whoever waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// libkrun is looked for, read and opened.
    Library,
    /// A kernel is read and unpacked.
    Kernel,
    /// A guest is booted.
    Boot,
}

impl Step {
    /// In words.
    pub fn describe(self) -> &'static str {
        match self {
            Step::Library => "looking at libkrun",
            Step::Kernel => "reading the kernel",
            Step::Boot => "booting a guest (up to a minute)",
        }
    }
}

/// Looks at libkrun (in a child process) and at this machine. What cannot be found out is part of the report.
///
/// # Errors
/// The options make no sense: a check or a release that there is not. The message says what would.
pub fn doctor(options: &Options) -> Result<Report, String> {
    doctor_of(&World::current(), options, &mut |_| {})
}

/// The same for a machine that may be made up, with a word before every step that may take long.
///
/// # Errors
/// As [`doctor`].
pub fn doctor_of(world: &World, options: &Options, progress: &mut dyn FnMut(Step)) -> Result<Report, String> {
    if let Some(unknown) = options.only.iter().find(|name| !is_selectable(name)) {
        return Err(format!("there is no check {unknown:?}; fix: krundl doctor --list shows them"));
    }
    progress(Step::Library);
    let probe = ProbeOptions {
        kernel_release: true,
        environment: options.probe.environment.clone().or_else(|| Some(world.environment.clone())),
        ..options.probe.clone()
    };
    let (probed, attempts, failure) = match probe_isolated(&probe) {
        Ok(mut probed) => {
            let attempts = std::mem::take(&mut probed.attempts);
            (Some(probed), attempts, None)
        }
        Err(Error::LibraryNotFound { attempts }) => (None, attempts, None),
        Err(error) => (None, Vec::new(), Some(error)),
    };
    let no_words = Words::default();
    let (capabilities, words, died) = match &probed {
        Some(Probed { capabilities, words, died, .. }) => (Some(capabilities), words, died.as_deref()),
        None => (None, &no_words, None),
    };
    let comparison = options.compare.as_deref().map(|release| compare::compare(capabilities, release)).transpose()?;
    let helper = Helper::find(options.probe.helper.as_deref()).ok().map(|helper| helper.path);
    let tried: Vec<String> = attempts.iter().map(|attempt| attempt.candidate.clone()).collect();
    let chosen = capabilities.map(|capabilities| capabilities.observation.real_path.as_path());
    let others = others::look(world, chosen, &tried);
    let mounts = mounts::look(world, capabilities, &options.mounts);
    let kernel = options.kernel.as_deref().map(|path| {
        progress(Step::Kernel);
        kernel::look(capabilities, path)
    });
    let proof = options.boot.then(|| {
        progress(Step::Boot);
        match capabilities {
            Some(capabilities) => boot::prove(capabilities, options.probe.helper.as_deref()),
            None => Proof { error: Some("there is no libkrun to boot it with".to_owned()), ..Proof::default() },
        }
    });
    let facts = Facts {
        world,
        distribution: world.distribution(),
        capabilities,
        attempts: &attempts,
        failure: failure.as_ref(),
        words,
        died,
        helper: helper.as_deref(),
        others: &others,
        comparison: comparison.as_ref(),
        mounts: &mounts,
        kernel: kernel.as_ref(),
        proof: proof.as_ref(),
    };
    let mut checks = checks::all(&facts);
    if !options.only.is_empty() {
        checks.retain(|check| options.only.iter().any(|name| check.id.is_selected_by(name)));
    }
    let mut report = Report::new(capabilities, attempts.clone(), world.machine.kvm.clone(), checks);
    report.helper = helper;
    report.others = others;
    report.compare = comparison;
    report.mounts = mounts;
    report.kernel = kernel;
    report.proof = proof;
    Ok(report)
}
