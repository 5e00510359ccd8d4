//! Exit statuses. 0 and 42 are [`crate::mounts`]'s, 255 is [`crate::streams`]'s, 139 [`crate::port`]'s.

use krundl::{Error, Exit};

use crate::stage::{Stage, mount};
use crate::talk::{Talk, all};

pub fn a_program_that_is_not_there_is_127(stage: &Stage) {
    let end = Talk::with(stage.krundl(&[], &stage.root, &["nowhere", "x"])).end();
    assert_eq!((end.status, end.text()), (Some(127), ""));
    said(&end.stderr, "cannot run 'nowhere'", "No such file or directory");
}

pub fn a_directory_is_126(stage: &Stage) {
    let mut spec = stage.spec("");
    spec.exec.as_mut().unwrap().path = "/workspace".into();
    let exit = stage.launch(stage.prepare(&spec)).vm.wait().unwrap();
    let Exit::NotExecuted { status: 126, reason } = &exit else { panic!("{exit:?}") };
    assert!(reason.starts_with("cannot run '/workspace': ") && reason.ends_with("Permission denied"), "{reason}");
    assert_eq!(exit.status(), 126);
}

pub fn a_workload_that_is_killed_is_told_by_its_signal(stage: &Stage) {
    let guest = stage.launch(stage.prepare(&stage.spec("kill -KILL $$")));
    let exit = guest.vm.wait().unwrap();
    assert_eq!((&exit, exit.status(), exit.success()), (&Exit::Signal(9), 137, false));
}

pub fn a_working_directory_that_is_not_there_is_125(stage: &Stage) {
    let end = stage.sh(&["--workdir", "/not/there"], "echo this must not run").end();
    assert_eq!((end.status, end.text()), (Some(125), ""));
    said(&end.stderr, "working directory /not/there", "No such file or directory");
}

pub fn a_mount_that_fails_in_the_guest_is_named(stage: &Stage) {
    let mut spec = stage.spec("echo this must not run");
    spec.mounts.push(mount(&stage.dir("dir"), "/workspace"));
    let mut prepared = stage.prepare(&spec);
    prepared.plan.guest.as_mut().unwrap().mounts[0].tag = "nobodys".to_owned();
    let guest = stage.launch(prepared);
    let said = all(guest.vm.take_stdout().unwrap());
    let errors = [guest.vm.wait_ready(None).unwrap_err(), guest.vm.wait().unwrap_err()];
    for error in errors {
        let Error::GuestSetup { message, .. } = &error else { panic!("{error:?}") };
        let is_named = message.starts_with("mount of tag \"nobodys\" on /workspace: ");
        assert!(is_named && message.ends_with("the machine has no share with this tag"), "{message}");
    }
    assert_eq!(said, b"");
}

/// One line of krundl's, said once.
fn said(stderr: &str, what: &str, why: &str) {
    let line = stderr.strip_suffix('\n').unwrap_or(stderr);
    let fits = line.starts_with(&format!("krundl: {what}: ")) && line.ends_with(why) && !line.contains('\n');
    assert!(fits, "{stderr:?}");
}
