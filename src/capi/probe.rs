//! A libkrun that was probed, and questions about it.

use std::ffi::{CString, c_char};
use std::sync::OnceLock;
use std::time::Duration;

use super::boundary::{asked, fallible, free, give, infallible, optional_path, options, owned, shown, text};
use super::error::{AttemptTexts, word};
use super::{krundl_error, krundl_status};
use crate::capabilities::{Capabilities, Generation, Support};
use crate::error::Result;
use crate::library::FeatureState;
use crate::probe::{ProbeOptions, Probed, probe_isolated};
use crate::symbols::{Feature, Function};

/// A libkrun that was probed: what it is and what it can do. It does not change, so any thread may ask it.
pub struct krundl_probe {
    pub(super) probed: Probed,
    attempts: Vec<AttemptTexts>,
    evidence: Vec<(CString, CString, CString)>,
    conflicts: Vec<CString>,
    path: CString,
    real_path: CString,
    soname: Option<CString>,
    flavour: CString,
    version: CString,
    description: CString,
    generation_reason: CString,
    words: Option<CString>,
    died: Option<CString>,
    json: OnceLock<CString>,
}

/// What to probe. Zeroes are the defaults: `krundl_probe_options options = {.struct_size = sizeof options};`. Every
/// text may be NULL, and nothing of it is kept.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct krundl_probe_options {
    /// sizeof(krundl_probe_options), so that fields can be added.
    pub struct_size: usize,
    /// The library's file; NULL: KRUNDL_LIBRARY, then a search.
    pub library: *const c_char,
    /// A directory to search instead of the usual places; NULL: KRUNDL_LIBRARY_DIR, then a search.
    pub directory: *const c_char,
    /// The helper program krundl-vmm; NULL: KRUNDL_VMM, then a search.
    pub helper: *const c_char,
    /// How long opening one candidate may take before it counts as hung, in milliseconds; 0: 10 seconds.
    pub timeout_ms: u64,
}

impl Default for krundl_probe_options {
    fn default() -> krundl_probe_options {
        let none = std::ptr::null();
        krundl_probe_options { struct_size: 0, library: none, directory: none, helper: none, timeout_ms: 0 }
    }
}

/// An API generation of libkrun.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum krundl_generation {
    /// One that krundl does not speak: nothing of it is called.
    Unknown = 0,
    /// Context numbers and setters: libkrun 0.1 to 1.19.
    One = 1,
}

/// Whether a function of libkrun does what its name says.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum krundl_support {
    /// krundl knows no function of that name.
    NoSuchFunction = -1,
    /// It is not there.
    Absent = 0,
    /// It is there, and a build that has it means it.
    Yes = 1,
    /// It is there and refuses: this build lacks the means.
    Refuses = 2,
    /// It is there, returns 0 and does nothing: this build lacks the means.
    NoEffect = 3,
    /// It is there, and whether this build has the means cannot be told.
    Unknown = 4,
}

/// What a libkrun says about a feature.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum krundl_feature_state {
    /// krundl knows no feature of that name.
    NoSuchFeature = -1,
    /// It was not asked: it has no krun_has_feature.
    Unasked = 0,
    /// It was built with it.
    Yes = 1,
    /// It was built without it.
    No = 2,
    /// It does not know its number: it is older than the feature.
    Unknown = 3,
}

impl krundl_probe {
    fn new(probed: Probed) -> krundl_probe {
        let Capabilities { observation, version, generation_reason, .. } = &probed.capabilities;
        let evidence = version.evidence.iter();
        krundl_probe {
            attempts: AttemptTexts::all(&probed.attempts),
            evidence: evidence.map(|e| (word(&e.kind), owned(&e.says.to_string()), owned(&e.because))).collect(),
            conflicts: version.conflicts.iter().map(|text| owned(text)).collect(),
            path: owned(&observation.path.display().to_string()),
            real_path: owned(&observation.real_path.display().to_string()),
            soname: observation.soname.as_deref().map(owned),
            flavour: word(&observation.flavour),
            version: owned(&version.range.to_string()),
            description: owned(&probed.capabilities.describe()),
            generation_reason: owned(generation_reason),
            words: Some(probed.words.as_str()).filter(|words| !words.is_empty()).map(owned),
            died: probed.died.as_deref().map(owned),
            json: OnceLock::new(),
            probed,
        }
    }
}

