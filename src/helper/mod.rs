//! The helper program `krundl-vmm`: where it is, how it is started, and what it and its caller say to each other.
//!
//! It is a program of its own because whatever calls libkrun may abort, hang or never return, and because on macOS
//! the hypervisor entitlement sits on the program that calls.

mod find;
pub(crate) mod handover;
mod memory;
mod spawn;
pub(crate) mod wire;

pub use find::{Helper, become_own_helper};
pub(crate) use find::{Mode, Started, asks_for_program, started_as};
pub(crate) use spawn::{Running, Spawn, child_ends_within, close_others, ends_within, pidfd, start_to_probe};
