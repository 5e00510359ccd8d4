//! Failures as objects.

use std::ffi::{CString, c_char};
use std::sync::OnceLock;

use super::boundary::{asked, free, owned, shown};
use super::krundl_status;
use crate::error::{Attempt, Error, Problem};

/// Why a call failed: everything that krundl knows about it. It does not change, so any thread may read it.
pub struct krundl_error {
    error: Error,
    pub(super) message: CString,
    json: OnceLock<CString>,
    words: Option<CString>,
    function: Option<CString>,
    problems: Vec<ProblemTexts>,
    attempts: Vec<AttemptTexts>,
}

struct ProblemTexts {
    kind: CString,
    field: CString,
    reason: CString,
    function: Option<CString>,
    since: Option<CString>,
    built_with: Option<CString>,
    fix: Option<CString>,
}

impl ProblemTexts {
    fn new(problem: &Problem) -> ProblemTexts {
        let needs = problem.needs.as_ref();
        ProblemTexts {
            kind: word(&problem.kind),
            field: owned(&problem.field),
            reason: owned(&problem.reason),
            function: needs.map(|needs| owned(needs.function.name())),
            since: needs.map(|needs| owned(&needs.since)),
            built_with: needs.and_then(|needs| needs.built_with.as_deref()).map(owned),
            fix: problem.fix.as_deref().map(owned),
        }
    }
}

/// A candidate in the search for libkrun, for an error and for a probe.
pub(super) struct AttemptTexts {
    pub candidate: CString,
    pub origin: CString,
    pub kind: Option<CString>,
    pub message: Option<CString>,
}

impl AttemptTexts {
    pub(super) fn all(attempts: &[Attempt]) -> Vec<AttemptTexts> {
        let texts = |attempt: &Attempt| AttemptTexts {
            candidate: owned(&attempt.candidate),
            origin: word(&attempt.origin),
            kind: attempt.error.as_ref().map(|error| word(&error.kind)),
            message: attempt.error.as_ref().map(|error| owned(&error.message)),
        };
        attempts.iter().map(texts).collect()
    }
}

/// A value's name in JSON.
pub(super) fn word(value: &impl serde::Serialize) -> CString {
    let value = serde_json::to_value(value).unwrap_or_default();
    owned(value.as_str().unwrap_or_default())
}

impl krundl_error {
    pub(super) fn new(error: Error) -> krundl_error {
        krundl_error {
            message: owned(&error.to_string()),
            json: OnceLock::new(),
            words: error.words().map(|words| words.as_str()).filter(|words| !words.is_empty()).map(owned),
            function: error.function().map(|function| owned(function.name())),
            problems: error.problems().iter().map(ProblemTexts::new).collect(),
            attempts: AttemptTexts::all(error.attempts()),
            error,
        }
    }
}

/// Frees an error; its texts go with it. error: may be NULL.
///
/// Threads: any, one that no other one uses it with.
///
/// # Safety
/// `error` is NULL or was given by krundl and not freed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_error_free(error: *mut krundl_error) {
    // SAFETY: the caller's promise is the same.
    unsafe { free(error) }
}

/// The status that came with the error; KRUNDL_STATUS_OK for NULL.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `error` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_error_status(error: *const krundl_error) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(error, krundl_status::Ok, |error| krundl_status::of(error.error.code())) }
}

/// What went wrong and what would mend it, for people: one or more lines. NULL for NULL. The text is the error's
/// own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `error` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_error_message(error: *const krundl_error) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(error, std::ptr::null(), |error| error.message.as_ptr()) }
}

/// The error as JSON: an object with `error` (code, name, message), `problems` and, where there are any,
/// `attempts`. NULL for NULL. The text is the error's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `error` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_error_json(error: *const krundl_error) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(error, std::ptr::null(), |error| error.json.get_or_init(|| owned(&error.error.to_json())).as_ptr()) }
}

/// What libkrun, its process or the guest's kernel wrote, without control characters, at most about 4 KiB; NULL
/// where there is nothing. The text is the error's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `error` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_error_words(error: *const krundl_error) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(error, std::ptr::null(), |error| shown(error.words.as_ref())) }
}

/// The function of libkrun that refused, or during which its process died or was given up; NULL where there is
/// none. The text is the error's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `error` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_error_function(error: *const krundl_error) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(error, std::ptr::null(), |error| shown(error.function.as_ref())) }
}

/// The positive errno that libkrun or the operating system gave; 0 where there is none
/// and for NULL.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `error` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_error_errno(error: *const krundl_error) -> i32 {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(error, 0, |error| error.error.errno().unwrap_or(0)) }
}

/// The number of problems, which only KRUNDL_STATUS_INVALID_SPEC and KRUNDL_STATUS_UNSUPPORTED have; 0 for NULL.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `error` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_error_problem_count(error: *const krundl_error) -> usize {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(error, 0, |error| error.problems.len()) }
}

