//! krundl opens libkrun at run time, tells what it can do, and runs microVMs with it in a child process.
//!
//! One way through the code; each room knows only those before it:
//! [`symbols`] (the table of libkrun's functions), [`library`] (find and open it), [`capabilities`] (what it can do and
//! how we know), [`spec`] (what is asked for, and whether this host takes it), [`plan`] (the calls, or every reason
//! why not), [`mod@launch`] (start and watch the process that makes them).
//!
//! ```no_run
//! # fn main() -> krundl::Result<()> {
//! use krundl::{LaunchOptions, ProbeOptions, VmSpec};
//!
//! let probed = krundl::probe_isolated(&ProbeOptions::default())?;
//! let spec = VmSpec::from_json(
//!     r#"{"vcpus": 1, "memory_mib": 512, "root": {"dir": "./rootfs"},
//!         "mounts": [{"host": ".", "guest": "/workspace", "read_only": true}],
//!         "exec": {"path": "ls", "args": ["/workspace"]}}"#,
//! )?;
//! let prepared = krundl::prepare(&spec, &probed.capabilities)?;
//! let vm = krundl::launch(prepared, LaunchOptions::default())?;
//! vm.wait_ready(None)?;
//! println!("{}", vm.wait()?);
//! # Ok(())
//! # }
//! ```
//!
//! Linking krundl never loads libkrun, and only a child process ever calls it: the program `krundl-vmm`, or the
//! caller's own program when it calls [`vmm_main`] first thing in `main`.

pub mod capabilities;
#[cfg(feature = "capi")]
pub mod capi;
mod child;
pub mod control;
pub mod doctor;
pub mod errno;
pub mod error;
pub mod helper;
pub mod host;
pub mod launch;
pub mod library;
pub mod plan;
pub mod probe;
#[cfg(feature = "python")]
mod python;
pub mod sockets;
pub mod spec;
pub mod symbols;
mod system;

// Shared with the guest program, which uses the other half of each.
#[allow(dead_code)]
#[path = "../guest/frames.rs"]
mod frames;
#[allow(dead_code)]
#[path = "../guest/words.rs"]
mod guest_words;
#[allow(dead_code)]
#[path = "../guest/orders.rs"]
mod orders;

pub use capabilities::Capabilities;
pub use child::{enter, vmm_main};
pub use error::{Error, Result};
pub use helper::Helper;
pub use launch::{Exit, LaunchOptions, LogTarget, Prepared, Stream, Vm, launch, prepare, prepare_json};
pub use library::Library;
pub use plan::{Plan, negotiate};
pub use probe::{ProbeOptions, Probed, probe_isolated};
pub use spec::VmSpec;

#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;
