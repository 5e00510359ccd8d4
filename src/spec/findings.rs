//! What the host says about a spec, as plain data.

use serde::{Deserialize, Serialize};

use super::model::KernelFormat;
use super::mountpoint::MountPoint;
use super::text::Text;

/// A thing of the host as libkrun gets it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPath {
    /// Its canonical path, for people, and for libkrun where there is no descriptor.
    pub path: Text,
    /// Which of the descriptors kept open ([`super::Checked::held`]) it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<u32>,
}

/// A unix socket that need not exist yet: a name in a directory that does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostSocket {
    /// The directory.
    pub dir: HostPath,
    /// The socket's name in it.
    pub name: Text,
}

impl HostSocket {
    /// Its path, for people, and for those who connect to it.
    pub fn path(&self) -> std::path::PathBuf {
        self.dir.path.as_path().join(self.name.as_path())
    }
}

/// What was found out about a mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountFinding {
    /// The host's directory.
    pub host: HostPath,
    /// What there is at its path in the guest.
    pub point: MountPoint,
    /// The mount, by index, in which that path lies; `None`: in the root.
    pub within: Option<usize>,
}

/// What was found out about the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelFinding {
    /// The file.
    pub file: HostPath,
    /// Its format; never `Auto`.
    pub format: KernelFormat,
    /// The initial RAM disk.
    pub initrd: Option<HostPath>,
}

/// The host's ends of a console port or a serial console; a terminal is its input alone.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ends {
    /// What is read into it.
    pub input: Option<HostPath>,
    /// Where its output goes.
    pub output: Option<HostPath>,
}

/// What the host says about a spec: plain data, so that the negotiation needs no host. Lists are in the spec's order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// The root directory.
    pub root: HostPath,
    /// Why a `/bin/sh` command in the root could not mount a share; `None` when it could, or when the root is on a
    /// disk and nobody knows. Before libkrun 1.19.0 that is how krundl's guest program gets in.
    pub no_shell_mount: Option<String>,
    /// The mounts.
    pub mounts: Vec<MountFinding>,
    /// The kernel, where the spec has one.
    pub kernel: Option<KernelFinding>,
    /// The firmware file.
    pub firmware: Option<HostPath>,
    /// Files of the host whose contents are laid over the root.
    pub overlay_files: Vec<Option<HostPath>>,
    /// The disks; a qcow2 or vmdk image has no descriptor.
    pub disks: Vec<HostPath>,
    /// The sockets of the network cards, or the programs that are started for them; empty for a tap interface.
    pub nics: Vec<HostPath>,
    /// Whether the root has an /etc/resolv.conf; `None` on a disk, where nobody can look.
    #[serde(default)]
    pub resolv_conf: Option<bool>,
    /// The name servers that the host asks, as far as a guest can reach them as well.
    #[serde(default)]
    pub resolvers: Vec<std::net::IpAddr>,
    /// The sockets of the vsock ports.
    pub vsock: Vec<HostSocket>,
    /// The control port's socket, where the spec names one.
    #[serde(default)]
    pub control: Option<HostSocket>,
    /// The console's file.
    pub console: Option<HostPath>,
    /// The serial console's ends.
    pub serial: Ends,
    /// The ends of the console ports.
    pub console_ports: Vec<Ends>,
    /// The displays' EDID files.
    pub edids: Vec<Option<HostPath>>,
    /// The input devices.
    pub inputs: Vec<HostPath>,
    /// The configuration of a confidential guest.
    pub tee: Option<HostPath>,
    /// The log's file.
    pub log_file: Option<HostPath>,
}
