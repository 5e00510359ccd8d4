//! The calls of a plan: one typed variant for each of libkrun's functions that a plan can use.

use serde::{Deserialize, Serialize};

use crate::spec::{HostPath, Text};
use crate::symbols::Function;

/// A descriptor of the VM's process, by what it is for. The child knows the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fd {
    /// The workload's standard input.
    Stdin,
    /// The workload's standard output.
    Stdout,
    /// The workload's standard error.
    Stderr,
    /// The log that the parent reads.
    Log,
    /// The channel on which the guest's program speaks.
    Channel,
}

/// Contents of a file that is laid over a share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// krundl's program for the guest.
    GuestProgram,
    /// What that program is to do ([`super::Guest`]).
    Orders,
}

/// A directory of the host that is shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Shared {
    /// One that was checked.
    Host(HostPath),
    /// The small directory that the child makes for krundl's program and its orders, before libkrun 1.19.0.
    Bootstrap {
        /// Always `true`; tells this variant from the other in JSON.
        bootstrap: bool,
    },
}

/// One call of a libkrun function. Arguments have libkrun's order and units; the context number is left out.
///
/// In JSON: `{"function": "krun_add_virtiofs3", "args": {...}}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "function", content = "args")]
#[allow(missing_docs, reason = "each variant is the function whose name it bears; symbols has its meaning")]
pub enum Call {
    #[serde(rename = "krun_init_log")]
    InitLog { target: Fd, level: u32, style: u32, options: u32 },
    #[serde(rename = "krun_set_log_level")]
    SetLogLevel { level: u32 },
    #[serde(rename = "krun_create_ctx")]
    CreateCtx {},
    #[serde(rename = "krun_set_vm_config")]
    SetVmConfig { vcpus: u8, ram_mib: u32 },
    #[serde(rename = "krun_disable_implicit_console")]
    DisableImplicitConsole {},
    #[serde(rename = "krun_add_virtio_console_default")]
    AddVirtioConsoleDefault { input: Fd, output: Fd, error: Fd },
    #[serde(rename = "krun_add_virtio_console_multiport")]
    AddVirtioConsoleMultiport {},
    /// On the console of the last [`Call::AddVirtioConsoleMultiport`].
    #[serde(rename = "krun_add_console_port_inout")]
    AddConsolePortInout { name: String, input: Option<Fd>, output: Option<Fd> },
    #[serde(rename = "krun_disable_implicit_vsock")]
    DisableImplicitVsock {},
    #[serde(rename = "krun_add_vsock")]
    AddVsock { tsi_features: u32 },
    /// The guest connects to `port`, and the child hands it the socket behind `socket`.
    #[serde(rename = "krun_add_vsock_port")]
    AddVsockPort { port: u32, socket: Fd },
    #[serde(rename = "krun_set_root")]
    SetRoot { dir: Shared },
    #[serde(rename = "krun_add_virtiofs")]
    AddVirtiofs { tag: String, dir: Shared },
    #[serde(rename = "krun_add_virtiofs2")]
    AddVirtiofs2 { tag: String, dir: Shared, shm_size: u64 },
    #[serde(rename = "krun_add_virtiofs3")]
    AddVirtiofs3 { tag: String, dir: Shared, shm_size: u64, read_only: bool },
    #[serde(rename = "krun_add_virtiofs4")]
    AddVirtiofs4 { tag: String, dir: Shared, shm_size: u64, read_only: bool, semantics: u32 },
    #[serde(rename = "krun_fs_add_overlay_dir")]
    FsAddOverlayDir { fs_tag: String, path: String, mode: u32 },
    #[serde(rename = "krun_fs_add_overlay_file")]
    FsAddOverlayFile { fs_tag: String, path: String, content: Content, mode: u32, one_shot: bool },
    #[serde(rename = "krun_set_kernel")]
    SetKernel { file: HostPath, format: u32, initrd: Option<HostPath>, cmdline: Option<String> },
    #[serde(rename = "krun_set_exec")]
    SetExec { path: String, args: Vec<String>, env: Vec<String> },
    #[serde(rename = "krun_start_enter")]
    StartEnter {},
}

