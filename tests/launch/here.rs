//! A plan that is carried out in the very process of whoever asks, which is not for the faint-hearted: this program
//! starts itself again for that.

use std::path::PathBuf;
use std::process::Command;

use krundl::{ProbeOptions, VmSpec, enter, prepare, probe_isolated};
use krundl_test_support::guest_root;
use krundl_test_support::stubs::{Start, Stub};
use serde_json::json;

use super::{HELPER, newest};

const LIBRARY: &str = "KRUNDL_TEST_ENTER";

/// Enters the library in another start of this program: the exit status, and what was said on the way.
fn entered(stub: &Stub) -> (Option<i32>, String, Vec<String>) {
    let stub = stub.build();
    // What becomes a VM tidies nothing up.
    let tmp = tempfile::tempdir().unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "here::the_process_that_becomes_the_vm", "--ignored", "--nocapture"])
        .env(LIBRARY, &stub.path)
        .env("TMPDIR", tmp.path())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    let calls = stub.calls().into_iter().map(|call| call.function).filter(|name| name != "krun_has_feature");
    (output.status.code(), said, calls.collect())
}

#[test]
#[ignore = "the tests below start it"]
fn the_process_that_becomes_the_vm() {
    let Some(library) = std::env::var_os(LIBRARY) else { return };
    let options =
        ProbeOptions { library: Some(PathBuf::from(library)), helper: Some(HELPER.into()), ..ProbeOptions::default() };
    let capabilities = probe_isolated(&options).unwrap().capabilities;
    let root = guest_root();
    let spec = json!({"vcpus": 1, "memory_mib": 256, "root": {"dir": root.path()}, "exec": {"path": "/bin/sh"}});
    let prepared = prepare(&VmSpec::from_json(&spec.to_string()).unwrap(), &capabilities).unwrap();
    // SAFETY: this process is there for it.
    let error = unsafe { enter(prepared) };
    eprintln!("came back: {:?} {:?} {error}", error.code(), error.function());
    std::process::exit(99);
}

#[test]
fn the_process_ends_as_libkrun_ends_it_and_nobody_listens_to_the_guest() {
    for release in ["1.8.0", "1.17.4", "1.19.7"] {
        let (status, said, calls) = entered(&Stub::new(release).start(Start::Exit(7)));
        assert_eq!(status, Some(7), "{said}");
        assert_eq!(calls.last().map(String::as_str), Some("krun_start_enter"));
        assert!(!calls.iter().any(|name| name == "krun_add_vsock_port"), "{calls:?}");
    }
}

#[test]
fn what_fails_before_that_comes_back() {
    for (stub, words) in [
        (newest().returns("krun_set_vm_config", -22), "came back: Call Some(krun_set_vm_config)"),
        (newest().start(Start::Return(-2)), "came back: Start Some(krun_start_enter) "),
    ] {
        let (status, said, _) = entered(&stub);
        assert_eq!(status, Some(99), "{said}");
        assert!(said.contains(words), "{said}");
    }
}

#[test]
fn libkruns_own_words_go_to_standard_error() {
    let (_, said, _) = entered(&newest().on("krun_start_enter", "printf(\"its words\\n\"); fflush(stdout);"));
    assert!(said.contains("its words"), "{said}");
}
