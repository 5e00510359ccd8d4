//! Commands with three streams.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use krundl::control::{Command, Ended, Exec, Output, Sink, Size, Source, Streams, figures, output, terminate};
use krundl::{Error, Exit};
use krundl_test_support::processes::ends;

use crate::{LONG, Port, captured, sh};

#[test]
fn streams_and_the_exit_status_are_the_commands() {
    let port = Port::open();
    let Output { exit, stdout, stderr } = port.sh("echo an error >&2; cat; exit 42", b"of the host");
    assert_eq!((exit, &stdout[..], &stderr[..]), (Exit::Code(42), &b"of the host"[..], &b"an error\n"[..]));
    assert_eq!(port.sh("kill -SEGV $$", b"").exit, Exit::Signal(11));
}

#[test]
fn much_of_any_bytes_passes_in_both_directions_at_once() {
    let input: Vec<u8> = (0..=255).cycle().take(3_000_000).collect();
    let output = Port::open().sh("tee /proc/self/fd/2", &input);
    assert_eq!(output.exit, Exit::Code(0));
    assert!(output.stdout == input && output.stderr == input, "{} {}", output.stdout.len(), output.stderr.len());
}

#[test]
fn what_cannot_be_executed_is_told_as_run_tells_it() {
    let port = Port::open();
    let run = |path: &str| {
        let command = Command { path: path.into(), ..Command::default() };
        output(&port.socket(), &command, Vec::new(), LONG).map(|output| output.exit)
    };
    let told = |path: &str, status, reason: &str| {
        assert_eq!(run(path).unwrap(), Exit::NotExecuted { status, reason: reason.to_owned() });
    };
    told("/no/such", 127, "cannot run '/no/such': No such file or directory");
    told("no-such", 127, "cannot run 'no-such': No such file or directory");
    told("/usr", 126, "cannot run '/usr': Permission denied");
    let script = tempfile::NamedTempFile::new().unwrap().into_temp_path();
    std::fs::write(&script, "echo without an interpreter; exit 9").unwrap();
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    assert_eq!(run(script.to_str().unwrap()).unwrap(), Exit::Code(9));
}

#[test]
fn environment_and_directory_are_the_workloads_unless_others_are_asked_for() {
    let port = Port::open();
    let said = |command: &Command| {
        let output = output(&port.socket(), command, Vec::new(), LONG).unwrap();
        String::from_utf8(output.stdout).unwrap()
    };
    let mut command = sh("pwd; echo $OF $MORE");
    assert_eq!(said(&command), "/usr\nthe workload\n");
    command.env = [("MORE".to_owned(), "and more".into())].into();
    command.workdir = Some("/".into());
    assert_eq!(said(&command), "/\nthe workload and more\n");
    command.path = "/bin/sh".into();
    command.clear_env = true;
    assert_eq!(said(&command), "/\nand more\n");
}

#[test]
fn what_cannot_be_prepared_is_an_error_with_its_reason() {
    let port = Port::open();
    let failed = |command: Command| output(&port.socket(), &command, Vec::new(), LONG).unwrap_err();
    let error = failed(Command { workdir: Some("/no/such".into()), ..sh("") });
    assert_eq!(error.to_string(), "in the guest: working directory /no/such: ENOENT: No such file or directory");
    for bad in [
        Command { path: "a\0b".into(), ..Command::default() },
        Command { env: [("A=B".to_owned(), "".into())].into(), ..sh("") },
        Command { args: vec!["x".repeat(5 << 20).into()], ..sh("") },
    ] {
        assert!(matches!(failed(bad), Error::InvalidArgument { .. }));
    }
}

#[test]
fn another_user_has_the_group_of_the_guests_list_and_no_others() {
    if !rustix::process::geteuid().is_root() {
        eprintln!("skipped: only root can become somebody else");
        return;
    }
    let port = Port::open();
    let ids = |uid, gid| {
        let command = Command { uid, gid, ..sh("id -u; id -g; id -G") };
        String::from_utf8(output(&port.socket(), &command, Vec::new(), LONG).unwrap().stdout).unwrap()
    };
    // Debian's list: man:x:6:12.
    assert_eq!(ids(Some(6), None), "6\n12\n12\n");
    assert_eq!(ids(Some(54321), None), "54321\n54321\n54321\n");
    assert_eq!(ids(Some(6), Some(7)), "6\n7\n7\n");
    assert_eq!(ids(None, Some(7)), "0\n7\n7\n");
}

#[test]
fn signals_reach_the_command_and_its_group() {
    let port = Port::open();
    let (reader, writer) = std::io::pipe().unwrap();
    let streams = Streams { stdout: Sink::Fd(writer.into()), ..Streams::default() };
    let exec = port.start(&sh("trap 'echo got it; exit 5' TERM; echo ready; while :; do sleep 0.1; done"), streams);
    let mut reader = File::from(OwnedFd::from(reader));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| exec.wait().unwrap());
        let mut said = [0; 6];
        reader.read_exact(&mut said).unwrap();
        exec.signal(15);
        assert_eq!(waiting.join().unwrap(), Exit::Code(5));
    });
    exec.signal(9);
    drop(exec);
    let mut rest = String::new();
    reader.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "got it\n");
}

#[test]
fn a_command_is_killed_with_its_group_when_its_caller_goes() {
    let port = Port::open();
    let mut exec = port.start(&sh("sleep 1000 & echo $!; wait"), captured(Source::Null));
    let child = loop {
        exec.wait_with(Some(Duration::from_millis(50)), &mut || std::ops::ControlFlow::Continue(())).unwrap();
        let said = exec.take_output();
        if !said.is_empty() {
            break String::from_utf8(said).unwrap().trim().parse::<u32>().unwrap();
        }
    };
    let pid = exec.pid().unwrap();
    assert_ne!(pid, child);
    exec = port.start(&sh(":"), Streams::default());
    assert_eq!(exec.wait().unwrap(), Exit::Code(0));
    assert!(ends(pid) && ends(child));
}

