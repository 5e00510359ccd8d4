//! Programs that krundl starts for network cards: what they are given, what is told of them, and that they end with
//! their VM, however that ends. A program of the tests stands in for passt; the last test has the real one.

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::Path;

use krundl::error::Code;
use krundl::plan::OpenPort;
use krundl::{Error, Exit, launch, prepare};
use krundl_test_support::FakePasst;
use krundl_test_support::processes::ends;
use krundl_test_support::stubs::Stub;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Lab, exists, in_time, newest, options, saw, seen, up};

/// A card with this program and these ports.
fn card(program: &Path, ports: Value) -> Value {
    json!({"nics": [{"passt": {"program": program, "ports": ports}}]})
}

/// A guest that runs until it is ended.
fn running() -> Lab {
    Lab::new(&newest().start(up("")).then_hang())
}

fn dir() -> TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_passt_is_given_one_end_of_a_connection_and_libkrun_the_other() {
    let dir = dir();
    let passt = FakePasst::new(dir.path(), "serves");
    // The stub sends a frame, and notes what comes back.
    let talks = format!(
        "{{ char b[64] = {{0}}; if (write(fd, \"\\0\\0\\0\\5hello\", 9) != 9) return -errno; \
         if (recv(fd, b, 9, MSG_WAITALL) != 9) return -errno; {} }}",
        saw("b + 4")
    );
    let lab = Lab::new(&newest().on("krun_add_net_unixstream", &talks).start(up("exit 0\n")));
    let vm = launch(lab.prepare(card(&passt.path, json!([]))), options()).unwrap();
    assert_eq!(vm.wait().unwrap(), Exit::Code(0));
    assert_eq!(seen(&lab.stub), ["hello"]);
    let [call] = &lab.stub.calls_of("krun_add_net_unixstream")[..] else { panic!("one card") };
    assert_eq!(call.args[1], "NULL");
    assert_eq!(call.args[3..], ["5a:94:ef:e4:0c:ee", "19587", "0"]);
    let args = passt.args().join(" ");
    for part in [
        "--foreground --quiet --address 10.0.2.15 --netmask 24 --gateway 10.0.2.2",
        "--tcp-ports none --udp-ports none --no-map-gw --fd",
    ] {
        assert!(args.contains(part), "{args}");
    }
    // Its standard streams and its connection, and nothing else of ours.
    let fds = passt.notes().iter().filter(|line| line.starts_with("fd ")).count();
    assert_eq!(fds, 4, "{:?}", passt.notes());
    let session = format!("pid {0} session {0}", passt.pid());
    assert!(passt.notes().contains(&session), "away from the terminal: {:?}", passt.notes());
    assert!(ends(passt.pid()));
}

#[test]
fn the_one_card_of_old_releases_is_served_as_well() {
    let dir = dir();
    let passt = FakePasst::new(dir.path(), "serves");
    let stub = Stub::new("1.14.0").on("krun_set_passt_fd", "if (write(fd, \"frame\", 5) != 5) return -errno;");
    let lab = Lab::new(&stub.start(up("exit 0\n")));
    let vm = launch(lab.prepare(card(&passt.path, json!([]))), options()).unwrap();
    assert_eq!(vm.wait().unwrap(), Exit::Code(0));
    assert!(ends(passt.pid()));
}

#[test]
fn a_port_that_is_left_open_is_chosen_and_told_and_two_vms_of_one_spec_do_not_collide() {
    let dir = dir();
    let lab = running();
    let passt = FakePasst::new(dir.path(), "serves");
    let spec = card(&passt.path, json!([{"guest": 22}, {"guest": 8080, "protocol": "udp"}]));
    let start = || launch(lab.prepare(spec.clone()), options()).unwrap();
    let (one, other) = (start(), start());
    let ports = |vm: &krundl::Vm| -> Vec<OpenPort> { vm.ports() };
    for vm in [&one, &other] {
        let [tcp, udp] = ports(vm)[..] else { panic!("{:?}", ports(vm)) };
        assert!(tcp.host != 0 && udp.host != 0 && (tcp.guest, udp.guest) == (22, 8080));
        assert!(TcpStream::connect((tcp.address, tcp.host)).is_ok(), "{tcp}");
        assert!(tcp.address.is_loopback(), "only this host reaches it");
    }
    assert_ne!(ports(&one)[0].host, ports(&other)[0].host);
    // At the end it is free again, at once.
    one.kill().unwrap();
    one.wait().unwrap();
    TcpListener::bind((ports(&one)[0].address, ports(&one)[0].host)).unwrap();
    assert!(TcpStream::connect(("127.0.0.1", ports(&other)[0].host)).is_ok());
}

