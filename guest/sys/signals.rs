//! Signals.

use std::ffi::c_int;

pub const SIGHUP: c_int = 1;
pub const SIGINT: c_int = 2;
pub const SIGQUIT: c_int = 3;
pub const SIGKILL: c_int = 9;
pub const SIGTERM: c_int = 15;
pub const SIGCHLD: c_int = 17;
pub const SIGCONT: c_int = 18;
pub const SIGTSTP: c_int = 20;
pub const SIGTTIN: c_int = 21;
pub const SIGTTOU: c_int = 22;

const SIGNALS: c_int = 64;
const SIG_DFL: usize = 0;
const SIG_IGN: usize = 1;
const SIG_SETMASK: c_int = 2;

/// As large as the C library's: glibc and musl both have room for 1024 signals.
#[repr(C)]
struct SigSet([u64; 16]);

unsafe extern "C" {
    fn kill(pid: c_int, signal: c_int) -> c_int;
    fn signal(signal: c_int, handler: usize) -> usize;
    fn sigprocmask(how: c_int, set: *const SigSet, old: *mut SigSet) -> c_int;
}

/// Whether there is a signal of this number.
pub fn is_signal(number: c_int) -> bool {
    (1..=SIGNALS).contains(&number)
}

/// Ignores a signal.
pub fn ignore(number: c_int) {
    // SAFETY: SIG_IGN is a valid disposition for every signal.
    unsafe { signal(number, SIG_IGN) };
}

/// Calls a function on a signal; system calls that it interrupts go on.
pub fn on_signal(number: c_int, handler: extern "C" fn(c_int)) {
    // SAFETY: the handler has the signature that the kernel calls; each one here makes async-signal-safe calls only.
    unsafe { signal(number, handler as *const () as usize) };
}

/// Gives a signal its default disposition.
pub fn default_signal(number: c_int) {
    // SAFETY: SIG_DFL is a valid disposition; where none can be set the call fails without any effect.
    unsafe { signal(number, SIG_DFL) };
}

/// Gives every signal its default disposition.
pub fn default_signals() {
    (1..=SIGNALS).for_each(default_signal);
}

/// Blocks no signal.
pub fn unblock_signals() {
    let none = SigSet([0; 16]);
    // SAFETY: a whole signal set, and NULL for the old one, which is not wanted.
    unsafe { sigprocmask(SIG_SETMASK, &none, std::ptr::null_mut()) };
}

/// Sends a signal. Async-signal-safe.
pub fn send_signal(pid: c_int, number: c_int) {
    // SAFETY: plain integers.
    unsafe { kill(pid, number) };
}
