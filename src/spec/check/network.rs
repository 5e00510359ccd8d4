//! Ports, network cards and vsock sockets.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::mem::offset_of;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::Path;

use rustix::fs::Access;

use super::Checker;
use super::files::{plain, refuse_nul};
use crate::error::{Problem, ProblemKind};
use crate::plan::{CHANNEL_PORT, CONTROL_PORT};
use crate::sockets::{self, Found};
use crate::spec::findings::{Findings, HostPath, HostSocket};
use crate::spec::model::{Control, Gvproxy, NetFeature, Nic, Tsi, VmSpec, VsockPort};
use crate::system::handle;

/// The longest path of a unix socket, in bytes.
const MAX_SOCKET_PATH: usize = size_of::<libc::sockaddr_un>() - offset_of!(libc::sockaddr_un, sun_path) - 1;
/// The guest's address on vsock, which libkrun gives every guest.
const GUEST_CID: u32 = 3;
/// The longest name of a network interface, in bytes.
const MAX_INTERFACE: usize = 15;

/// The kinds of unix sockets as /proc/net/unix numbers them.
const STREAM: &str = "0001";
const DATAGRAM: &str = "0002";

impl Checker {
    pub(super) fn network(&mut self, spec: &VmSpec, findings: &mut Findings) {
        if let Some(tsi) = &spec.tsi {
            self.tsi_ports(tsi);
        }
        findings.nics = spec.nics.iter().enumerate().map(|(n, nic)| self.nic(n, nic)).collect();
        self.forwards(spec);
        if spec.nics.iter().any(|nic| nic.passt.is_some()) {
            findings.resolvers = super::passt::resolvers();
        }
        let mut macs = BTreeMap::new();
        for (n, nic) in spec.nics.iter().enumerate() {
            if let Some(other) = nic.hardware_address(n).and_then(|mac| macs.insert(mac, n)) {
                self.invalid(format!("nics[{n}].mac"), format!("is also that of nics[{other}]"));
            }
        }
        let mut ports = BTreeMap::new();
        for (n, port) in spec.vsock.ports.iter().enumerate() {
            let field = format!("vsock.ports[{n}].port");
            if [CHANNEL_PORT, CONTROL_PORT, u32::MAX].contains(&port.port) {
                self.invalid(field, format!("{} is taken by krundl or vsock itself", port.port));
            } else if let Some(other) = ports.insert(port.port, n) {
                self.invalid(field, format!("{} is also that of vsock.ports[{other}]", port.port));
            }
        }
        if let Some(cid) = spec.vsock.cid.filter(|cid| *cid != GUEST_CID) {
            let reason = format!("the guest's address is always {GUEST_CID}: libkrun has no function to give it {cid}");
            let fix = format!(
                "leave it out, or say {GUEST_CID}; the host reaches each VM by sockets of its own, so none collide"
            );
            self.problems.push(Problem::new(ProblemKind::Unsupported, "vsock.cid", reason).fix(fix));
        }
        findings.vsock = spec.vsock.ports.iter().enumerate().map(|(n, port)| self.vsock_port(n, port)).collect();
        let mut paths = BTreeMap::new();
        if let Some(Control::Socket(path)) = &spec.control {
            let socket = self.control_socket(path);
            findings.control = Some(socket.clone());
            if let Some(n) = (0..findings.vsock.len())
                .find(|n| spec.vsock.ports[*n].listen && findings.vsock[*n].path() == socket.path())
            {
                self.invalid(format!("vsock.ports[{n}].path"), "is also that of control.socket");
            }
        }
        for (n, socket) in findings.vsock.iter().enumerate().filter(|(n, _)| spec.vsock.ports[*n].listen) {
            if let Some(other) = paths.insert(socket.path(), n) {
                self.invalid(format!("vsock.ports[{n}].path"), format!("is also that of vsock.ports[{other}]"));
            }
        }
    }

