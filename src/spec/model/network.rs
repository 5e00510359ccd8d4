//! Ways in and out: TSI, network cards, vsock.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// libkrun's own network without a card: the guest's sockets are the host's. Needs libkrunfw's kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Tsi {
    /// The guest's IPv4 and IPv6 sockets; `false` needs `krun_add_vsock`.
    #[serde(default = "yes")]
    pub inet: bool,
    /// The guest's unix sockets; needs `krun_add_vsock`.
    #[serde(default)]
    pub unix: bool,
    /// TCP ports of the guest that are open on the host under a number of the caller's choice.
    #[serde(default)]
    pub ports: Vec<Port>,
    /// Whether the guest's other ports stay closed on the host. Otherwise all on which it listens are open, under their
    /// own numbers. Only libkrun before 1.17.0 can close them; later ones are refused.
    #[serde(default)]
    pub only_ports: bool,
}

fn yes() -> bool {
    true
}

impl Default for Tsi {
    fn default() -> Tsi {
        Tsi { inet: true, unix: false, ports: Vec::new(), only_ports: false }
    }
}

/// A TCP port of the guest and its number on the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Port {
    /// Its number on the host.
    pub host: u16,
    /// Its number in the guest.
    pub guest: u16,
}

/// A network card: exactly one of `unixstream`, `unixgram` and `tap`. With any there is no TSI.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Nic {
    /// The stream socket on which a passt listens.
    #[serde(default)]
    pub unixstream: Option<PathBuf>,
    /// The datagram socket of a gvproxy or vmnet-helper.
    #[serde(default)]
    pub unixgram: Option<PathBuf>,
    /// Whether the other end of `unixgram` waits for vfkit's first word, as gvproxy does.
    #[serde(default)]
    pub vfkit: bool,
    /// The name of a tap interface of the host.
    #[serde(default)]
    pub tap: Option<String>,
    /// The hardware address, `5a:94:ef:e4:0c:ee` and those following it where absent.
    #[serde(default)]
    pub mac: Option<String>,
    /// What is offered to the guest's driver; libkrun's usual set where absent.
    #[serde(default)]
    pub features: Option<Vec<NetFeature>>,
    /// Whether libkrun's init asks for an address with DHCP: the first card only, and from libkrun 1.18.0 on.
    #[serde(default)]
    pub dhcp: bool,
}

/// The first hardware address that libkrun gives a card.
const FIRST_MAC: [u8; 6] = [0x5a, 0x94, 0xef, 0xe4, 0x0c, 0xee];

impl Nic {
    /// The hardware address of the card with this index; `None` where the spec's is none.
    pub fn address(&self, index: usize) -> Option<[u8; 6]> {
        let Some(text) = &self.mac else {
            let mut mac = FIRST_MAC;
            mac[5] = mac[5].checked_add(u8::try_from(index).ok()?)?;
            return Some(mac);
        };
        let bytes: Vec<u8> = text
            .split(':')
            .map(|part| {
                let plain = part.len() == 2 && part.bytes().all(|b| b.is_ascii_hexdigit());
                u8::from_str_radix(part, 16).ok().filter(|_| plain)
            })
            .collect::<Option<_>>()?;
        bytes.try_into().ok()
    }
}

/// What a network card offers (`NET_FEATURE_*`, the names of virtio-net).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "virtio-net's own names")]
pub enum NetFeature {
    Csum,
    GuestCsum,
    GuestTso4,
    GuestTso6,
    GuestUfo,
    HostTso4,
    HostTso6,
    HostUfo,
}

impl NetFeature {
    /// libkrun's usual set.
    pub const USUAL: &'static [NetFeature] = &[
        NetFeature::Csum,
        NetFeature::GuestCsum,
        NetFeature::GuestTso4,
        NetFeature::GuestUfo,
        NetFeature::HostTso4,
        NetFeature::HostUfo,
    ];

    /// Its bit, which is virtio-net's.
    pub const fn bit(self) -> u32 {
        1 << match self {
            NetFeature::Csum => 0,
            NetFeature::GuestCsum => 1,
            NetFeature::GuestTso4 => 7,
            NetFeature::GuestTso6 => 8,
            NetFeature::GuestUfo => 10,
            NetFeature::HostTso4 => 11,
            NetFeature::HostTso6 => 12,
            NetFeature::HostUfo => 14,
        }
    }
}

/// Connections between the guest's vsock ports and unix sockets of the host. The guest's own address (CID) is always
/// 3, the host's 2.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Vsock {
    /// The guest's own address: 3, whatever is wished for. Another is refused, since libkrun has no function for it.
    #[serde(default)]
    pub cid: Option<u32>,
    /// The ports.
    #[serde(default)]
    pub ports: Vec<VsockPort>,
}

/// A vsock port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct VsockPort {
    /// Its number.
    pub port: u32,
    /// The unix socket of the host, in a directory that exists; at most 107 bytes.
    pub path: PathBuf,
    /// `false`: the guest connects to the port, and somebody on the host listens on the socket by then. `true`: the
    /// guest listens on the port, and libkrun makes the socket, which may not exist and goes with the VM.
    #[serde(default)]
    pub listen: bool,
}
