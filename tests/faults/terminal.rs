//! The caller's terminal has its modes again, however the VM ends.

use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use krundl_test_support::stubs::Fault;
use rustix::process::{Pid, Signal, kill_process};
use rustix::termios::{Termios, tcgetattr};

use crate::alone::alone;
use crate::bench::{Bench, HELPER, terminal};

fn modes(terminal: &OwnedFd) -> impl PartialEq + std::fmt::Debug {
    let Termios { input_modes, output_modes, control_modes, local_modes, .. } = tcgetattr(terminal).unwrap();
    (input_modes, output_modes, control_modes, local_modes)
}

fn krundl_run(bench: &Bench, terminal: &OwnedFd) -> Command {
    let stream = || Stdio::from(terminal.try_clone().unwrap());
    let mut command = Command::new(env!("CARGO_BIN_EXE_krundl"));
    command.arg("run").arg("--library").arg(&bench.stub.path).arg(bench.root.path()).args(["--", "/bin/sh"]);
    command.env("KRUNDL_VMM", HELPER).stdin(stream()).stdout(stream()).stderr(stream());
    command
}

#[test]
fn a_terminal_gets_its_modes_back() {
    alone("terminal::a_terminal_gets_its_modes_back", || {
        // libkrun is told the streams, or takes those of its process.
        for bench in ["1.19.7", "1.13.0"].map(Bench::new) {
            for (function, last, status) in [
                ("krun_start_enter", Some(Fault::Return(-libc::EINVAL)), Some(125)),
                ("krun_start_enter", Some(Fault::Abort), Some(125)),
                ("krun_start_enter", Some(Fault::Exit(0)), Some(125)),
                ("krun_start_enter", Some(Fault::Kill), Some(125)),
                ("krun_set_exec", Some(Fault::Abort), Some(125)),
                ("krun_start_enter", None, Some(0)),
            ] {
                let (_user, device) = terminal();
                let fresh = modes(&device);
                let faults: Vec<Fault> = [Fault::Raw].into_iter().chain(last).collect();
                bench.stub.fault(function, 0, &faults);
                assert_eq!(krundl_run(&bench, &device).status().unwrap().code(), status, "{function}: {faults:?}");
                assert_eq!(modes(&device), fresh, "{function}: {faults:?}");
            }
        }
    });
}

#[test]
fn a_terminal_gets_its_modes_back_when_krundl_is_stopped_or_killed() {
    alone("terminal::a_terminal_gets_its_modes_back_when_krundl_is_stopped_or_killed", || {
        // This release says on the guest's standard error what it says.
        let bench = Bench::new("1.13.0");
        for last in [Fault::Hang, Fault::KillParent] {
            let (_user, device) = terminal();
            let fresh = modes(&device);
            let faults = [Fault::Raw, Fault::Say(1), last, Fault::Hang];
            bench.stub.fault("krun_start_enter", 0, &faults);
            let mut krundl = krundl_run(&bench, &device).stderr(Stdio::piped()).spawn().unwrap();
            let mut said = BufReader::new(krundl.stderr.take().unwrap());
            if last == Fault::Hang {
                let mut line = Vec::new();
                while !line.ends_with(b"said in krun_start_enter\n") {
                    assert!(said.read_until(b'\n', &mut line).unwrap() > 0);
                }
                assert_ne!(modes(&device), fresh, "the library has changed them");
                kill_process(Pid::from_child(&krundl), Signal::TERM).unwrap();
            }
            krundl.wait().unwrap();
            // Until the VM's process is gone as well.
            said.read_to_end(&mut Vec::new()).unwrap();
            assert_eq!(modes(&device), fresh, "{faults:?}");
        }
    });
}
