//! Networks of a guest by a tap interface, and addresses by the DHCP server behind it.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::breadth::{run, spec};
use crate::peers::{Server, Talking, ip};
use crate::stage::Stage;
use crate::talk::LONG;

pub fn a_tap_interface_leads_both_ways(stage: &Stage) {
    ip("tuntap add dev krundltap0 mode tap");
    ip("addr add 192.0.2.1/24 dev krundltap0");
    ip("link set krundltap0 up");
    let server = Server::new("192.0.2.1", "of the host\n");
    let reached = server.port();
    let script = format!("sleep 1 | nc 192.0.2.1 {reached}; echo ready; echo of the guest | nc -l -p 80; exit 7");
    let nic = json!({"tap": "krundltap0", "address": "192.0.2.2/24", "gateway": "192.0.2.1"});
    let mut guest = Talking::launch(stage, &spec(stage, &script, json!({"nics": [nic]})));
    guest.hears("of the host");
    guest.hears("ready");
    let mut tries = 0;
    let said = loop {
        let mut said = String::new();
        match TcpStream::connect(("192.0.2.2", 80)).and_then(|mut stream| stream.read_to_string(&mut said)) {
            Ok(_) => break said,
            Err(error) if tries > 50 => panic!("{error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(100)),
        }
        tries += 1;
    };
    assert_eq!(said, "of the guest\n");
    assert_eq!(guest.guest.vm.wait().unwrap_or_else(|error| panic!("{error}")).status(), 7);
    drop(server);
    ip("link del krundltap0");
}

/// Nobody answers: that ends the VM with the reason, or is said where the card is optional.
pub fn a_card_without_a_dhcp_server_ends_the_vm_unless_it_is_optional(stage: &Stage) {
    ip("tuntap add dev krundltap1 mode tap");
    ip("link set krundltap1 up");
    let spec = |optional: bool| {
        let nic = json!({"tap": "krundltap1", "dhcp": true, "optional": optional});
        spec(stage, "echo ran", json!({"nics": [nic]}))
    };
    let guest = stage.launch(stage.prepare(&spec(false)));
    let error = guest.vm.wait().unwrap_err().to_string();
    assert!(error.contains("network card nics[0] (eth0): DHCP: no server answered within 20 s"), "{error}");
    let (said, status) = run(stage, &spec(true));
    assert!(said.starts_with("ran\n") && said.contains("no server answered") && status == 0, "{said}");
    ip("link del krundltap1");
}

/// Debian's dnsmasq as a DHCP server on an interface.
struct Dnsmasq {
    process: Child,
    log: PathBuf,
    leases: PathBuf,
}

impl Dnsmasq {
    fn start(stage: &Stage, interface: &str, options: &[&str]) -> Dnsmasq {
        let dir = stage.dir("dnsmasq");
        let (log, leases) = (dir.join("log"), dir.join("leases"));
        let mut dnsmasq = Command::new("dnsmasq");
        // In the foreground, without names, and with nothing of this host's own configuration.
        dnsmasq.args(["-k", "--conf-file=/dev/null", "--port=0", "--no-ping", "--bind-interfaces", "--user=root"]);
        dnsmasq.args(["--log-dhcp", "--pid-file=", &format!("--interface={interface}")]).args(options);
        dnsmasq.arg(format!("--log-facility={}", log.display()));
        dnsmasq.arg(format!("--dhcp-leasefile={}", leases.display()));
        Dnsmasq { process: dnsmasq.spawn().expect("dnsmasq, of dnsmasq-base"), log, leases }
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How often it has said that.
    fn said(&self, what: &str) -> usize {
        self.log().matches(what).count()
    }
}

impl Drop for Dnsmasq {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Two minutes are the shortest lease that dnsmasq gives, but it also says when to ask again (T1).
pub fn a_lease_of_dnsmasq_is_renewed_when_that_says(stage: &Stage) {
    ip("tuntap add dev krundltap2 mode tap");
    ip("addr add 192.0.2.1/24 dev krundltap2");
    ip("link set krundltap2 up");
    let mut options = vec!["--dhcp-range=192.0.2.77,192.0.2.77,120", "--dhcp-option=option:router,192.0.2.1"];
    options.extend(["--dhcp-option=option:dns-server,192.0.2.53", "--dhcp-option=option:T1,11"]);
    let server = Dnsmasq::start(stage, "krundltap2", &options);
    let script = "ip -4 addr show dev eth0 | grep -c 'inet 192.0.2.77/24'
                  ip route | grep -c 'default via 192.0.2.1'
                  cat /etc/resolv.conf
                  echo ready
                  read word
                  ip -4 addr show dev eth0 | grep -c 'inet 192.0.2.77/24'
                  exit 7";
    let fields = json!({"root": {"dir": stage.own_root()}, "nics": [{"tap": "krundltap2", "dhcp": true}]});
    let mut guest = Talking::launch(stage, &spec(stage, script, fields));
    for line in ["1", "1", "nameserver 192.0.2.53", "ready"] {
        guest.hears(line);
    }
    let ack = "DHCPACK(krundltap2) 192.0.2.77";
    assert_eq!(server.said(ack), 1, "{}", server.log());
    let given = Instant::now();
    while server.said(ack) < 2 {
        assert!(given.elapsed() < LONG, "{}", server.log());
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!(given.elapsed() < Duration::from_secs(30), "not only after half of the lease");
    let asked = ["DHCPDISCOVER(", "DHCPREQUEST(", "DHCPNAK("].map(|what| server.said(what));
    assert_eq!(asked, [1, 2, 0], "it is renewed and not taken anew: {}", server.log());
    let leases = fs::read_to_string(&server.leases).unwrap();
    let fields: Vec<&str> = leases.split_whitespace().collect();
    assert!(fields[2..4] == ["192.0.2.77", "*"], "a guest has no name: {leases}");
    writeln!(guest.guest.vm.take_stdin().unwrap(), "go on").unwrap();
    guest.hears("1");
    assert_eq!(guest.guest.vm.wait().unwrap_or_else(|error| panic!("{error}")).status(), 7);
    drop(server);
    ip("link del krundltap2");
}
