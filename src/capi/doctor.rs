//! The doctor.

use std::ffi::{CString, c_char};
use std::path::PathBuf;
use std::sync::OnceLock;

use super::boundary::{
    asked, fallible, free, give, needed, optional_path, optional_text, options, owned, shown, texts,
};
use super::error::word;
use super::probe::probe_options;
use super::{krundl_error, krundl_probe_options, krundl_spec, krundl_status};
use crate::doctor::{Check, Format, Options, Report, Status, Style, doctor};
use crate::error::{Error, Result};

/// What the doctor found. It does not change, so any thread may read it.
pub struct krundl_report {
    report: Report,
    checks: Vec<CheckTexts>,
    text: OnceLock<CString>,
    json: OnceLock<CString>,
}

struct CheckTexts {
    id: CString,
    subject: Option<CString>,
    summary: CString,
    detail: Option<CString>,
    fix: Option<CString>,
}

impl CheckTexts {
    fn new(check: &Check) -> CheckTexts {
        CheckTexts {
            id: word(&check.id),
            subject: check.subject.as_deref().map(owned),
            summary: owned(&check.summary),
            detail: check.detail.as_deref().map(owned),
            fix: check.fix.as_deref().map(owned),
        }
    }
}

/// What the doctor is to find out. Zeroes are the defaults: `krundl_doctor_options options = {.struct_size = sizeof
/// options};`. Every pointer may be NULL, and nothing of it is kept.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct krundl_doctor_options {
    /// sizeof(krundl_doctor_options), so that fields can be added.
    pub struct_size: usize,
    /// Which libkrun, and how it is probed; NULL: as krundl_probe_new does it.
    pub probe: *const krundl_probe_options,
    /// A spec whose mounts are judged, and nothing else of it.
    pub mounts_of: *const krundl_spec,
    /// A kernel to judge: a file.
    pub kernel: *const c_char,
    /// A release to compare with, such as "1.19.7".
    pub compare: *const c_char,
    /// Only these checks, by id or group: an array that ends with NULL.
    pub only: *const *const c_char,
    /// Whether to boot a guest, which may take a minute.
    pub boot: bool,
}

impl Default for krundl_doctor_options {
    fn default() -> krundl_doctor_options {
        krundl_doctor_options {
            struct_size: 0,
            probe: std::ptr::null(),
            mounts_of: std::ptr::null(),
            kernel: std::ptr::null(),
            compare: std::ptr::null(),
            only: std::ptr::null(),
            boot: false,
        }
    }
}

/// How a check came out.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum krundl_check_status {
    /// There is no such check.
    None = -1,
    /// Fine.
    Pass = 0,
    /// It may be in the way.
    Warn = 1,
    /// It is in the way.
    Fail = 2,
    /// It was not checked: it does not apply, or something else is missing.
    Skip = 3,
    /// What was looked at took its process along.
    Crash = 4,
}

/// What was asked for, as Rust has it.
///
/// # Safety
/// As for [`krundl_doctor`].
unsafe fn doctor_options(theirs: *const krundl_doctor_options) -> Result<Options> {
    // SAFETY: the caller's promise is the same.
    unsafe {
        let theirs = options("options", theirs)?;
        let spec = if theirs.mounts_of.is_null() { None } else { Some(needed("mounts_of", theirs.mounts_of)?) };
        let kernel: Option<PathBuf> = optional_path(theirs.kernel);
        Ok(Options {
            probe: probe_options(theirs.probe)?,
            mounts: spec.map(|spec| spec.parsed.spec.mounts.clone()).unwrap_or_default(),
            kernel,
            compare: optional_text("compare", theirs.compare)?.map(str::to_owned),
            boot: theirs.boot,
            only: texts("only", theirs.only)?.into_iter().map(str::to_owned).collect(),
        })
    }
}

