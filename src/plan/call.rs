//! The calls of a plan: one typed variant for each of libkrun's functions that a plan can use.

use serde::{Deserialize, Serialize};

use super::arguments::{Content, Fd, NetSocket, Shared, Socket};
use crate::spec::HostPath;
use crate::symbols::Function;

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
    #[serde(rename = "krun_set_rlimits")]
    SetRlimits { rlimits: Vec<String> },
    #[serde(rename = "krun_setuid")]
    Setuid { uid: u32 },
    #[serde(rename = "krun_setgid")]
    Setgid { gid: u32 },
    #[serde(rename = "krun_set_nested_virt")]
    SetNestedVirt { enabled: bool },
    #[serde(rename = "krun_split_irqchip")]
    SplitIrqchip { enable: bool },
    #[serde(rename = "krun_set_smbios_oem_strings")]
    SetSmbiosOemStrings { oem_strings: Vec<String> },
    #[serde(rename = "krun_disable_implicit_console")]
    DisableImplicitConsole {},
    #[serde(rename = "krun_add_virtio_console_default")]
    AddVirtioConsoleDefault { input: Fd, output: Fd, error: Fd },
    #[serde(rename = "krun_set_console_output")]
    SetConsoleOutput { file: HostPath },
    #[serde(rename = "krun_add_virtio_console_multiport")]
    AddVirtioConsoleMultiport {},
    /// On the console of the last [`Call::AddVirtioConsoleMultiport`].
    #[serde(rename = "krun_add_console_port_inout")]
    AddConsolePortInout { name: String, input: Option<Fd>, output: Option<Fd> },
    /// On the console of the last [`Call::AddVirtioConsoleMultiport`].
    #[serde(rename = "krun_add_console_port_tty")]
    AddConsolePortTty { name: String, tty: Fd },
    /// libkrun takes the descriptors over.
    #[serde(rename = "krun_add_serial_console_default")]
    AddSerialConsoleDefault { input: Option<Fd>, output: Option<Fd> },
    #[serde(rename = "krun_set_kernel_console")]
    SetKernelConsole { console: String },
    #[serde(rename = "krun_disable_implicit_vsock")]
    DisableImplicitVsock {},
    #[serde(rename = "krun_add_vsock")]
    AddVsock { tsi_features: u32 },
    #[serde(rename = "krun_set_port_map")]
    SetPortMap { ports: Vec<String> },
    /// The guest connects to `port`, and the child hands it the socket behind `socket`.
    #[serde(rename = "krun_add_vsock_port")]
    AddVsockPort { port: u32, socket: Socket },
    #[serde(rename = "krun_add_vsock_port2")]
    AddVsockPort2 { port: u32, socket: Socket, listen: bool },
    #[serde(rename = "krun_add_net_unixstream")]
    AddNetUnixstream { socket: NetSocket, mac: String, features: u32, flags: u32 },
    #[serde(rename = "krun_add_net_unixgram")]
    AddNetUnixgram { socket: HostPath, mac: String, features: u32, flags: u32 },
    #[serde(rename = "krun_add_net_tap")]
    AddNetTap { name: String, mac: String, features: u32, flags: u32 },
    /// libkrun is given a connection; where there is only a socket, the child connects to it.
    #[serde(rename = "krun_set_passt_fd")]
    SetPasstFd { socket: NetSocket },
    #[serde(rename = "krun_set_gvproxy_path")]
    SetGvproxyPath { socket: HostPath },
    #[serde(rename = "krun_set_net_mac")]
    SetNetMac { mac: String },
    #[serde(rename = "krun_add_disk")]
    AddDisk { id: String, disk: HostPath, read_only: bool },
    #[serde(rename = "krun_add_disk2")]
    AddDisk2 { id: String, disk: HostPath, format: u32, read_only: bool },
    #[serde(rename = "krun_add_disk3")]
    AddDisk3 { id: String, disk: HostPath, format: u32, read_only: bool, direct_io: bool, sync_mode: u32 },
    #[serde(rename = "krun_set_root_disk_remount")]
    SetRootDiskRemount { device: String, fstype: Option<String>, options: Option<String> },
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
    #[serde(rename = "krun_set_firmware")]
    SetFirmware { file: HostPath },
    #[serde(rename = "krun_set_tee_config_file")]
    SetTeeConfigFile { file: HostPath },
    #[serde(rename = "krun_set_gpu_options")]
    SetGpuOptions { virgl_flags: u32 },
    #[serde(rename = "krun_set_gpu_options2")]
    SetGpuOptions2 { virgl_flags: u32, shm_size: u64 },
    #[serde(rename = "krun_add_display")]
    AddDisplay { width: u32, height: u32 },
    /// Of the display of the last [`Call::AddDisplay`], as those that follow.
    #[serde(rename = "krun_display_set_edid")]
    DisplaySetEdid { file: HostPath },
    #[serde(rename = "krun_display_set_physical_size")]
    DisplaySetPhysicalSize { width_mm: u16, height_mm: u16 },
    #[serde(rename = "krun_display_set_refresh_rate")]
    DisplaySetRefreshRate { refresh_rate: u32 },
    #[serde(rename = "krun_display_set_dpi")]
    DisplaySetDpi { dpi: u32 },
    #[serde(rename = "krun_add_input_device_fd")]
    AddInputDeviceFd { device: Fd },
    #[serde(rename = "krun_set_snd_device")]
    SetSndDevice { enable: bool },
    #[serde(rename = "krun_set_exec")]
    SetExec { path: String, args: Vec<String>, env: Vec<String> },
    #[serde(rename = "krun_start_enter")]
    StartEnter {},
}

