//! gvproxy, which krundl starts for a network card: what it is told, and that it is gone with the VM. A program of the
//! tests stands in for it; the last test has the real one.

use std::fs;
use std::io::Write;
use std::net::{TcpStream, UdpSocket};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use krundl::error::Code;
use krundl::{Exit, launch, prepare};
use krundl_test_support::FakeGvproxy;
use krundl_test_support::processes::ends;
use krundl_test_support::stubs::Stub;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Lab, exists, in_time, newest, options, saw, seen, up};

fn card(program: &Path, ports: Value) -> Value {
    json!({"nics": [{"gvproxy": {"program": program, "ports": ports}}]})
}

fn running() -> Lab {
    Lab::new(&newest().start(up("")).then_hang())
}

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

/// Sends a frame, as libkrun does.
const SENDS: &str = "if (write(fd, \"\\0\\0\\0\\5hello\", 9) != 9) return -errno;";

fn gone(path: &Path) -> bool {
    let deadline = Instant::now() + Duration::from_secs(5);
    while path.exists() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(10));
    }
    !path.exists()
}

#[test]
fn libkrun_is_given_a_connection_to_it_and_it_is_told_its_ports() {
    let dir = dir();
    for (stub, function) in [(newest(), "krun_add_net_unixstream"), (Stub::new("1.14.0"), "krun_set_passt_fd")] {
        let gvproxy = FakeGvproxy::new(dir.path(), function);
        let lab = Lab::new(&stub.on(function, SENDS).start(up("")).then_hang());
        let ports = json!([{"guest": 22}, {"guest": 53, "protocol": "udp"}]);
        let vm = launch(lab.prepare(card(&gvproxy.path, ports)), options()).unwrap();
        assert!(!gvproxy.dir().exists(), "nothing needs its sockets any more");
        let [call] = &lab.stub.calls_of(function)[..] else { panic!("one card") };
        if function == "krun_add_net_unixstream" {
            assert_eq!(call.args[1], "NULL");
            assert_eq!(call.args[3..], ["5a:94:ef:e4:0c:ee", "19587", "0"]);
        }
        let [tcp, udp] = vm.ports()[..] else { panic!("{:?}", vm.ports()) };
        assert!(tcp.host != 0 && udp.host != 0 && (tcp.guest, udp.guest) == (22, 53));
        assert!(TcpStream::connect((tcp.address, tcp.host)).is_ok(), "{tcp}");
        // The port for SSH that it opens by itself is closed again.
        let args = gvproxy.noted("arg");
        let ssh = &args[args.iter().position(|arg| arg == "-ssh-port").unwrap() + 1];
        assert!(TcpStream::connect(("127.0.0.1", ssh.parse().unwrap())).is_err());
        let object = |text: &str| {
            serde_json::from_str::<Value>(text.split_once('{').map_or("null", |_| &text[text.find('{').unwrap()..]))
                .unwrap()
        };
        let asked = gvproxy.noted("asked");
        assert_eq!(asked[0].trim_end(), "GET /leases");
        assert!(asked[1].starts_with("POST /services/forwarder/unexpose "), "{asked:?}");
        assert_eq!(object(&asked[1]), json!({"local": format!("127.0.0.1:{ssh}"), "protocol": "tcp"}));
        for (line, port, protocol) in [(&asked[2], tcp, "tcp"), (&asked[3], udp, "udp")] {
            assert!(line.starts_with("POST /services/forwarder/expose "), "{line}");
            let local = format!("127.0.0.1:{}", port.host);
            let remote = format!("192.168.127.2:{}", port.guest);
            assert_eq!(object(line), json!({"local": local, "remote": remote, "protocol": protocol}));
        }
        assert_eq!(gvproxy.noted("pid"), [format!("{0} session {0}", gvproxy.pid())], "away from the terminal");
        let deadline = Instant::now() + Duration::from_secs(5);
        while gvproxy.noted("frame").is_empty() && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(gvproxy.noted("frame"), ["hello"]);
        vm.kill().unwrap();
        vm.wait().unwrap();
        assert!(ends(gvproxy.pid()));
    }
}

#[test]
fn a_guest_that_ends_by_itself_leaves_nothing_of_it() {
    let dir = dir();
    let gvproxy = FakeGvproxy::new(dir.path(), "serves");
    let lab = Lab::new(&newest().start(up("exit 7\n")));
    let vm = launch(lab.prepare(card(&gvproxy.path, json!([]))), options()).unwrap();
    assert_eq!(vm.wait().unwrap(), Exit::Code(7));
    assert!(ends(gvproxy.pid()));
}

