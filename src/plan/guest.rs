//! What krundl's program in the guest is to do.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::spec::Text;

/// What krundl's program in the guest does: enter the root, mount, then run the workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Guest {
    /// How it speaks to the host.
    pub channel: Channel,
    /// The vsock port on which it listens for requests, where the spec has a control port.
    #[serde(default)]
    pub control: Option<u32>,
    /// Whether it opens the standard streams itself, because an external kernel may start init without any.
    pub reopen_stdio: bool,
    /// The disk that it makes the root, where libkrun's init has not done so.
    pub root: Option<GuestRoot>,
    /// Whether the root is on a disk at all: then that is written out and made read-only at the end.
    pub root_on_disk: bool,
    /// What it mounts, parents before children.
    pub mounts: Vec<GuestMount>,
    /// The network cards that it sets up.
    #[serde(default)]
    pub nics: Vec<GuestNic>,
    /// The workload's program.
    pub exec: Text,
    /// Its arguments, without its name.
    pub args: Vec<Text>,
    /// Its environment, `NAME=value` each.
    pub env: Vec<Text>,
    /// Its working directory.
    pub workdir: Text,
}

/// A root on a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestRoot {
    /// The block device.
    pub device: String,
    /// The file system's type; `None`: all that the kernel knows, in turn.
    pub fstype: Option<String>,
    /// Mount options.
    pub options: Option<String>,
    /// Whether it is mounted read-only.
    pub read_only: bool,
}

/// A share and where it goes.
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
    /// Whether a layer in the guest's memory lies over it and takes what is written.
    #[serde(default)]
    pub overlay: bool,
    /// Whether files are read and written through the share's DAX window. The guest has to ask for it (`dax=always`): by
    /// itself its driver goes by a word of the host's per file, which libkrun never gives.
    #[serde(default)]
    pub dax: bool,
}

/// A network card and how it is set up.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestNic {
    /// The spec's card, `nics[0]`.
    pub field: String,
    /// Its hardware address, by which the guest finds it.
    pub mac: String,
    /// How it gets its address.
    pub setup: NicSetup,
    /// The name servers; `None`: those that DHCP names.
    pub dns: Option<Vec<IpAddr>>,
    /// Whether the workload runs although this fails.
    pub optional: bool,
}

/// How a network card gets its address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NicSetup {
    /// This one.
    Static {
        /// The address.
        address: Ipv4Addr,
        /// The length of its network's prefix in bits.
        prefix: u8,
        /// The way out.
        gateway: Option<Ipv4Addr>,
    },
    /// The one that a DHCP server gives.
    Dhcp,
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
/// The vsock port on which the guest's program listens for requests.
pub const CONTROL_PORT: u32 = CHANNEL_PORT + 1;
/// The name of the console port of the channel.
pub const CHANNEL_NAME: &str = "krundl";
