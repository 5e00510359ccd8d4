//! Ways in and out: TSI, network cards, vsock.

use std::net::{IpAddr, Ipv4Addr};
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

/// A network card: exactly one of `passt`, `gvproxy`, `unixstream`, `unixgram` and `tap`. With any there is no TSI.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Nic {
    /// A passt of its own: krundl starts it before the VM, and it ends with the VM. Takes no root.
    #[serde(default)]
    pub passt: Option<Passt>,
    /// A gvproxy of its own: krundl starts it before the VM, and it ends with the VM. Takes no root.
    #[serde(default)]
    pub gvproxy: Option<Gvproxy>,
    /// The stream socket on which a passt listens.
    #[serde(default)]
    pub unixstream: Option<PathBuf>,
    /// The datagram socket of a gvproxy (`-listen-vfkit`; on Linux from 0.8.9 on) or vmnet-helper.
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
    /// The card's IPv4 address and the length of its network's prefix, `192.0.2.7/24`: krundl's program in the guest sets
    /// it. With `passt` also what that serves, 10.0.2.15/24 where absent.
    #[serde(default)]
    pub address: Option<String>,
    /// The way out of that network. With `passt` the network's first address, or the second if the first is the guest's.
    #[serde(default)]
    pub gateway: Option<Ipv4Addr>,
    /// The name servers that stand in the guest's /etc/resolv.conf; where absent those that DHCP names, with `passt` this
    /// host's, with `gvproxy` its own.
    #[serde(default)]
    pub dns: Option<Vec<IpAddr>>,
    /// Whether krundl's program in the guest asks for all that with DHCP.
    #[serde(default)]
    pub dhcp: bool,
    /// Whether the workload runs although the card could not be set up; else that ends the VM.
    #[serde(default)]
    pub optional: bool,
}

/// A card's address and its surroundings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addressing {
    /// The address.
    pub address: Ipv4Addr,
    /// The length of the network's prefix in bits.
    pub prefix: u8,
    /// The way out.
    pub gateway: Option<Ipv4Addr>,
}

impl Addressing {
    /// The network's mask.
    pub fn mask(self) -> Ipv4Addr {
        u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0).into()
    }

    /// `192.0.2.7/24`, of one card.
    fn parse(text: &str) -> Option<Addressing> {
        let (address, prefix) = text.split_once('/')?;
        let plain = prefix.bytes().all(|b| b.is_ascii_digit()) && !prefix.starts_with('0');
        let (address, prefix) =
            (address.parse::<Ipv4Addr>().ok()?, prefix.parse().ok().filter(|prefix| plain && *prefix <= 32)?);
        let addressing = Addressing { address, prefix, gateway: None };
        let host = address.to_bits() & !addressing.mask().to_bits();
        let whole = prefix < 31 && (host == 0 || host == !addressing.mask().to_bits());
        let odd = address.is_unspecified() || address.is_loopback() || address.is_multicast() || whole;
        (!odd && !address.is_broadcast()).then_some(addressing)
    }

    /// The network's first address that is not the card's own.
    fn first_other(self) -> Option<Ipv4Addr> {
        let network = self.address.to_bits() & self.mask().to_bits();
        let first = [1, 2].map(|n| Ipv4Addr::from(network.wrapping_add(n))).into_iter().find(|a| *a != self.address)?;
        (self.prefix < 31).then_some(first)
    }
}

/// A passt that krundl starts for a card. The guest reaches what this host reaches.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Passt {
    /// Ports of the host that lead to ports of the guest. No other port of the guest is open on the host.
    #[serde(default)]
    pub ports: Vec<Forward>,
    /// The program; searched in `PATH` where absent.
    #[serde(default)]
    pub program: Option<PathBuf>,
    /// Whether the guest reaches what listens on this host's loopback (127.0.0.1), at the gateway's address.
    #[serde(default)]
    pub host_loopback: bool,
}

impl Passt {
    /// The guest's address and gateway where the card names none.
    pub const USUAL: Addressing =
        Addressing { address: Ipv4Addr::new(10, 0, 2, 15), prefix: 24, gateway: Some(Ipv4Addr::new(10, 0, 2, 2)) };
}

/// A gvproxy (gvisor-tap-vsock) that krundl starts for a card. The guest reaches what this host reaches, and this host's
/// loopback at 192.168.127.254. It is always 192.168.127.2/24 itself, with the gateway 192.168.127.1.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Gvproxy {
    /// Ports of the host that lead to ports of the guest. No other port of the guest is open on the host.
    #[serde(default)]
    pub ports: Vec<Forward>,
    /// The program; searched in `PATH` and where podman keeps it where absent.
    #[serde(default)]
    pub program: Option<PathBuf>,
}

impl Gvproxy {
    /// The guest's address and gateway: gvproxy has no others.
    pub const USUAL: Addressing =
        Addressing { address: Ipv4Addr::new(192, 168, 127, 2), prefix: 24, gateway: Some(Self::GATEWAY) };
    /// The gateway, which answers questions for names as well.
    pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 127, 1);
    /// The hardware address to which its DHCP server gives the guest's address.
    pub const MAC: [u8; 6] = FIRST_MAC;
}

/// A port of the host that leads to one of the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Forward {
    /// Its number on the host; 0, the default, for any that is free when the VM starts: the running VM tells which.
    #[serde(default)]
    pub host: u16,
    /// Its number in the guest.
    #[cfg_attr(feature = "schema", schemars(range(min = 1)))]
    pub guest: u16,
    /// The host's IPv4 address on which it is open: only this host reaches the default, 127.0.0.1; 0.0.0.0 is all.
    #[serde(default = "loopback")]
    pub address: Ipv4Addr,
    /// TCP or UDP.
    #[serde(default)]
    pub protocol: Protocol,
}

fn loopback() -> Ipv4Addr {
    Ipv4Addr::LOCALHOST
}

/// What a port speaks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the protocols' own names")]
pub enum Protocol {
    #[default]
    Tcp,
    Udp,
}

/// `tcp`, `udp`.
impl std::fmt::Display for Protocol {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        })
    }
}

/// The first hardware address that libkrun gives a card.
const FIRST_MAC: [u8; 6] = [0x5a, 0x94, 0xef, 0xe4, 0x0c, 0xee];

impl Nic {
    /// The ports that the program of the card's own opens; `None` where the card has none.
    pub fn ports_mut(&mut self) -> Option<&mut Vec<Forward>> {
        match (&mut self.passt, &mut self.gvproxy) {
            (Some(passt), _) => Some(&mut passt.ports),
            (None, gvproxy) => gvproxy.as_mut().map(|gvproxy| &mut gvproxy.ports),
        }
    }

    /// Its address as the spec has it, or as a passt or gvproxy of its own takes it; `None` where it is left open, or is none.
    pub fn addressing(&self) -> Option<Addressing> {
        let Some(text) = &self.address else {
            let passt = self.passt.is_some().then_some(Passt::USUAL);
            let usual = passt.or(self.gvproxy.is_some().then_some(Gvproxy::USUAL))?;
            return Some(Addressing { gateway: self.gateway.or(usual.gateway), ..usual });
        };
        let parsed = Addressing::parse(text)?;
        let gateway = self.gateway.or_else(|| parsed.first_other().filter(|_| self.passt.is_some()));
        Some(Addressing { gateway, ..parsed })
    }

    /// The hardware address of the card with this index; `None` where the spec's is none.
    pub fn hardware_address(&self, index: usize) -> Option<[u8; 6]> {
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