    fn tsi_ports(&mut self, tsi: &Tsi) {
        let (mut hosts, mut guests) = (BTreeMap::new(), BTreeMap::new());
        for (n, port) in tsi.ports.iter().enumerate() {
            for (name, number, seen) in [("host", port.host, &mut hosts), ("guest", port.guest, &mut guests)] {
                let field = format!("tsi.ports[{n}].{name}");
                if number == 0 {
                    self.invalid(field, "must not be 0");
                } else if let Some(other) = seen.insert(number, n) {
                    self.invalid(field, format!("{number} is also that of tsi.ports[{other}]"));
                }
            }
        }
    }

    /// Returns the card's socket, or the program that is started for it.
    fn nic(&mut self, n: usize, nic: &Nic) -> HostPath {
        let field = |name: &str| format!("nics[{n}].{name}");
        let given = [
            nic.passt.is_some(),
            nic.gvproxy.is_some(),
            nic.unixstream.is_some(),
            nic.unixgram.is_some(),
            nic.tap.is_some(),
        ];
        if given.iter().filter(|given| **given).count() != 1 {
            self.invalid(format!("nics[{n}]"), "has exactly one of passt, gvproxy, unixstream, unixgram and tap");
        }
        if nic.vfkit && nic.unixgram.is_none() {
            self.invalid(field("vfkit"), "is a matter of unixgram");
        }
        match nic.hardware_address(n) {
            None => self.invalid(field("mac"), "must be six bytes as 5a:94:ef:e4:0c:ee"),
            Some(mac) if mac[0] & 1 != 0 || mac == [0; 6] => {
                self.invalid(field("mac"), "must be the address of one card: even first byte, not all zero");
            }
            Some(_) => {}
        }
        let has = |feature| nic.features.as_ref().is_some_and(|features| features.contains(&feature));
        let offloads = [NetFeature::GuestTso4, NetFeature::GuestTso6, NetFeature::GuestUfo];
        if offloads.into_iter().any(has) && !has(NetFeature::GuestCsum) {
            self.invalid(field("features"), "guest_tso4, guest_tso6 and guest_ufo need guest_csum");
        }
        self.addressing(n, nic);
        if let Some(name) = &nic.tap {
            self.tap(&field("tap"), name);
        }
        if let Some(passt) = &nic.passt {
            return self.passt(&field("passt"), passt);
        }
        if let Some(gvproxy) = &nic.gvproxy {
            return self.gvproxy(&field("gvproxy"), gvproxy);
        }
        match (&nic.unixstream, &nic.unixgram) {
            (Some(path), _) => self.server(&field("unixstream"), path, STREAM),
            (None, Some(path)) => self.server(&field("unixgram"), path, DATAGRAM),
            (None, None) => HostPath::default(),
        }
    }

    /// gvproxy's network is always the same, and its ports lead to one address of it: the guest must have that one,
    /// whoever sets it.
    fn gvproxys_addressing(&mut self, n: usize, nic: &Nic) {
        let field = |name: &str| format!("nics[{n}].{name}");
        for (name, given) in [("address", nic.address.is_some()), ("gateway", nic.gateway.is_some())] {
            if given {
                let reason = "gvproxy's network has the guest at 192.168.127.2/24 and the gateway 192.168.127.1";
                let fix = "leave it out, or use passt";
                self.problems.push(Problem::new(ProblemKind::Invalid, field(name), reason).fix(fix));
            }
        }
        if nic.hardware_address(n).is_some_and(|mac| mac != Gvproxy::MAC) {
            let reason = "gvproxy gives 192.168.127.2, to which its ports lead, to 5a:94:ef:e4:0c:ee alone";
            let fix = "make this the first card and leave mac out, or give the others another mac";
            self.problems.push(Problem::new(ProblemKind::Invalid, field("mac"), reason).fix(fix));
        }
    }