#[test]
fn one_that_does_not_serve_is_an_error_with_its_own_words_and_leaves_nothing() {
    let dir = dir();
    for (name, ports, starts, reason) in [
        ("fails", json!([]), 1, "exited with status 1 before it served"),
        ("dies", json!([]), 1, "exited with status 1 before it served"),
        ("refuses", json!([{"guest": 22}]), 3, "bind: address already in use"),
        ("elsewhere", json!([]), 1, "does not give its guest 192.168.127.2"),
        ("hangs", json!([]), 1, "did not answer within 15 s"),
    ] {
        let gvproxy = FakeGvproxy::new(dir.path(), name);
        let lab = running();
        let error = launch(lab.prepare(card(&gvproxy.path, ports)), options()).unwrap_err();
        assert_eq!(error.code(), Code::Network, "{name}");
        let text = error.to_string();
        assert!(text.starts_with(&format!("nics[0].gvproxy: {} ", gvproxy.path.display())), "{text}");
        assert!(text.contains(reason), "{text}");
        if ["fails", "dies"].contains(&name) {
            assert!(text.contains("  | gvproxy exiting: "), "{text}");
        }
        assert_eq!(gvproxy.noted("pid").len(), starts, "{name}: another port is tried where it was chosen");
        assert!(ends(gvproxy.pid()) && gone(&gvproxy.dir()), "{name}");
        assert_eq!(lab.stub.calls(), [], "{name}: libkrun is not opened");
    }
}

#[test]
fn it_ends_with_the_vm_however_that_ends() {
    let dir = dir();
    let lab = running();
    let gvproxy = FakeGvproxy::new(dir.path(), "serves");
    let start = || launch(lab.prepare(card(&gvproxy.path, json!([{"guest": 22}]))), options()).unwrap();
    let vm = start();
    let pid = gvproxy.pid();
    assert!(exists(pid));
    vm.kill().unwrap();
    in_time(move || vm.wait().unwrap());
    assert!(ends(pid));
    drop(start());
    assert!(ends(gvproxy.pid()));
    // Killed by somebody else, with nobody left to notice.
    let vmm = start().detach();
    assert!(exists(gvproxy.pid()));
    // SAFETY: our own child, which nobody else has waited for.
    unsafe {
        libc::kill(vmm.cast_signed(), libc::SIGKILL);
        libc::waitpid(vmm.cast_signed(), std::ptr::null_mut(), 0);
    }
    assert!(ends(gvproxy.pid()));
}

/// The real one: it gives its guest the address to which its ports lead, opens what it is asked for and speaks to libkrun
/// in frames after their lengths. `KRUNDL_TEST_GVPROXY` names it where it is not installed.
#[test]
fn a_real_gvproxy_serves() {
    // Who has the gateway's address? The stub asks as libkrun does for the guest, and notes the beginning of the answer.
    let asks = format!(
        "{{ static const char q[] = \"\\0\\0\\0\\x2a\\xff\\xff\\xff\\xff\\xff\\xff\\x5a\\x94\\xef\\xe4\\x0c\\xee\\x08\\x06\" \
         \"\\0\\1\\x08\\0\\6\\4\\0\\1\\x5a\\x94\\xef\\xe4\\x0c\\xee\\xc0\\xa8\\x7f\\2\\0\\0\\0\\0\\0\\0\\xc0\\xa8\\x7f\\1\"; \
         unsigned char b[46]; char t[32]; if (write(fd, q, sizeof q - 1) != sizeof q - 1) return -errno; \
         if (recv(fd, b, sizeof b, MSG_WAITALL) != sizeof b) return -errno; \
         snprintf(t, sizeof t, \"%d opcode %d from %d.%d.%d.%d\", b[3], b[25], b[32], b[33], b[34], b[35]); {} }}",
        saw("t")
    );
    let lab = Lab::new(&newest().on("krun_add_net_unixstream", &asks).start(up("")).then_hang());
    let ports = json!([{"guest": 22}, {"guest": 53, "protocol": "udp"}]);
    let program = std::env::var_os("KRUNDL_TEST_GVPROXY").map(PathBuf::from);
    let spec = lab.spec(json!({"nics": [{"gvproxy": {"ports": ports, "program": program}}]}));
    let prepared = match prepare(&spec, &lab.capabilities) {
        Ok(prepared) => prepared,
        Err(error) if program.is_none() && error.problems()[0].field == "nics[0].gvproxy.program" => {
            let said = "a_real_gvproxy_serves: there is no gvproxy on this host";
            eprintln!("skipped: {said}");
            if let Some(file) = std::env::var_os("KRUNDL_SKIPS") {
                writeln!(fs::File::options().append(true).create(true).open(file).unwrap(), "{said}").unwrap();
            }
            return;
        }
        Err(error) => panic!("{error}"),
    };
    let vm = launch(prepared, options()).unwrap_or_else(|error| panic!("{error}"));
    let [tcp, udp] = vm.ports()[..] else { panic!("{:?}", vm.ports()) };
    assert!(TcpStream::connect((tcp.address, tcp.host)).is_ok(), "{tcp}");
    assert!(UdpSocket::bind((udp.address, udp.host)).is_err(), "{udp} is taken");
    assert_eq!(seen(&lab.stub), ["42 opcode 2 from 192.168.127.1"]);
    vm.kill().unwrap();
    vm.wait().unwrap();
    assert!(TcpStream::connect((tcp.address, tcp.host)).is_err(), "it has ended");
    UdpSocket::bind((udp.address, udp.host)).expect("it has ended");
}
