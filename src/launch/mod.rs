//! From a plan to a running VM: starts the process that carries it out, and watches it.

mod channel;
mod log;
mod options;
mod outcome;
mod prepare;
mod start;
mod state;
mod terminal;
mod vm;
mod wake;
mod watch;

pub use options::{LaunchOptions, LogTarget, Stream};
pub use outcome::Exit;
pub use prepare::{Prepared, prepare, prepare_json, prepare_parsed};
pub use start::{launch, start};
pub(crate) use state::failure_of;
pub(crate) use terminal::SavedTerminal;
pub use vm::{Asked, Interrupted, Vm};
pub use watch::Watch;