#[test]
fn a_port_that_somebody_else_was_faster_to_open_is_replaced() {
    let dir = dir();
    let passt = FakePasst::new(dir.path(), "fails-once");
    let lab = running();
    let vm = launch(lab.prepare(card(&passt.path, json!([{"guest": 22}]))), options()).unwrap();
    assert!(TcpStream::connect(("127.0.0.1", vm.ports()[0].host)).is_ok());
    assert_eq!(passt.notes().iter().filter(|line| line.starts_with("pid ")).count(), 2);
}

#[test]
fn a_port_in_use_is_refused_before_anything_starts() {
    let dir = dir();
    let passt = FakePasst::new(dir.path(), "serves");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let lab = running();
    let spec = lab.spec(card(&passt.path, json!([{"host": port, "guest": 22}])));
    let error = prepare(&spec, &lab.capabilities).unwrap_err();
    let problem = &error.problems()[0];
    assert_eq!(problem.field, "nics[0].passt.ports[0].host");
    assert!(problem.reason.contains(&format!("tcp 127.0.0.1:{port} is in use")), "{problem}");
    assert!(problem.fix.as_ref().is_some_and(|fix| fix.contains("or 0")), "{problem}");
    assert!(passt.notes().is_empty());
}

#[test]
fn one_that_fails_is_an_error_with_its_own_words_and_libkrun_is_not_opened() {
    let dir = dir();
    let passt = FakePasst::new(dir.path(), "fails");
    let lab = running();
    let error = launch(lab.prepare(card(&passt.path, json!([{"guest": 22}]))), options()).unwrap_err();
    assert_eq!(error.code(), Code::Network);
    let text = error.to_string();
    let program = passt.path.display();
    assert!(text.starts_with(&format!("nics[0].passt: {program} exited with status 1 before it served")), "{text}");
    assert!(text.ends_with("its words:\n  | No interface with a default route"), "{text}");
    assert!(matches!(error, Error::Network { .. }));
    assert_eq!(lab.stub.calls(), []);
}

#[test]
fn one_that_loses_what_a_guest_answers_over_udp_is_refused() {
    let dir = dir();
    let passt = FakePasst::new(dir.path(), "loses");
    let lab = running();
    let ports = json!([{"guest": 53, "protocol": "udp"}]);
    let text = launch(lab.prepare(card(&passt.path, ports)), options()).unwrap_err().to_string();
    assert!(text.contains("loses what the guest answers to UDP clients") && text.contains("host_loopback"), "{text}");
    assert_eq!(passt.notes().iter().filter(|line| line.starts_with("pid ")).count(), 1, "it is not tried again");
    assert!(ends(passt.pid()));
    assert_eq!(lab.stub.calls(), []);
}

#[test]
fn one_that_is_gone_since_it_was_checked_is_an_error() {
    let dir = dir();
    let passt = FakePasst::new(dir.path(), "serves");
    let lab = running();
    let prepared = lab.prepare(card(&passt.path, json!([])));
    fs::remove_file(&passt.path).unwrap();
    let text = launch(prepared, options()).unwrap_err().to_string();
    assert!(text.contains("serves could not be started: starting it: No such file"), "{text}");
}

#[test]
fn what_it_writes_later_is_in_the_log() {
    let dir = dir();
    let passt = FakePasst::new(dir.path(), "deaf");
    let closes = "{ shutdown(fd, SHUT_RDWR); usleep(300000); }";
    let lab = Lab::new(&newest().on("krun_add_net_unixstream", closes).start(up("exit 0\n")));
    let vm = launch(lab.prepare(card(&passt.path, json!([]))), options()).unwrap();
    vm.wait().unwrap();
    let log = String::from_utf8(vm.log()).unwrap();
    assert!(log.contains("the connection has ended"), "{log}");
}

/// The program that the VM's process ends with even if it would not end by itself.
#[test]
fn it_ends_with_the_vm_however_that_ends() {
    let dir = dir();
    let lab = running();
    for name in ["serves", "deaf"] {
        let passt = FakePasst::new(dir.path(), name);
        let start = || launch(lab.prepare(card(&passt.path, json!([{"guest": 22}]))), options()).unwrap();
        // Ended by us: gone when that is told.
        let vm = start();
        let pid = passt.pid();
        assert!(exists(pid), "{name}");
        vm.kill().unwrap();
        in_time(move || vm.wait().unwrap());
        assert!(ends(pid), "{name}");
        // Dropped.
        drop(start());
        assert!(ends(passt.pid()), "{name}");
        // Killed by somebody else, with nobody left to notice.
        let vmm = start().detach();
        assert!(exists(passt.pid()));
        // SAFETY: our own child, which nobody else has waited for.
        unsafe {
            libc::kill(vmm.cast_signed(), libc::SIGKILL);
            libc::waitpid(vmm.cast_signed(), std::ptr::null_mut(), 0);
        }
        assert!(ends(passt.pid()), "{name}");
    }
}
