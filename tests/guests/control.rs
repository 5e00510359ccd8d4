//! The control port of real guests: further commands, figures, names, sockets that were left behind.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command as Process, Output as Said, Stdio};
use std::time::{Duration, Instant};

use krundl::control::{Command, Exec, Sink, Size, Source, Streams, output};
use krundl::{Error, Exit, VmSpec};
use serde_json::{Value, json};

use crate::breadth::spec;
use crate::stage::{Guest, Stage};
use crate::talk::LONG;

/// A workload that ends when it is asked to.
const UNTIL_ASKED: &str = "trap 'exit 9' TERM; while :; do sleep 0.2; done";

fn sh(script: &str) -> Command {
    Command { path: "sh".into(), args: vec!["-c".into(), script.into()], ..Command::default() }
}

/// A guest that is up, with these fields in its spec besides.
fn up(stage: &Stage, script: &str, fields: Value) -> Guest {
    let guest = stage.launch(stage.prepare(&spec(stage, script, fields)));
    guest.vm.wait_ready(Some(LONG)).unwrap_or_else(|error| panic!("{error}"));
    guest
}

fn run(guest: &Guest, script: &str, input: &[u8]) -> (Exit, Vec<u8>, Vec<u8>) {
    let said = output(&guest.vm.control().unwrap(), &sh(script), input.to_vec(), LONG).unwrap();
    (said.exit, said.stdout, said.stderr)
}

fn with_kernel(stage: &Stage) -> Value {
    json!({"control": "private", "kernel": {"path": stage.kernel}})
}

pub fn further_commands_have_streams_and_statuses_of_their_own(stage: &Stage) {
    commands(stage, json!({"control": "private"}));
}

/// Whose first word goes over a console port, and the control port over vsock all the same.
pub fn further_commands_run_with_a_kernel_of_our_own(stage: &Stage) {
    commands(stage, with_kernel(stage));
}

fn commands(stage: &Stage, mut fields: Value) {
    let dir = stage.dir_with("dir", "of the host\n");
    fields["mounts"] = json!([{"host": dir, "guest": "/workspace"}]);
    let guest = up(stage, UNTIL_ASKED, fields);
    let told = run(&guest, "echo an error >&2; cat; cat /workspace/f; echo back > /workspace/g; exit 42", b"in\n");
    assert_eq!(told, (Exit::Code(42), b"in\nof the host\n".to_vec(), b"an error\n".to_vec()));
    assert_eq!(fs::read_to_string(dir.join("g")).unwrap(), "back\n");
    let missing = Command { path: "no-such".into(), ..Command::default() };
    let socket = guest.vm.control().unwrap();
    let told = output(&socket, &missing, Vec::new(), LONG).unwrap().exit;
    assert!(matches!(&told, Exit::NotExecuted { status: 127, .. }), "{told:?}");

    // Megabytes in both directions at once.
    let input: Vec<u8> = (0..=255).cycle().take(2_000_000).collect();
    let (exit, stdout, _) = run(&guest, "cat", &input);
    assert!(exit == Exit::Code(0) && stdout == input, "{exit:?}, {} bytes", stdout.len());

    // Several at once, a signal, and one whose caller goes away.
    let start = |script: &str| {
        let streams = Streams { stdin: Source::Null, stdout: Sink::Capture, stderr: Sink::Null };
        guest.vm.exec(&sh(script), Size::default(), streams).unwrap()
    };
    let many: Vec<Exec> = (0..5).map(|n| start(&format!("sleep 1; echo {n}; exit {n}"))).collect();
    let trapped = start("trap 'exit 6' TERM; while :; do sleep 0.1; done");
    let left = start("exec sleep 12345");
    for (n, exec) in many.iter().enumerate() {
        assert_eq!((exec.wait().unwrap(), exec.take_output()), (Exit::Code(n as i32), format!("{n}\n").into_bytes()));
    }
    trapped.signal(15);
    assert_eq!(trapped.wait().unwrap(), Exit::Code(6));
    drop(left);
    // The guest has seen the end of the connection before it answers the next one, or soon after.
    let gone = |_| run(&guest, "ps | grep -v grep | grep -c 'sleep 12345'", b"").1 == b"0\n";
    assert!((0..20).any(gone), "the command outlived its caller");

    let before = guest.vm.figures().unwrap();
    run(&guest, "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done", b"");
    let after = guest.vm.figures().unwrap();
    assert_eq!(after.cpus, 1);
    assert!(after.uptime_ms > before.uptime_ms && after.busy_since(&before).unwrap() > 0.1, "{before:?} {after:?}");
    let mib = after.memory.total >> 20;
    assert!((150..=300).contains(&mib) && after.memory.available < after.memory.total, "{after:?}");
    assert!(after.processes > 3, "{after:?}");

    // From another process than the VM's caller, such as this one: it needs the socket alone.
    let last = start("sleep 1000");
    krundl::control::terminate(&socket, LONG).unwrap();
    assert_eq!(guest.vm.wait().unwrap(), Exit::Code(9));
    let told = last.wait();
    assert!(matches!(told, Ok(Exit::Signal(9))), "the workload's end ended it: {told:?}");
    assert!(!socket.exists() && !socket.parent().unwrap().exists());
    assert!(matches!(guest.vm.figures(), Err(Error::ControlLost { .. })));
}

