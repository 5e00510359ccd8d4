//! Descriptors: the standard ones, and waiting until one is ready.

use std::ffi::{CStr, c_char, c_int, c_long, c_short, c_ulong, c_void};
use std::io::Result;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use super::check;

/// For `OpenOptions::custom_flags`: a terminal that is opened does not become the controlling one.
pub const O_NOCTTY: c_int = 0o400;
/// For `OpenOptions::custom_flags`.
pub const O_NONBLOCK: c_int = 0o4000;

pub const POLLIN: c_short = 1;
pub const POLLOUT: c_short = 4;

pub(super) const O_RDWR: c_int = 2;
pub(super) const O_CLOEXEC: c_int = 0o2000000;
const F_GETFD: c_int = 1;
const F_SETFL: c_int = 4;
const SYS_CLOSE_RANGE: c_long = 436;

/// A descriptor and what is waited for on it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PollFd {
    fd: c_int,
    events: c_short,
    revents: c_short,
}

impl PollFd {
    /// Waits for `events`, and for errors and the other end's going. No descriptor, or no events, is never ready.
    pub fn new(fd: Option<BorrowedFd<'_>>, events: c_short) -> PollFd {
        let fd = fd.filter(|_| events != 0).map_or(-1, |fd| fd.as_raw_fd());
        PollFd { fd, events, revents: 0 }
    }

    /// Whether something was there.
    pub fn is_ready(&self) -> bool {
        self.revents != 0
    }
}

unsafe extern "C" {
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn close(fd: c_int) -> c_int;
    fn dup2(from: c_int, to: c_int) -> c_int;
    fn read(fd: c_int, buffer: *mut c_void, size: usize) -> isize;
    fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
    fn poll(fds: *mut PollFd, count: c_ulong, timeout: c_int) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
}

/// Opens `/dev/null` where one of the descriptors 0, 1 and 2 is closed, so that no file of ours can get its number.
pub fn open_missing_stdio() {
    for fd in 0..3 {
        // SAFETY: neither call takes ownership of a descriptor; the path is a constant C string. The lowest free number
        // is `fd` itself, because the ones below it are open by now.
        unsafe {
            if fcntl(fd, F_GETFD) < 0 {
                open(c"/dev/null".as_ptr(), O_RDWR);
            }
        }
    }
}

/// Closes every descriptor from 3 on. Only for the very beginning, when the program has none of its own.
pub fn close_inherited() {
    // SAFETY: no part of this program owns a descriptor above 2 yet, so nothing is closed under anybody's feet.
    unsafe {
        if syscall(SYS_CLOSE_RANGE, 3 as c_long, c_long::from(u32::MAX), 0 as c_long) < 0 {
            // Linux before 5.9. Init opens a handful of files at most.
            for fd in 3..256 {
                close(fd);
            }
        }
    }
}

/// Makes descriptor `to` (0, 1 or 2) another name of `from`; it stays open across exec. Async-signal-safe.
pub fn replace_stdio(from: RawFd, to: RawFd) -> Result<()> {
    assert!((0..3).contains(&to));
    // SAFETY: `to` is a standard descriptor, which nothing here owns, and `from` is only read.
    check(unsafe { dup2(from, to) }).map(drop)
}

/// Switches a descriptor to non-blocking calls.
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: an open descriptor; the command takes an integer.
    check(unsafe { fcntl(fd.as_raw_fd(), F_SETFL, O_NONBLOCK) }).map(drop)
}

/// Waits until the descriptor is ready for `events`, has an error, or has lost its other end. False after the timeout.
pub fn wait_ready(fd: BorrowedFd<'_>, events: c_short, timeout: Duration) -> Result<bool> {
    let mut poll_fd = PollFd { fd: fd.as_raw_fd(), events, revents: 0 };
    let timeout = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
    // SAFETY: one element, which outlives the call.
    check(unsafe { poll(&mut poll_fd, 1, timeout) }).map(|ready| ready > 0)
}

/// Waits until one of the descriptors is ready, for so many milliseconds at most, or for ever where that is negative.
pub fn wait_any(fds: &mut [PollFd], timeout: c_int) -> Result<bool> {
    // SAFETY: an array with its length, which outlives the call; the numbers are looked up by the kernel alone.
    check(unsafe { poll(fds.as_mut_ptr(), fds.len() as c_ulong, timeout) }).map(|ready| ready > 0)
}

/// Whether a file begins so; no if it cannot be read. Async-signal-safe.
pub fn begins_with(path: &CStr, bytes: [u8; 4]) -> bool {
    let mut found = [0; 4];
    // SAFETY: a C string; a buffer of four bytes; a descriptor that is nobody else's.
    unsafe {
        let fd = open(path.as_ptr(), O_CLOEXEC);
        let count = read(fd, found.as_mut_ptr().cast(), found.len());
        close(fd);
        count == 4 && found == bytes
    }
}