/// The options as Rust has them.
///
/// # Safety
/// As for [`krundl_probe_new`].
pub(super) unsafe fn probe_options(theirs: *const krundl_probe_options) -> Result<ProbeOptions> {
    // SAFETY: the caller's promise is the same.
    let theirs = unsafe { options("options", theirs) }?;
    let defaults = ProbeOptions::default();
    // SAFETY: its texts are null or C strings.
    let path = |text| unsafe { optional_path(text) };
    Ok(ProbeOptions {
        library: path(theirs.library),
        directory: path(theirs.directory),
        helper: path(theirs.helper),
        timeout: if theirs.timeout_ms == 0 { defaults.timeout } else { Duration::from_millis(theirs.timeout_ms) },
        ..defaults
    })
}

/// Opens libkrun in a child process, so that whatever it does there cannot hurt the caller, and learns what it can do.
///
/// options: NULL for all defaults. out: gets the probe, which is the caller's, to be freed with krundl_probe_free; NULL
/// on failure. error: may be NULL; gets the failure, which is the caller's, to be freed with krundl_error_free, or
/// NULL.
///
/// Threads: any, also at the same time. It waits for the child, usually some milliseconds. It changes nothing of the
/// process, starts no thread, and no child of it is left.
///
/// Errors: KRUNDL_STATUS_LIBRARY_NOT_FOUND with every attempt, KRUNDL_STATUS_HELPER_NOT_FOUND,
/// KRUNDL_STATUS_HELPER_MISMATCH, KRUNDL_STATUS_HELPER_FAILED, KRUNDL_STATUS_OS, KRUNDL_STATUS_INVALID_ARGUMENT.
///
/// # Safety
/// `options` is NULL or points to a structure whose texts are NULL or C strings; `out` and `error` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_new(
    options: *const krundl_probe_options,
    out: *mut *mut krundl_probe,
    error: *mut *mut krundl_error,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe { fallible(error, || give(out, || Ok(krundl_probe::new(probe_isolated(&probe_options(options)?)?)))) }
}

/// Frees a probe; its texts go with it, plans made with it stay. probe: may be NULL.
///
/// Threads: any, one that no other one uses it with.
///
/// # Safety
/// `probe` is NULL or was given by krundl and not freed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_free(probe: *mut krundl_probe) {
    // SAFETY: the caller's promise is the same.
    unsafe { free(probe) }
}

/// The library as it was found: the path that was tried, or the one that the loader chose. NULL for NULL. The text
/// is the probe's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_path(probe: *const krundl_probe) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(probe, std::ptr::null(), |probe| probe.path.as_ptr()) }
}

/// The same without links. NULL for NULL. The text is the probe's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_real_path(probe: *const krundl_probe) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(probe, std::ptr::null(), |probe| probe.real_path.as_ptr()) }
}

/// The name that it gives itself; NULL where it has none. NULL for NULL. The text is the probe's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_soname(probe: *const krundl_probe) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(probe, std::ptr::null(), |probe| shown(probe.soname.as_ref())) }
}

/// Its variant: "plain", "sev", "tdx", "aws_nitro", "efi". NULL for NULL. The text is the probe's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_flavour(probe: *const krundl_probe) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(probe, std::ptr::null(), |probe| probe.flavour.as_ptr()) }
}

/// The releases that it can be, as a semver requirement such as "=1.18.0" or ">=1.18.0, <1.19.0"; "*" where its
/// functions fit none. NULL for NULL. The text is the probe's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_version(probe: *const krundl_probe) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(probe, std::ptr::null(), |probe| probe.version.as_ptr()) }
}

/// The library in a few words, such as "libkrun =1.18.0 (/usr/lib64/libkrun.so.1.18.0)". NULL for NULL. The text is
/// the probe's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_description(probe: *const krundl_probe) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(probe, std::ptr::null(), |probe| probe.description.as_ptr()) }
}

/// How its API generation was told. NULL for NULL. The text is the probe's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_generation_reason(probe: *const krundl_probe) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(probe, std::ptr::null(), |probe| probe.generation_reason.as_ptr()) }
}

/// What libraries printed when they were opened, without control characters; NULL where nothing was. NULL for NULL.
/// The text is the probe's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_words(probe: *const krundl_probe) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(probe, std::ptr::null(), |probe| shown(probe.words.as_ref())) }
}

/// How the child ended after it had told what libkrun is, if not well; NULL if well. NULL for NULL. The text is the
/// probe's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_died(probe: *const krundl_probe) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(probe, std::ptr::null(), |probe| shown(probe.died.as_ref())) }
}

/// Everything that was found, as JSON: the parts `library`, `levels`, `doubts`, `attempts` and `firmware` of
/// docs/doctor.schema.json. NULL for NULL. The text is the probe's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_json(probe: *const krundl_probe) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(probe, std::ptr::null(), |probe| {
            probe.json.get_or_init(|| owned(&crate::doctor::probed_as_json(&probe.probed))).as_ptr()
        })
    }
}

