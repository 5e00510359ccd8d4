//! Speaking with a running guest over its control port: further commands, figures, the request to end.
//!
//! A VM has the port when its spec says so ([`crate::spec::Control`]), and krundl's program in the guest answers on it. Any
//! process of the same user may speak there, also one that did not start the VM: all it takes is the socket's path, or
//! the VM's [name](Name). docs/control.md has the language.

mod connection;
mod exec;
mod figures;
mod name;
mod vm;

use std::path::Path;
use std::time::Duration;

use crate::error::Result;
use crate::frames::Frame;
use connection::Connection;

pub use crate::frames::Size;
pub use exec::{Command, Ended, Exec, Interest, Output, Sink, Source, Streams, output};
pub use figures::{Cpu, Figures, Memory};
pub use name::{Name, Named, named, socket_of};

/// How long a guest that is starting may take to answer, for those who do not say otherwise.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The figures of a guest. `timeout` is for a guest that does not answer yet; at least one attempt is made.
///
/// # Errors
/// [`crate::Error::ControlLost`].
pub fn figures(socket: &Path, timeout: Duration) -> Result<Figures> {
    let mut connection = Connection::open(socket, timeout)?;
    connection.say(&Frame::AskFigures);
    match connection.answer()? {
        Frame::Figures(figures) => Ok(Figures::of(&figures)),
        other => Err(connection.unexpected(&other)),
    }
}

/// Asks the workload of a guest to end: it gets SIGTERM, and what it makes of that its VM's caller hears.
///
/// # Errors
/// [`crate::Error::ControlLost`].
pub fn terminate(socket: &Path, timeout: Duration) -> Result<()> {
    let mut connection = Connection::open(socket, timeout)?;
    connection.say(&Frame::Terminate);
    match connection.answer()? {
        Frame::Done => Ok(()),
        other => Err(connection.unexpected(&other)),
    }
}
