//! The parts that krundl's tasks are made of.
//!
//! krundl opens a library that most build machines do not have, and runs machines that most build machines cannot run.
//! This crate brings both: the real libkrun ([`libkrun()`]), its kernel ([`firmware()`]) and one of our own ([`kernel()`])
//! out of published packages, and a [`lab`] in which `/dev/kvm` works on any x86-64 Linux machine. Everything fetched or
//! built is kept in a [`Cache`], so that it costs time and network once.

#[cfg(not(target_os = "linux"))]
compile_error!("krundl's tasks need Linux: they build Linux libraries and emulate a Linux machine");

pub mod arm64;
mod bare;
pub mod bench;
pub mod cache;
pub mod command;
pub mod debian;
pub mod demo;
pub mod elf;
pub mod ffi;
pub mod firmware;
pub mod generate;
pub mod go_types;
pub mod guest_root;
mod guests;
pub mod header;
pub mod install;
pub mod kernel;
pub mod lab;
pub mod libkrun;
pub mod macos;
mod manual;
pub mod package;
pub mod project;
pub mod python;
pub mod python_types;
pub mod smolvm;
pub mod space;
pub mod test;
pub mod tools;

pub use cache::Cache;
pub use firmware::firmware;
pub use guest_root::busybox_root;
pub use kernel::{kernel, of as kernel_of};
pub use lab::Lab;
pub use libkrun::libkrun;