/// Whether it shares directories of the host; false for NULL.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_can_mount(probe: *const krundl_probe) -> bool {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(probe, false, |probe| probe.probed.capabilities.can_mount()) }
}

/// Whether it shares them read-only, enforced on the host's side; false for NULL.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_can_mount_read_only(probe: *const krundl_probe) -> bool {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(probe, false, |probe| probe.probed.capabilities.can_mount_read_only()) }
}

/// Its API generation; KRUNDL_GENERATION_UNKNOWN for NULL.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_generation(probe: *const krundl_probe) -> krundl_generation {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(probe, krundl_generation::Unknown, |probe| match probe.probed.capabilities.generation {
            Generation::One => krundl_generation::One,
            Generation::Unknown => krundl_generation::Unknown,
        })
    }
}

/// The number of functions that krundl knows and the library has; 0 for NULL.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_function_count(probe: *const krundl_probe) -> usize {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(probe, 0, |probe| probe.probed.capabilities.observation.functions.len()) }
}

/// How far a group of its functions goes; 0 is not at all, -1 for NULL or a group that there is not. group:
/// "virtiofs" (1: shares, 2: with a DAX window, 3: read-only, 4: with a choice of ownership semantics), "disk" (1:
/// raw, 2: qcow2 and vmdk, 3: direct I/O and sync modes), "net" (1: one card, 2: several), "vsock" (1: ports from
/// guest to host, 2: and back, 3: an explicit device), "console" (1: output to a file, 2: explicit, 3: named
/// ports), "kernel" (1: of the user's own, 2: firmware as well), "overlay" (1).
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle, `group` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_level(probe: *const krundl_probe, group: *const c_char) -> i32 {
    infallible(-1, || {
        // SAFETY: the caller's promise is the same.
        let (probe, group) = unsafe { (probe.as_ref(), text("group", group)) };
        let (Some(probe), Ok(group)) = (probe, group) else { return -1 };
        let named = probe.probed.capabilities.levels.named();
        named.iter().find(|(name, ..)| *name == group).map_or(-1, |(_, level, _)| i32::from(*level))
    })
}

/// Whether the library has a function, such as "krun_add_virtiofs3"; presence is no proof, see
/// krundl_probe_support. false for NULL and for names that krundl does not know.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle, `function` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_has(probe: *const krundl_probe, function: *const c_char) -> bool {
    infallible(false, || {
        // SAFETY: the caller's promise is the same.
        let (probe, function) = unsafe { (probe.as_ref(), text("function", function)) };
        let (Some(probe), Ok(function)) = (probe, function) else { return false };
        Function::from_name(function).is_some_and(|function| probe.probed.capabilities.has(function))
    })
}

/// Whether a function does what its name says; KRUNDL_SUPPORT_NO_SUCH_FUNCTION for NULL and for names that krundl
/// does not know.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle, `function` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_support(probe: *const krundl_probe, function: *const c_char) -> krundl_support {
    infallible(krundl_support::NoSuchFunction, || {
        // SAFETY: the caller's promise is the same.
        let (probe, function) = unsafe { (probe.as_ref(), text("function", function)) };
        let (Some(probe), Ok(function)) = (probe, function) else { return krundl_support::NoSuchFunction };
        let Some(function) = Function::from_name(function) else { return krundl_support::NoSuchFunction };
        match probe.probed.capabilities.support(function) {
            Support::Yes => krundl_support::Yes,
            Support::Absent => krundl_support::Absent,
            Support::Refuses => krundl_support::Refuses,
            Support::NoEffect => krundl_support::NoEffect,
            Support::Unknown => krundl_support::Unknown,
        }
    })
}

/// What the library says about a feature that it may be built with: "net", "blk", "gpu", "snd", "input", "efi",
/// "tee", "amd_sev", "intel_tdx", "aws_nitro", "virgl_resource_map2", "init_blob".
/// KRUNDL_FEATURE_STATE_NO_SUCH_FEATURE for NULL and for other names.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle, `feature` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_feature(
    probe: *const krundl_probe,
    feature: *const c_char,
) -> krundl_feature_state {
    infallible(krundl_feature_state::NoSuchFeature, || {
        // SAFETY: the caller's promise is the same.
        let (probe, feature) = unsafe { (probe.as_ref(), text("feature", feature)) };
        let (Some(probe), Ok(feature)) = (probe, feature) else { return krundl_feature_state::NoSuchFeature };
        let Some(feature) = Feature::ALL.iter().find(|known| known.name() == feature) else {
            return krundl_feature_state::NoSuchFeature;
        };
        match probe.probed.capabilities.feature(*feature) {
            FeatureState::Yes => krundl_feature_state::Yes,
            FeatureState::No => krundl_feature_state::No,
            FeatureState::Unknown => krundl_feature_state::Unknown,
            FeatureState::Unasked => krundl_feature_state::Unasked,
        }
    })
}