    fn addressing(&mut self, n: usize, nic: &Nic) {
        if nic.gvproxy.is_some() {
            return self.gvproxys_addressing(n, nic);
        }
        let field = |name: &str| format!("nics[{n}].{name}");
        if nic.address.is_some() && nic.addressing().is_none() {
            self.invalid(field("address"), "must be one card's IPv4 address with its network's prefix: 192.0.2.7/24");
        }
        if nic.dhcp {
            for (name, given) in [("address", nic.address.is_some()), ("gateway", nic.gateway.is_some())] {
                // A passt is told them, and says them by DHCP.
                if given && nic.passt.is_none() {
                    self.invalid(field(name), "is what DHCP tells");
                }
            }
            return;
        }
        if nic.gateway.is_some() && nic.address.is_none() && nic.passt.is_none() {
            self.invalid(field("gateway"), "takes an address");
        }
        if nic.dns.is_some() && nic.address.is_none() && nic.passt.is_none() {
            self.invalid(field("dns"), "takes an address, or dhcp");
        }
        if let Some(addressing) = nic.addressing().filter(|_| nic.passt.is_some()) {
            match addressing.gateway {
                None => self.invalid(field("gateway"), "is required: the network has no other address"),
                Some(gateway) if gateway == addressing.address => {
                    self.invalid(field("gateway"), "is the card's own address");
                }
                Some(_) => {}
            }
        }
    }

    fn tap(&mut self, field: &str, name: &str) {
        if name.is_empty() || name.len() > MAX_INTERFACE || name.contains(['/', '\0', ' ']) {
            return self.invalid(field, format!("must be the name of an interface: 1 to {MAX_INTERFACE} bytes"));
        }
        let device = Path::new("/dev/net/tun");
        match std::fs::File::options().read(true).write(true).open(device) {
            Ok(file) => self.allowed(field, || file.metadata(), device, Access::READ_OK | Access::WRITE_OK),
            Err(error) => return self.host(field, format!("{} cannot be opened: {}", device.display(), plain(&error))),
        }
        let exists = Path::new("/sys/class/net").join(name).exists();
        if !exists && (self.identity.is_some() || !rustix::process::geteuid().is_root()) {
            self.host(field, format!("there is no interface {name}, and only root can make it"));
        }
    }

    /// A socket on which somebody must listen: if nobody does, libkrun hangs. It is not tried by connecting, because
    /// passt serves one client and then ends.
    fn server(&mut self, field: &str, path: &Path, kind: &str) -> HostPath {
        let socket = match refuse_nul(path).and_then(|()| handle(path)) {
            Ok(socket) => socket,
            Err(error) => {
                self.host(field, format!("{} cannot be found: {}", path.display(), plain(&error)));
                return HostPath::default();
            }
        };
        let metadata = socket.as_ref().map_or_else(|| path.metadata(), std::fs::File::metadata);
        if !metadata.as_ref().is_ok_and(|metadata| metadata.file_type().is_socket()) {
            self.host(field, format!("{} is no socket", path.display()));
            return HostPath::default();
        }
        self.allowed(field, || metadata, path, Access::WRITE_OK);
        let canonical = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        match served(&canonical, path, kind) {
            Served::No => self.host(
                field,
                format!("nobody listens on {}; libkrun would hang once the guest uses the card", path.display()),
            ),
            Served::OtherKind => {
                let (what, fix) = if kind == STREAM {
                    ("stream", "if it is one of datagrams, as vfkit's, name it with unixgram")
                } else {
                    (
                        "datagram",
                        "if it is a stream, as passt's and that of gvproxy -listen-qemu, name it with unixstream",
                    )
                };
                let reason = format!("{} is no {what} socket", path.display());
                self.problems.push(Problem::new(ProblemKind::Host, field, reason).fix(fix));
            }
            Served::Yes | Served::Unknown => {}
        }
        match socket {
            Some(socket) => self.hold(socket, path),
            None => HostPath { path: canonical.into(), held: None },
        }
    }

    fn vsock_port(&mut self, n: usize, port: &VsockPort) -> HostSocket {
        let field = format!("vsock.ports[{n}].path");
        let (socket, opened) = self.socket(&field, &port.path, port.listen);
        drop(opened);
        socket
    }

