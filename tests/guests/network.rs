//! Networks of a guest: by the real passt and by a tap interface.
//!
//! Debian 12's passt is an early one: a client that says at once that it has nothing to say is not told of the end of the
//! answer, so the clients here wait a little; and see `says`.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use krundl::VmSpec;
use krundl_test_support::processes::{children, stat};
use serde_json::{Value, json};

use crate::breadth::{run, spec};
use crate::stage::{Guest, Stage};
use crate::talk::{LONG, has_ended, process};

/// An address of the host's that a guest can reach, and not the loopback's.
pub const HOST: &str = "198.51.100.1";

/// A network for the lab, which has none: an interface that leads nowhere, with a default route.
pub fn host_network() {
    if !Path::new("/sys/class/net/krundl0").exists() {
        ip("link add krundl0 type dummy");
        ip(&format!("addr add {HOST}/24 dev krundl0"));
        ip("link set krundl0 up");
        ip("route add default via 198.51.100.254 dev krundl0");
    }
}

fn ip(arguments: &str) {
    let output = Command::new("ip").args(arguments.split(' ')).output().expect("ip, of iproute2");
    assert!(output.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// A server that says the same to everybody.
pub struct Server {
    at: SocketAddr,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Server {
    pub fn new(address: &str, says: &'static str) -> Server {
        let listener = TcpListener::bind((address, 0)).unwrap();
        let (at, over) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let ends = over.clone();
        let thread = std::thread::spawn(move || {
            for mut client in listener.incoming().flatten().take_while(|_| !ends.load(Ordering::SeqCst)) {
                let _ = client.write_all(says.as_bytes());
            }
        });
        Server { at, over, thread: Some(thread) }
    }

    pub fn port(&self) -> u16 {
        self.at.port()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.at);
        self.thread.take().map(JoinHandle::join);
    }
}

/// A server that sends everything back by UDP.
pub struct Echo {
    socket: UdpSocket,
    over: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Echo {
    pub fn new(address: &str) -> Echo {
        let socket = UdpSocket::bind((address, 0)).unwrap();
        let (own, over) = (socket.try_clone().unwrap(), Arc::new(AtomicBool::new(false)));
        let ends = over.clone();
        let thread = std::thread::spawn(move || {
            let mut bytes = [0; 2048];
            while let Ok((length, from)) = own.recv_from(&mut bytes) {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                let _ = own.send_to(&bytes[..length], from);
            }
        });
        Echo { socket, over, thread: Some(thread) }
    }

    pub fn port(&self) -> u16 {
        self.socket.local_addr().unwrap().port()
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        let _ = self.socket.send_to(b"over", self.socket.local_addr().unwrap());
        self.thread.take().map(JoinHandle::join);
    }
}

/// What comes back from a UDP port of this host; what is sent before anybody listens in the guest is lost.
pub fn echoed(port: u16, text: &str) -> String {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.connect(("127.0.0.1", port)).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let started = Instant::now();
    let mut bytes = [0; 2048];
    loop {
        let _ = socket.send(text.as_bytes());
        match socket.recv(&mut bytes) {
            Ok(length) => return String::from_utf8_lossy(&bytes[..length]).into_owned(),
            Err(error) if started.elapsed() > LONG => panic!("{error}"),
            Err(_) => std::thread::sleep(Duration::from_millis(10)),
        }
    }
}

/// Each process with a name that begins so.
pub fn processes(begin: &str) -> Vec<u32> {
    let entries = fs::read_dir("/proc").unwrap().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.starts_with(begin)))
        .collect()
}

/// Waits until there is none any more: what ends with its VM's connection does so a moment later.
pub fn ends(begin: &str) {
    let started = Instant::now();
    while !processes(begin).is_empty() {
        assert!(started.elapsed() < LONG, "{begin} ends with the VM");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn passts() -> Vec<u32> {
    processes("passt")
}

pub struct Talking {
    pub guest: Guest,
    output: BufReader<ChildStdout>,
}

impl Talking {
    pub fn launch(stage: &Stage, spec: &VmSpec) -> Talking {
        let guest = stage.launch(stage.prepare(spec));
        let output = BufReader::new(guest.vm.take_stdout().unwrap());
        guest.vm.wait_ready(Some(LONG)).unwrap_or_else(|error| panic!("{error}"));
        Talking { guest, output }
    }

    pub fn hears(&mut self, expected: &str) {
        let mut line = String::new();
        self.output.read_line(&mut line).unwrap();
        if line.trim_end() != expected {
            let mut errors = String::new();
            self.guest.vm.kill().unwrap();
            let _ = self.guest.vm.take_stderr().map(|mut stderr| stderr.read_to_string(&mut errors));
            panic!("{line:?} instead of {expected:?}: {errors}\n{}", String::from_utf8_lossy(&self.guest.vm.log()));
        }
    }
}

/// What a server says to one who comes from the host.
pub fn says(port: u16) -> String {
    let started = Instant::now();
    // passt takes a connection before it knows that nobody listens in the guest yet.
    loop {
        let mut said = String::new();
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        // Debian 12's passt opens the way to a server that speaks first only once the client has said something.
        stream.write_all(b"anything\n").unwrap();
        if stream.read_to_string(&mut said).is_ok_and(|length| length > 0) || started.elapsed() > LONG {
            return said;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn both_ways(stage: &Stage, fields: &Value) {
    host_network();
    let servers = [Server::new(HOST, "of the host\n"), Server::new("127.0.0.1", "of the host's loopback\n")];
    let [reached, hidden] = servers.each_ref().map(Server::port);
    let echo = Echo::new(HOST);
    for (loopback, expected) in [(false, "hidden"), (true, "of the host's loopback")] {
        // Debian 12's passt brings no answers over UDP out while it hides the loopback.
        let mut ports = vec![json!({"guest": 80})];
        ports.extend(loopback.then(|| json!({"guest": 53, "protocol": "udp"})));
        let script = format!(
            "ip -4 addr show dev eth0 | grep -c 'inet 10.0.2.15/24'
             cat /etc/resolv.conf
             sleep 1 | nc {HOST} {reached}
             sleep 3 | nc 10.0.2.2 {hidden} & tries=$!
             sleep 3; kill $tries 2> /dev/null && echo hidden
             udp ask {HOST} {} 'over UDP'
             echo ready
             echo of the guest | nc -l -p 80 > /dev/null
             {loopback} && udp serve 53 1
             exit 7",
            echo.port()
        );
        let root = json!({"dir": stage.own_root_named(if loopback { "open" } else { "closed" })});
        let mut all = json!({
            "root": root,
            "nics": [{"passt": {"ports": ports, "host_loopback": loopback}, "dns": ["192.0.2.53"]}],
        });
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        let mut guest = Talking::launch(stage, &spec(stage, &script, all));
        for line in ["1", "nameserver 192.0.2.53", "of the host", expected, "over UDP", "ready"] {
            guest.hears(line);
        }
        let ports = guest.guest.vm.ports();
        assert_eq!(says(ports[0].host), "of the guest\n");
        if loopback {
            assert_eq!(echoed(ports[1].host, "into the guest"), "into the guest");
        }
        assert_eq!(guest.guest.vm.wait().unwrap_or_else(|error| panic!("{error}")).status(), 7);
        ends("passt");
    }
}

pub fn passt_leads_both_ways_and_hides_the_hosts_loopback(stage: &Stage) {
    both_ways(stage, &json!({}));
}

pub fn passt_leads_both_ways_with_a_kernel_of_our_own(stage: &Stage) {
    both_ways(stage, &json!({"kernel": {"path": stage.kernel}}));
}

/// By the real passt's DHCP server, into a root that is read-only and has an /etc/resolv.conf that leads nowhere.
pub fn the_guest_asks_passt_for_its_address(stage: &Stage) {
    host_network();
    let root = stage.own_root();
    std::os::unix::fs::symlink("../nowhere/resolv.conf", root.join("etc/resolv.conf")).unwrap();
    let server = Server::new(HOST, "of the host\n");
    let reached = server.port();
    let script = format!(
        "ip -4 addr show dev eth0 | grep -c 'inet 192.0.2.77/26'
         ip route | grep -c 'default via 192.0.2.65'
         cat /etc/resolv.conf
         sleep 1 | nc {HOST} {reached}; exit 5"
    );
    let nic = json!({"passt": {}, "dhcp": true, "address": "192.0.2.77/26", "dns": ["192.0.2.53"]});
    let fields = |nics: Value| json!({"root": {"dir": root, "read_only": true}, "nics": nics});
    let expected = "1\n1\nnameserver 192.0.2.53\nof the host\n".to_owned();
    assert_eq!(run(stage, &spec(stage, &script, fields(json!([nic])))), (expected, 5));
    assert!(fs::symlink_metadata(root.join("etc/resolv.conf")).unwrap().is_symlink(), "the root stays as it is");
}

pub fn two_guests_of_one_spec_have_a_port_each_and_nothing_is_left_of_one_that_is_killed(stage: &Stage) {
    host_network();
    let script = "echo ready; while true; do echo of the guest | nc -l -p 80 > /dev/null; done";
    let nics = json!([{"passt": {"ports": [{"guest": 80}]}, "dns": []}]);
    let spec = spec(stage, script, json!({"nics": nics}));
    let mut guests = [Talking::launch(stage, &spec), Talking::launch(stage, &spec)];
    guests.iter_mut().for_each(|guest| guest.hears("ready"));
    let at = |guest: &Talking| guest.guest.vm.ports()[0].host;
    assert_ne!(at(&guests[0]), at(&guests[1]));
    for guest in &guests {
        assert_eq!(says(at(guest)), "of the guest\n");
    }
    assert_eq!(passts().len(), 2);
    let [one, other] = guests;
    let port = at(&one);
    let pid = one.guest.vm.detach();
    let ended = process(pid);
    // SAFETY: our own child, which nobody else waits for.
    unsafe {
        libc::kill(pid.cast_signed(), libc::SIGKILL);
        libc::waitpid(pid.cast_signed(), std::ptr::null_mut(), 0);
    }
    while !has_ended(&ended) || passts().len() > 1 {
        std::thread::sleep(Duration::from_millis(20));
    }
    TcpListener::bind(("127.0.0.1", port)).expect("its port is free");
    assert_eq!(says(at(&other)), "of the guest\n", "the other one goes on");
}

/// Clock ticks that a process has had of the processor.
fn ticks(pid: u32) -> u64 {
    [11, 12].map(|n| stat(pid, n).expect("a process that runs")).iter().sum()
}

/// libkrun says so in its log, and its thread for the card does not go round in circles.
pub fn a_guest_goes_on_without_its_network_when_passt_is_killed(stage: &Stage) {
    host_network();
    let script = format!(
        "echo ready; sleep 2; for n in 1 2 3; do echo x | nc -w 1 {HOST} 9; done; echo tried; sleep 3; echo there; exit 3"
    );
    let mut guest = Talking::launch(stage, &spec(stage, &script, json!({"nics": [{"passt": {}, "dns": []}]})));
    guest.hears("ready");
    for pid in passts() {
        // SAFETY: our own process.
        unsafe { libc::kill(pid.cast_signed(), libc::SIGKILL) };
    }
    guest.hears("tried");
    let before = ticks(guest.guest.vm.pid());
    std::thread::sleep(Duration::from_secs(2));
    let used = ticks(guest.guest.vm.pid()) - before;
    assert!(used < 100, "{used} ticks in two seconds, which have 200");
    guest.hears("there");
    assert_eq!(guest.guest.vm.wait().unwrap_or_else(|error| panic!("{error}")).status(), 3);
    let log = guest.guest.vm.log();
    assert!(String::from_utf8_lossy(&log).contains("Networking is now disabled"), "{}", String::from_utf8_lossy(&log));
}

/// As krundl is used from a shell, and killed together with its VM.
pub fn nothing_is_left_of_a_network_when_krundl_and_the_vm_are_killed(stage: &Stage) {
    host_network();
    let mut krundl = stage.krundl(&["--net", "passt", "-p", "80"], &stage.own_root(), &["sleep", "1000"]);
    let mut krundl = krundl.stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(krundl.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("krundl: tcp port 80 of the guest is 127.0.0.1:"), "{line}");
    let [vmm] = children(krundl.id())[..] else { panic!("krundl has one child") };
    assert_eq!(passts().len(), 1);
    // SAFETY: our own processes.
    unsafe {
        libc::kill(krundl.id().cast_signed(), libc::SIGKILL);
        libc::kill(vmm.cast_signed(), libc::SIGKILL);
    }
    krundl.wait().unwrap();
    while !passts().is_empty() {
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// With a root, a kernel and a script in the place of those that they name.
pub fn what_the_documentation_begins_with_runs(stage: &Stage) {
    host_network();
    let server = Server::new(HOST, "of the host\n");
    let script = format!("sleep 1 | nc {HOST} {}; echo of the guest | nc -l -p 22 > /dev/null; exit 7", server.port());
    for (n, text) in [include_str!("../../docs/networking.md"), include_str!("../../docs/guest.md")].iter().enumerate()
    {
        let blocks = text.split("```json\n").skip(1).filter_map(|rest| rest.split("```").next());
        let json = blocks.into_iter().find(|json| json.contains("passt")).expect("a spec");
        let mut documented: Value = serde_json::from_str(json).expect("JSON");
        documented["root"]["dir"] = json!(stage.own_root_named(&format!("root{n}")));
        documented["exec"]["args"] = json!(["-c", script]);
        if let Some(kernel) = documented.get_mut("kernel") {
            kernel["path"] = json!(stage.kernel);
        }
        let mut guest = Talking::launch(stage, &VmSpec::from_json(&documented.to_string()).unwrap());
        guest.hears("of the host");
        assert_eq!(says(2222), "of the guest\n");
        assert_eq!(guest.guest.vm.wait().unwrap_or_else(|error| panic!("{error}")).status(), 7);
    }
}

/// Of 2023, as Debian 12 has it. A later one brings them out, and the guest starts.
pub fn a_passt_that_loses_answers_over_udp_is_refused(stage: &Stage) {
    host_network();
    let ports = json!([{"guest": 53, "protocol": "udp"}]);
    let spec = spec(stage, "true", json!({"nics": [{"passt": {"ports": ports}}]}));
    let launched = krundl::launch(stage.prepare(&spec), krundl::LaunchOptions::default());
    if fs::read_to_string("/etc/os-release").is_ok_and(|text| text.contains("VERSION_ID=\"12\"")) {
        let error = launched.unwrap_err().to_string();
        assert!(error.contains("loses what the guest answers to UDP clients"), "{error}");
    } else {
        launched.unwrap_or_else(|error| panic!("{error}")).wait().unwrap_or_else(|error| panic!("{error}"));
    }
    ends("passt");
}

pub fn a_passt_without_a_way_out_says_so(stage: &Stage) {
    if Path::new("/sys/class/net/krundl0").exists() {
        ip("link del krundl0");
    }
    let spec = spec(stage, "true", json!({"nics": [{"passt": {"ports": [{"guest": 80}]}}]}));
    let error = krundl::launch(stage.prepare(&spec), krundl::LaunchOptions::default()).unwrap_err().to_string();
    assert!(error.contains("passt exited with status 1 before it served; its words:"), "{error}");
    host_network();
}

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
