//! The C ABI: `include/krundl.h`, which `cargo xtask generate` writes from these files, comments included.
//!
//! A face: it turns C's arguments into Rust's and Rust's answers into C's, and decides nothing. Names are C's.
//!
//! **Ownership.** Whatever a function returns through `out` or `error` is the caller's, who frees it with that type's
//! `_free`. Every text is its handle's own and lives as long as that. Nothing of the caller's is kept.

#![allow(non_camel_case_types, reason = "these are the names in C")]
#![allow(rustdoc::broken_intra_doc_links, reason = "the comments are the header's")]

/// Grows with every change that a program which was built before would notice; so does the soname.
pub const ABI_VERSION: u32 = 1;

mod boundary;
mod doctor;
mod error;
mod inspection;
mod inspection_lists;
mod launch;
mod plan;
mod probe;
mod probe_abilities;
mod probe_evidence;
mod spec;
mod spec_devices;
mod spec_network;
mod spec_storage;
mod status;
mod vm;

pub use doctor::*;
pub use error::*;
pub use inspection::*;
pub use inspection_lists::*;
pub use launch::*;
pub use plan::*;
pub use probe::*;
pub use probe_abilities::*;
pub use probe_evidence::*;
pub use spec::*;
pub use spec_devices::*;
pub use spec_network::*;
pub use spec_storage::*;
pub use status::*;
pub use vm::*;