impl Call {
    /// The function that is called.
    pub fn function(&self) -> Function {
        use Function as F;
        match self {
            Call::InitLog { .. } => F::krun_init_log,
            Call::SetLogLevel { .. } => F::krun_set_log_level,
            Call::CreateCtx {} => F::krun_create_ctx,
            Call::SetVmConfig { .. } => F::krun_set_vm_config,
            Call::DisableImplicitConsole {} => F::krun_disable_implicit_console,
            Call::AddVirtioConsoleDefault { .. } => F::krun_add_virtio_console_default,
            Call::AddVirtioConsoleMultiport {} => F::krun_add_virtio_console_multiport,
            Call::AddConsolePortInout { .. } => F::krun_add_console_port_inout,
            Call::DisableImplicitVsock {} => F::krun_disable_implicit_vsock,
            Call::AddVsock { .. } => F::krun_add_vsock,
            Call::AddVsockPort { .. } => F::krun_add_vsock_port,
            Call::SetRoot { .. } => F::krun_set_root,
            Call::AddVirtiofs { .. } => F::krun_add_virtiofs,
            Call::AddVirtiofs2 { .. } => F::krun_add_virtiofs2,
            Call::AddVirtiofs3 { .. } => F::krun_add_virtiofs3,
            Call::AddVirtiofs4 { .. } => F::krun_add_virtiofs4,
            Call::FsAddOverlayDir { .. } => F::krun_fs_add_overlay_dir,
            Call::FsAddOverlayFile { .. } => F::krun_fs_add_overlay_file,
            Call::SetKernel { .. } => F::krun_set_kernel,
            Call::SetExec { .. } => F::krun_set_exec,
            Call::StartEnter {} => F::krun_start_enter,
        }
    }

    /// The arguments as text for people: `tag: "mount0", dir: "/srv/data", read_only: true`.
    pub fn args(&self) -> String {
        let value = serde_json::to_value(self).expect("a call is plain data");
        let Some(args) = value.get("args").and_then(|args| args.as_object()) else { return String::new() };
        args.iter().map(|(name, value)| format!("{name}: {}", shorten(value))).collect::<Vec<_>>().join(", ")
    }
}

/// `krun_add_virtiofs3(tag: "mount0", ...)`.
impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}({})", self.function().name(), self.args())
    }
}

/// A checked thing of the host by its path alone, the rest as JSON.
fn shorten(value: &serde_json::Value) -> String {
    match value.get("path") {
        Some(path) => path.to_string(),
        None if value.get("bootstrap").is_some() => "krundl's own".to_owned(),
        None => value.to_string(),
    }
}

/// What the child needs to know beside the calls.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestMount {
    /// The share.
    pub tag: String,
    /// Where it goes.
    pub path: String,
    /// Whether the guest's program may make the directory.
    pub create: bool,
    /// Whether it is mounted read-only in the guest as well.
    pub read_only: bool,
}

/// What krundl's program in the guest does: mount, then run the workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    /// How it speaks to the host.
    pub channel: Channel,
    /// Whether it opens the standard streams itself, because an external kernel may start init without any.
    pub reopen_stdio: bool,
    /// What it mounts, parents before children.
    pub mounts: Vec<GuestMount>,
    /// The workload's program.
    pub exec: Text,
    /// Its arguments, without its name.
    pub args: Vec<Text>,
    /// Its environment, `NAME=value` each.
    pub env: Vec<Text>,
    /// Its working directory.
    pub workdir: Text,
}

/// The way from the guest's program to the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    /// There is none: whether the guest is up stays unknown.
    None,
    /// A connection to a vsock port of the host.
    Vsock {
        /// The port.
        port: u32,
    },
    /// A console port of this name.
    Port,
}

/// The vsock port of the channel. High, so that it does not meet those that people choose.
pub const CHANNEL_PORT: u32 = 0x6b72_756e;
/// The name of the console port of the channel.
pub const CHANNEL_NAME: &str = "krundl";
