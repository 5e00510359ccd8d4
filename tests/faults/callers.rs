//! Callers that are killed while their VM is started: the VM dies with them, wherever it is.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Command, Stdio};
use std::time::{Duration, SystemTime};

use krundl::launch;
use krundl_test_support::stubs::Fault;
use rustix::event::{PollFd, PollFlags, poll};
use serde_json::json;

use crate::alone::{alone, krundls};
use crate::bench::{Bench, HELPER, options};

fn krundl_run(bench: &Bench) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_krundl"));
    command.arg("run").arg("--library").arg(&bench.stub.path).arg(bench.root.path()).args(["--", "/bin/sh"]);
    command.env("KRUNDL_VMM", HELPER).stdin(Stdio::null()).stderr(Stdio::null());
    command
}

/// The VM's process kills its caller in each call, and does this then; it holds the other end of the pipe as long as it
/// lives.
fn killed_at_every_call(bench: &Bench, then: &[Fault]) {
    for case in bench.cases_of(&json!({})) {
        bench.stub.fault(case.function().name(), case.nth, &[&[Fault::KillParent], then].concat());
        let mut caller = krundl_run(bench).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = caller.stdout.take().unwrap();
        assert_eq!(caller.wait().unwrap().signal(), Some(libc::SIGKILL), "{case:?}");
        let time = Duration::from_secs(20).try_into().unwrap();
        let ended = poll(&mut [PollFd::new(&output, PollFlags::IN)], Some(&time)).unwrap();
        assert_eq!(ended, 1, "the VM's process runs on in {case:?}");
        assert_eq!(output.read_to_end(&mut Vec::new()).unwrap(), 0);
    }
    bench.stub.heal();
}

#[test]
fn a_vm_dies_with_its_caller_at_every_call_and_leaves_nothing_behind() {
    alone("callers::a_vm_dies_with_its_caller_at_every_call_and_leaves_nothing_behind", || {
        for bench in ["1.18.0", "1.19.7"].map(Bench::new) {
            killed_at_every_call(&bench, &[Fault::Hang]);
            assert_eq!(krundls(&std::env::temp_dir()), [""; 0]);
        }
        // It may come to its own end before.
        killed_at_every_call(&Bench::new("1.19.7"), &[]);
        assert_eq!(krundls(&std::env::temp_dir()), [""; 0]);
    });
}

/// Before libkrun 1.19.0 there is a directory of the VM's, which nobody is left to remove.
#[test]
fn what_a_vm_leaves_that_was_killed_with_its_caller_is_removed_by_the_next_start() {
    alone("callers::what_a_vm_leaves_that_was_killed_with_its_caller_is_removed_by_the_next_start", || {
        let bench = Bench::new("1.18.0");
        bench.stub.fault("krun_start_enter", 0, &[Fault::KillGroup]);
        let mut caller = krundl_run(&bench).process_group(0).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = caller.stdout.take().unwrap();
        assert_eq!(caller.wait().unwrap().signal(), Some(libc::SIGKILL));
        output.read_to_end(&mut Vec::new()).unwrap();
        bench.stub.heal();

        let tmp = std::env::temp_dir();
        let [left] = &krundls(&tmp)[..] else { panic!("{:?}", krundls(&tmp)) };
        assert!(left.starts_with("krundl-share-"), "{left}");
        // Only what is old enough is certain to be nobody's.
        let start = || launch(bench.prepare(&json!({})), options()).unwrap().wait().unwrap();
        start();
        assert_eq!(&krundls(&tmp), std::slice::from_ref(left));
        let long_ago = SystemTime::now() - Duration::from_secs(120);
        File::open(tmp.join(left)).unwrap().set_modified(long_ago).unwrap();
        fs::create_dir(tmp.join("somebody-elses")).unwrap();
        start();
        assert_eq!(krundls(&tmp), [""; 0]);
        assert!(tmp.join("somebody-elses").exists());
    });
}