pub fn a_terminal_is_the_commands_own(stage: &Stage) {
    terminal(stage, json!({"control": "private"}));
}

pub fn a_terminal_is_there_with_a_kernel_of_our_own(stage: &Stage) {
    terminal(stage, with_kernel(stage));
}

fn terminal(stage: &Stage, fields: Value) {
    let guest = up(stage, UNTIL_ASKED, fields);
    let script = "tty; trap 'stty size; exit 6' WINCH; stty size; while :; do sleep 0.1; done";
    let command = Command { terminal: true, ..sh(script) };
    let streams = Streams { stdin: Source::Null, stdout: Sink::Capture, stderr: Sink::Null };
    let exec = guest.vm.exec(&command, Size { rows: 24, columns: 80 }, streams).unwrap();
    let (mut said, deadline) = (String::new(), Instant::now() + LONG);
    while !said.contains("24 80\r\n") && Instant::now() < deadline {
        let nobody = &mut || std::ops::ControlFlow::Continue(());
        exec.wait_with(Some(Duration::from_millis(100)), nobody).unwrap();
        said.push_str(&String::from_utf8(exec.take_output()).unwrap());
    }
    assert_eq!(said, "/dev/pts/0\r\n24 80\r\n");
    exec.resize(Size { rows: 50, columns: 132 });
    assert_eq!(exec.wait().unwrap(), Exit::Code(6));
    assert_eq!(exec.take_output(), b"50 132\r\n");
}

/// A reader that takes nothing holds up neither another command nor the workload's last word.
pub fn a_slow_reader_holds_up_nobody_else(stage: &Stage) {
    let guest = up(stage, UNTIL_ASKED, json!({"control": "private"}));
    let (mut reader, writer) = std::io::pipe().unwrap();
    let streams = Streams { stdin: Source::Null, stdout: Sink::Fd(writer.into()), stderr: Sink::Null };
    let slow = guest.vm.exec(&sh("head -c 3000000 /dev/zero; exit 4"), Size::default(), streams).unwrap();
    let nobody = &mut || std::ops::ControlFlow::Continue(());
    slow.wait_with(Some(Duration::from_secs(1)), nobody).unwrap();
    assert_eq!(run(&guest, "echo meanwhile", b""), (Exit::Code(0), b"meanwhile\n".to_vec(), Vec::new()));
    let read = std::thread::spawn(move || {
        let mut count = 0;
        let mut buffer = [0; 4096];
        loop {
            match reader.read(&mut buffer).unwrap() {
                0 => return count,
                n => count += n,
            }
        }
    });
    assert_eq!(slow.wait().unwrap(), Exit::Code(4));
    drop(slow);
    assert_eq!(read.join().unwrap(), 3_000_000);
    assert_eq!(guest.vm.stop(LONG).unwrap(), Exit::Code(9));
}

