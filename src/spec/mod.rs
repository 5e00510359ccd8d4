//! What is asked for: the description of a microVM, and whether this host can take it as it stands.

mod check;
mod kernel;
mod model;
mod mountpoint;
mod parse;
mod text;

pub use check::{Checked, Findings, HostPath, KernelFinding, MountFinding, check};
pub use model::{DEFAULT_GUEST, Exec, Kernel, KernelFormat, LogLevel, Mount, Root, Semantics, VmSpec};
pub use mountpoint::MountPoint;
pub use parse::{Parsed, parse};
pub use text::Text;
