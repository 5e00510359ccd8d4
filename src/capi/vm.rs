//! Running VMs.

use std::ffi::{CString, c_char};
use std::os::fd::{AsRawFd, IntoRawFd, OwnedFd};
use std::sync::OnceLock;
use std::time::Duration;

use super::boundary::{asked, fallible, free, infallible, needed, owned, shown};
use super::spec_devices::protocol_of;
use super::{krundl_error, krundl_status};
use crate::error::Result;
use crate::launch::{Asked, Exit, Vm};

/// A VM that runs, or has ended. Any thread may call anything at any time, and one may wait while another one kills;
/// only the last call, krundl_vm_free or krundl_vm_detach, must be alone. It belongs to the process that launched it: in a
/// fork of that everything is refused with KRUNDL_STATUS_INVALID_ARGUMENT, and krundl_vm_free frees the handle alone.
pub struct krundl_vm {
    vm: Vm,
    exit: OnceLock<CString>,
    control: OnceLock<Option<CString>>,
}

/// How a VM ended.
#[repr(i32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum krundl_exit {
    /// It still runs.
    Running = 0,
    /// The workload exited with `status`, 0 to 255.
    Code = 1,
    /// A signal killed the workload; `status` is 128 and its number.
    Signal = 2,
    /// The workload could not be executed; `status` is 127 where there is no such program, else 126.
    NotExecuted = 3,
    /// The caller stopped the VM before the workload had ended; `status` is 128 and the signal's number.
    Stopped = 4,
    /// The VM's process exited with `status`, and this libkrun has no way for the guest to say more.
    Unproved = 5,
}

impl krundl_vm {
    pub(super) fn new(vm: Vm) -> krundl_vm {
        krundl_vm { vm, exit: OnceLock::new(), control: OnceLock::new() }
    }

    /// Writes down how it ended; `None` while it runs.
    ///
    /// # Safety
    /// `kind` and `status` are null or can be written to.
    unsafe fn tell(&self, exit: Option<&Exit>, kind: *mut krundl_exit, status: *mut i32) {
        if let Some(exit) = exit {
            self.exit.get_or_init(|| owned(&exit.to_string()));
        }
        // SAFETY: the caller's promise is the same.
        unsafe { write_exit(exit, kind, status) }
    }

    /// The control port's socket.
    pub(super) fn control(&self) -> Option<&CString> {
        let path = |vm: &Vm| vm.control().map(|path| owned(&path.to_string_lossy()));
        self.control.get_or_init(|| path(&self.vm)).as_ref()
    }
}

/// How something ended; `None` while it runs.
///
/// # Safety
/// `kind` and `status` are null or can be written to.
pub(super) unsafe fn write_exit(exit: Option<&Exit>, kind: *mut krundl_exit, status: *mut i32) {
    let told = match exit {
        None => krundl_exit::Running,
        Some(Exit::Code(_)) => krundl_exit::Code,
        Some(Exit::Signal(_)) => krundl_exit::Signal,
        Some(Exit::NotExecuted { .. }) => krundl_exit::NotExecuted,
        Some(Exit::Stopped(_)) => krundl_exit::Stopped,
        Some(Exit::Unproved(_)) => krundl_exit::Unproved,
    };
    // SAFETY: the caller's promise is the same.
    unsafe {
        if !kind.is_null() {
            kind.write(told);
        }
        if !status.is_null() {
            status.write(exit.map_or(-1, Exit::status));
        }
    }
}

/// A time in milliseconds; a negative one is none.
pub(super) fn timeout(ms: i64) -> Option<Duration> {
    u64::try_from(ms).ok().map(Duration::from_millis)
}

/// Kills a VM that still runs, waits for its process, and frees the handle; its texts go with it. In a child forked after
/// the launch it only frees. vm: may be NULL.
///
/// Threads: any, one that no other one uses it with.
///
/// # Safety
/// `vm` is NULL or was given by krundl and neither freed nor detached yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_vm_free(vm: *mut krundl_vm) {
    // SAFETY: the caller's promise is the same.
    unsafe { free(vm) }
}

/// Frees the handle, as krundl_vm_free does, and lets the VM run on. Returns the number of its process, which the
/// caller has to reap from now on; nobody keeps its log any more. 0 for NULL.
///
/// Threads: any, one that no other one uses it with. Cannot fail.
///
/// # Safety
/// `vm` is NULL or was given by krundl and neither freed nor detached yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_vm_detach(vm: *mut krundl_vm) -> i64 {
    if vm.is_null() {
        return 0;
    }
    // SAFETY: the caller promised where it comes from.
    infallible(0, || i64::from(unsafe { Box::from_raw(vm) }.vm.detach()))
}

/// The number of the VM's process; 0 for NULL.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `vm` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_vm_pid(vm: *const krundl_vm) -> i64 {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(vm, 0, |vm| i64::from(vm.vm.pid())) }
}

