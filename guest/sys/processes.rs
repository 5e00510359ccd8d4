//! Processes: their beginning, what they become, their end.

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_uint};
use std::io::{Error, Result};
use std::os::fd::{FromRawFd, OwnedFd};
use std::process::ExitStatus;

use super::{EINVAL, check};

const WUNTRACED: c_int = 2;
const SYS_PIDFD_OPEN: c_long = 434;

unsafe extern "C" {
    fn fork() -> c_int;
    fn execve(path: *const c_char, argv: *const *const c_char, envp: *const *const c_char) -> c_int;
    fn _exit(status: c_int) -> !;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn setpgid(pid: c_int, group: c_int) -> c_int;
    fn setsid() -> c_int;
    fn setgroups(count: usize, groups: *const c_uint) -> c_int;
    fn setgid(gid: c_uint) -> c_int;
    fn setuid(uid: c_uint) -> c_int;
    fn chdir(path: *const c_char) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
}

/// Splits the process in two; 0 in the child, which may make async-signal-safe calls only: other threads of the parent
/// may have held locks.
pub fn split() -> Result<c_int> {
    // SAFETY: the callers keep to it until they become another program.
    check(unsafe { fork() })
}

/// Waits until the child ends or stops.
pub fn wait_for(pid: c_int) -> Result<ExitStatus> {
    use std::os::unix::process::ExitStatusExt;
    let mut status = 0;
    loop {
        // SAFETY: the status outlives the call.
        match check(unsafe { waitpid(pid, &mut status, WUNTRACED) }) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            result => return result.map(|_| ExitStatus::from_raw(status)),
        }
    }
}

/// A descriptor that becomes readable when the process ends.
pub fn open_process(pid: c_int) -> Result<OwnedFd> {
    // SAFETY: plain integers; what is returned is new and nobody else's.
    unsafe {
        let fd = syscall(SYS_PIDFD_OPEN, c_long::from(pid), 0 as c_long);
        Ok(OwnedFd::from_raw_fd(check(c_int::try_from(fd).unwrap_or(-1))?))
    }
}

/// Enters a directory. Async-signal-safe.
pub fn change_directory(path: &CStr) -> Result<()> {
    // SAFETY: a C string that outlives the call.
    check(unsafe { chdir(path.as_ptr()) }).map(drop)
}

/// Becomes another user, for good. Only for a process of one thread.
pub fn become_user(uid: Option<c_uint>, gid: Option<c_uint>) -> Result<()> {
    // SAFETY: plain integers, and an empty list.
    unsafe {
        if uid.is_some() || gid.is_some() {
            check(setgroups(0, std::ptr::null()))?;
        }
        if let Some(gid) = gid {
            check(setgid(gid))?;
        }
        if let Some(uid) = uid {
            check(setuid(uid))?;
        }
    }
    Ok(())
}

/// Leaves the session for a new one, without a controlling terminal.
pub fn new_session() -> Result<()> {
    // SAFETY: no arguments.
    check(unsafe { setsid() }).map(drop)
}

/// Puts the calling process into a group of its own.
pub fn new_group() -> Result<()> {
    // SAFETY: plain integers.
    check(unsafe { setpgid(0, 0) }).map(drop)
}

/// Strings as execve takes them: an array of pointers that ends with NULL.
pub struct Strings {
    /// What the pointers lead to.
    _strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Strings {
    /// These strings.
    pub fn new(strings: Vec<CString>) -> Strings {
        let pointers = strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect();
        Strings { _strings: strings, pointers }
    }
}

/// Becomes another program; returns only when that failed, with the error number. Async-signal-safe.
pub fn execute(path: &CStr, argv: &Strings, env: &Strings) -> i32 {
    // SAFETY: C strings, and arrays of C strings that end with NULL; all outlive the call.
    unsafe { execve(path.as_ptr(), argv.pointers.as_ptr(), env.pointers.as_ptr()) };
    Error::last_os_error().raw_os_error().unwrap_or(EINVAL)
}

/// The same, with `string` in the place of one of the arguments. Async-signal-safe.
pub fn execute_with(path: &CStr, argv: &mut Strings, place: usize, string: &CStr, env: &Strings) -> i32 {
    // The last one is the NULL.
    if place + 1 >= argv.pointers.len() {
        return EINVAL;
    }
    let before = std::mem::replace(&mut argv.pointers[place], string.as_ptr());
    let errno = execute(path, argv, env);
    argv.pointers[place] = before;
    errno
}

/// Ends the process at once, without the C library's work at exit.
pub fn exit_now(status: c_int) -> ! {
    // SAFETY: plain integer; the call does not return.
    unsafe { _exit(status) }
}
