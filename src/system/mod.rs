//! What the rooms need of the system beyond what Rust's standard library has the same everywhere, and what Linux and macOS
//! do each in its own way.

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "macos.rs")]
mod own;

use std::fs::File;
use std::io::{self, Read};

pub(crate) use own::{Place, end_of, handle, path_of, private_listener, private_path, stream_socket};

/// Bytes that nobody can guess.
pub(crate) fn random<const N: usize>() -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes)
}