/// The number of the host's port that leads to that port of the guest through a network card's own program, also where
/// the spec left it open: known once libkrun has been entered. protocol: "tcp" or "udp". 0 where there is none, and for
/// NULL.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `vm` is NULL or a live handle, `protocol` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_vm_host_port(vm: *const krundl_vm, protocol: *const c_char, guest: u16) -> u16 {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(vm, 0, |vm| {
            let Ok(protocol) = protocol_of("protocol", protocol) else { return 0 };
            let ports = vm.vm.ports();
            let port = ports.iter().find(|port| port.guest == guest && port.protocol == protocol);
            port.map_or(0, |port| port.host)
        })
    }
}

/// A descriptor that becomes readable when the VM's process ends, for poll and the like; -1 for NULL and where the
/// kernel has none (Linux before 5.3). It is the VM's own: it must not be closed, and goes with the handle.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `vm` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_vm_pidfd(vm: *const krundl_vm) -> i32 {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(vm, -1, |vm| vm.vm.pidfd().map_or(-1, |fd| fd.as_raw_fd())) }
}

/// The write end of the workload's standard input where that is KRUNDL_STREAM_PIPE, once: the descriptor is the
/// caller's, who closes it. -1 for NULL, where there is none or it was taken, and when the VM has ended.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `vm` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_vm_take_input(vm: *const krundl_vm) -> i32 {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(vm, -1, |vm| taken(vm.vm.take_stdin())) }
}

/// The read end of the workload's standard output where that is KRUNDL_STREAM_PIPE, once: the descriptor is the
/// caller's, who closes it. -1 for NULL, and where there is none or it was taken.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `vm` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_vm_take_output(vm: *const krundl_vm) -> i32 {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(vm, -1, |vm| taken(vm.vm.take_stdout())) }
}

/// The read end of the workload's standard error where that is KRUNDL_STREAM_PIPE, once: the descriptor is the
/// caller's, who closes it. -1 for NULL, and where there is none or it was taken.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `vm` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_vm_take_error(vm: *const krundl_vm) -> i32 {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(vm, -1, |vm| taken(vm.vm.take_stderr())) }
}

fn taken(pipe: Option<impl Into<OwnedFd>>) -> i32 {
    pipe.map_or(-1, |pipe| pipe.into().into_raw_fd())
}

/// What libkrun has written so far, at most about 128 KiB, the middle left out: copies what fits into buffer and
/// returns the number of all bytes, of which no NUL is the last. It may contain any bytes.
///
/// buffer: may be NULL where size is 0; it stays the caller's. size: its size in bytes. 0 for a vm that is NULL.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `vm` is NULL or a live handle; `size` bytes can be written to `buffer`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_vm_log(vm: *const krundl_vm, buffer: *mut c_char, size: usize) -> usize {
    infallible(0, || {
        // SAFETY: the caller's promise is the same.
        let Some(vm) = (unsafe { vm.as_ref() }) else { return 0 };
        let log = vm.vm.log();
        if !buffer.is_null() {
            // SAFETY: so many bytes are there and can be written, and the two do not overlap.
            unsafe { std::ptr::copy_nonoverlapping(log.as_ptr(), buffer.cast(), log.len().min(size)) };
        }
        log.len()
    })
}

/// Waits for the guest's first word: everything is mounted and the workload runs.
///
/// vm: not NULL. timeout_ms: how long, in milliseconds; negative: without end. error: may be NULL; gets the failure,
/// which is the caller's, to be freed with krundl_error_free, or NULL.
///
/// Threads: any, also at the same time.
///
/// Errors: KRUNDL_STATUS_TIMED_OUT; KRUNDL_STATUS_READINESS_UNKNOWN where this libkrun has no channel; whatever ended
/// the VM before: KRUNDL_STATUS_START, KRUNDL_STATUS_CRASHED, KRUNDL_STATUS_NEVER_UP, KRUNDL_STATUS_GUEST_SETUP;
/// KRUNDL_STATUS_OS, KRUNDL_STATUS_INVALID_ARGUMENT.
///
/// # Safety
/// `vm` is NULL or a live handle; `error` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_vm_wait_ready(
    vm: *const krundl_vm,
    timeout_ms: i64,
    error: *mut *mut krundl_error,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe { fallible(error, || needed("vm", vm)?.vm.wait_ready(timeout(timeout_ms))) }
}