#[test]
fn a_command_may_leave_others_behind() {
    let port = Port::open();
    let start = Instant::now();
    let output = port.sh("sleep 20 & echo started", b"");
    assert_eq!((output.exit, output.stdout), (Exit::Code(0), b"started\n".to_vec()));
    assert!(start.elapsed() < Duration::from_secs(15), "nobody waits for what was left in the background");
}

#[test]
fn several_commands_run_at_once() {
    let port = Port::open();
    let commands: Vec<Exec> =
        (0..12).map(|n| port.start(&sh(&format!("sleep 1; echo {n}; exit {n}")), captured(Source::Null))).collect();
    let start = Instant::now();
    for (n, exec) in commands.iter().enumerate() {
        assert_eq!(exec.wait().unwrap(), Exit::Code(n as i32));
        assert_eq!(exec.take_output(), format!("{n}\n").into_bytes());
    }
    assert!(start.elapsed() < Duration::from_secs(10), "one after the other takes 12 s");
}

/// libkrun hands on what the guest sends with calls that block: so much must never be under way.
#[test]
fn a_reader_that_is_slow_holds_up_its_own_command_alone() {
    let port = Port::open();
    let (reader, writer) = std::io::pipe().unwrap();
    let streams = Streams { stdout: Sink::Fd(writer.into()), ..Streams::default() };
    let exec = port.start(&sh("head -c 2000000 /dev/zero; exit 4"), streams);
    let nobody = &mut || std::ops::ControlFlow::Continue(());
    assert_eq!(exec.wait_with(Some(Duration::from_millis(300)), nobody).unwrap(), Ended::TimedOut);
    assert_eq!(port.sh("echo meanwhile", b"").stdout, b"meanwhile\n");
    let read = std::thread::spawn(move || {
        let mut all = Vec::new();
        File::from(OwnedFd::from(reader)).read_to_end(&mut all).unwrap();
        all.len()
    });
    assert_eq!(exec.wait().unwrap(), Exit::Code(4));
    drop(exec);
    assert_eq!(read.join().unwrap(), 2_000_000);
}

#[test]
fn a_command_whose_output_nobody_reads_ends_as_in_a_pipeline() {
    let port = Port::open();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let streams = Streams { stdout: Sink::Fd(writer.into()), ..Streams::default() };
    let exec = port.start(&Command { path: "yes".into(), ..Command::default() }, streams);
    assert_eq!(exec.wait().unwrap(), Exit::Signal(13));
}

#[test]
fn a_command_that_does_not_read_is_not_waited_for() {
    let port = Port::open();
    assert_eq!(port.sh("exec <&-; sleep 0.2; exit 3", &vec![0; 1 << 20]).exit, Exit::Code(3));
    assert_eq!(port.sh("exit 3", &vec![0; 1 << 20]).exit, Exit::Code(3));
    // And one that reads slowly gets all of it.
    let (reader, mut writer) = std::io::pipe().unwrap();
    let exec = port.start(&sh("sleep 0.2; wc -c"), captured(Source::Fd(reader.into())));
    let write = std::thread::spawn(move || writer.write_all(&vec![1; 500_000]).unwrap());
    assert_eq!(exec.wait().unwrap(), Exit::Code(0));
    write.join().unwrap();
    assert_eq!(exec.take_output(), b"500000\n");
}

#[test]
fn the_end_of_the_workload_ends_all_of_them() {
    let mut port = Port::open();
    let exec = port.start(&sh("sleep 1000 & wait"), captured(Source::Null));
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| exec.wait().unwrap());
        port.close();
        assert_eq!(waiting.join().unwrap(), Exit::Signal(9));
    });
    assert!(ends(exec.pid().unwrap()));
}

#[test]
fn figures_are_those_of_the_machine() {
    let port = Port::open();
    let first = figures(&port.socket(), LONG).unwrap();
    assert!(first.uptime_ms > 0 && first.cpus > 0 && first.processes > 1, "{first:?}");
    assert!(first.memory.total > first.memory.available && first.memory.available > 0, "{first:?}");
    port.sh("i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done", b"");
    let second = figures(&port.socket(), LONG).unwrap();
    let busy = second.busy_since(&first).unwrap();
    assert!(second.uptime_ms > first.uptime_ms && (0.0..=1.0).contains(&busy) && busy > 0.0, "{busy}");
    terminate(&port.socket(), LONG).unwrap();
}

#[test]
fn a_guest_that_is_not_there_yet_is_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let socket = dir.path().join("control");
    let start = Instant::now();
    let error = figures(&socket, Duration::ZERO).unwrap_err();
    assert_eq!(error.to_string(), format!("the guest's control port {}: there is no such socket", socket.display()));
    assert!(start.elapsed() < Duration::from_secs(5));

    let port = Port::open();
    let (from, to) = (port.socket(), socket.clone());
    let late = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_millis(300));
        std::fs::hard_link(from, to).unwrap();
    });
    figures(&socket, LONG).unwrap();
    late.join().unwrap();
    let size = Size { rows: 1, columns: 1 };
    // Also by a path that is too long for an address.
    let deep = dir.path().join("x".repeat(120));
    std::fs::create_dir(&deep).unwrap();
    std::fs::hard_link(&socket, deep.join("control")).unwrap();
    let exec = Exec::start(&deep.join("control"), &sh("exit 2"), size, Streams::default(), LONG).unwrap();
    assert_eq!(exec.wait().unwrap(), Exit::Code(2));
}
