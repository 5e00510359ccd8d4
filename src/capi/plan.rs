//! Plans: the calls that a VM takes, or every reason why not.

use std::ffi::{CString, c_char};
use std::sync::OnceLock;

use super::boundary::{asked, fallible, free, give, needed, owned, shown, text};
use super::{krundl_error, krundl_probe, krundl_spec, krundl_status};
use crate::child::enter;
use crate::launch::{Prepared, prepare_json, prepare_parsed};

/// An ordered list of calls, with everything open that was checked for it. It does not change: any thread may read and
/// launch it, any number of times.
pub struct krundl_plan {
    pub(super) prepared: Prepared,
    /// Made when they are asked for: most plans are launched and never shown.
    arguments: OnceLock<Vec<CString>>,
    notes: Vec<CString>,
    text: OnceLock<CString>,
    json: OnceLock<CString>,
}

impl krundl_plan {
    fn new(prepared: Prepared) -> krundl_plan {
        let plan = &prepared.plan;
        krundl_plan {
            arguments: OnceLock::new(),
            notes: plan.notes.iter().map(|note| owned(note)).collect(),
            text: OnceLock::new(),
            json: OnceLock::new(),
            prepared,
        }
    }
}

/// Checks a spec against this host and negotiates it with a libkrun: a plan, or every reason why not in one answer,
/// those that the setters of the spec have noted among them.
///
/// probe, spec: not NULL; they stay the caller's, and the plan does not need them any more. out: gets the plan, which
/// is the caller's, to be freed with krundl_plan_free; NULL on failure. error: may be NULL; gets the failure, which is
/// the caller's, to be freed with krundl_error_free, or NULL.
///
/// Threads: any, also at the same time with one probe. The plan keeps some file descriptors open, all close-on-exec.
///
/// Errors: KRUNDL_STATUS_INVALID_SPEC and KRUNDL_STATUS_UNSUPPORTED with every problem, KRUNDL_STATUS_INVALID_ARGUMENT.
///
/// # Safety
/// `probe` and `spec` are NULL or live handles; `out` and `error` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_plan_new(
    probe: *const krundl_probe,
    spec: *const krundl_spec,
    out: *mut *mut krundl_plan,
    error: *mut *mut krundl_error,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        fallible(error, || {
            give(out, || {
                let (probe, spec) = (needed("probe", probe)?, needed("spec", spec)?);
                prepare_parsed(&spec.parsed, &probe.probed.capabilities).map(krundl_plan::new)
            })
        })
    }
}

/// The same from a spec as JSON (docs/spec.md): mistakes of the text, of the host and of the library in one answer.
///
/// probe, json: not NULL; they stay the caller's. out and error: as for krundl_plan_new.
///
/// Threads: any, also at the same time with one probe.
///
/// Errors: as for krundl_plan_new.
///
/// # Safety
/// `probe` is NULL or a live handle, `json` NULL or a C string; `out` and `error` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_plan_from_json(
    probe: *const krundl_probe,
    json: *const c_char,
    out: *mut *mut krundl_plan,
    error: *mut *mut krundl_error,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        fallible(error, || {
            give(out, || {
                let (probe, json) = (needed("probe", probe)?, text("json", json)?);
                prepare_json(json, &probe.probed.capabilities).map(krundl_plan::new)
            })
        })
    }
}

/// Checks a spec as krundl_plan_new does and keeps nothing: no plan, no open file descriptors. Success says that nothing
/// is in the way.
///
/// probe, spec: not NULL; they stay the caller's. error: may be NULL; gets every problem, and is the caller's, to be freed
/// with krundl_error_free, or NULL.
///
/// Threads: any, also at the same time with one probe.
///
/// Errors: as for krundl_plan_new.
///
/// # Safety
/// `probe` and `spec` are NULL or live handles; `error` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_check(
    probe: *const krundl_probe,
    spec: *const krundl_spec,
    error: *mut *mut krundl_error,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        fallible(error, || {
            let (probe, spec) = (needed("probe", probe)?, needed("spec", spec)?);
            prepare_parsed(&spec.parsed, &probe.probed.capabilities).map(drop)
        })
    }
}

/// The same for a spec as JSON (docs/spec.md).
///
/// probe, json: not NULL; they stay the caller's. error: as for krundl_check.
///
/// Threads: any, also at the same time with one probe.
///
/// Errors: as for krundl_plan_new.
///
/// # Safety
/// `probe` is NULL or a live handle, `json` NULL or a C string; `error` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_check_json(
    probe: *const krundl_probe,
    json: *const c_char,
    error: *mut *mut krundl_error,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        fallible(error, || {
            let (probe, json) = (needed("probe", probe)?, text("json", json)?);
            prepare_json(json, &probe.probed.capabilities).map(drop)
        })
    }
}

