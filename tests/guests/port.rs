//! The other channel for the guest's words, which plans for external kernels use; here with libkrunfw's kernel.

use krundl::Exit;
use krundl::plan::{CHANNEL_NAME, Call, Channel, Fd};

use crate::stage::Stage;
use crate::talk::LONG;

pub fn a_console_port_carries_the_guests_words(stage: &Stage) {
    let mut prepared = stage.prepare(&stage.spec("kill -SEGV $$"));
    let plan = &mut prepared.plan;
    let vsock = plan.calls.iter().position(|call| matches!(call, Call::AddVsockPort { .. })).expect("a channel");
    let port = Call::AddConsolePortInout { name: CHANNEL_NAME.to_owned(), input: None, output: Some(Fd::Channel) };
    plan.calls.splice(vsock..=vsock, [Call::AddVirtioConsoleMultiport {}, port]);
    plan.guest.as_mut().unwrap().channel = Channel::Port;
    let guest = stage.launch(prepared);
    guest.vm.wait_ready(Some(LONG)).unwrap();
    let exit = guest.vm.wait().unwrap();
    assert_eq!((&exit, exit.status()), (&Exit::Signal(11), 139));
}
