//! Commands with a terminal of their own.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use krundl::Exit;
use krundl::control::{Command, Ended, Exec, Size, Source};
use krundl_test_support::processes::ends;

use crate::{LONG, Port, captured, sh};

fn start(port: &Port, script: &str, input: Source) -> Exec {
    on_terminal(port, sh(script), input)
}

fn on_terminal(port: &Port, command: Command, input: Source) -> Exec {
    let command = Command { terminal: true, ..command };
    Exec::start(&port.socket(), &command, Size { rows: 24, columns: 80 }, captured(input), LONG).unwrap()
}

/// Everything up to a text.
fn hear(exec: &Exec, text: &str) -> String {
    let (mut said, deadline) = (String::new(), Instant::now() + LONG);
    while !said.contains(text) && Instant::now() < deadline {
        let ended = exec.wait_with(Some(Duration::from_millis(20)), &mut || ControlFlow::Continue(())).unwrap();
        said.push_str(&String::from_utf8(exec.take_output()).unwrap());
        assert!(ended == Ended::TimedOut || said.contains(text), "{ended:?}: {said}");
    }
    said
}

#[test]
fn it_is_the_commands_own_with_its_size() {
    let port = Port::open();
    let exec = start(
        &port,
        "tty; stty size; trap 'stty size; exit 6' WINCH; echo ready >/dev/tty; while :; do sleep 0.1; done",
        Source::Null,
    );
    let said = hear(&exec, "ready\r\n");
    assert!(said.starts_with("/dev/pts/") && said.contains("24 80\r\n"), "{said}");
    exec.resize(Size { rows: 50, columns: 132 });
    assert_eq!(exec.wait().unwrap(), Exit::Code(6));
    assert_eq!(exec.take_output(), b"50 132\r\n");
}

#[test]
fn keys_arrive_and_the_inputs_end_is_one() {
    let port = Port::open();
    let exec = start(&port, "read a; echo \"got $a\"; cat >/dev/null; echo over", Source::Bytes(b"a line\n".to_vec()));
    assert_eq!(exec.wait().unwrap(), Exit::Code(0));
    let said = String::from_utf8(exec.take_output()).unwrap();
    assert!(said.contains("got a line\r\n") && said.ends_with("over\r\n"), "{said:?}");
    // Not in a shell, which may be between two commands when the key comes.
    let sleep = Command { path: "sleep".into(), args: vec!["1000".into()], ..Command::default() };
    let exec = on_terminal(&port, sleep, Source::Bytes(b"\x03".to_vec()));
    assert_eq!(exec.wait().unwrap(), Exit::Signal(2));
}

#[test]
fn one_that_hangs_up_ends_the_command() {
    let port = Port::open();
    let exec = start(&port, "echo $$; sleep 1000", Source::Null);
    let pid = hear(&exec, "\r\n").trim().parse().unwrap();
    drop(exec);
    assert!(ends(pid));
}
