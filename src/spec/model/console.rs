//! Consoles and ports.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where the guest's console and the workload's standard streams go.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Console {
    /// To the streams that the VM is started with.
    #[default]
    Inherit,
    /// Nowhere; reading gives the end at once.
    None,
    /// Into this file, which is truncated: standard output, standard error and the console mixed, lines ending in
    /// CRLF. Standard input stays silent and never ends.
    File(PathBuf),
}

/// A serial console.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Serial {
    /// What is read into it: a FIFO, a terminal or a file that exists.
    #[serde(default)]
    pub input: Option<PathBuf>,
    /// Where its output goes; a file is made where there is none, and added to.
    pub output: PathBuf,
}

/// A further port of a virtio console, `/dev/vportNpM` in the guest: `tty`, or one or both of `input` and `output`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ConsolePort {
    /// Its name in the guest (`/sys/class/virtio-ports/*/name`); unique.
    pub name: String,
    /// What is read into it.
    #[serde(default)]
    pub input: Option<PathBuf>,
    /// Where its output goes; a file is made where there is none, and added to.
    #[serde(default)]
    pub output: Option<PathBuf>,
    /// A terminal for both.
    #[serde(default)]
    pub tty: Option<PathBuf>,
}

/// The console of the guest's kernel (`console=` on its command line).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum KernelConsole {
    /// The virtio console.
    #[serde(rename = "hvc0")]
    Hvc0,
    /// The serial console, which the spec must have.
    #[serde(rename = "ttyS0")]
    TtyS0,
}

impl KernelConsole {
    /// The device's name.
    pub const fn name(self) -> &'static str {
        match self {
            KernelConsole::Hvc0 => "hvc0",
            KernelConsole::TtyS0 => "ttyS0",
        }
    }
}
