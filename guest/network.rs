//! The network cards that the orders name: up, with their addresses, the way out, and the name servers.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::dhcp::{self, Answer, Lease, Say};
use super::failure::{Failure, shown};
use super::orders::{NicSetup, OrderNic};
use super::sys::{self, Route};

/// How long a server may take in all.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long the first answer is waited for; each time twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// How often a lease is asked for again at most, and how long an answer is waited for then. Tests have no time to lose.
const RENEWALS: Duration = Duration::from_secs(if cfg!(test) { 1 } else { 10 });

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Sets up every card, and what was told about names. Returns the leases, which somebody has to [keep].
pub fn all(nics: &[OrderNic], mut complain: impl FnMut(&str)) -> Result<Vec<Held>, Failure> {
    if nics.is_empty() {
        return Ok(Vec::new());
    }
    if let Err(error) = sys::interface_up(b"lo") {
        complain(&format!("the loopback interface cannot be brought up: {error}"));
    }
    let mut leases = Vec::new();
    let mut servers: Vec<String> = Vec::new();
    let mut told = false;
    for nic in nics {
        match one(nic) {
            Ok((names, lease)) => {
                told |= names.is_some();
                servers.extend(names.unwrap_or_default());
                leases.extend(lease);
            }
            Err(failure) if nic.optional => complain(&failure.message),
            Err(failure) => return Err(failure),
        }
    }
    let optional = nics.iter().all(|nic| nic.optional);
    match if told && !servers.is_empty() { resolv_conf(&servers) } else { Ok(()) } {
        Err(failure) if optional => complain(&failure.message),
        result => result?,
    }
    Ok(leases)
}

/// A lease, and the card that has it.
pub struct Held {
    interface: Vec<u8>,
    mac: [u8; 6],
    lease: Lease,
    what: String,
}

/// The name servers that were told, and the lease where there is one.
fn one(nic: &OrderNic) -> Result<(Option<Vec<String>>, Option<Held>), Failure> {
    let what = format!("network card {}", shown(&nic.field));
    let mac = nic.mac;
    let given = nic.dns.as_ref().map(|servers| servers.iter().map(|server| shown(server)).collect());
    let interface = find(mac).map_err(|error| {
        let why = "there is no interface with its hardware address: the kernel needs CONFIG_VIRTIO_NET, and /sys";
        Failure::explained(&what, &error, why)
    })?;
    let what = format!("{what} ({})", shown(&interface));
    sys::interface_up(&interface).map_err(|error| Failure::new(format_args!("{what}: bringing it up"), &error))?;
    match nic.setup {
        NicSetup::Static { address, prefix, gateway } => {
            let gateway = Some(Ipv4Addr::from(gateway)).filter(|gateway| !gateway.is_unspecified());
            set(&interface, address.into(), prefix, gateway, &what)?;
            Ok((given, None))
        }
        NicSetup::Dhcp => {
            let lease = ask(&interface, mac, &what)?;
            if let Some(mtu) = lease.mtu {
                sys::set_mtu(&interface, mtu)
                    .map_err(|error| Failure::new(format_args!("{what}: MTU {mtu}"), &error))?;
            }
            set(&interface, lease.address, lease.prefix, lease.router, &what)?;
            let servers = given.unwrap_or_else(|| lease.dns.iter().map(Ipv4Addr::to_string).collect());
            Ok((Some(servers), Some(Held { interface, mac, lease, what })))
        }
    }
}

/// The interface with that hardware address.
fn find(mac: [u8; 6]) -> io::Result<Vec<u8>> {
    use std::os::unix::ffi::OsStringExt;
    let wanted = mac.map(|byte| format!("{byte:02x}")).join(":");
    for entry in fs::read_dir("/sys/class/net")? {
        let entry = entry?;
        if fs::read_to_string(entry.path().join("address")).is_ok_and(|found| found.trim_end() == wanted) {
            return Ok(entry.file_name().into_vec());
        }
    }
    Err(io::Error::from_raw_os_error(sys::ENODEV))
}

fn set(interface: &[u8], address: Ipv4Addr, prefix: u8, gateway: Option<Ipv4Addr>, what: &str) -> Result<(), Failure> {
    let mask = Ipv4Addr::from(u32::MAX.checked_shl(32 - u32::from(prefix)).unwrap_or(0));
    sys::set_address(interface, address, mask)
        .map_err(|error| Failure::new(format_args!("{what}: address {address}/{prefix}"), &error))?;
    let Some(gateway) = gateway else { return Ok(()) };
    let failed = |error: io::Error| Failure::new(format_args!("{what}: gateway {gateway}"), &error);
    let route = |route: Route| match sys::add_route(interface, route) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        result => result,
    };
    if gateway.to_bits() & mask.to_bits() != address.to_bits() & mask.to_bits() {
        // Outside the network, as with a prefix of 32: the card leads there all the same.
        route(Route::Host(gateway)).map_err(failed)?;
    }
    route(Route::Default(gateway)).map_err(failed)
}

