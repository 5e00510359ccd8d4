//! The Python module `krundl._krundl`: what the package in `python/krundl` stands on. It translates, and decides nothing.
//!
//! Specs come in as JSON; reports go out as dictionaries with the names of their JSON. It keeps no state of its own, and
//! the GIL is released around everything that blocks.

mod control;
mod convert;
mod error;
mod look;
mod plan;
mod vm;

use pyo3::prelude::*;

#[pymodule]
mod _krundl {
    #[pymodule_export]
    use super::control::{GuestCommand, control_socket, exec_start, figures, named, terminate};
    #[pymodule_export]
    use super::look::{
        Probed, codes, doctor, functions, inspect, levels, missing_filesystems, mount_commands, probe, version,
    };
    #[pymodule_export]
    use super::plan::{check, parse, plan};
    #[pymodule_export]
    use super::vm::{Vm, Watcher, launch};
}
