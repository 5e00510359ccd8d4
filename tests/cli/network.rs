//! `krundl run --net, --publish`, with a program that looks like passt.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpStream;
use std::process::{Command, Stdio};

use krundl_test_support::processes::{children, ends};
use krundl_test_support::stubs::{Start, Stub, StubLibrary};
use krundl_test_support::{FakePasst, guest_root};
use tempfile::TempDir;

use super::{krundl, said, text};

struct Lab {
    stub: StubLibrary,
    root: TempDir,
    bin: TempDir,
}

impl Lab {
    fn new(start: &str) -> Lab {
        let stub = Stub::new("1.19.7").start(Start::guest(format!("krundl-guest 1\nup\n{start}")));
        let stub = if start.is_empty() { stub.then_hang() } else { stub };
        Lab { stub: stub.build(), root: guest_root(), bin: tempfile::tempdir().unwrap() }
    }

    fn passt(&self, name: &str) -> FakePasst {
        let real = FakePasst::new(self.bin.path(), name);
        if name != "passt" {
            // What it does otherwise is in its own name.
            let script = format!("#!/bin/sh\nexec {} \"$@\"\n", text(&real.path));
            fs::write(self.bin.path().join("passt"), script).unwrap();
            let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
            fs::set_permissions(self.bin.path().join("passt"), mode).unwrap();
        }
        real
    }

    fn command(&self, options: &[&str]) -> Command {
        let mut command = krundl(&["run", "--library", text(&self.stub.path)]);
        let path = format!("{}:{}", text(self.bin.path()), std::env::var("PATH").unwrap());
        command.args(options).arg(self.root.path()).args(["--", "/bin/work"]).env("PATH", path);
        command
    }
}

#[test]
fn a_port_that_was_chosen_is_said_and_one_that_was_named_is_not() {
    let lab = Lab::new("exit 7\n");
    let passt = lab.passt("passt");
    let told = said(&mut lab.command(&["--net", "passt", "-p", "22", "-p", "0:53/udp"]));
    assert_eq!(told.status, 7, "{}", told.err);
    let lines: Vec<&str> = told.err.lines().collect();
    assert!(lines[0].starts_with("krundl: tcp port 22 of the guest is 127.0.0.1:"), "{lines:?}");
    assert!(lines[1].starts_with("krundl: udp port 53 of the guest is 127.0.0.1:") && lines.len() == 2, "{lines:?}");
    let at = lines[0].rsplit(':').next().unwrap().trim_end_matches(" here");
    assert!(passt.args().contains(&format!("127.0.0.1/{at}:22")), "{:?}", passt.args());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let told = said(&mut lab.command(&["--net", "passt", "-p", &format!("{free}:22")]));
    assert_eq!((told.status, &*told.err), (7, ""));
}

#[test]
fn a_missing_passt_and_a_port_in_use_are_told_together() {
    let lab = Lab::new("exit 0\n");
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("{}:22", taken.local_addr().unwrap().port());
    let spec = lab.bin.path().join("spec.json");
    fs::write(&spec, r#"{"vcpus": 1, "memory_mib": 512, "nics": [{"passt": {"program": "/nowhere/passt"}}]}"#).unwrap();
    let told = said(&mut lab.command(&["--spec", text(&spec), "-p", &port]));
    assert_eq!(told.status, 125);
    for words in ["nics[0].passt.program: /nowhere/passt", "apt-get install passt", "is in use on this host"] {
        assert!(told.err.contains(words), "{words}: {}", told.err);
    }
}

/// Nobody is left who could clean up: the kernel does.
#[test]
fn nothing_is_left_when_krundl_and_the_vm_are_killed() {
    for name in ["passt", "deaf"] {
        let lab = Lab::new("");
        let passt = lab.passt(name);
        let mut command = lab.command(&["--net", "passt", "-p", "22"]);
        let mut krundl = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        let mut said = BufReader::new(krundl.stderr.take().unwrap());
        said.read_line(&mut line).unwrap();
        let at: u16 = line.trim_end().trim_end_matches(" here").rsplit(':').next().unwrap().parse().unwrap();
        assert!(TcpStream::connect(("127.0.0.1", at)).is_ok());
        let [vmm] = children(krundl.id())[..] else { panic!("krundl has one child") };
        // SAFETY: our own processes.
        unsafe {
            libc::kill(krundl.id().cast_signed(), libc::SIGKILL);
            libc::kill(vmm.cast_signed(), libc::SIGKILL);
        }
        krundl.wait().unwrap();
        assert!(ends(passt.pid()), "{name} is still there");
        assert!(TcpStream::connect(("127.0.0.1", at)).is_err(), "its port is still open");
        let _ = said.read_to_string(&mut line);
    }
}