/// Gets an address.
fn ask(interface: &[u8], mac: [u8; 6], what: &str) -> Result<Lease, Failure> {
    let failed = |error: io::Error| match error.raw_os_error() {
        Some(sys::EAFNOSUPPORT) => Failure::explained(
            format_args!("{what}: DHCP"),
            &error,
            "this kernel has no packet sockets (CONFIG_PACKET)",
        ),
        _ => Failure::new(format_args!("{what}: DHCP"), &error),
    };
    let deadline = Instant::now() + PATIENCE;
    let mut wire = Wire::open(interface, mac).map_err(failed)?;
    let mut last = "no server answered".to_owned();
    while let Some(offer) = wire.exchange(Say::Discover, deadline).map_err(failed)? {
        let Answer::Offer(offer) = offer else { continue };
        last = format!("{} offered {} and did not confirm it", offer.server, offer.address);
        let say = Say::Take { address: offer.address, server: offer.server };
        let soon = deadline.min(Instant::now() + Duration::from_secs(5));
        match wire.exchange(say, soon).map_err(failed)? {
            Some(Answer::Ack(lease)) => return Ok(lease),
            Some(Answer::Nak { reason }) => {
                last = format!("{} refused {}: {}", offer.server, offer.address, shown(&reason))
            }
            Some(Answer::Offer(_)) | None => {}
        }
    }
    let message = format!("{what}: DHCP: {last} within {} s", PATIENCE.as_secs());
    Err(Failure { errno: sys::ETIMEDOUT, message })
}

/// One conversation with whoever answers.
struct Wire {
    socket: fs::File,
    index: i32,
    mac: [u8; 6],
    xid: u32,
}

impl Wire {
    fn open(interface: &[u8], mac: [u8; 6]) -> io::Result<Wire> {
        let index = sys::interface_index(interface)?;
        let socket = sys::packet_socket(index)?.into();
        Ok(Wire { socket, index, mac, xid: random(mac) })
    }

