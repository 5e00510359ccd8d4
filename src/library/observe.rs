//! What is measured about an opened libkrun.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::firmware::Firmware;
use super::name::{Flavour, Name};
use super::report::{FileReport, Identity};
use super::search::Environment;
use crate::error::Origin;
use crate::symbols::{Feature, FunctionSet, Functions, named};

/// Everything that was measured about an opened libkrun. It travels as JSON from the child process that probes.
///
/// All paths in it are UTF-8: a library with another path is refused.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observation {
    /// What was opened, as it was tried: a path or a soname.
    pub candidate: String,
    /// Why it was tried.
    pub origin: Origin,
    /// Its file: the path that was tried, or the one that the loader chose. Empty for a table of functions.
    pub path: PathBuf,
    /// The same without links.
    pub real_path: PathBuf,
    /// Which file that is.
    pub identity: Identity,
    /// The architecture it is for.
    pub architecture: String,
    /// The name that it gives itself.
    pub soname: Option<String>,
    /// The first number of its soname, else of its file name.
    pub soname_major: Option<u32>,
    /// The variant, by its file name or soname.
    pub flavour: Flavour,
    /// The libraries that it is linked with.
    pub needed: Vec<String>,
    /// The functions that it has.
    pub functions: FunctionSet,
    /// Functions named `krun_` that it offers and the table does not know: a newer release, or a fork.
    pub exported_unknown: Vec<String>,
    /// Functions that its file offers and the loader does not find in it.
    pub missing_in_loader: FunctionSet,
    /// Functions that the loader finds in it and its file does not offer.
    pub missing_in_file: FunctionSet,
    /// What it says about each feature.
    pub features: BTreeMap<Feature, FeatureState>,
    /// The `libkrun.pc` in `pkgconfig` beside it.
    pub pkg_config: Option<PkgConfig>,
    /// The libkrunfw that it asks for.
    pub firmware: Firmware,
}

named! {
    /// What a libkrun says about a feature.
    pub enum FeatureState {
        /// It was built with it.
        Yes => "yes",
        /// It was built without it.
        No => "no",
        /// It does not know its number: it is older than the feature.
        Unknown => "unknown",
        /// It was not asked: it has no `krun_has_feature`, or an interface that krundl does not know.
        Unasked => "unasked",
    }
}

/// What pkg-config knows, which is a hint and not a proof: some releases shipped with the number of another one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PkgConfig {
    /// The file.
    pub path: PathBuf,
    /// Its `Version:`.
    pub version: String,
}

/// An opened library, as far as it was told when it was opened.
pub(super) struct Opened<'a> {
    pub(super) candidate: String,
    pub(super) origin: Origin,
    pub(super) path: PathBuf,
    pub(super) real_path: PathBuf,
    pub(super) report: FileReport,
    pub(super) functions: &'a Functions,
}

impl Observation {
    /// For [`super::Library::from_table`]: no file, no features asked, nothing but these functions.
    pub fn of_table(functions: &Functions) -> Observation {
        Observation {
            candidate: "a table of functions".to_owned(),
            origin: Origin::Explicit,
            path: PathBuf::new(),
            real_path: PathBuf::new(),
            identity: Identity::default(),
            architecture: std::env::consts::ARCH.to_owned(),
            soname: None,
            soname_major: None,
            flavour: Flavour::Plain,
            needed: Vec::new(),
            functions: functions.present(),
            exported_unknown: Vec::new(),
            missing_in_loader: FunctionSet::new(),
            missing_in_file: FunctionSet::new(),
            features: unasked(),
            pkg_config: None,
            firmware: Firmware::default(),
        }
    }

    /// What a file tells that was read and not opened: as of one that was, but that nothing was asked or looked
    /// for on this host beyond the file and its `libkrun.pc`. `None` where it offers no function of libkrun's, or its
    /// functions cannot be told.
    pub fn of_file(report: &FileReport, path: &Path, real_path: &Path) -> Option<Observation> {
        let exports = report.exports.as_deref()?;
        let of_libkrun = exports.iter().filter(|name| name.starts_with("krun_"));
        let (functions, unknown) = FunctionSet::of_sorted(of_libkrun.map(String::as_str));
        if functions.is_empty() {
            return None;
        }
        let (flavour, soname_major) = by_names(real_path, path, report.soname.as_deref());
        Some(Observation {
            candidate: path.display().to_string(),
            origin: Origin::Explicit,
            path: path.to_owned(),
            real_path: real_path.to_owned(),
            identity: report.identity.clone(),
            architecture: report.architecture.clone(),
            soname: report.soname.clone(),
            soname_major,
            flavour,
            needed: report.needed.clone(),
            functions,
            exported_unknown: unknown.into_iter().map(str::to_owned).collect(),
            missing_in_loader: FunctionSet::new(),
            missing_in_file: FunctionSet::new(),
            features: unasked(),
            pkg_config: pkg_config(real_path, path),
            firmware: Firmware::default(),
        })
    }

