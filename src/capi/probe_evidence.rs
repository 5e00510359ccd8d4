//! How it is known what a libkrun is, and what else was tried.

use std::ffi::c_char;

use super::boundary::{asked, shown};
use super::krundl_probe;

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

/// Why it was tried: "explicit", "env_library", "directory", "env_directory", "loader", "well_known", "bundled"; NULL
/// for an index that there is not. index: from 0. The text is the probe's own.
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