    /// Says something until there is an answer to it, or none in time.
    fn exchange(&mut self, say: Say, deadline: Instant) -> io::Result<Option<Answer>> {
        let mut pause = FIRST_PAUSE;
        let message = dhcp::message(say, self.xid, self.mac);
        let own = match say {
            Say::Keep { address, server: Some(server) } => {
                // The answer is heard as every other one; this socket keeps the kernel from refusing it.
                UdpSocket::bind((address, dhcp::CLIENT)).ok().map(|socket| (socket, server))
            }
            _ => None,
        };
        loop {
            // Where there is no way to the server, or the port is somebody else's, everybody is asked.
            let told = own.as_ref().is_some_and(|(own, to)| own.send_to(&message, (*to, dhcp::SERVER)).is_ok());
            if !told {
                sys::broadcast(self.socket.as_fd(), self.index, &dhcp::packet(&message))?;
            }
            let until = deadline.min(Instant::now() + pause);
            if let Some(answer) = self.hear(say, until)? {
                return Ok(Some(answer));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn hear(&mut self, say: Say, until: Instant) -> io::Result<Option<Answer>> {
        let mut buffer = [0; 2048];
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if !sys::wait_ready(self.socket.as_fd(), sys::POLLIN, left)? {
                return Ok(None);
            }
            let length = self.socket.read(&mut buffer)?;
            let answer = dhcp::payload(&buffer[..length]).and_then(|bytes| dhcp::read(bytes, self.xid, self.mac));
            match answer {
                Some(answer @ Answer::Offer(_)) if say == Say::Discover => return Ok(Some(answer)),
                Some(answer @ (Answer::Ack(_) | Answer::Nak { .. })) if say != Say::Discover => {
                    return Ok(Some(answer));
                }
                _ => {}
            }
        }
    }
}

/// A number by which answers are known; it need not be secret.
fn random(mac: [u8; 6]) -> u32 {
    let mut bytes = [0; 4];
    let read = fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    let own = || u32::from_be_bytes([mac[2], mac[3], mac[4], mac[5]]);
    read.map_or_else(|_| own(), |()| u32::from_be_bytes(bytes))
}

/// Keeps the leases as long as the guest runs. On a thread for each, which ends with the program.
pub fn keep(leases: Vec<Held>, complain: fn(&str)) {
    for held in leases.into_iter().filter(|held| held.lease.seconds.is_some()) {
        let what = held.what.clone();
        let thread = std::thread::Builder::new().stack_size(64 << 10).spawn(move || keep_one(held, complain));
        if let Err(error) = thread {
            complain(&format!("{what}: its lease will not be renewed: {error}"));
        }
    }
}

fn keep_one(held: Held, complain: fn(&str)) {
    let Held { interface, mac, mut lease, what } = held;
    while let Some(times) = lease.times() {
        let given = Instant::now();
        let [renew, rebind, end] =
            [times.renew, times.rebind, times.end].map(|seconds| given + Duration::from_secs(seconds.into()));
        let mut next = renew.max(given + RENEWALS);
        let kept = loop {
            std::thread::sleep(next.min(end).saturating_duration_since(Instant::now()));
            let now = Instant::now();
            if now >= end {
                break None;
            }
            let say = Say::Keep { address: lease.address, server: Some(lease.server).filter(|_| now < rebind) };
            match Wire::open(&interface, mac).and_then(|mut wire| wire.exchange(say, end.min(now + RENEWALS))) {
                Ok(Some(Answer::Ack(again))) if again.address == lease.address => break Some(again),
                Ok(Some(Answer::Nak { .. })) => break None,
                _ => {}
            }
            // Ever more often, the nearer it gets.
            let now = Instant::now();
            let due = if now < rebind { rebind } else { end };
            next = now + (due.saturating_duration_since(now) / 2).max(RENEWALS);
        };
        let Some(again) = kept else {
            // Somebody else may be given it from now on.
            complain(&format!("{what}: the lease of {} has ended and was not renewed", lease.address));
            let _ = sys::set_address(&interface, Ipv4Addr::UNSPECIFIED, Ipv4Addr::UNSPECIFIED);
            return;
        };
        lease = again;
    }
}

/// Lays a file with the name servers over the root's, be that a link that leads nowhere; the root stays as it is.
fn resolv_conf(servers: &[String]) -> Result<(), Failure> {
    let failed = |part: &str, error: &io::Error| Failure::new(format_args!("{RESOLV_CONF}: {part}"), error);
    let place = match sys::open_place(RESOLV_CONF.as_bytes()) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let made = fs::OpenOptions::new().write(true).create_new(true).open(RESOLV_CONF);
            made.and_then(|_| sys::open_place(RESOLV_CONF.as_bytes()))
        }
        place => place,
    };
    let place = place.map_err(|error| failed("there is none, and it cannot be made", &error))?;
    // In the guest's memory; it stays as long as it is laid over something, and has no name then.
    let path = "/dev/.krundl-resolv.conf";
    let text: String = servers.iter().map(|server| format!("nameserver {server}\n")).collect();
    let written = fs::File::create(path).and_then(|mut file| file.write_all(text.as_bytes()));
    let laid = written.and_then(|()| sys::lay_over(path.as_bytes(), place.as_fd()));
    let _ = fs::remove_file(path);
    laid.map_err(|error| failed("laying the guest's own over it", &error))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;
    use std::sync::Mutex;
    use std::sync::mpsc::{Receiver, channel};

    const MAC: [u8; 6] = [0x5a, 0x94, 0xef, 0xe4, 0x0c, 0xee];

