//! The programs that krundl starts for network cards, and the ports that they are to open.

use std::net::{IpAddr, Ipv4Addr, SocketAddrV4};
use std::path::Path;

use rustix::fs::Access;

use super::Checker;
use super::files::{plain, refuse_nul};
use crate::error::{Problem, ProblemKind};
use crate::spec::findings::HostPath;
use crate::spec::model::{Forward, Gvproxy, Passt, VmSpec};
use crate::spec::programs::directories;

impl Checker {
    /// Returns the program.
    pub(super) fn passt(&mut self, field: &str, passt: &Passt) -> HostPath {
        const INSTALL: &str = "install it (apt-get install passt, dnf install passt), or name it with program";
        self.guest_ports(field, &passt.ports);
        self.program(&format!("{field}.program"), passt.program.as_deref(), "passt", INSTALL)
    }

    /// Returns the program.
    pub(super) fn gvproxy(&mut self, field: &str, gvproxy: &Gvproxy) -> HostPath {
        const INSTALL: &str = "install it (Debian 13's package gvproxy, Fedora's gvisor-tap-vsock; it comes with podman's \
                               machines), or name it with program, or use passt";
        self.guest_ports(field, &gvproxy.ports);
        self.program(&format!("{field}.program"), gvproxy.program.as_deref(), "gvproxy", INSTALL)
    }

    fn guest_ports(&mut self, field: &str, ports: &[Forward]) {
        for n in ports.iter().enumerate().filter(|(_, forward)| forward.guest == 0).map(|(n, _)| n) {
            self.invalid(format!("{field}.ports[{n}].guest"), "must not be 0");
        }
    }

    /// A program by its path, or by its usual name in `PATH` and in the usual places.
    fn program(&mut self, field: &str, given: Option<&Path>, usual: &str, install: &str) -> HostPath {
        let runs = |path: &Path| path.is_file() && rustix::fs::access(path, Access::EXEC_OK).is_ok();
        let reason = match given {
            Some(path) if refuse_nul(path).is_err() => "the path holds a NUL".to_owned(),
            Some(path) if runs(path) => return found(path),
            Some(path) => format!("{} is no program that can be run", path.display()),
            None => {
                let places = directories(usual, std::env::var_os("PATH").as_deref());
                if let Some(path) = places.into_iter().map(|dir| dir.join(usual)).find(|path| runs(path)) {
                    return found(&path);
                }
                format!("there is no {usual} in PATH")
            }
        };
        self.problems.push(Problem::new(ProblemKind::Host, field, reason).fix(install));
        HostPath::default()
    }

    /// The ports that are to be opened on this host: no two alike, and none taken.
    pub(super) fn forwards(&mut self, spec: &VmSpec) {
        let mut seen: Vec<(String, &Forward)> = Vec::new();
        for (field, forward) in all(spec) {
            let field = format!("{field}.host");
            if forward.host == 0 {
                continue;
            }
            let name = format!("{} {}", forward.protocol, SocketAddrV4::new(forward.address, forward.host));
            if let Some((other, _)) = seen.iter().find(|(_, other)| overlap(other, forward)) {
                self.invalid(field, format!("{name} is also that of {other}"));
                continue;
            }
            if let Err(error) = crate::spec::reserve(forward.protocol, forward.address, forward.host) {
                let (reason, fix) = match error.raw_os_error() {
                    Some(libc::EADDRINUSE) => (
                        format!("{name} is in use on this host"),
                        "choose another number, or 0 for one that is free".to_owned(),
                    ),
                    Some(libc::EACCES) => (
                        format!("this user may not open {name}"),
                        "choose a number from 1024 on, or lower the sysctl net.ipv4.ip_unprivileged_port_start"
                            .to_owned(),
                    ),
                    Some(libc::EADDRNOTAVAIL) => (
                        format!("{} is no address of this host", forward.address),
                        "127.0.0.1 is this host alone, 0.0.0.0 all its addresses".to_owned(),
                    ),
                    _ => (format!("{name} cannot be opened: {}", plain(&error)), "choose another".to_owned()),
                };
                self.problems.push(Problem::new(ProblemKind::Host, field.clone(), reason).fix(fix));
            }
            seen.push((field, forward));
        }
    }
}

/// Every port that is to be opened on the host, with its field.
fn all(spec: &VmSpec) -> impl Iterator<Item = (String, &Forward)> {
    spec.nics.iter().enumerate().flat_map(|(n, nic)| {
        let passt = nic.passt.iter().map(|passt| ("passt", &passt.ports));
        let gvproxy = nic.gvproxy.iter().map(|gvproxy| ("gvproxy", &gvproxy.ports));
        passt.chain(gvproxy).flat_map(move |(kind, ports)| {
            let field = move |m| format!("nics[{n}].{kind}.ports[{m}]");
            ports.iter().enumerate().map(move |(m, forward)| (field(m), forward))
        })
    })
}

fn overlap(one: &Forward, other: &Forward) -> bool {
    let everywhere = Ipv4Addr::UNSPECIFIED;
    one.host == other.host
        && one.protocol == other.protocol
        && (one.address == other.address || one.address == everywhere || other.address == everywhere)
}

fn found(path: &Path) -> HostPath {
    // Not canonical: passt looks for its variants for this processor beside the name that it was started by.
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    HostPath { path: path.into(), held: None }
}

/// The name servers of this host that a guest can ask itself. systemd-resolved's own address is this host's alone, so
/// those that it asks stand for it.
pub(super) fn resolvers() -> Vec<IpAddr> {
    ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"]
        .into_iter()
        .filter_map(|path| std::fs::read_to_string(path).ok())
        .map(|text| reachable(&text))
        .find(|found| !found.is_empty())
        .unwrap_or_default()
}

/// At most three, as the C library asks no more; those of IPv4 first, which every passt forwards.
fn reachable(text: &str) -> Vec<IpAddr> {
    let servers = text.lines().filter_map(|line| line.trim_start().strip_prefix("nameserver"));
    let servers = servers.filter_map(|rest| rest.split_whitespace().next()?.parse::<IpAddr>().ok());
    let mut servers: Vec<IpAddr> = servers.filter(|server| !server.is_loopback() && !server.is_unspecified()).collect();
    servers.sort_by_key(IpAddr::is_ipv6);
    servers.truncate(3);
    servers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_name_servers_that_a_guest_can_ask_are_taken() {
        let text = "# a comment\nnameserver 127.0.0.53\nnameserver fd00::1\n nameserver 10.1.2.3 # one\n\
                    nameserver\nnameserver 10.1.2.4\nnameserver ::1\nnameserver 10.1.2.5\nsearch example.org\n";
        let found: Vec<String> = reachable(text).iter().map(IpAddr::to_string).collect();
        assert_eq!(found, ["10.1.2.3", "10.1.2.4", "10.1.2.5"]);
        assert!(reachable("nameserver 127.0.0.53\noptions edns0\n").is_empty());
    }
}
