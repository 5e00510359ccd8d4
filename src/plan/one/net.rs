//! Network cards: any number over `krun_add_net_*`, or the one of the releases before them.

use std::net::IpAddr;

use super::Negotiation;
use crate::capabilities::Support;
use crate::error::{Problem, ProblemKind};
use crate::plan::arguments::{Fd, NetSocket};
use crate::plan::call::Call;
use crate::plan::guest::{GuestNic, NicSetup};
use crate::plan::network::{Network, NetworkKind, OpenPort};
use crate::spec::{Addressing, Forward, Gvproxy, HostPath, NetFeature, Nic, Passt, Protocol};
use crate::symbols::Function;

/// `NET_FLAG_VFKIT`.
const VFKIT: u32 = 1;

impl Negotiation<'_> {
    pub(super) fn nics(&mut self) {
        let spec = self.spec;
        // What would make the first card one of several, where it is the one card of old.
        let mut only = None;
        for (n, nic) in spec.nics.iter().enumerate() {
            self.lines.push(Some(format!("nics[{n}]")));
            let function = match (is_stream(nic), nic.unixgram.is_some()) {
                (true, _) => Function::krun_add_net_unixstream,
                (false, true) => Function::krun_add_net_unixgram,
                (false, false) => Function::krun_add_net_tap,
            };
            if self.has(function) {
                match only {
                    Some(better) => self.another_card(n, better),
                    None => self.add(n, nic),
                }
            } else if self.legacy(function).is_some_and(|legacy| self.has(legacy)) {
                self.one_card(n, nic, function);
                only = Some(function);
            } else {
                self.refuse(format!("nics[{n}]"), "there are no network cards of this kind", function);
            }
        }
    }

    fn add(&mut self, n: usize, nic: &Nic) {
        let mac = mac(nic, n);
        let features = features(nic.features.as_deref().unwrap_or(NetFeature::USUAL));
        // NET_FLAG_DHCP_CLIENT is never asked for: libkrun's init knows the first card only, and gets nowhere with some
        // passts. krundl's program in the guest does better.
        let flags = u32::from(nic.vfkit) * VFKIT;
        let call = match (is_stream(nic), nic.unixgram.is_some(), &nic.tap) {
            (true, ..) => Call::AddNetUnixstream { socket: self.net_socket(n, nic), mac, features, flags },
            (false, true, _) => Call::AddNetUnixgram { socket: self.socket(n), mac, features, flags },
            (false, false, name) => Call::AddNetTap { name: name.clone().unwrap_or_default(), mac, features, flags },
        };
        self.calls.push(call);
    }

    fn socket(&self, n: usize) -> HostPath {
        self.findings.nics.get(n).cloned().unwrap_or_default()
    }

    /// What a card is connected to: a program that is started, or one that listens.
    fn net_socket(&mut self, n: usize, nic: &Nic) -> NetSocket {
        let number = u32::try_from(self.networks.len()).expect("a spec has fewer than 2^32 cards");
        let network = match (&nic.passt, &nic.gvproxy) {
            (Some(passt), _) => self.passt(n, nic, passt),
            (None, Some(gvproxy)) => Network {
                field: format!("nics[{n}].gvproxy"),
                kind: NetworkKind::Gvproxy,
                program: self.socket(n).path.as_path().to_owned(),
                args: ["-mtu", "1500"].map(str::to_owned).into(),
                ports: open_ports(n, &gvproxy.ports),
                mac: mac(nic, n),
            },
            (None, None) => return NetSocket::Host(self.socket(n)),
        };
        self.networks.push(network);
        NetSocket::Ours(Fd::Network(number))
    }

    /// A passt of the card's own. What it is told is what every passt knows that can be given a connection (`--fd`,
    /// November 2022).
    fn passt(&mut self, n: usize, nic: &Nic, passt: &Passt) -> Network {
        // One that is none was refused by the host checks.
        let addressing = nic.addressing().unwrap_or(Passt::USUAL);
        let mut args: Vec<String> = ["--foreground", "--quiet"].map(str::to_owned).into();
        let mut say = |option: &str, value: &str| args.extend([option.to_owned(), value.to_owned()]);
        say("--address", &addressing.address.to_string());
        say("--netmask", &addressing.prefix.to_string());
        say("--gateway", &addressing.gateway.unwrap_or(addressing.address).to_string());
        let servers = nic.dns.as_ref().unwrap_or(&self.findings.resolvers);
        for server in servers {
            say("--dns", &server.to_string());
        }
        if servers.is_empty() {
            say("--dns", "none");
        }
        if servers.is_empty() && nic.dns.is_none() {
            self.notes.push(format!(
                "nics[{n}]: this host names no server that a guest could ask for names (/etc/resolv.conf)"
            ));
        }
        for (option, protocol) in [("--tcp-ports", Protocol::Tcp), ("--udp-ports", Protocol::Udp)] {
            if passt.ports.iter().all(|port| port.protocol != protocol) {
                say(option, "none");
            }
        }
        if !passt.host_loopback {
            args.push("--no-map-gw".to_owned());
        }
        Network {
            field: format!("nics[{n}].passt"),
            kind: NetworkKind::Passt,
            program: self.socket(n).path.as_path().to_owned(),
            args,
            ports: open_ports(n, &passt.ports),
            mac: mac(nic, n),
        }
    }

    /// What krundl's program in the guest does with the cards: those of which the spec says it.
    pub(super) fn guest_nics(&mut self) -> Vec<GuestNic> {
        let spec = self.spec;
        let mut cards = Vec::new();
        for (n, nic) in spec.nics.iter().enumerate() {
            let setup = match nic.addressing() {
                _ if nic.dhcp => NicSetup::Dhcp,
                Some(Addressing { address, prefix, gateway }) => NicSetup::Static { address, prefix, gateway },
                None => continue,
            };
            let usual = || match (&nic.passt, &nic.gvproxy) {
                (Some(_), _) => Some(self.findings.resolvers.clone()),
                (None, gvproxy) => gvproxy.as_ref().map(|_| vec![Gvproxy::GATEWAY.into()]),
            };
            let mut dns = nic.dns.clone().or_else(|| usual().filter(|_| setup != NicSetup::Dhcp));
            if dns != Some(Vec::new()) && self.findings.resolv_conf == Some(false) {
                self.no_resolv_conf(n, nic, &mut dns);
            }
            cards.push(GuestNic { field: format!("nics[{n}]"), mac: mac(nic, n), setup, dns, optional: nic.optional });
        }
        cards
    }

    /// The root has no file over which the name servers could be laid.
    fn no_resolv_conf(&mut self, n: usize, nic: &Nic, dns: &mut Option<Vec<IpAddr>>) {
        const WHAT: &str = "the root has no /etc/resolv.conf";
        if !self.spec.root.as_ref().is_some_and(|root| root.read_only) {
            self.notes.push(format!("{WHAT}; the guest makes an empty one, which stays, and lays its own over it"));
        } else if nic.dns.is_some() {
            let fix = "make an empty one there first";
            let reason = format!("{WHAT}, and is read-only, so nobody can make one");
            self.problems.push(Problem::new(ProblemKind::Host, format!("nics[{n}].dns"), reason).fix(fix));
        } else {
            self.notes.push(format!("{WHAT}, and is read-only: the guest is told no name servers"));
            *dns = Some(Vec::new());
        }
    }

    fn legacy(&self, function: Function) -> Option<Function> {
        match function {
            Function::krun_add_net_unixstream => Some(Function::krun_set_passt_fd),
            Function::krun_add_net_unixgram => Some(Function::krun_set_gvproxy_path),
            _ => None,
        }
    }

    fn another_card(&mut self, n: usize, better: Function) {
        self.refuse(format!("nics[{n}]"), "there is only one network card", better);
    }

    /// Before 1.15.0: one card, with libkrun's usual features, to passt or to a gvproxy that waits for vfkit's word.
    fn one_card(&mut self, n: usize, nic: &Nic, better: Function) {
        let field = |name: &str| format!("nics[{n}].{name}");
        if n > 0 {
            return self.another_card(n, better);
        }
        let usual = |given: &[NetFeature]| features(given) == features(NetFeature::USUAL);
        if nic.features.as_deref().is_some_and(|given| !usual(given)) {
            self.refuse(field("features"), "the features of a card cannot be chosen", better);
        }
        if nic.unixgram.is_some() && !nic.vfkit {
            self.refuse(field("vfkit"), "vfkit's word is always said", better);
        }
        let call = if is_stream(nic) {
            Call::SetPasstFd { socket: self.net_socket(n, nic) }
        } else {
            Call::SetGvproxyPath { socket: self.socket(n) }
        };
        if self.capabilities.support(call.function()) == Support::Unknown {
            self.notes.push(format!(
                "whether this libkrun was built with net cannot be told: if not, it refuses {}",
                call.function()
            ));
        }
        self.calls.push(call);
        if nic.mac.is_some()
            && self.needs(&field("mac"), "the address of the card cannot be chosen", Function::krun_set_net_mac)
        {
            self.calls.push(Call::SetNetMac { mac: mac(nic, n) });
        }
    }
}

/// Whether the card speaks over a stream, each frame after its length, as passt does and every gvproxy can.
fn is_stream(nic: &Nic) -> bool {
    nic.passt.is_some() || nic.gvproxy.is_some() || nic.unixstream.is_some()
}

fn open_ports(nic: usize, ports: &[Forward]) -> Vec<OpenPort> {
    let open = |Forward { host, guest, address, protocol }: &Forward| OpenPort {
        nic,
        protocol: *protocol,
        address: *address,
        host: *host,
        guest: *guest,
    };
    ports.iter().map(open).collect()
}

fn features(given: &[NetFeature]) -> u32 {
    given.iter().fold(0, |bits, feature| bits | feature.bit())
}

fn mac(nic: &Nic, n: usize) -> String {
    // One that is none was refused by the host checks.
    let bytes = nic.hardware_address(n).unwrap_or_default();
    bytes.map(|byte| format!("{byte:02x}")).join(":")
}
