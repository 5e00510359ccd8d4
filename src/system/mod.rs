//! What the rooms need of the system beyond what Rust's standard library has the same everywhere, and what Linux and macOS
//! do each in its own way.

#[cfg_attr(target_os = "linux", path = "linux.rs")]
#[cfg_attr(not(target_os = "linux"), path = "macos.rs")]
mod own;

pub(crate) use own::{Place, end_of, handle, path_of, private_listener, private_path, stream_socket};
