//! What is asked for: the description of a microVM, and whether this host can take it as it stands.

mod check;
mod findings;
mod guest_side;
mod host_port;
mod kernel;
mod model;
mod mountpoint;
mod parse;
mod programs;
mod text;

pub(crate) use check::no_disk;
pub use check::{Checked, check};
pub use findings::{Ends, Findings, HostPath, HostSocket, KernelFinding, MountFinding};
pub use guest_side::{FILESYSTEMS, Layout, OverlayPaths, missing_filesystems, mount_commands};
pub(crate) use host_port::reserve;
pub use model::{
    Addressing, Console, ConsolePort, Control, DEFAULT_GUEST, Disk, DiskFormat, DiskSync, Display, Exec, Forward, Gpu,
    Gvproxy, Kernel, KernelConsole, KernelFormat, LogLevel, Mount, NetFeature, Nic, Overlay, OverlayDir, OverlayFile,
    Passt, Port, Protocol, Rlimit, Root, RootDisk, Semantics, Serial, Tee, Tsi, VmSpec, Vsock, VsockPort,
};
pub use mountpoint::MountPoint;
pub use parse::{Parsed, parse};
pub(crate) use programs::directories;
pub use text::Text;