/// Whose fault a problem is: "invalid" (the spec's own), "host" (it does not fit this host), "unsupported" (this
/// libkrun cannot do it), "not_offered" (krundl does not); NULL for NULL and an index that there is not. index: from 0.
/// The text is the error's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `error` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_error_problem_kind(error: *const krundl_error, index: usize) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(error, std::ptr::null(), |error| {
            error.problems.get(index).map_or(std::ptr::null(), |problem| problem.kind.as_ptr())
        })
    }
}

/// The field of the spec that a problem is about, such as "mounts[0].read_only"; NULL for an index that there is
/// not. index: from 0. The text is the error's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `error` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_error_problem_field(error: *const krundl_error, index: usize) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(error, std::ptr::null(), |error| {
            error.problems.get(index).map_or(std::ptr::null(), |problem| problem.field.as_ptr())
        })
    }
}

/// Why, in a sentence; NULL for NULL and an index that there is not. index: from 0. The text is the error's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `error` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_error_problem_reason(error: *const krundl_error, index: usize) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(error, std::ptr::null(), |error| {
            error.problems.get(index).map_or(std::ptr::null(), |problem| problem.reason.as_ptr())
        })
    }
}

/// The function of libkrun that is missing; NULL where none is; NULL for NULL and an index that there is not. index:
/// from 0. The text is the error's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `error` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_error_problem_function(error: *const krundl_error, index: usize) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(error, std::ptr::null(), |error| {
            error.problems.get(index).map_or(std::ptr::null(), |problem| shown(problem.function.as_ref()))
        })
    }
}

/// The first release of libkrun that has that function, such as "1.18.0"; NULL where none is missing; NULL for an
/// index that there is not. index: from 0. The text is the error's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `error` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_error_problem_since(error: *const krundl_error, index: usize) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(error, std::ptr::null(), |error| {
            error.problems.get(index).map_or(std::ptr::null(), |problem| shown(problem.since.as_ref()))
        })
    }
}

/// What libkrun must be built with for that function; NULL where every build has it; NULL for an index that there
/// is not. index: from 0. The text is the error's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `error` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_error_problem_built_with(error: *const krundl_error, index: usize) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(error, std::ptr::null(), |error| {
            error.problems.get(index).map_or(std::ptr::null(), |problem| shown(problem.built_with.as_ref()))
        })
    }
}

/// What would mend it; NULL where that is not known; NULL for NULL and an index that there is not. index: from 0. The
/// text is the error's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `error` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_error_problem_fix(error: *const krundl_error, index: usize) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(error, std::ptr::null(), |error| {
            error.problems.get(index).map_or(std::ptr::null(), |problem| shown(problem.fix.as_ref()))
        })
    }
}

/// The number of candidates for libkrun that were tried, which only KRUNDL_STATUS_LIBRARY_NOT_FOUND has; 0 for
/// NULL.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `error` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_error_attempt_count(error: *const krundl_error) -> usize {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(error, 0, |error| error.attempts.len()) }
}

/// A candidate: a path, or a soname for the system's loader; NULL for NULL and an index that there is not. index: from
/// 0. The text is the error's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `error` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_error_attempt_candidate(error: *const krundl_error, index: usize) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(error, std::ptr::null(), |error| {
            error.attempts.get(index).map_or(std::ptr::null(), |attempt| attempt.candidate.as_ptr())
        })
    }
}

/// Why it was tried: "explicit", "env_library", "directory", "env_directory", "loader", "well_known", "bundled"; NULL
/// for an index that there is not. index: from 0. The text is the error's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `error` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_error_attempt_origin(error: *const krundl_error, index: usize) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(error, std::ptr::null(), |error| {
            error.attempts.get(index).map_or(std::ptr::null(), |attempt| attempt.origin.as_ptr())
        })
    }
}

/// Why it was not it: "missing", "unreadable", "not_a_library", "wrong_architecture", "missing_dependency",
/// "not_libkrun", "crashed", "refused"; NULL for the chosen one; NULL for NULL and an index that there is not. index:
/// from 0. The text is the error's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `error` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_error_attempt_kind(error: *const krundl_error, index: usize) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(error, std::ptr::null(), |error| {
            error.attempts.get(index).map_or(std::ptr::null(), |attempt| shown(attempt.kind.as_ref()))
        })
    }
}

/// The loader's own words, or what was found in the file; NULL for the chosen one; NULL for an index that there is
/// not. index: from 0. The text is the error's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `error` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_error_attempt_message(error: *const krundl_error, index: usize) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(error, std::ptr::null(), |error| {
            error.attempts.get(index).map_or(std::ptr::null(), |attempt| shown(attempt.message.as_ref()))
        })
    }
}