/// Frees a plan; its texts go with it, VMs launched with it stay. plan: may be NULL.
///
/// Threads: any, one that no other one uses it with.
///
/// # Safety
/// `plan` is NULL or was given by krundl and not freed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_plan_free(plan: *mut krundl_plan) {
    // SAFETY: the caller's promise is the same.
    unsafe { free(plan) }
}

/// Carries out a plan in this very process, which becomes the VM's: for a child that the caller has forked, and for
/// programs that exist to run one VM. Comes back only when that failed. libkrun ends the process with the workload's
/// status, or with 0 whatever happened where the root is on a disk: nobody hears the guest's own word. libkrun's own
/// words go to standard error, or to the spec's log_file. Sockets that the spec makes libkrun listen on are left
/// behind.
///
/// plan: not NULL; it stays the caller's. error: may be NULL; gets the failure, which is the caller's, to be freed with
/// krundl_error_free.
///
/// Threads: in a process with several threads, only in a child that was forked while no other thread was inside krundl.
/// After a failure tell of it and exit: the standard streams may be rearranged, and libkrun stays loaded.
///
/// Errors: KRUNDL_STATUS_CALL, KRUNDL_STATUS_START, KRUNDL_STATUS_LIBRARY_CHANGED, KRUNDL_STATUS_HELPER_FAILED,
/// KRUNDL_STATUS_OS, KRUNDL_STATUS_INVALID_ARGUMENT. What libkrun does wrong besides, it does to this process.
///
/// # Safety
/// `plan` is NULL or a live handle; `error` can be written to; libkrun's constructors run here.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_plan_enter(plan: *const krundl_plan, error: *mut *mut krundl_error) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        fallible(error, || {
            let prepared = needed("plan", plan)?.prepared.try_clone()?;
            Err(enter(prepared))
        })
    }
}

/// The plan for people, as `krundl plan` prints it: the library, the calls, what happens in the guest, notes. NULL
/// for NULL. The text is the plan's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `plan` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_plan_text(plan: *const krundl_plan) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(plan, std::ptr::null(), |plan| plan.text.get_or_init(|| owned(&plan.prepared.plan.to_string())).as_ptr())
    }
}

/// The plan as JSON, as `krundl plan --json` prints it. NULL for NULL. The text is the plan's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `plan` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_plan_json(plan: *const krundl_plan) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(plan, std::ptr::null(), |plan| {
            let json =
                || serde_json::to_string_pretty(&plan.prepared.plan).map(|json| owned(&json)).unwrap_or_default();
            plan.json.get_or_init(json).as_ptr()
        })
    }
}

/// The number of calls; 0 for NULL.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `plan` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_plan_call_count(plan: *const krundl_plan) -> usize {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(plan, 0, |plan| plan.prepared.plan.calls.len()) }
}

/// The function that a call is of, such as "krun_add_virtiofs3"; NULL for NULL and an index that there is not. index:
/// from 0. The text is the plan's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `plan` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_plan_call_function(plan: *const krundl_plan, index: usize) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(plan, std::ptr::null(), |plan| {
            let call = plan.prepared.plan.calls.get(index);
            call.map_or(std::ptr::null(), |call| call.function().c_name().as_ptr())
        })
    }
}

/// Its arguments for people, such as `tag: "mount0", dir: "/srv/data", shm_size: 0, read_only: true`; NULL for an
/// index that there is not. index: from 0. The text is the plan's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `plan` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_plan_call_arguments(plan: *const krundl_plan, index: usize) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(plan, std::ptr::null(), |plan| {
            let all = || plan.prepared.plan.calls.iter().map(|call| owned(&call.args())).collect();
            shown(plan.arguments.get_or_init(all).get(index))
        })
    }
}

/// The number of notes on what happens on the way that the user may not expect; 0 for NULL.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `plan` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_plan_note_count(plan: *const krundl_plan) -> usize {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(plan, 0, |plan| plan.notes.len()) }
}

/// A note; NULL for NULL and an index that there is not. index: from 0. The text is the plan's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `plan` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_plan_note(plan: *const krundl_plan, index: usize) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(plan, std::ptr::null(), |plan| plan.notes.get(index).map_or(std::ptr::null(), |note| note.as_ptr()))
    }
}