fn krundl(stage: &Stage, args: &[&str]) -> Process {
    let mut krundl = Process::new(env!("CARGO_BIN_EXE_krundl"));
    krundl.args(args).env("XDG_RUNTIME_DIR", runtime(stage)).stdin(Stdio::null());
    krundl
}

fn runtime(stage: &Stage) -> PathBuf {
    stage.library().with_file_name("runtime")
}

fn said(output: &Said) -> (Option<i32>, &str, &str) {
    let text = |bytes| std::str::from_utf8(bytes).unwrap();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

/// A program that does not outlive the case.
struct Started(Child);

impl Drop for Started {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// Whether that comes true, within a minute or so.
fn comes_true(mut condition: impl FnMut() -> bool) -> bool {
    (0..600).any(|_| {
        let is_true = condition();
        if !is_true {
            std::thread::sleep(Duration::from_millis(100));
        }
        is_true
    })
}

/// `krundl run --name`, and everything that other processes can ask of it; twice, the first time killed.
pub fn krundl_reaches_a_vm_by_its_name(stage: &Stage) {
    fs::create_dir(runtime(stage)).unwrap();
    let vm = || {
        Started({
            let mut run = stage.krundl(&["--name", "web"], &stage.root, &["sh", "-c", UNTIL_ASKED]);
            run.env("XDG_RUNTIME_DIR", runtime(stage)).stdin(Stdio::null()).stdout(Stdio::null());
            run.stderr(Stdio::piped()).spawn().unwrap()
        })
    };
    let exec = |args: &[&str]| krundl(stage, &[&["exec"], args].concat()).output().unwrap();
    assert_eq!(exec(&["web", "--", "true"]).status.code(), Some(125), "there is none of that name yet");
    let mut killed = vm();
    let directory = runtime(stage).join("krundl/names/web");
    let taken = || said(&krundl(stage, &["ps"]).output().unwrap()).1.contains("web ");
    // As soon as the name is taken it is waited for.
    assert!(comes_true(taken));
    let done = exec(&[
        "--wait",
        "100",
        "-e",
        "A=of the caller",
        "-w",
        "/proc",
        "web",
        "--",
        "sh",
        "-c",
        "pwd; echo $A; exit 3",
    ]);
    assert_eq!(said(&done), (Some(3), "/proc\nof the caller\n", ""));
    assert_eq!(said(&exec(&["web", "--", "no-such"])).0, Some(127));
    assert_eq!(said(&exec(&["web", "--", "/proc"])).0, Some(126));
    assert_eq!(said(&exec(&["web", "--", "sh", "-c", "kill -9 $$"])).0, Some(137));

    let mut cat = krundl(
        stage,
        &[
            "exec",
            "web",
            "--",
            "sh",
            "-c",
            "cat; trap 'echo asked; exit 5' TERM; echo ready; while :; do sleep 0.1; done",
        ],
    );
    let mut cat = cat.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    cat.stdin.take().unwrap().write_all(b"through a pipe\n").unwrap();
    let mut out = cat.stdout.take().unwrap();
    let mut first = [0; 21];
    out.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"through a pipe\nready\n");
    let pid = rustix::process::Pid::from_raw(cat.id().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(cat.wait().unwrap().code(), Some(5), "the signal was passed on");

    let figures = krundl(stage, &["figures", "--json", "web"]).output().unwrap();
    let figures: Value = serde_json::from_slice(&figures.stdout).unwrap();
    assert!(figures["uptime_ms"].as_u64().unwrap() > 0 && figures["memory"]["total"].as_u64().unwrap() > 100 << 20);
    let listed = krundl(stage, &["ps"]).output().unwrap();
    assert!(said(&listed).1.contains("web "), "{:?}", said(&listed));
    let mut second = vm();
    assert_eq!(second.0.wait().unwrap().code(), Some(125));
    let mut why = String::new();
    second.0.stderr.take().unwrap().read_to_string(&mut why).unwrap();
    assert!(why.contains("a VM runs under the name web"), "{why}");

    killed.0.kill().unwrap();
    killed.0.wait().unwrap();
    assert!(directory.join("control").symlink_metadata().unwrap().file_type().is_socket(), "it was left behind");
    assert!(comes_true(|| !taken()));
    let mut again = vm();
    assert!(comes_true(taken));
    assert_eq!(said(&exec(&["--wait", "100", "web", "--", "echo", "again"])), (Some(0), "again\n", ""));
    let stopped = krundl(stage, &["stop", "--timeout", "60", "web"]).output().unwrap();
    assert_eq!(said(&stopped), (Some(0), "", ""));
    assert_eq!(again.0.wait().unwrap().code(), Some(9), "it was asked, and its own end counts");
    assert!(!directory.exists());
}

/// A socket of libkrun's own, left by a VM that was killed: told apart by its note, and nobody else's.
pub fn a_socket_that_a_killed_vm_left_makes_room(stage: &Stage) {
    let dir = stage.dir("own");
    fs::set_permissions(&dir, PermissionsExt::from_mode(0o700)).unwrap();
    let (socket, port) = (dir.join("control"), dir.join("port"));
    let ports = json!([{"port": 5000, "path": port, "listen": true}]);
    let fields = json!({"control": {"socket": socket}, "vsock": {"ports": ports, "cid": 3}});
    let whole: VmSpec = spec(stage, UNTIL_ASKED, fields.clone());
    let is_socket = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.file_type().is_socket());
    let guest = up(stage, UNTIL_ASKED, fields);
    assert!(is_socket(&socket) && is_socket(&port));
    let problems = stage.problems(&whole).join("\n");
    assert!(problems.contains("control.socket") && problems.contains("vsock.ports[0].path"), "{problems}");
    assert_eq!(problems.matches("is in use").count(), 2, "{problems}");
    // Its process is killed while nobody watches it.
    let Guest { vm, .. } = guest;
    let pid = rustix::process::Pid::from_raw(vm.detach().try_into().unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty()).unwrap();
    assert!(is_socket(&socket) && is_socket(&port), "libkrun does not remove them");

    let guest = stage.launch(stage.prepare(&whole));
    guest.vm.wait_ready(Some(LONG)).unwrap();
    assert_eq!(run(&guest, "echo again", b"").1, b"again\n");
    assert_eq!(guest.vm.stop(LONG).unwrap(), Exit::Code(9));
    assert!(!socket.exists() && !port.exists());
    drop(std::os::unix::net::UnixListener::bind(&socket).unwrap());
    assert!(stage.problems(&whole).join("\n").contains("there already"));
    assert!(is_socket(&socket));
}

/// The guest's address is the same in each, and they do not meet.
pub fn two_vms_have_the_same_address_and_ports_of_their_own(stage: &Stage) {
    let fields = json!({"control": "private"});
    let (one, other) = (up(stage, UNTIL_ASKED, fields.clone()), up(stage, UNTIL_ASKED, fields));
    for (guest, name) in [(&one, "one"), (&other, "other")] {
        run(guest, &format!("echo {name} > /dev/shm/name"), b"");
    }
    assert_eq!(run(&one, "cat /dev/shm/name", b"").1, b"one\n");
    assert_eq!(run(&other, "cat /dev/shm/name", b"").1, b"other\n");
    assert_eq!((one.vm.stop(LONG).unwrap(), other.vm.stop(LONG).unwrap()), (Exit::Code(9), Exit::Code(9)));
}
