//! Finds, reads and opens libkrun in this process.
//!
//! [`candidates`] says where libkrun is looked for, [`inspect`] reads a file without running anything of it,
//! [`Library`] opens one and [`Observation`] says what was measured about it, with [`Firmware`], the libkrunfw that it
//! asks for.
//!
//! Opening a library runs its constructors in this process, and a broken one can abort it. Whoever cannot afford that
//! opens in a child process first: [`open`] tells through [`Progress`] what it is about to do, and [`Options`],
//! [`Progress`] and [`Observation`] travel as JSON.

mod elf;
mod firmware;
mod inspect;
mod loader;
mod macho;
mod name;
mod note;
mod observe;
mod open;
mod reopen;
mod report;
mod search;

pub(crate) use firmware::kernel_release;
pub use firmware::{Firmware, FirmwareKernel};
pub use inspect::{inspect, inspect_any};
pub(crate) use loader::containing;
pub use name::Flavour;
pub use observe::{FeatureState, Observation, PkgConfig};
pub use open::{Library, Progress, open};
pub(crate) use reopen::reopen;
pub use report::{FileFormat, FileReport, Identity};
pub use search::{Candidate, Environment, Options, SkippedCandidate, Target, candidates};

use crate::error::{AttemptError, AttemptKind};

/// The two fields of an [`AttemptError`] in one line.
fn refuse(kind: AttemptKind, message: impl Into<String>) -> AttemptError {
    AttemptError { kind, message: message.into() }
}
