//! A libkrun that was probed, and what it is.

use std::ffi::{CString, c_char};
use std::sync::OnceLock;
use std::time::Duration;

use super::boundary::{asked, fallible, free, give, optional_path, options, owned, shown};
use super::error::{AttemptTexts, word};
use super::{krundl_error, krundl_status};
use crate::capabilities::Capabilities;
use crate::error::Result;
use crate::probe::{ProbeOptions, Probed, probe_isolated};

/// A libkrun that was probed: what it is and what it can do. It does not change, so any thread may ask it.
pub struct krundl_probe {
    pub(super) probed: Probed,
    pub(super) attempts: Vec<AttemptTexts>,
    /// Kind, requirement, reason.
    pub(super) evidence: Vec<(CString, CString, CString)>,
    pub(super) conflicts: Vec<CString>,
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
