//! The other channel for the guest's words, which plans for external kernels use; here with libkrunfw's kernel.

use std::io::{BufRead, BufReader};

use krundl::Exit;
use krundl::launch::Asked;
use krundl::plan::{CHANNEL_NAME, Call, Channel, Fd};

use crate::stage::{Guest, Stage};
use crate::talk::LONG;

pub fn a_console_port_carries_the_guests_words(stage: &Stage) {
    let guest = over_a_port(stage, "kill -SEGV $$");
    guest.vm.wait_ready(Some(LONG)).unwrap();
    let exit = guest.vm.wait().unwrap();
    assert_eq!((&exit, exit.status()), (&Exit::Signal(11), 139));
}

pub fn a_console_port_carries_the_hosts_requests(stage: &Stage) {
    let guest = over_a_port(stage, "trap 'exit 9' TERM; echo ready; while :; do sleep 1; done");
    let mut line = String::new();
    BufReader::new(guest.vm.take_stdout().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "ready\n");
    assert_eq!(guest.vm.terminate().unwrap(), Asked::Workload);
    assert_eq!(guest.vm.wait_timeout(LONG).unwrap(), Some(Exit::Code(9)));
}

fn over_a_port(stage: &Stage, script: &str) -> Guest {
    let mut prepared = stage.prepare(&stage.spec(script));
    let plan = &mut prepared.plan;
    let vsock = plan.calls.iter().position(|call| matches!(call, Call::AddVsockPort { .. })).expect("a channel");
    let end = Some(Fd::Channel);
    let port = Call::AddConsolePortInout { name: CHANNEL_NAME.to_owned(), input: end, output: end };
    plan.calls.splice(vsock..=vsock, [Call::AddVirtioConsoleMultiport {}, port]);
    plan.guest.as_mut().unwrap().channel = Channel::Port;
    stage.launch(prepared)
}
