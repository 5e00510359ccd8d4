//! Signals to `krundl run`.

use krundl_test_support::processes::children;
use rustix::process::{Pid, Signal, kill_process};

use crate::stage::Stage;
use crate::talk::{Talk, await_end, process};

pub fn sigterm_ends_the_vm_with_143(stage: &Stage) {
    let mut guest = stage.sh(&[], "echo ready; read for_ever");
    guest.hear("ready");
    let vmm = process(vmm(&guest));
    send(guest.pid(), Signal::TERM);
    await_end(&vmm);
    let end = guest.end();
    assert_eq!((end.status, end.text(), end.stderr.as_str()), (Some(143), "", ""));
}

/// The workload is asked, and its own end counts.
pub fn sigterm_is_the_workloads_to_handle(stage: &Stage) {
    let mut guest = stage.sh(&[], "trap 'echo cleaned up; exit 6' TERM; echo ready; while :; do sleep 1; done");
    guest.hear("ready");
    send(guest.pid(), Signal::TERM);
    let end = guest.end();
    assert_eq!((end.status, end.text(), end.stderr.as_str()), (Some(6), "cleaned up\n", ""));
}

/// It arrives as ^C does: at the shell and at what it runs.
pub fn sigint_is_the_workloads_to_handle(stage: &Stage) {
    // In a loop, because a signal between two commands reaches the shell alone, which acts on it after the next one.
    let mut guest = stage.sh(&[], "trap 'echo cleaned up; exit 7' INT; echo ready; while :; do sleep 1; done");
    guest.hear("ready");
    send(guest.pid(), Signal::INT);
    let end = guest.end();
    assert_eq!((end.status, end.text(), end.stderr.as_str()), (Some(7), "cleaned up\n", ""));
}

pub fn the_vm_dies_with_a_krundl_that_is_killed(stage: &Stage) {
    let mut guest = stage.sh(&[], "echo ready; read for_ever");
    guest.hear("ready");
    let vmm = process(vmm(&guest));
    send(guest.pid(), Signal::KILL);
    await_end(&vmm);
    assert_eq!(guest.end().status, None);
}

/// The process that runs libkrun.
fn vmm(krundl: &Talk) -> u32 {
    let children = children(krundl.pid());
    assert_eq!(children.len(), 1, "krundl has one child: {children:?}");
    children[0]
}

fn send(pid: u32, signal: Signal) {
    kill_process(Pid::from_raw(pid.try_into().unwrap()).unwrap(), signal).unwrap();
}
