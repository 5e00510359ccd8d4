//! What a user asks for.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::text::Text;

/// A microVM as its user describes it. Relative paths of the host are taken from the current directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct VmSpec {
    /// Number of virtual CPUs, 1 to 255 and at most what this host's KVM takes.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 255)))]
    pub vcpus: u32,
    /// Memory of the guest in MiB (2^20 bytes).
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub memory_mib: u32,
    /// The guest's root file system.
    pub root: Root,
    /// A kernel of the user's own; without it libkrunfw's is used.
    #[serde(default)]
    pub kernel: Option<Kernel>,
    /// The workload.
    pub exec: Exec,
    /// Directories of the host that the guest sees.
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// What libkrun logs. Errors are always captured, also with `off`, because they are the only explanation of a
    /// failed start.
    #[serde(default)]
    pub log_level: LogLevel,
}

/// The guest's root file system: a directory of the host, shared over virtio-fs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// The directory.
    pub dir: PathBuf,
    /// Whether the guest may not write to it; enforced on the host's side. The directory must then have `dev`,
    /// `proc` and `sys`.
    #[serde(default)]
    pub read_only: bool,
    /// Size of the DAX window in MiB, a multiple of 2; 0 for none.
    #[serde(default)]
    pub dax_mib: u32,
}

/// A kernel of the user's own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Kernel {
    /// The file.
    pub path: PathBuf,
    /// Its format.
    #[serde(default)]
    pub format: KernelFormat,
    /// An initial RAM disk.
    #[serde(default)]
    pub initrd: Option<PathBuf>,
    /// The kernel's command line. It replaces libkrun's own, and must therefore name libkrun's init
    /// (`init=/init.krun`) and root (`rootfstype=virtiofs rw`) for the workload to run. ASCII only.
    #[serde(default)]
    pub cmdline: Option<String>,
}

/// The format of a kernel file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum KernelFormat {
    /// Told from the file's magic numbers.
    #[default]
    Auto,
    /// A flat image (arm64 `Image`).
    Raw,
    /// An ELF `vmlinux`.
    Elf,
    /// A gzip-compressed EFI image (arm64 and riscv64).
    PeGz,
    /// A bzImage with a bzip2 payload.
    ImageBz2,
    /// A bzImage with a gzip payload.
    ImageGz,
    /// A bzImage with a zstd payload.
    ImageZstd,
}

/// The workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Exec {
    /// The program's path in the guest; without a slash it is searched in the `PATH` of `env`.
    pub path: Text,
    /// Its arguments, without the program's own name. Any bytes but NUL.
    #[serde(default)]
    pub args: Vec<Text>,
    /// Its environment: exactly this, plus `PATH` and `HOME` where they are not named.
    #[serde(default)]
    pub env: BTreeMap<String, Text>,
    /// Its working directory, absolute.
    #[serde(default = "default_workdir")]
    pub workdir: Text,
}

fn default_workdir() -> Text {
    "/".into()
}

impl Exec {
    /// `PATH` where the spec names none.
    pub const DEFAULT_PATH: &'static str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
    /// `HOME` where the spec names none.
    pub const DEFAULT_HOME: &'static str = "/root";

    /// The environment that the workload gets.
    pub fn full_env(&self) -> BTreeMap<String, Text> {
        let mut env = self.env.clone();
        env.entry("PATH".to_owned()).or_insert_with(|| Exec::DEFAULT_PATH.into());
        env.entry("HOME".to_owned()).or_insert_with(|| Exec::DEFAULT_HOME.into());
        env
    }
}

/// A directory of the host that the guest sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// The directory on the host.
    pub host: PathBuf,
    /// Where the guest sees it: absolute, not `/`.
    #[serde(default = "default_guest")]
    pub guest: String,
    /// The virtio-fs tag, at most 36 bytes; chosen by krundl where absent.
    #[serde(default)]
    pub tag: Option<String>,
    /// Whether the guest may not write; enforced on the host's side, so it needs `krun_add_virtiofs3`.
    #[serde(default)]
    pub read_only: bool,
    /// Size of the DAX window in MiB, a multiple of 2; 0 for none.
    #[serde(default)]
    pub dax_mib: u32,
    /// Who owns what, as libkrun calls it; the library's default where absent.
    #[serde(default)]
    pub semantics: Option<Semantics>,
}

/// Where a mount appears when its spec does not say.
pub const DEFAULT_GUEST: &str = "/workspace";

fn default_guest() -> String {
    DEFAULT_GUEST.to_owned()
}

/// Ownership semantics of a share (`krun_add_virtiofs4`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Semantics {
    /// Full Linux semantics, libkrun's default.
    Complete,
    /// libkrun's simplified semantics.
    Simplified,
}

/// What libkrun logs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum LogLevel {
    /// Nothing beyond errors.
    Off,
    /// Errors.
    Error,
    /// Warnings.
    #[default]
    Warn,
    /// Information.
    Info,
    /// Debugging.
    Debug,
    /// Everything.
    Trace,
}

impl VmSpec {
    /// The tag of each mount: its own, or one that no other mount has.
    pub fn tags(&self) -> Vec<String> {
        let taken: Vec<&str> = self.mounts.iter().filter_map(|mount| mount.tag.as_deref()).collect();
        let mut free = (0..).map(|n| format!("mount{n}")).filter(|tag| !taken.contains(&tag.as_str()));
        self.mounts
            .iter()
            .map(|mount| mount.tag.clone().unwrap_or_else(|| free.next().expect("the numbers do not end")))
            .collect()
    }
}