    /// A socket over which anything can be done in the guest. Files that libkrun makes have whatever mode its caller's
    /// mask leaves, and its file server clears that mask; so the directory must keep others out.
    fn control_socket(&mut self, path: &Path) -> HostSocket {
        const FIELD: &str = "control.socket";
        let (socket, opened) = self.socket(FIELD, path, true);
        let mode = opened.and_then(|dir| dir.metadata().ok()).map(|metadata| metadata.mode() & 0o7777);
        if let Some(mode) = mode.filter(|mode| mode & 0o077 != 0) {
            let dir = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let reason = format!(
                "{} is open to other users (mode {mode:04o}), who could run commands in the guest",
                dir.display()
            );
            let fix = "use a directory with mode 0700, or \"private\"";
            self.problems.push(Problem::new(ProblemKind::Host, FIELD, reason).fix(fix));
        }
        socket
    }

    /// A socket that is there by the time the guest connects, or with `listen` one that libkrun makes.
    fn socket(&mut self, field: &str, path: &Path, listen: bool) -> (HostSocket, Option<std::fs::File>) {
        let none = || (HostSocket::default(), None);
        if path.as_os_str().len() > MAX_SOCKET_PATH {
            let reason =
                format!("is {} bytes long; a unix socket's path has at most {MAX_SOCKET_PATH}", path.as_os_str().len());
            self.invalid(field, reason);
            return none();
        }
        let Some(name) = path.file_name().filter(|_| refuse_nul(path).is_ok()) else {
            self.invalid(field, "is no path of a socket");
            return none();
        };
        let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let (dir, opened) = self.directory(field, parent);
        match std::fs::symlink_metadata(path) {
            // One that a VM of ours has left behind is removed when this one starts.
            Ok(_) if listen => match sockets::look(path) {
                Found::Nothing | Found::Stale => {}
                Found::Served => {
                    self.host(field, format!("{} is in use: it is the socket of a VM that runs", path.display()));
                }
                Found::Foreign => {
                    let reason = format!("{} is there already: libkrun makes the socket itself", path.display());
                    let fix = "remove it if nobody needs it: it is none that a VM of this user's krundl is known to have left";
                    self.problems.push(Problem::new(ProblemKind::Host, field, reason).fix(fix));
                }
            },
            Ok(metadata) if !metadata.file_type().is_socket() && !metadata.is_symlink() => {
                self.host(field, format!("{} is no socket", path.display()));
            }
            _ if listen => {
                if let Some(opened) = &opened {
                    self.allowed(field, || opened.metadata(), parent, Access::WRITE_OK);
                }
            }
            // Somebody may still begin to listen.
            _ => {}
        }
        (HostSocket { dir, name: name.to_owned().into() }, opened)
    }
}

enum Served {
    Yes,
    No,
    OtherKind,
    /// The system does not tell.
    Unknown,
}

/// Whether somebody has a socket bound to the path, and listens if it is one for streams. A server that bound a
/// relative path is told by its last component.
fn served(canonical: &Path, given: &Path, kind: &str) -> Served {
    let Ok(table) = std::fs::read("/proc/net/unix") else { return Served::Unknown };
    let mut other = false;
    for line in table.split(|byte| *byte == b'\n').skip(1) {
        let Some(([_, _, _, flags, found, _, _], path)) = columns(line) else { continue };
        let path = Path::new(OsStr::from_bytes(path));
        let same = path == canonical || path == given || (!path.is_absolute() && path.file_name() == given.file_name());
        if same && found != kind.as_bytes() {
            other = true;
        } else if same && (kind != STREAM || flags == b"00010000") {
            return Served::Yes;
        }
    }
    if other { Served::OtherKind } else { Served::No }
}

/// Number, references, protocol, flags, type, state and inode of a line, and its path, which may hold blanks.
fn columns(mut line: &[u8]) -> Option<([&[u8]; 7], &[u8])> {
    let mut columns = [&line[..0]; 7];
    for column in &mut columns {
        line = line.trim_ascii_start();
        let end = line.iter().position(|byte| *byte == b' ')?;
        (*column, line) = line.split_at(end);
    }
    Some((columns, &line[1..]))
}
