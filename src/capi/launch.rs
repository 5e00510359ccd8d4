//! Launching.

use std::ffi::c_char;
use std::fs::File;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use super::boundary::{fallible, give, needed, optional_path, options};
use super::{krundl_error, krundl_plan, krundl_status, krundl_vm};
use crate::error::{Error, Result};
use crate::launch::{LaunchOptions, LogTarget, Stream, launch};

/// Where one of the workload's standard streams goes.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum krundl_stream {
    /// Where the caller's own goes.
    Inherit = 0,
    /// Nowhere; reading gives the end at once.
    Null = 1,
    /// Into a pipe, whose other end krundl_vm_take_input, _output or _error gives.
    Pipe = 2,
    /// To the descriptor that the options name.
    Descriptor = 3,
}

/// How a VM's process is started. Zeroes are the defaults: `krundl_launch_options options = {.struct_size = sizeof
/// options};`. Descriptors are copied and stay the caller's.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct krundl_launch_options {
    /// sizeof(krundl_launch_options), so that fields can be added.
    pub struct_size: usize,
    /// The helper program krundl-vmm; NULL: KRUNDL_VMM, then a search.
    pub helper: *const c_char,
    /// The workload's standard input: a krundl_stream.
    pub input: i32,
    /// Its descriptor, for KRUNDL_STREAM_DESCRIPTOR.
    pub input_fd: i32,
    /// The workload's standard output: a krundl_stream.
    pub output: i32,
    /// Its descriptor, for KRUNDL_STREAM_DESCRIPTOR.
    pub output_fd: i32,
    /// The workload's standard error: a krundl_stream.
    pub error: i32,
    /// Its descriptor, for KRUNDL_STREAM_DESCRIPTOR.
    pub error_fd: i32,
    /// The file that libkrun's log is added to, for KRUNDL_STREAM_DESCRIPTOR in `log`.
    pub log_fd: i32,
    /// libkrun's log: KRUNDL_STREAM_INHERIT keeps it for krundl_vm_log (or in the spec's log_file),
    /// KRUNDL_STREAM_DESCRIPTOR adds it to the file log_fd.
    pub log: i32,
    /// How long it may take until libkrun is entered, in milliseconds; 0: 30 seconds.
    pub start_timeout_ms: u64,
    /// Whether the VM dies with this process, however that ends.
    pub die_with_parent: bool,
    /// Whether the VM's process leads a session of its own, away from the caller's terminal and its signals.
    pub new_session: bool,
}

impl Default for krundl_launch_options {
    fn default() -> krundl_launch_options {
        krundl_launch_options {
            struct_size: 0,
            helper: std::ptr::null(),
            input: 0,
            input_fd: 0,
            output: 0,
            output_fd: 0,
            error: 0,
            error_fd: 0,
            log_fd: 0,
            log: 0,
            start_timeout_ms: 0,
            die_with_parent: false,
            new_session: false,
        }
    }
}

fn stream(option: &str, kind: i32, fd: i32) -> Result<Stream> {
    Ok(match kind {
        0 => Stream::Inherit,
        1 => Stream::Null,
        2 => Stream::Piped,
        3 => Stream::Fd(copy(option, fd)?),
        _ => return Err(Error::argument(option, format!("{kind} is no krundl_stream"))),
    })
}

pub(super) fn copy(option: &str, fd: i32) -> Result<OwnedFd> {
    if fd < 0 {
        return Err(Error::argument(format!("{option}_fd"), format!("{fd} is no descriptor")));
    }
    // SAFETY: it is borrowed for this call only; a number that is not open is an error.
    let copied = unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned();
    copied.map_err(|error| Error::argument(format!("{option}_fd"), format!("descriptor {fd}: {error}")))
}

/// # Safety
/// As for [`krundl_launch`].
unsafe fn launch_options(theirs: *const krundl_launch_options) -> Result<LaunchOptions> {
    // SAFETY: the caller's promise is the same.
    let (theirs, helper) = unsafe {
        let theirs = options("options", theirs)?;
        (theirs, optional_path(theirs.helper))
    };
    let defaults = LaunchOptions::default();
    Ok(LaunchOptions {
        helper,
        stdin: stream("input", theirs.input, theirs.input_fd)?,
        stdout: stream("output", theirs.output, theirs.output_fd)?,
        stderr: stream("error", theirs.error, theirs.error_fd)?,
        log: match theirs.log {
            0 => LogTarget::Captured,
            3 => LogTarget::File(File::from(copy("log", theirs.log_fd)?)),
            kind => return Err(Error::argument("log", format!("a log cannot go to the krundl_stream {kind}"))),
        },
        die_with_parent: theirs.die_with_parent,
        new_session: theirs.new_session,
        start_timeout: match theirs.start_timeout_ms {
            0 => defaults.start_timeout,
            ms => Duration::from_millis(ms),
        },
    })
}

/// Starts a VM in a child process. Returns when libkrun has been entered: every call before that was accepted. Whether
/// the guest comes up is told by krundl_vm_wait_ready, how it ends by krundl_vm_wait.
///
/// plan: not NULL; it stays the caller's and can be launched again. options: NULL for all defaults. out: gets the VM,
/// which is the caller's, to be freed with krundl_vm_free or krundl_vm_detach; NULL on failure. error: may be NULL;
/// gets the failure, which is the caller's, to be freed with krundl_error_free, or NULL.
///
/// Threads: any, also at the same time with one plan. The VM's process is a child of this one; krundl reaps it.
///
/// Errors: KRUNDL_STATUS_CALL, KRUNDL_STATUS_CRASHED, KRUNDL_STATUS_LIBRARY_CHANGED, KRUNDL_STATUS_TIMED_OUT,
/// KRUNDL_STATUS_HELPER_NOT_FOUND, KRUNDL_STATUS_HELPER_MISMATCH, KRUNDL_STATUS_HELPER_FAILED, KRUNDL_STATUS_OS,
/// KRUNDL_STATUS_INVALID_ARGUMENT. Nothing is left running then.
///
/// # Safety
/// `plan` is NULL or a live handle; `options` is NULL or points to a structure whose texts are NULL or C strings; `out`
/// and `error` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_launch(
    plan: *const krundl_plan,
    options: *const krundl_launch_options,
    out: *mut *mut krundl_vm,
    error: *mut *mut krundl_error,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        fallible(error, || {
            give(out, || {
                let plan = needed("plan", plan)?;
                let options = launch_options(options)?;
                Ok(krundl_vm::new(launch(plan.prepared.try_clone()?, options)?))
            })
        })
    }
}
