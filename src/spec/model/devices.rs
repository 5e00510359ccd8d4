//! Graphics, confidential guests, limits.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// A graphics card. libkrun must be built with gpu.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Gpu {
    /// virglrenderer's flags, as libkrun.h has them.
    #[serde(default)]
    pub virgl_flags: u32,
    /// Size of the window for shared memory in MiB; libkrun's default (8 GiB) where absent.
    #[serde(default)]
    pub shm_mib: Option<u32>,
}

/// A display of the graphics card. krundl shows it nowhere: that takes code inside the VM's process.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Display {
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Refresh rate in Hz.
    #[serde(default)]
    pub refresh_rate: Option<u32>,
    /// Dots per inch.
    #[serde(default)]
    pub dpi: Option<u32>,
    /// Width and height in millimetres.
    #[serde(default)]
    pub physical_size_mm: Option<[u16; 2]>,
    /// A file with the display's whole EDID block, instead of the three fields above.
    #[serde(default)]
    pub edid: Option<PathBuf>,
}

/// A confidential guest. libkrun must be built for them; the root is on the first disk, and its own configuration
/// (`/.krun_config.json`) names the workload, because nothing of a command line reaches such a guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Tee {
    /// The file with libkrun's configuration for it.
    pub config: PathBuf,
}

/// A resource limit of the workload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Rlimit {
    /// The limit, in the resource's own unit; 18446744073709551615 for none.
    pub soft: u64,
    /// What the workload may raise it to; as `soft` where absent.
    #[serde(default)]
    pub hard: Option<u64>,
}

/// Linux's resources in the order of their numbers, the same on all of libkrun's architectures.
const RESOURCES: [&str; 16] = [
    "CPU",
    "FSIZE",
    "DATA",
    "STACK",
    "CORE",
    "RSS",
    "NPROC",
    "NOFILE",
    "MEMLOCK",
    "AS",
    "LOCKS",
    "SIGPENDING",
    "MSGQUEUE",
    "NICE",
    "RTPRIO",
    "RTTIME",
];

impl Rlimit {
    /// The number of a resource by its name without `RLIMIT_`.
    pub fn number(name: &str) -> Option<usize> {
        RESOURCES.iter().position(|resource| *resource == name)
    }

    /// The names of all resources.
    pub fn names() -> &'static [&'static str] {
        &RESOURCES
    }
}
