//! The few calls of the C library that the standard library has no words for.
//!
//! Every number here is the same on x86_64, aarch64 and riscv64, the architectures that libkrun runs on; open flags
//! that differ between them are not used.

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
compile_error!("the numbers in guest/sys were not checked for this architecture");

mod descriptors;
mod interfaces;
mod mounts;
mod processes;
mod signals;
mod sockets;
mod terminals;

use std::ffi::{CString, c_int};
use std::io::{Error, Result};

pub use descriptors::*;
pub use interfaces::*;
pub use mounts::*;
pub use processes::*;
pub use signals::*;
pub use sockets::*;
pub use terminals::*;

pub const ENOENT: i32 = 2;
pub const ENOEXEC: i32 = 8;
pub const EAGAIN: i32 = 11;
pub const EACCES: i32 = 13;
pub const ENODEV: i32 = 19;
pub const ENOTDIR: i32 = 20;
pub const EINVAL: i32 = 22;
pub const EROFS: i32 = 30;
pub const EAFNOSUPPORT: i32 = 97;
pub const ETIMEDOUT: i32 = 110;

fn check(result: c_int) -> Result<c_int> {
    if result < 0 { Err(Error::last_os_error()) } else { Ok(result) }
}

/// The bytes as a C string; a NUL inside, which no caller should have, is `EINVAL`.
pub fn c_string(bytes: &[u8]) -> Result<CString> {
    CString::new(bytes).map_err(|_| Error::from_raw_os_error(EINVAL))
}
