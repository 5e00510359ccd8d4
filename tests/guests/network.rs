//! Networks of a guest by the real passt.
//!
//! Debian 12's passt is an early one: a client that says at once that it has nothing to say is not told of the end of the
//! answer, so the clients here wait a little; and see `says`.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;

use krundl::VmSpec;
use krundl_test_support::processes::{children, stat};
use serde_json::{Value, json};

use crate::breadth::{run, spec};
use crate::peers::{Echo, HOST, Server, Talking, echoed, ends, host_network, ip, processes, says};
use crate::stage::Stage;
use crate::talk::{has_ended, process};

fn passts() -> Vec<u32> {
    processes("passt")
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
