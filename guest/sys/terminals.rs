//! Terminals.

use std::ffi::{c_int, c_ulong};
use std::io::Result;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::check;
use super::descriptors::{O_CLOEXEC, O_NOCTTY, O_RDWR};

const TIOCSCTTY: c_ulong = 0x540e;
const TIOCSWINSZ: c_ulong = 0x5414;
const TIOCSPTLCK: c_ulong = 0x4004_5431;
const TIOCGPTPEER: c_ulong = 0x5441;

unsafe extern "C" {
    fn tcgetpgrp(fd: c_int) -> c_int;
    fn tcsetpgrp(fd: c_int, group: c_int) -> c_int;
    fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
}

/// The other end of a pseudoterminal, by its first end.
pub fn terminal_of(master: BorrowedFd<'_>) -> Result<OwnedFd> {
    let unlocked: c_int = 0;
    // SAFETY: an open descriptor; an integer that outlives the call; what is returned is new and nobody else's.
    unsafe {
        check(ioctl(master.as_raw_fd(), TIOCSPTLCK, &unlocked as *const c_int))?;
        let flags = O_RDWR | O_NOCTTY | O_CLOEXEC;
        Ok(OwnedFd::from_raw_fd(check(ioctl(master.as_raw_fd(), TIOCGPTPEER, flags))?))
    }
}

/// Gives a terminal its size.
pub fn resize_terminal(fd: BorrowedFd<'_>, rows: u16, columns: u16) -> Result<()> {
    let size: [u16; 4] = [rows, columns, 0, 0];
    // SAFETY: an open descriptor, and a whole winsize that outlives the call.
    check(unsafe { ioctl(fd.as_raw_fd(), TIOCSWINSZ, size.as_ptr()) }).map(drop)
}

/// Makes a terminal that belongs to no session the controlling one of this process's session.
pub fn control_terminal(fd: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: an open descriptor; the request takes an integer.
    check(unsafe { ioctl(fd.as_raw_fd(), TIOCSCTTY, 0 as c_int) }).map(drop)
}

/// Whether a terminal is the controlling one of this process.
pub fn is_control_terminal(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: an open descriptor.
    unsafe { tcgetpgrp(fd.as_raw_fd()) >= 0 }
}

/// Makes a process group the one that the terminal's keys go to.
pub fn give_terminal(fd: BorrowedFd<'_>, group: c_int) -> Result<()> {
    // SAFETY: an open descriptor and an integer.
    check(unsafe { tcsetpgrp(fd.as_raw_fd(), group) }).map(drop)
}
