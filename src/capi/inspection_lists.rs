//! How it is known what a file is that was not opened, and what it asks for: the lists of an inspection.

use std::ffi::c_char;

use super::boundary::shown;
use super::inspection::{krundl_inspection, of_part};

/// The number of witnesses to its version; 0 for a file that could not be read, for NULL and an index that there is
/// not. index: from 0.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `inspection` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_inspection_evidence_count(inspection: *const krundl_inspection, index: usize) -> usize {
    // SAFETY: the caller's promise is the same.
    unsafe { of_part(inspection, index, 0, |part| part.evidence.len()) }
}

/// What kind of witness: "function_present", "function_absent", "file_name", "pkg_config". NULL for NULL and indices
/// that there are not. index: from 0. number: from 0. The text is the inspection's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `inspection` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_inspection_evidence_kind(
    inspection: *const krundl_inspection,
    index: usize,
    number: usize,
) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { of_part(inspection, index, std::ptr::null(), |part| shown(part.evidence.get(number).map(|e| &e.0))) }
}

/// The releases that fit it, as a semver requirement. NULL for NULL and indices that there are not. index: from 0.
/// number: from 0. The text is the inspection's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `inspection` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_inspection_evidence_says(
    inspection: *const krundl_inspection,
    index: usize,
    number: usize,
) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { of_part(inspection, index, std::ptr::null(), |part| shown(part.evidence.get(number).map(|e| &e.1))) }
}

/// Why. NULL for NULL and indices that there are not. index: from 0. number: from 0. The text is the inspection's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `inspection` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_inspection_evidence_because(
    inspection: *const krundl_inspection,
    index: usize,
    number: usize,
) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { of_part(inspection, index, std::ptr::null(), |part| shown(part.evidence.get(number).map(|e| &e.2))) }
}

/// The number of contradictions among them, none of which was resolved by guessing; 0 for a file that could not be
/// read, for NULL and an index that there is not. index: from 0.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `inspection` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_inspection_conflict_count(inspection: *const krundl_inspection, index: usize) -> usize {
    // SAFETY: the caller's promise is the same.
    unsafe { of_part(inspection, index, 0, |part| part.conflicts.len()) }
}

/// What contradicts what. NULL for NULL and indices that there are not. index: from 0. number: from 0. The text is the
/// inspection's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `inspection` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_inspection_conflict(
    inspection: *const krundl_inspection,
    index: usize,
    number: usize,
) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { of_part(inspection, index, std::ptr::null(), |part| shown(part.conflicts.get(number))) }
}

/// The number of functions named krun_ that it offers and krundl does not know: those of a newer release, or a fork; 0
/// for a file that could not be read, for NULL and an index that there is not. index: from 0.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `inspection` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_inspection_unknown_function_count(
    inspection: *const krundl_inspection,
    index: usize,
) -> usize {
    // SAFETY: the caller's promise is the same.
    unsafe { of_part(inspection, index, 0, |part| part.unknown_functions.len()) }
}

/// The name of one. NULL for NULL and indices that there are not. index: from 0. number: from 0. The text is the
/// inspection's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `inspection` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_inspection_unknown_function(
    inspection: *const krundl_inspection,
    index: usize,
    number: usize,
) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { of_part(inspection, index, std::ptr::null(), |part| shown(part.unknown_functions.get(number))) }
}

/// The number of libraries that it is linked with; 0 for a file that could not be read, for NULL and an index that
/// there is not. index: from 0.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `inspection` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_inspection_needed_count(inspection: *const krundl_inspection, index: usize) -> usize {
    // SAFETY: the caller's promise is the same.
    unsafe { of_part(inspection, index, 0, |part| part.needed.len()) }
}

/// A library that it is linked with. NULL for NULL and indices that there are not. index: from 0. number: from 0. The
/// text is the inspection's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `inspection` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_inspection_needed(
    inspection: *const krundl_inspection,
    index: usize,
    number: usize,
) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { of_part(inspection, index, std::ptr::null(), |part| shown(part.needed.get(number))) }
}

/// The number of directories in which it has those looked for; 0 for a file that could not be read, for NULL and an
/// index that there is not. index: from 0.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `inspection` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_inspection_run_path_count(inspection: *const krundl_inspection, index: usize) -> usize {
    // SAFETY: the caller's promise is the same.
    unsafe { of_part(inspection, index, 0, |part| part.run_paths.len()) }
}

/// A directory in which it has them looked for. NULL for NULL and indices that there are not. index: from 0. number:
/// from 0. The text is the inspection's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `inspection` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_inspection_run_path(
    inspection: *const krundl_inspection,
    index: usize,
    number: usize,
) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { of_part(inspection, index, std::ptr::null(), |part| shown(part.run_paths.get(number))) }
}

/// The number of names of libkrunfw that it mentions; 0 for a file that could not be read, for NULL and an index that
/// there is not. index: from 0.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `inspection` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_inspection_firmware_count(inspection: *const krundl_inspection, index: usize) -> usize {
    // SAFETY: the caller's promise is the same.
    unsafe { of_part(inspection, index, 0, |part| part.firmware.len()) }
}

/// A name of libkrunfw that it mentions. NULL for NULL and indices that there are not. index: from 0. number: from 0.
/// The text is the inspection's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `inspection` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_inspection_firmware(
    inspection: *const krundl_inspection,
    index: usize,
    number: usize,
) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { of_part(inspection, index, std::ptr::null(), |part| shown(part.firmware.get(number))) }
}
