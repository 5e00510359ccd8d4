//! Callers of their own, with an environment of their own: the command line in another process.

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Command, Stdio};

use krundl_test_support::stubs::Start;

use super::{HELPER, Lab, in_time, newest, saw, seen, up};

fn krundl_run(lab: &Lab, tmp: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_krundl"));
    command.arg("run").arg("--library").arg(&lab.stub.path).arg(lab.root.path()).args(["--", "/bin/sh"]);
    command.env("TMPDIR", tmp).env("KRUNDL_VMM", HELPER).stdin(Stdio::null());
    command
}

#[test]
fn the_callers_secrets_stay_the_callers() {
    let dump = format!("extern char **environ; for (char **e = environ; *e; e++) {}", saw("*e"));
    let lab = Lab::new(&newest().on("krun_create_ctx", &dump).start(up("exit 0\n")));
    let tmp = tempfile::tempdir().unwrap();
    let mut command = krundl_run(&lab, tmp.path());
    command.env("SECRET", "hunter2").env("RUST_LOG", "off").env("KRUN_CONFIG", "/evil").env("PATH", "/bin");
    assert!(command.status().unwrap().success());
    let allowed = [
        "PATH",
        "LD_LIBRARY_PATH",
        "LD_PRELOAD",
        "TMPDIR",
        "XDG_RUNTIME_DIR",
        "RUST_BACKTRACE",
        "LANG",
        "LC_ALL",
        "TZ",
    ];
    let environment = seen(&lab.stub);
    assert!(environment.contains(&"PATH=/bin".to_owned()), "{environment:?}");
    for variable in environment {
        let name = variable.split('=').next().unwrap();
        assert!(allowed.contains(&name), "{variable}");
    }
}

#[test]
fn a_vm_that_is_meant_to_dies_with_its_parent_however_that_ends() {
    let lab = Lab::new(&newest().prints("running\n").start(Start::Hang));
    let tmp = tempfile::tempdir().unwrap();
    let mut parent = krundl_run(&lab, tmp.path()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut output = BufReader::new(parent.stdout.take().unwrap());
    let mut line = String::new();
    output.read_line(&mut line).unwrap();
    assert_eq!(line, "running\n");
    parent.kill().unwrap();
    parent.wait().unwrap();
    // The VM's process holds the other end as long as it lives.
    in_time(move || assert_eq!(output.read_to_string(&mut String::new()).unwrap(), 0));
}