    fn run(command: &str) -> String {
        let output = Command::new("sh").args(["-c", command]).output().unwrap();
        assert!(output.status.success(), "{command}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Does this on a thread with a network and mounts of its own, in which `guest0` is connected to `host0`.
    fn apart(what: impl FnOnce() + Send + 'static) {
        if !Command::new("unshare").args(["--net", "--mount", "ip", "link"]).output().is_ok_and(|o| o.status.success())
        {
            eprintln!("SKIPPED: no network namespaces here, or no ip");
            return;
        }
        let thread = std::thread::spawn(|| {
            // SAFETY: gives this thread namespaces of its own.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET | libc::CLONE_NEWNS) }, 0);
            run(
                "mount --make-rprivate / && mount -t sysfs sysfs /sys && mount -t tmpfs tmpfs /dev && mknod /dev/null c 1 3",
            );
            run("ip link add guest0 address 5a:94:ef:e4:0c:ee type veth peer name host0 && ip link set host0 up");
            what();
        });
        thread.join().unwrap();
    }

    fn nic(setup: NicSetup, dns: Option<&[&str]>) -> OrderNic {
        let dns = dns.map(|dns| dns.iter().map(|server| server.as_bytes().to_vec()).collect());
        OrderNic { field: b"nics[0]".to_vec(), mac: MAC, setup, dns, optional: false }
    }

    fn silent(message: &str) {
        panic!("{message}");
    }

    /// A server that hears a message and gives these kinds of answers in turn, with these options; 0 is none. It tells from
    /// and to whom each message was.
    fn server(kinds: Vec<(u8, Vec<u8>)>) -> Receiver<[u8; 8]> {
        let (tell, told) = channel();
        let index = sys::interface_index(b"host0").unwrap();
        let mut socket: fs::File = sys::packet_socket(index).unwrap().into();
        std::thread::spawn(move || {
            let mut kinds = kinds.into_iter();
            let mut buffer = [0; 2048];
            while let Ok(length) = socket.read(&mut buffer) {
                if length < 28 || buffer[22..24] != dhcp::SERVER.to_be_bytes() {
                    continue;
                }
                let _ = tell.send(buffer[12..20].try_into().unwrap());
                let Some((kind, options)) = kinds.next() else { return };
                if kind == 0 {
                    continue;
                }
                let mut message = buffer[28..28 + 240].to_vec();
                message[0] = 2;
                message[16..20].copy_from_slice(&[192, 0, 2, 77]);
                message.extend([&[53, 1, kind][..], &options, &[255]].concat());
                let mut packet = dhcp::packet(&message);
                packet[22..24].copy_from_slice(&dhcp::CLIENT.to_be_bytes());
                sys::broadcast(socket.as_fd(), index, &packet).unwrap();
            }
        });
        told
    }

    #[test]
    fn a_static_address_is_set_with_its_gateway_and_its_name_servers() {
        apart(|| {
            let setup = NicSetup::Static { address: [10, 0, 2, 15], prefix: 24, gateway: [10, 0, 2, 2] };
            let before = fs::metadata(RESOLV_CONF).map(|metadata| metadata.len()).ok();
            all(&[nic(setup, Some(&["192.0.2.53", "fd00::53"]))], silent).unwrap();
            assert!(run("ip -4 addr show guest0").contains("inet 10.0.2.15/24"));
            assert!(run("ip route").contains("default via 10.0.2.2 dev guest0"), "{}", run("ip route"));
            assert!(run("ip addr show lo").contains("127.0.0.1"), "the loopback is up");
            assert_eq!(fs::read_to_string(RESOLV_CONF).unwrap(), "nameserver 192.0.2.53\nnameserver fd00::53\n");
            assert_eq!(fs::read_dir("/dev").unwrap().count(), 1, "nothing is left");
            run("umount /etc/resolv.conf");
            assert_eq!(fs::metadata(RESOLV_CONF).map(|metadata| metadata.len()).ok(), before);
        });
    }

    #[test]
    fn a_gateway_outside_the_network_is_reached_through_the_card() {
        apart(|| {
            let setup = NicSetup::Static { address: [198, 51, 100, 7], prefix: 32, gateway: [192, 0, 2, 1] };
            all(&[nic(setup, Some(&[]))], silent).unwrap();
            let routes = run("ip route");
            assert!(routes.contains("default via 192.0.2.1") && routes.contains("192.0.2.1 dev guest0"), "{routes}");
        });
    }

    #[test]
    fn name_servers_are_laid_over_a_link_that_leads_nowhere() {
        apart(|| {
            run("mkdir /dev/etc && ln -s ../nowhere/stub /dev/etc/resolv.conf && mount --bind /dev/etc /etc");
            let setup = NicSetup::Static { address: [10, 0, 2, 15], prefix: 24, gateway: [0; 4] };
            all(&[nic(setup, Some(&["192.0.2.53"]))], silent).unwrap();
            assert_eq!(fs::read_to_string(RESOLV_CONF).unwrap(), "nameserver 192.0.2.53\n");
            assert!(!run("ip route").contains("default"));
        });
    }

    #[test]
    fn dhcp_goes_on_when_nothing_comes_and_begins_again_when_it_is_refused() {
        apart(|| {
            let id = vec![54, 4, 192, 0, 2, 1];
            let options =
                [&id[..], &[1, 4, 255, 255, 255, 128, 3, 4, 192, 0, 2, 1, 6, 4, 192, 0, 2, 53, 26, 2, 5, 0]].concat();
            let kinds = [(0, &id), (2, &id), (6, &id), (2, &id), (0, &id), (5, &options)];
            server(kinds.map(|(kind, options)| (kind, options.clone())).into());
            let leases = all(&[nic(NicSetup::Dhcp, None)], silent).unwrap();
            assert_eq!(leases[0].lease.seconds, None);
            assert!(run("ip -4 addr show guest0").contains("inet 192.0.2.77/25"));
            assert!(run("ip link show guest0").contains("mtu 1280"));
            assert!(run("ip route").contains("default via 192.0.2.1 dev guest0"));
            assert_eq!(fs::read_to_string(RESOLV_CONF).unwrap(), "nameserver 192.0.2.53\n");
        });
    }

    #[test]
    fn a_lease_is_kept_by_its_server_and_by_whoever_answers_where_there_is_no_way_to_that() {
        apart(|| {
            let (address, server) = (Ipv4Addr::new(192, 0, 2, 77), Ipv4Addr::new(192, 0, 2, 1));
            let elsewhere = Ipv4Addr::new(203, 0, 113, 1);
            set(b"guest0", address, 24, None, "guest0").unwrap();
            sys::interface_up(b"guest0").unwrap();
            run("ip neigh add 192.0.2.1 dev guest0 lladdr $(cat /sys/class/net/host0/address)");
            let told = self::server(vec![(5, vec![54, 4, 192, 0, 2, 1]); 3]);
            let everybody = [0, 0, 0, 0, 255, 255, 255, 255];
            for (to, expected) in
                [(Some(server), [192, 0, 2, 77, 192, 0, 2, 1]), (Some(elsewhere), everybody), (None, everybody)]
            {
                let mut wire = Wire::open(b"guest0", MAC).unwrap();
                let say = Say::Keep { address, server: to };
                let answer = wire.exchange(say, Instant::now() + Duration::from_secs(5)).unwrap();
                assert!(matches!(answer, Some(Answer::Ack(lease)) if lease.address == address));
                assert_eq!(told.recv().unwrap(), expected);
            }
        });
    }

    #[test]
    fn a_lease_is_renewed_in_its_time_and_its_address_goes_when_it_is_not() {
        static SAID: Mutex<Vec<String>> = Mutex::new(Vec::new());
        apart(|| {
            let (address, server) = (Ipv4Addr::new(192, 0, 2, 77), Ipv4Addr::new(192, 0, 2, 1));
            set(b"guest0", address, 24, None, "guest0").unwrap();
            sys::interface_up(b"guest0").unwrap();
            run("ip neigh add 192.0.2.1 dev guest0 lladdr $(cat /sys/class/net/host0/address)");
            let lease = |seconds, renew, rebind| {
                let (router, dns, mtu) = (None, Vec::new(), None);
                let (seconds, renew) = (Some(seconds), Some(renew));
                let lease = Lease { address, prefix: 24, router, dns, mtu, server, seconds, renew, rebind };
                Held { interface: b"guest0".to_vec(), mac: MAC, lease, what: "guest0".to_owned() }
            };
            let complain: fn(&str) = |message| SAID.lock().unwrap().push(message.to_owned());
            let has_address = || run("ip -4 addr show guest0").contains("inet 192.0.2.77/24");
            // What it is given then is for ever, so that it is done.
            let told = self::server(vec![(5, vec![54, 4, 192, 0, 2, 1]); 2]);
            keep_one(lease(60, 1, None), complain);
            assert_eq!(told.recv().unwrap()[4..], [192, 0, 2, 1], "its own server first");
            keep_one(lease(60, 1, Some(1)), complain);
            assert_eq!(told.recv().unwrap()[4..], [255; 4], "everybody from T2 on");
            assert!(has_address() && SAID.lock().unwrap().is_empty());
            keep_one(lease(2, 1, None), complain);
            assert_eq!(*SAID.lock().unwrap(), ["guest0: the lease of 192.0.2.77 has ended and was not renewed"]);
            assert!(!has_address(), "somebody else may have it now");
        });
    }

    #[test]
    fn a_card_that_is_not_there_ends_it_unless_it_is_optional() {
        apart(|| {
            let setup = NicSetup::Static { address: [10, 0, 2, 15], prefix: 24, gateway: [0; 4] };
            let missing = OrderNic { mac: [2; 6], ..nic(setup, Some(&["192.0.2.53"])) };
            let Err(failure) = all(std::slice::from_ref(&missing), silent) else { panic!("it was set up") };
            assert!(failure.message.starts_with("network card nics[0]: ENODEV: there is no interface"), "{failure:?}");
            let mut said = Vec::new();
            all(&[OrderNic { optional: true, ..missing }, nic(setup, None)], |message| said.push(message.to_owned()))
                .unwrap();
            assert_eq!(said.len(), 1, "{said:?}");
            assert!(run("ip -4 addr show guest0").contains("10.0.2.15"), "the other one was");
        });
    }
}