/// Finds out what this machine's libkrun can do, whether a VM could run here, what is in the way and what would mend
/// it. A machine without libkrun is no failure: the report says it.
///
/// options: NULL for all defaults. out: gets the report, which is the caller's, to be freed with krundl_report_free;
/// NULL on failure. error: may be NULL; gets the failure, which is the caller's, to be freed with krundl_error_free, or
/// NULL.
///
/// Threads: any, also at the same time. It waits for a child that opens libkrun, and with `boot` for a guest.
///
/// Errors: KRUNDL_STATUS_INVALID_ARGUMENT, also for a check or a release that there is not.
///
/// # Safety
/// `options` is NULL or points to a structure whose pointers are NULL or as described; `out` and `error` can be written
/// to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_doctor(
    options: *const krundl_doctor_options,
    out: *mut *mut krundl_report,
    error: *mut *mut krundl_error,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        fallible(error, || {
            give(out, || {
                let options = doctor_options(options)?;
                let report = doctor(&options).map_err(|reason| Error::argument("options", reason))?;
                let checks = report.checks.iter().map(CheckTexts::new).collect();
                Ok(krundl_report { report, checks, text: OnceLock::new(), json: OnceLock::new() })
            })
        })
    }
}

/// Frees a report; its texts go with it. report: may be NULL.
///
/// Threads: any, one that no other one uses it with.
///
/// # Safety
/// `report` is NULL or was given by krundl and not freed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_report_free(report: *mut krundl_report) {
    // SAFETY: the caller's promise is the same.
    unsafe { free(report) }
}

/// Whether nothing is in the way; with strict: nor may be. false for NULL.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `report` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_report_is_fine(report: *const krundl_report, strict: bool) -> bool {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(report, false, |report| report.report.is_fine(strict)) }
}

/// The report for people, as `krundl doctor` prints it. NULL for NULL. The text is the report's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `report` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_report_text(report: *const krundl_report) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(report, std::ptr::null(), |report| {
            let text = || owned(&report.report.render(Format::Text(Style::default())));
            report.text.get_or_init(text).as_ptr()
        })
    }
}

/// The report as JSON (docs/doctor.schema.json). NULL for NULL. The text is the report's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `report` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_report_json(report: *const krundl_report) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(report, std::ptr::null(), |report| {
            report.json.get_or_init(|| owned(&report.report.render(Format::Json))).as_ptr()
        })
    }
}

/// The number of checks; 0 for NULL.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `report` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_report_check_count(report: *const krundl_report) -> usize {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(report, 0, |report| report.checks.len()) }
}

/// How a check came out; KRUNDL_CHECK_STATUS_NONE for NULL and an index that there is not. index: from 0.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `report` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_report_check_status(report: *const krundl_report, index: usize) -> krundl_check_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(report, krundl_check_status::None, |report| {
            report.report.checks.get(index).map_or(krundl_check_status::None, |check| match check.status {
                Status::Pass => krundl_check_status::Pass,
                Status::Warn => krundl_check_status::Warn,
                Status::Fail => krundl_check_status::Fail,
                Status::Skip => krundl_check_status::Skip,
                Status::Crash => krundl_check_status::Crash,
            })
        })
    }
}

/// The name of a check, stable across releases (docs/doctor.md); NULL for NULL and an index that there is not. index:
/// from 0. The text is the report's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `report` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_report_check_id(report: *const krundl_report, index: usize) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(report, std::ptr::null(), |report| {
            report.checks.get(index).map_or(std::ptr::null(), |check| check.id.as_ptr())
        })
    }
}

/// What a check is about, where it is made for several things; NULL where not; NULL for an index that there is not.
/// index: from 0. The text is the report's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `report` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_report_check_subject(report: *const krundl_report, index: usize) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(report, std::ptr::null(), |report| {
            report.checks.get(index).map_or(std::ptr::null(), |check| shown(check.subject.as_ref()))
        })
    }
}

/// How a check came out, in a line; NULL for NULL and an index that there is not. index: from 0. The text is the
/// report's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `report` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_report_check_summary(report: *const krundl_report, index: usize) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(report, std::ptr::null(), |report| {
            report.checks.get(index).map_or(std::ptr::null(), |check| check.summary.as_ptr())
        })
    }
}

/// More about it, in lines; NULL where there is no more; NULL for NULL and an index that there is not. index: from 0.
/// The text is the report's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `report` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_report_check_detail(report: *const krundl_report, index: usize) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(report, std::ptr::null(), |report| {
            report.checks.get(index).map_or(std::ptr::null(), |check| shown(check.detail.as_ref()))
        })
    }
}

/// What would mend it, in words and below that the commands; NULL where nothing has to be; NULL for an index that
/// there is not. index: from 0. The text is the report's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `report` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_report_check_fix(report: *const krundl_report, index: usize) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(report, std::ptr::null(), |report| {
            report.checks.get(index).map_or(std::ptr::null(), |check| shown(check.fix.as_ref()))
        })
    }
}
