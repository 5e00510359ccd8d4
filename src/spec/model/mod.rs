//! What a user asks for.

mod console;
mod control;
mod devices;
mod network;
mod storage;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use console::{Console, ConsolePort, KernelConsole, Serial};
pub use control::Control;
pub use devices::{Display, Gpu, Rlimit, Tee};
pub use network::{Addressing, Forward, Gvproxy, NetFeature, Nic, Passt, Port, Protocol, Tsi, Vsock, VsockPort};
pub use storage::{
    DEFAULT_GUEST, Disk, DiskFormat, DiskSync, Mount, Overlay, OverlayDir, OverlayFile, Root, RootDisk, Semantics,
};

use super::text::Text;

/// A microVM as its user describes it. Relative paths of the host are taken from the current directory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct VmSpec {
    /// Number of virtual CPUs, 1 to 255 and at most what this host's KVM takes.
    #[cfg_attr(feature = "schema", schemars(range(min = 1, max = 255)))]
    pub vcpus: u32,
    /// Memory of the guest in MiB (2^20 bytes).
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub memory_mib: u32,
    /// The guest's root file system. Required unless there is `firmware` or `tee`, which bring their own, or
    /// `kernel.cmdline` boots an init of the guest's own.
    #[serde(default)]
    pub root: Option<Root>,
    /// A kernel of the user's own; without it libkrunfw's is used.
    #[serde(default)]
    pub kernel: Option<Kernel>,
    /// The console of the guest's kernel; the one of its command line where absent.
    #[serde(default)]
    pub kernel_console: Option<KernelConsole>,
    /// A firmware file to boot instead of a kernel. What it boots from a disk is its own matter: krundl's program does
    /// not run there, so there is no root, workload or mount, and whether it is up is unknown.
    #[serde(default)]
    pub firmware: Option<PathBuf>,
    /// The workload. Required unless there is `firmware` or `tee`, or `kernel.cmdline` boots an init of the guest's own:
    /// then how that ended stays unknown, and it mounts the shares itself, by their tags.
    #[serde(default)]
    pub exec: Option<Exec>,
    /// Directories of the host that the guest sees.
    #[serde(default)]
    pub mounts: Vec<Mount>,
    /// Files and directories laid over a root directory.
    #[serde(default)]
    pub overlay: Overlay,
    /// Disks.
    #[serde(default)]
    pub disks: Vec<Disk>,
    /// libkrun's network without a card. Where absent: on with libkrunfw's kernel and no card, else off.
    #[serde(default)]
    pub tsi: Option<Tsi>,
    /// Network cards.
    #[serde(default)]
    pub nics: Vec<Nic>,
    /// vsock ports.
    #[serde(default)]
    pub vsock: Vsock,
    /// The way into the running guest, for further commands, figures and the request to end; none where absent.
    #[serde(default)]
    pub control: Option<Control>,
    /// The console and the standard streams.
    #[serde(default)]
    pub console: Console,
    /// A serial console besides.
    #[serde(default)]
    pub serial: Option<Serial>,
    /// Further console ports.
    #[serde(default)]
    pub console_ports: Vec<ConsolePort>,
    /// Resource limits of the workload by the names of Linux's resources without `RLIMIT_`: `NOFILE`, `NPROC` ...
    #[serde(default)]
    pub rlimits: BTreeMap<String, Rlimit>,
    /// The user that the VM's process becomes; needs root. Its supplementary groups are dropped.
    #[serde(default)]
    pub uid: Option<u32>,
    /// The group that the VM's process becomes; needs root.
    #[serde(default)]
    pub gid: Option<u32>,
    /// Whether the guest may run virtual machines itself; x86-64 only.
    #[serde(default)]
    pub nested_virt: bool,
    /// Whether the interrupt controller is split between KVM and the process; x86-64 only.
    #[serde(default)]
    pub split_irqchip: bool,
    /// OEM strings in the guest's SMBIOS tables; aarch64 only.
    #[serde(default)]
    pub smbios_oem_strings: Vec<String>,
    /// A graphics card.
    #[serde(default)]
    pub gpu: Option<Gpu>,
    /// Its displays.
    #[serde(default)]
    pub displays: Vec<Display>,
    /// Whether there is a sound card. libkrun must be built with snd.
    #[serde(default)]
    pub sound: bool,
    /// Input devices of the host (`/dev/input/event*`) that the guest has. libkrun must be built with input.
    #[serde(default)]
    pub inputs: Vec<PathBuf>,
    /// A confidential guest.
    #[serde(default)]
    pub tee: Option<Tee>,
    /// What libkrun logs. Errors are always captured, also with `off`, because they are the only explanation of a
    /// failed start.
    #[serde(default)]
    pub log_level: LogLevel,
    /// The file that libkrun's log is added to, unless the caller of `launch` names another target.
    #[serde(default)]
    pub log_file: Option<PathBuf>,
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
    /// (`init=/init.krun`) and root (`rootfstype=virtiofs rw`) for a workload (`exec`) to run. Without a workload it
    /// boots an init of the guest's own. ASCII only.
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
    /// Whether krundl's program runs in the guest: the guest boots libkrun's init.
    pub fn has_guest_program(&self) -> bool {
        self.firmware.is_none() && self.tee.is_none() && !self.has_own_init()
    }

    /// Whether the guest boots an init of its own: a kernel with a command line that does not name libkrun's, and no
    /// workload.
    pub fn has_own_init(&self) -> bool {
        let line = self.kernel.as_ref().and_then(|kernel| kernel.cmdline.as_deref());
        self.exec.is_none() && line.is_some_and(|line| !names_libkruns_init(line))
    }

    /// Whether the kernel is another than libkrunfw's ordinary one, with its patches for TSI.
    pub fn has_foreign_kernel(&self) -> bool {
        self.kernel.is_some() || !self.has_guest_program()
    }

    /// The identifier of each disk: its own, or one that no other disk has.
    pub fn disk_ids(&self) -> Vec<String> {
        named(self.disks.iter().map(|disk| disk.id.as_deref()), "disk")
    }

    /// The tag of each mount: its own, or one that no other mount has.
    pub fn tags(&self) -> Vec<String> {
        named(self.mounts.iter().map(|mount| mount.tag.as_deref()), "mount")
    }
}

/// Whether a kernel's command line starts libkrun's init, and with it krundl's program.
pub(super) fn names_libkruns_init(line: &str) -> bool {
    line.split(' ').any(|word| word == "init=/init.krun")
}

/// The names given, and for the rest the prefix with the lowest numbers that leave all different.
fn named<'s>(given: impl Iterator<Item = Option<&'s str>> + Clone, prefix: &str) -> Vec<String> {
    let taken: Vec<&str> = given.clone().flatten().collect();
    let mut free = (0..).map(|n| format!("{prefix}{n}")).filter(|name| !taken.contains(&name.as_str()));
    given.map(|name| name.map_or_else(|| free.next().expect("the numbers do not end"), str::to_owned)).collect()
}
