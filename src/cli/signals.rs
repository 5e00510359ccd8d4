//! What signals to `krundl run` mean: they are meant for the VM.
//!
//! On a terminal whose keys the guest reads, ^C is a byte like any other. Elsewhere the terminal sends SIGINT to
//! krundl and to the VM's process alike, and that one hands it to the workload as ^C; krundl has nothing to add, unless
//! the guest is not up yet and could not hear it.

use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// The VM's process; 0 before it is started.
static VMM: AtomicI32 = AtomicI32::new(0);
/// Whether the guest is up and hears ^C by itself.
static UP: AtomicBool = AtomicBool::new(false);
/// The signal that ended the VM.
static STOPPED: AtomicI32 = AtomicI32::new(0);

/// Catches the signals that ask a program to end.
pub fn catch() {
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        // SAFETY: an all-zero sigaction is a valid one to be filled in; the handler does only what is async-signal-safe
        // (atomics and kill). No SA_RESTART: waiting goes on by itself.
        unsafe {
            let mut action: libc::sigaction = std::mem::zeroed();
            action.sa_sigaction =
                handle as extern "C" fn(libc::c_int, *mut libc::siginfo_t, *mut libc::c_void) as usize;
            action.sa_flags = libc::SA_SIGINFO;
            libc::sigemptyset(&mut action.sa_mask);
            libc::sigaction(signal, &action, std::ptr::null_mut());
        }
    }
}

/// From now on signals go to this process.
pub fn forward_to(vmm: u32) {
    VMM.store(i32::try_from(vmm).unwrap_or(0), Ordering::SeqCst);
    let missed = STOPPED.load(Ordering::SeqCst);
    if missed != 0 {
        stop(missed);
    }
}

/// From now on the guest hears ^C.
pub fn guest_is_up() {
    UP.store(true, Ordering::SeqCst);
}

/// The signal with which the VM was stopped, if it was.
pub fn stopped_by() -> Option<i32> {
    match STOPPED.load(Ordering::SeqCst) {
        0 => None,
        signal => Some(signal),
    }
}

extern "C" fn handle(signal: libc::c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
    if signal != libc::SIGINT || !UP.load(Ordering::SeqCst) {
        stop(signal);
        return;
    }
    // SAFETY: the kernel hands a valid siginfo to a handler with SA_SIGINFO.
    let by_a_process = unsafe { (*info).si_code } <= 0;
    if by_a_process {
        // `kill -INT` reached krundl alone; from the terminal the VM's process has got its own.
        send(signal);
    }
}

fn stop(signal: libc::c_int) {
    STOPPED.store(signal, Ordering::SeqCst);
    send(libc::SIGTERM);
}

fn send(signal: libc::c_int) {
    let vmm = VMM.load(Ordering::SeqCst);
    if vmm > 0 {
        // SAFETY: async-signal-safe; the VM's process is not reaped before krundl is about to end.
        unsafe { libc::kill(vmm, signal) };
    }
}