/// The function of each variant, and the list of all of them.
macro_rules! functions {
    ($($variant:ident => $function:ident,)+) => {
        impl Call {
            /// The functions that a plan can call.
            pub const FUNCTIONS: &'static [Function] = &[$(Function::$function),+];

            /// The function that is called.
            pub fn function(&self) -> Function {
                match self { $(Call::$variant { .. } => Function::$function,)+ }
            }
        }
    };
}

functions! {
    InitLog => krun_init_log,
    SetLogLevel => krun_set_log_level,
    CreateCtx => krun_create_ctx,
    SetVmConfig => krun_set_vm_config,
    SetRlimits => krun_set_rlimits,
    Setuid => krun_setuid,
    Setgid => krun_setgid,
    SetNestedVirt => krun_set_nested_virt,
    SplitIrqchip => krun_split_irqchip,
    SetSmbiosOemStrings => krun_set_smbios_oem_strings,
    DisableImplicitConsole => krun_disable_implicit_console,
    AddVirtioConsoleDefault => krun_add_virtio_console_default,
    SetConsoleOutput => krun_set_console_output,
    AddVirtioConsoleMultiport => krun_add_virtio_console_multiport,
    AddConsolePortInout => krun_add_console_port_inout,
    AddConsolePortTty => krun_add_console_port_tty,
    AddSerialConsoleDefault => krun_add_serial_console_default,
    SetKernelConsole => krun_set_kernel_console,
    DisableImplicitVsock => krun_disable_implicit_vsock,
    AddVsock => krun_add_vsock,
    SetPortMap => krun_set_port_map,
    AddVsockPort => krun_add_vsock_port,
    AddVsockPort2 => krun_add_vsock_port2,
    AddNetUnixstream => krun_add_net_unixstream,
    AddNetUnixgram => krun_add_net_unixgram,
    AddNetTap => krun_add_net_tap,
    SetPasstFd => krun_set_passt_fd,
    SetGvproxyPath => krun_set_gvproxy_path,
    SetNetMac => krun_set_net_mac,
    AddDisk => krun_add_disk,
    AddDisk2 => krun_add_disk2,
    AddDisk3 => krun_add_disk3,
    SetRootDiskRemount => krun_set_root_disk_remount,
    SetRoot => krun_set_root,
    AddVirtiofs => krun_add_virtiofs,
    AddVirtiofs2 => krun_add_virtiofs2,
    AddVirtiofs3 => krun_add_virtiofs3,
    AddVirtiofs4 => krun_add_virtiofs4,
    FsAddOverlayDir => krun_fs_add_overlay_dir,
    FsAddOverlayFile => krun_fs_add_overlay_file,
    SetKernel => krun_set_kernel,
    SetFirmware => krun_set_firmware,
    SetTeeConfigFile => krun_set_tee_config_file,
    SetGpuOptions => krun_set_gpu_options,
    SetGpuOptions2 => krun_set_gpu_options2,
    AddDisplay => krun_add_display,
    DisplaySetEdid => krun_display_set_edid,
    DisplaySetPhysicalSize => krun_display_set_physical_size,
    DisplaySetRefreshRate => krun_display_set_refresh_rate,
    DisplaySetDpi => krun_display_set_dpi,
    AddInputDeviceFd => krun_add_input_device_fd,
    SetSndDevice => krun_set_snd_device,
    SetExec => krun_set_exec,
    StartEnter => krun_start_enter,
}

impl Call {
    /// The arguments as text for people, in the order of C: `tag: "mount0", dir: "/srv/data", read_only: true`.
    pub fn args(&self) -> String {
        #[derive(Deserialize)]
        struct Shown {
            #[serde(default)]
            args: InOrder,
        }
        // By way of text, because a map of JSON values is sorted by name.
        let text = serde_json::to_string(self).expect("a call is plain data");
        let shown: Shown = serde_json::from_str(&text).expect("it was just written");
        shown.args.0.iter().map(|(name, value)| format!("{name}: {}", shorten(value))).collect::<Vec<_>>().join(", ")
    }
}

/// The members of an object as they stand there.
#[derive(Default)]
struct InOrder(Vec<(String, serde_json::Value)>);

impl<'de> Deserialize<'de> for InOrder {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<InOrder, D::Error> {
        struct Members;
        impl<'de> serde::de::Visitor<'de> for Members {
            type Value = InOrder;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "an object")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<InOrder, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(InOrder(members))
            }
        }
        deserializer.deserialize_map(Members)
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
    let text = |value: &serde_json::Value| value.as_str().map(str::to_owned);
    if let Some(path) = value.get("path") {
        path.to_string()
    } else if let Some(dir) = value.get("dir").and_then(|dir| text(dir.get("path")?)) {
        let name = value.get("name").and_then(text).unwrap_or_default();
        format!("{:?}", format!("{}/{name}", dir.trim_end_matches('/')))
    } else if value.get("bootstrap").is_some() {
        "krundl's own".to_owned()
    } else if value.get("nothing").is_some() {
        "none".to_owned()
    } else if value.get("text").is_some() {
        // It may be long, and it may be secret.
        "the spec's text".to_owned()
    } else if let Some(file) = value.get("file").and_then(|file| file.get("path")) {
        file.to_string()
    } else {
        value.to_string()
    }
}