/// Whether it is a release, such as "1.18.0", or a later one, as its functions prove: 1 or 0; -1 for NULL or what
/// is no release.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle, `release` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_at_least(probe: *const krundl_probe, release: *const c_char) -> i32 {
    infallible(-1, || {
        // SAFETY: the caller's promise is the same.
        let (probe, release) = unsafe { (probe.as_ref(), text("release", release)) };
        let (Some(probe), Ok(release)) = (probe, release) else { return -1 };
        let Ok(release) = semver::Version::parse(release) else { return -1 };
        i32::from(probe.probed.capabilities.at_least(&release))
    })
}

/// The number of witnesses to its version; 0 for NULL.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_evidence_count(probe: *const krundl_probe) -> usize {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(probe, 0, |probe| probe.evidence.len()) }
}

/// What kind of witness: "function_present", "function_absent", "feature_id", "file_name", "pkg_config"; NULL for
/// an index that there is not. index: from 0. The text is the probe's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_evidence_kind(probe: *const krundl_probe, index: usize) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(probe, std::ptr::null(), |probe| probe.evidence.get(index).map_or(std::ptr::null(), |e| e.0.as_ptr()))
    }
}

/// The releases that fit it, as a semver requirement; NULL for NULL and an index that there is not. index: from 0. The
/// text is the probe's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_evidence_says(probe: *const krundl_probe, index: usize) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(probe, std::ptr::null(), |probe| probe.evidence.get(index).map_or(std::ptr::null(), |e| e.1.as_ptr()))
    }
}

/// Why; NULL for NULL and an index that there is not. index: from 0. The text is the probe's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_evidence_because(probe: *const krundl_probe, index: usize) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(probe, std::ptr::null(), |probe| probe.evidence.get(index).map_or(std::ptr::null(), |e| e.2.as_ptr()))
    }
}

/// The number of contradictions among them, none of which was resolved by guessing; 0 for NULL.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_conflict_count(probe: *const krundl_probe) -> usize {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(probe, 0, |probe| probe.conflicts.len()) }
}

/// What contradicts what; NULL for NULL and an index that there is not. index: from 0. The text is the probe's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_conflict(probe: *const krundl_probe, index: usize) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(probe, std::ptr::null(), |probe| {
            probe.conflicts.get(index).map_or(std::ptr::null(), |text| text.as_ptr())
        })
    }
}

/// The number of candidates for libkrun that were tried, the chosen one last; 0 for NULL.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_attempt_count(probe: *const krundl_probe) -> usize {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(probe, 0, |probe| probe.attempts.len()) }
}

/// A candidate: a path, or a soname for the system's loader; NULL for NULL and an index that there is not. index: from
/// 0. The text is the probe's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_attempt_candidate(probe: *const krundl_probe, index: usize) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(probe, std::ptr::null(), |probe| {
            probe.attempts.get(index).map_or(std::ptr::null(), |attempt| attempt.candidate.as_ptr())
        })
    }
}

/// Why it was tried: "explicit", "env_library", "directory", "env_directory", "loader", "well_known"; NULL for an
/// index that there is not. index: from 0. The text is the probe's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_attempt_origin(probe: *const krundl_probe, index: usize) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(probe, std::ptr::null(), |probe| {
            probe.attempts.get(index).map_or(std::ptr::null(), |attempt| attempt.origin.as_ptr())
        })
    }
}

/// Why it was not it: "missing", "unreadable", "not_a_library", "wrong_architecture", "missing_dependency",
/// "not_libkrun", "crashed", "refused"; NULL for the chosen one; NULL for NULL and an index that there is not. index:
/// from 0. The text is the probe's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_attempt_kind(probe: *const krundl_probe, index: usize) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(probe, std::ptr::null(), |probe| {
            probe.attempts.get(index).map_or(std::ptr::null(), |attempt| shown(attempt.kind.as_ref()))
        })
    }
}

/// The loader's own words, or what was found in the file; NULL for the chosen one; NULL for an index that there is
/// not. index: from 0. The text is the probe's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `probe` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_probe_attempt_message(probe: *const krundl_probe, index: usize) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(probe, std::ptr::null(), |probe| {
            probe.attempts.get(index).map_or(std::ptr::null(), |attempt| shown(attempt.message.as_ref()))
        })
    }
}
