//! The control port of a VM that this process has started.

use std::path::PathBuf;

use super::{CONNECT_TIMEOUT, Command, Exec, Figures, Size, Streams};
use crate::error::{Error, Result};
use crate::launch::Vm;

impl Vm {
    /// Starts a further command in the guest.
    ///
    /// # Errors
    /// As [`Exec::start`]; [`Error::InvalidArgument`] where the spec has no control port.
    pub fn exec(&self, command: &Command, size: Size, streams: Streams) -> Result<Exec> {
        Exec::start(&self.control_socket()?, command, size, streams, CONNECT_TIMEOUT)
    }

    /// The guest's figures.
    ///
    /// # Errors
    /// As [`super::figures`]; [`Error::InvalidArgument`] where the spec has no control port.
    pub fn figures(&self) -> Result<Figures> {
        super::figures(&self.control_socket()?, CONNECT_TIMEOUT)
    }

    fn control_socket(&self) -> Result<PathBuf> {
        let none = || Error::argument("control", "the VM's spec has no control port (\"control\": \"private\")");
        self.control().ok_or_else(none)
    }
}
