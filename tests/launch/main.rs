//! Carrying out plans with stub libraries: what they are told, and what becomes of every way in which they can end.

mod breadth;
#[cfg(feature = "cli")]
mod callers;
mod calls;
mod endings;
mod failures;
mod forks;
mod gvproxy;
mod here;
mod leftovers;
mod loops;
mod networks;
#[cfg(target_os = "linux")]
mod sockets;
mod streams;
mod threads;

use std::sync::mpsc;
use std::time::Duration;

use krundl::{
    Capabilities, LaunchOptions, Prepared, ProbeOptions, Result, Stream, Vm, VmSpec, launch, prepare, probe_isolated,
};
use krundl_test_support::guest_root;
use krundl_test_support::stubs::{Start, Stub, StubLibrary};
use serde_json::{Value, json};
use tempfile::TempDir;

const HELPER: &str = env!("CARGO_BIN_EXE_krundl-vmm");

/// The words of a guest that came up, followed by these.
fn up(last: &str) -> Start {
    Start::guest(format!("krundl-guest 1\nup\n{last}"))
}

/// A library that was probed, and a root for its guest.
struct Lab {
    stub: StubLibrary,
    root: TempDir,
    capabilities: Capabilities,
}

impl Lab {
    fn new(stub: &Stub) -> Lab {
        let stub = stub.build();
        let options =
            ProbeOptions { library: Some(stub.path.clone()), helper: Some(HELPER.into()), ..ProbeOptions::default() };
        let capabilities = probe_isolated(&options).unwrap().capabilities;
        stub.forget_calls();
        Lab { stub, root: guest_root(), capabilities }
    }

    fn spec(&self, fields: Value) -> VmSpec {
        let mut spec = json!({
            "vcpus": 2, "memory_mib": 512, "root": {"dir": self.root.path()}, "exec": {"path": "/bin/sh"},
        });
        for (name, value) in fields.as_object().unwrap() {
            spec[name] = value.clone();
        }
        VmSpec::from_json(&spec.to_string()).unwrap()
    }

    fn prepare(&self, fields: Value) -> Prepared {
        prepare(&self.spec(fields), &self.capabilities).unwrap()
    }

    fn launch(&self) -> Result<Vm> {
        launch(self.prepare(json!({})), options())
    }
}

/// Of the newest release.
fn newest() -> Stub {
    Stub::new("1.19.7")
}

fn options() -> LaunchOptions {
    LaunchOptions {
        helper: Some(HELPER.into()),
        stdin: Stream::Null,
        stdout: Stream::Null,
        stderr: Stream::Null,
        ..LaunchOptions::default()
    }
}

/// Does this in a thread, so that what never ends is a failure and not a test that never ends.
fn in_time<T: Send + 'static>(what: impl FnOnce() -> T + Send + 'static) -> T {
    let (answer, answered) = mpsc::channel();
    let thread = std::thread::spawn(move || answer.send(what()));
    match answered.recv_timeout(Duration::from_secs(20)) {
        Ok(done) => done,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("it does not end"),
        Err(mpsc::RecvTimeoutError::Disconnected) => match thread.join() {
            Err(panic) => std::panic::resume_unwind(panic),
            Ok(_) => unreachable!("the answer was sent"),
        },
    }
}

/// C statements: makes the stub note this text beside its calls.
fn saw(text: &str) -> String {
    format!("{{ call_begin(\"saw\"); arg_text({text}); call_end(); }}")
}

/// What the stub noted.
fn seen(stub: &StubLibrary) -> Vec<String> {
    stub.calls_of("saw").iter().map(|call| call.text(0).unwrap()).collect()
}

/// Whether a process of that number is there.
fn exists(pid: u32) -> bool {
    std::path::Path::new(&format!("/proc/{pid}")).exists()
}