/// Waits until the VM has ended and says how. When the time is over, that is no failure: kind is KRUNDL_EXIT_RUNNING.
///
/// vm: not NULL. timeout_ms: how long, in milliseconds; negative: without end; 0: not at all. kind: may be NULL; gets
/// how it ended. status: may be NULL; gets the status as a shell would put it, -1 while it runs. error: may be NULL;
/// gets the failure, which is the caller's, to be freed with krundl_error_free, or NULL.
///
/// Threads: any, also at the same time. It can be asked again afterwards.
///
/// Errors: where the workload's end is not on the guest's word: KRUNDL_STATUS_START, KRUNDL_STATUS_CRASHED,
/// KRUNDL_STATUS_NEVER_UP, KRUNDL_STATUS_GUEST_SETUP, KRUNDL_STATUS_GUEST_LOST; KRUNDL_STATUS_OS,
/// KRUNDL_STATUS_INVALID_ARGUMENT.
///
/// # Safety
/// `vm` is NULL or a live handle; `kind`, `status` and `error` are NULL or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_vm_wait(
    vm: *const krundl_vm,
    timeout_ms: i64,
    kind: *mut krundl_exit,
    status: *mut i32,
    error: *mut *mut krundl_error,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        fallible(error, || {
            let vm = needed("vm", vm)?;
            let exit = match timeout(timeout_ms) {
                Some(timeout) => vm.vm.wait_timeout(timeout)?,
                None => Some(vm.vm.wait()?),
            };
            vm.tell(exit.as_ref(), kind, status);
            Ok(())
        })
    }
}

/// Asks the workload to end: krundl's program in the guest sends it SIGTERM, and what it makes of that is told by
/// krundl_vm_wait. Where nobody there can hear (it is not up yet, or has no channel) the VM's process gets SIGTERM
/// instead, which ends it at once. A VM that has ended is no error.
///
/// vm: not NULL. workload: may be NULL; gets whether the workload was asked. error: may be NULL; gets the failure,
/// which is the caller's, to be freed with krundl_error_free, or NULL.
///
/// Threads: any, also while others wait. Errors: KRUNDL_STATUS_OS, KRUNDL_STATUS_INVALID_ARGUMENT.
///
/// # Safety
/// `vm` is NULL or a live handle; `workload` and `error` are NULL or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_vm_terminate(
    vm: *const krundl_vm,
    workload: *mut bool,
    error: *mut *mut krundl_error,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        fallible(error, || {
            let asked = needed("vm", vm)?.vm.terminate()?;
            if !workload.is_null() {
                workload.write(asked == Asked::Workload);
            }
            Ok(())
        })
    }
}

/// Presses ^C, as a terminal would: libkrun hands a SIGINT of its process to the guest's console, where it reaches the
/// workload if the workload's streams are there. What comes of it is told by krundl_vm_wait. A VM that has ended is no
/// error.
///
/// vm: not NULL. error: may be NULL; gets the failure, which is the caller's, to be freed with krundl_error_free, or
/// NULL.
///
/// Threads: any, also while others wait. Errors: KRUNDL_STATUS_OS, KRUNDL_STATUS_INVALID_ARGUMENT.
///
/// # Safety
/// `vm` is NULL or a live handle; `error` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_vm_interrupt(vm: *const krundl_vm, error: *mut *mut krundl_error) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe { fallible(error, || needed("vm", vm)?.vm.interrupt()) }
}

/// Kills the VM's process (SIGKILL); the guest is not asked. A VM that has ended is no error.
///
/// vm: not NULL. error: may be NULL; gets the failure, which is the caller's, to be freed with krundl_error_free, or
/// NULL.
///
/// Threads: any, also while others wait. Errors: KRUNDL_STATUS_OS, KRUNDL_STATUS_INVALID_ARGUMENT.
///
/// # Safety
/// `vm` is NULL or a live handle; `error` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_vm_kill(vm: *const krundl_vm, error: *mut *mut krundl_error) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe { fallible(error, || needed("vm", vm)?.vm.kill()) }
}

/// Ends the VM and waits for it: as krundl_vm_terminate, and as krundl_vm_kill when it still runs after the grace.
///
/// vm: not NULL. grace_ms: in milliseconds; negative counts as 0. kind, status, error: as for krundl_vm_wait.
///
/// Threads: any, also while others wait. Errors: as for krundl_vm_terminate and krundl_vm_wait.
///
/// # Safety
/// `vm` is NULL or a live handle; `kind`, `status` and `error` are NULL or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_vm_stop(
    vm: *const krundl_vm,
    grace_ms: i64,
    kind: *mut krundl_exit,
    status: *mut i32,
    error: *mut *mut krundl_error,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        fallible(error, || {
            let vm = needed("vm", vm)?;
            let stop = || -> Result<Exit> { vm.vm.stop(timeout(grace_ms).unwrap_or_default()) };
            vm.tell(Some(&stop()?), kind, status);
            Ok(())
        })
    }
}

/// How it ended, for people, such as "the workload exited with status 7": once krundl_vm_wait or krundl_vm_stop has
/// said it; NULL before that, after a failure, and for NULL. The text is the VM's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `vm` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_vm_exit_text(vm: *const krundl_vm) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(vm, std::ptr::null(), |vm| shown(vm.exit.get())) }
}