    /// Measures an opened library.
    ///
    /// # Safety
    ///
    /// The functions must be those of a libkrun: `krun_has_feature` is called.
    pub(super) unsafe fn take(opened: Opened<'_>, environment: &Environment) -> Observation {
        let Opened { candidate, origin, path, real_path, report, functions } = opened;
        let (flavour, soname_major) = by_names(&real_path, &path, report.soname.as_deref());

        let present = functions.present();
        let exports = report.exports.as_deref();
        let of_libkrun = exports.unwrap_or_default().iter().filter(|name| name.starts_with("krun_"));
        let (in_file, unknown) = FunctionSet::of_sorted(of_libkrun.map(String::as_str));
        let unknown = unknown.into_iter().map(str::to_owned).collect();

        Observation {
            pkg_config: pkg_config(&real_path, &path),
            firmware: Firmware::of(&report, &path, flavour, environment),
            // SAFETY: the caller vouches for the functions.
            features: unsafe { features(functions, soname_major) },
            missing_in_loader: in_file.difference(present),
            missing_in_file: if exports.is_some() { present.difference(in_file) } else { FunctionSet::new() },
            functions: present,
            exported_unknown: unknown,
            candidate,
            origin,
            path,
            real_path,
            identity: report.identity,
            architecture: report.architecture,
            soname: report.soname,
            soname_major,
            flavour,
            needed: report.needed,
        }
    }
}

/// The variant and the first number, by its names: the most telling name counts.
fn by_names(real_path: &Path, path: &Path, soname: Option<&str>) -> (Flavour, Option<u32>) {
    let file_name = |path: &Path| path.file_name().and_then(|name| name.to_str()).map(str::to_owned);
    let names = [file_name(real_path), file_name(path), soname.map(str::to_owned)];
    let names: Vec<Name> = names.into_iter().flatten().filter_map(|name| Name::parse("libkrun", &name)).collect();
    let flavour = names.iter().map(|name| name.flavour).find(|flavour| *flavour != Flavour::Plain);
    let soname = soname.and_then(|soname| Name::parse("libkrun", soname));
    (flavour.unwrap_or(Flavour::Plain), soname.iter().chain(&names).find_map(|name| name.major))
}

fn unasked() -> BTreeMap<Feature, FeatureState> {
    Feature::ALL.iter().map(|feature| (*feature, FeatureState::Unasked)).collect()
}

/// Asks for each feature, if this is the interface that krundl knows: another generation may have functions of the same
/// names with other meanings, and is recognised without a call.
///
/// # Safety
///
/// The functions must be those of a libkrun.
unsafe fn features(functions: &Functions, soname_major: Option<u32>) -> BTreeMap<Feature, FeatureState> {
    let core = functions.krun_create_ctx.is_some()
        && functions.krun_set_vm_config.is_some()
        && functions.krun_start_enter.is_some();
    match functions.krun_has_feature {
        Some(has_feature) if core && matches!(soname_major, None | Some(1)) => {
            let ask = |feature: &Feature| {
                // SAFETY: the caller vouches for the functions; this one takes any number.
                let state = match unsafe { has_feature(feature.id()) } {
                    0 => FeatureState::No,
                    1 => FeatureState::Yes,
                    _ => FeatureState::Unknown,
                };
                (*feature, state)
            };
            Feature::ALL.iter().map(ask).collect()
        }
        _ => unasked(),
    }
}

/// The `libkrun.pc` of the same directory; libkrun's Makefile gives it that name for every variant.
fn pkg_config(real_path: &Path, path: &Path) -> Option<PkgConfig> {
    [real_path, path].into_iter().find_map(|library| {
        let path = library.parent()?.join("pkgconfig/libkrun.pc");
        let version = version_line(&path)?;
        Some(PkgConfig { path, version })
    })
}

fn version_line(path: &Path) -> Option<String> {
    // Neither waits for a FIFO nor reads without end.
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    if !file.metadata().ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    file.take(64 << 10).read_to_string(&mut text).ok()?;
    let version = text.lines().find_map(|line| line.strip_prefix("Version:"))?.trim();
    (!version.is_empty()).then(|| version.to_owned())
}
