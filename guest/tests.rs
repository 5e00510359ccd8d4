//! The guest program, run as it is built into the library, without a guest: on this machine, and for its ports and
//! mounts in a mount namespace with a `/dev` and `/sys/class` made for it. The unit tests of its parts run here too.

#![cfg(target_os = "linux")]

#[allow(dead_code, reason = "the program itself is run as it was built")]
#[path = "main.rs"]
mod program;

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, FromRawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::Once;
use std::time::Duration;

use program::orders::{Channel, OrderMount, OrderRoot, Orders};
use program::words::Word;
use tempfile::TempDir;

const PROGRAM: &str = concat!(env!("OUT_DIR"), "/krundl-guest");

fn bytes(strings: &[&str]) -> Vec<Vec<u8>> {
    strings.iter().map(|string| string.as_bytes().to_vec()).collect()
}

fn orders(exec: &str, args: &[&str]) -> Orders {
    Orders {
        channel: Channel::None,
        control: None,
        reopen_stdio: false,
        ports: 0,
        root: None,
        settle: false,
        mounts: Vec::new(),
        nics: Vec::new(),
        exec: exec.as_bytes().to_vec(),
        args: bytes(args),
        env: bytes(&["PATH=/usr/bin:/bin"]),
        workdir: b"/".to_vec(),
    }
}

fn shell(script: &str) -> Orders {
    orders("/bin/sh", &["-c", script])
}

/// A command in a session of its own: the program would take the terminal that the tests are run from.
fn apart(program: impl AsRef<OsStr>) -> Command {
    // What is tested here ends at once or, if it is wrong, often never.
    static WATCHDOG: Once = Once::new();
    WATCHDOG.call_once(|| {
        std::thread::spawn(|| {
            std::thread::sleep(Duration::from_secs(120));
            eprintln!("the tests of the guest program hang");
            std::process::abort();
        });
    });
    let mut command = Command::new(program);
    // SAFETY: setsid is async-signal-safe and touches no memory.
    unsafe {
        command.pre_exec(|| {
            libc::setsid();
            Ok(())
        })
    };
    command
}

/// The guest program with its orders in a file of the directory.
fn command(orders: &Orders, dir: &TempDir) -> Command {
    let file = dir.path().join("orders");
    fs::write(&file, orders.encode()).unwrap();
    let mut command = apart(PROGRAM);
    command.arg(file).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

fn run(orders: &Orders) -> Output {
    command(orders, &tempfile::tempdir().unwrap()).env("INHERITED", "1").output().unwrap()
}

fn stderr(output: &Output) -> &str {
    str::from_utf8(&output.stderr).unwrap()
}

#[track_caller]
fn assert_failed(output: &Output, status: i32, message: &str) {
    assert_eq!((stderr(output), output.status.code()), (format!("krundl: {message}\n").as_str(), Some(status)));
    assert!(output.stdout.is_empty());
}

fn make_executable(path: &Path, content: &str) {
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn the_program_is_static_and_has_no_paths_of_the_build_in_it() {
    let program = fs::read(PROGRAM).unwrap();
    assert!(program.starts_with(b"\x7fELF"));
    let holds = |text: &str| program.windows(text.len()).any(|window| window == text.as_bytes());
    assert!(!holds(env!("CARGO_MANIFEST_DIR")) && !holds(env!("OUT_DIR")));
    assert!(program.len() < 1_400_000, "{} bytes", program.len());
}

#[test]
fn the_exit_status_is_the_workloads() {
    for status in [0, 1, 42, 125, 255] {
        let output = run(&shell(&format!("echo out; echo err >&2; exit {status}")));
        assert_eq!(output.status.code(), Some(status));
        assert_eq!((output.stdout.as_slice(), stderr(&output)), (b"out\n".as_slice(), "err\n"));
    }
    for (signal, status) in [("TERM", 143), ("KILL", 137), ("INT", 130), ("PIPE", 141)] {
        assert_eq!(run(&shell(&format!("kill -{signal} $$"))).status.code(), Some(status), "{signal}");
    }
}

#[test]
fn arguments_arrive_as_they_are() {
    let every_byte: Vec<u8> = (1..=255).collect();
    let mut orders = shell("cat /proc/$$/cmdline; :");
    orders.args.extend([b"name".to_vec(), every_byte, Vec::new(), vec![b'x'; 100 * 1024], b" \"'\n".to_vec()]);
    orders.args.extend((0..1000).map(|number| format!("argument {number}").into_bytes()));
    let mut expected = b"/bin/sh\0".to_vec();
    for arg in &orders.args {
        expected.extend_from_slice(arg);
        expected.push(0);
    }
    let output = run(&orders);
    assert!(output.stdout == expected, "{}", stderr(&output));
}

#[test]
fn the_environment_is_the_orders_and_nothing_else() {
    let mut orders = orders("/bin/cat", &["/proc/self/environ"]);
    let every_byte: Vec<u8> = (1..=255).collect();
    orders.env = vec![b"B=2".to_vec(), [b"A=".to_vec(), every_byte].concat(), b"EMPTY=".to_vec()];
    let mut expected = orders.env.join(&0);
    expected.push(0);
    assert_eq!(run(&orders).stdout, expected);
    orders.env.clear();
    assert_eq!(run(&orders).stdout, b"");
}

#[test]
fn names_are_searched_in_the_path_of_the_orders() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    for name in ["first", "second", "first/denied", "second/there"] {
        fs::create_dir(dir.path().join(name)).unwrap();
    }
    make_executable(&dir.path().join("second/tool"), "#!/bin/sh\necho second\n");
    make_executable(&dir.path().join("here"), "echo here $0 \"$@\"\n");
    fs::write(dir.path().join("file"), "").unwrap();
    fs::write(dir.path().join("first/tool"), "not executable").unwrap();

    let mut orders = orders("tool", &[]);
    let env = format!("PATH={}:{}:/nowhere:{}:{}", path("missing"), path("first"), path("file"), path("second"));
    orders.env = vec![env.into_bytes(), b"PATH=/ignored".to_vec()];
    let output = run(&orders);
    assert_eq!((output.stdout.as_slice(), output.status.code()), (b"second\n".as_slice(), Some(0)));
    orders.exec = b"denied".to_vec();
    assert_failed(&run(&orders), 126, "cannot run 'denied': Permission denied");
    orders.exec = b"no-such-tool".to_vec();
    assert_failed(&run(&orders), 127, "cannot run 'no-such-tool': No such file or directory");
    orders.exec = Vec::new();
    assert_failed(&run(&orders), 127, "cannot run '': No such file or directory");

    // An empty element is the working directory, and a file that names no interpreter is the shell's.
    let mut orders = self::orders("here", &["a b", "c"]);
    orders.workdir = dir.path().as_os_str().as_bytes().to_vec();
    orders.env = bytes(&["PATH=:/bin"]);
    assert_eq!(run(&orders).stdout, b"here here a b c\n");
    orders.exec = b"./here".to_vec();
    assert_eq!(run(&orders).stdout, b"here ./here a b c\n");

    // No PATH at all is /bin:/usr/bin.
    let mut orders = self::orders("true", &[]);
    orders.env.clear();
    assert_eq!(run(&orders).status.code(), Some(0));
}

#[test]
fn what_cannot_be_executed_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str| dir.path().join(name).to_str().unwrap().to_string();
    fs::write(file("plain"), "echo\n").unwrap();
    make_executable(Path::new(&file("script")), "#!/no/such/interpreter\n");
    let cases = [
        ("/no/such/file".to_string(), 127, "No such file or directory"),
        ("/".to_string(), 126, "Permission denied"),
        (file("plain"), 126, "Permission denied"),
        (file("plain/x"), 126, "Not a directory"),
        (
            file("script"),
            127,
            "No such file or directory (the file is there, but not the interpreter or loader that it names)",
        ),
    ];
    for (exec, status, why) in cases {
        assert_failed(&run(&orders(&exec, &[])), status, &format!("cannot run '{exec}': {why}"));
    }
    let mut strange = orders("/", &[]);
    strange.exec = b"/a\xff\n".to_vec();
    assert_failed(&run(&strange), 127, "cannot run '/a\\xff\\x0a': No such file or directory");
    let mut long = shell("exit 0");
    long.args.push(vec![b'x'; 200 * 1024]);
    assert_failed(&run(&long), 126, "cannot run '/bin/sh': Argument list too long");
}

#[test]
fn a_guest_that_cannot_be_prepared_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let mut wrong = shell("echo ran");
    wrong.workdir = b"/no such/place".to_vec();
    assert_failed(&run(&wrong), 125, "working directory /no such/place: ENOENT: No such file or directory");

    let file = dir.path().join("orders");
    let start = |args: &[&OsStr]| apart(PROGRAM).args(args).stdin(Stdio::null()).output().unwrap();
    assert_failed(&start(&[]), 125, "usage: krundl-guest ORDERS [--detach=DIRECTORY]");
    let name = file.display();
    let missing = format!("orders in {name}: ENOENT: No such file or directory");
    assert_failed(&start(&[file.as_ref()]), 125, &missing);
    fs::write(&file, "#!/bin/sh\n").unwrap();
    let foreign = format!("orders in {name}: they do not begin with the line `krundl-orders 5`");
    assert_failed(&start(&[file.as_ref()]), 125, &foreign);
    // What the kernel appends to the command line is no reason to fail.
    fs::write(&file, shell("exit 4").encode()).unwrap();
    assert_eq!(start(&[file.as_ref(), "tsi_hijack".as_ref()]).status.code(), Some(4));
}

#[test]
fn a_mount_that_fails_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).as_os_str().as_bytes().to_vec();
    fs::write(dir.path().join("file"), "").unwrap();
    let mount = |name: &str, create| OrderMount {
        tag: b"no-such-tag".to_vec(),
        path: path(name),
        create,
        read_only: true,
        overlay: false,
        options: Vec::new(),
    };
    let mut orders = shell("echo ran");
    orders.mounts = vec![mount("a/b", true)];
    let output = run(&orders);
    let start = format!("krundl: mount of tag \"no-such-tag\" on {}/a/b: E", dir.path().display());
    assert!(stderr(&output).starts_with(&start), "{}", stderr(&output));
    assert_eq!((output.status.code(), output.stdout.as_slice()), (Some(125), b"".as_slice()));
    assert!(dir.path().join("a/b").is_dir());

    orders.mounts = vec![mount("file/b", true)];
    let message = format!(
        "mount of tag \"no-such-tag\" on {0}/file/b: cannot create {0}/file/b: ENOTDIR: Not a directory",
        dir.path().display()
    );
    assert_failed(&run(&orders), 125, &message);
}

#[test]
fn the_workload_starts_with_default_signals_and_three_descriptors() {
    let dir = tempfile::tempdir().unwrap();
    let orders = orders("/bin/sh", &["-c", "readlink /proc/$$/fd/*; exec cat /proc/self/status"]);
    let mut command = command(&orders, &dir);
    // SAFETY: async-signal-safe calls on descriptors and signals of the child.
    unsafe {
        command.pre_exec(|| {
            libc::dup2(0, 9);
            libc::signal(libc::SIGUSR1, libc::SIG_IGN);
            libc::signal(libc::SIGCHLD, libc::SIG_IGN);
            let mut all = std::mem::zeroed();
            libc::sigfillset(&mut all);
            libc::sigprocmask(libc::SIG_BLOCK, &all, std::ptr::null_mut());
            Ok(())
        })
    };
    let output = command.output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let links = text.lines().take_while(|line| !line.starts_with("Name:"));
    assert_eq!(links.filter(|line| line.starts_with("/dev") || line.starts_with("pipe:")).count(), 3, "{text}");
    for field in ["SigBlk", "SigIgn", "SigCgt"] {
        let line = text.lines().find(|line| line.starts_with(field)).unwrap();
        let set = u64::from_str_radix(line.rsplit('\t').next().unwrap(), 16).unwrap();
        // The C library lets nobody touch its own signals 32 and 33.
        assert_eq!(set & !(0b11 << 31), 0, "{line}");
    }
}

#[test]
fn closed_descriptors_become_the_null_device() {
    let dir = tempfile::tempdir().unwrap();
    let out = dir.path().join("out");
    let script =
        format!("links=$(readlink /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2); echo \"$links\" > {}", out.display());
    let mut command = command(&shell(&script), &dir);
    // SAFETY: closes descriptors of the child, which only the program after exec would use.
    unsafe {
        command.pre_exec(|| {
            for fd in 0..3 {
                libc::close(fd);
            }
            Ok(())
        })
    };
    assert_eq!(command.status().unwrap().code(), Some(0));
    assert_eq!(fs::read_to_string(out).unwrap(), "/dev/null\n".repeat(3));
}

fn first_line(child: &mut Child) -> String {
    let mut line = String::new();
    BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
    line
}

#[test]
fn term_is_passed_on_and_the_terminals_signals_are_not_for_the_supervisor() {
    let dir = tempfile::tempdir().unwrap();
    let script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.05; done";
    let mut child = command(&shell(script), &dir).spawn().unwrap();
    assert_eq!(first_line(&mut child), "ready\n");
    let pid = i32::try_from(child.id()).unwrap();
    for signal in [libc::SIGINT, libc::SIGQUIT, libc::SIGHUP, libc::SIGTSTP, libc::SIGTTIN, libc::SIGTTOU] {
        // SAFETY: a signal to a child that was not waited for yet.
        unsafe { libc::kill(pid, signal) };
    }
    std::thread::sleep(Duration::from_millis(200));
    assert!(child.try_wait().unwrap().is_none());
    // SAFETY: as above.
    unsafe { libc::kill(pid, libc::SIGTERM) };
    assert_eq!(child.wait().unwrap().code(), Some(9));
}

#[test]
fn a_workload_that_signals_its_group_does_not_reach_the_supervisor() {
    assert_eq!(run(&shell("kill -KILL 0")).status.code(), Some(137));
    assert_eq!(run(&shell("kill -USR1 -$$")).status.code(), Some(128 + libc::SIGUSR1));
}

#[test]
fn a_workload_that_suspends_itself_goes_on() {
    assert_eq!(run(&shell("kill -TSTP $$; exit 6")).status.code(), Some(6));
}

/// A new terminal: its keyboard's end, and the path of its other end.
fn open_terminal() -> (File, PathBuf) {
    // SAFETY: the descriptor is new and nobody else's; the buffer outlives the calls.
    unsafe {
        let master = libc::posix_openpt(libc::O_RDWR | libc::O_NOCTTY | libc::O_CLOEXEC);
        assert!(master >= 0, "{}", std::io::Error::last_os_error());
        assert_eq!((libc::grantpt(master), libc::unlockpt(master)), (0, 0));
        let mut name = [0; 64];
        assert_eq!(libc::ptsname_r(master, name.as_mut_ptr().cast(), name.len()), 0);
        let name = std::ffi::CStr::from_bytes_until_nul(&name).unwrap();
        (File::from_raw_fd(master), PathBuf::from(OsStr::from_bytes(name.to_bytes())))
    }
}

/// The program as init runs it: the child of a session's leader whose controlling terminal is the console, and in the
/// leader's process group. Says its exit status in the end.
fn under_init(orders: &Orders, dir: &TempDir, terminal: &Path) -> Command {
    let file = dir.path().join("orders");
    fs::write(&file, orders.encode()).unwrap();
    let mut command = apart("/bin/sh");
    command.args(["-c", "\"$1\" \"$2\"; echo status $?", "init", PROGRAM]).arg(file);
    let console = OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open(terminal).unwrap();
    // SAFETY: async-signal-safe calls of the child on a descriptor that it has.
    unsafe {
        command.pre_exec(move || match libc::ioctl(console.as_raw_fd(), libc::TIOCSCTTY, 0) {
            0 => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        })
    };
    command
}

#[test]
fn an_interrupt_on_the_console_ends_a_workload_on_pipes() {
    let dir = tempfile::tempdir().unwrap();
    let (mut keys, terminal) = open_terminal();
    let mut command = under_init(&shell("echo ready; cat; sleep 100"), &dir, &terminal);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(first_line(&mut child), "ready\n");
    keys.write_all(b"\x03").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "status 130\n");
}

#[test]
fn suspend_on_the_console_does_not_stop_the_workload_for_ever() {
    let dir = tempfile::tempdir().unwrap();
    let (mut keys, terminal) = open_terminal();
    let mut command = under_init(&shell("echo ready; read code; exit $code"), &dir, &terminal);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    assert_eq!(first_line(&mut child), "ready\n");
    keys.write_all(b"\x1a").unwrap();
    std::thread::sleep(Duration::from_millis(200));
    child.stdin.take().unwrap().write_all(b"5\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "status 5\n");
}

#[test]
fn a_shell_on_the_console_has_job_control() {
    let dir = tempfile::tempdir().unwrap();
    let (mut keys, terminal) = open_terminal();
    let mut orders = orders("/bin/sh", &["-i"]);
    orders.env.push(b"PS1=> ".to_vec());
    let mut command = under_init(&orders, &dir, &terminal);
    let side = || OpenOptions::new().read(true).write(true).custom_flags(libc::O_NOCTTY).open(&terminal).unwrap();
    let mut child = command.stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
    drop(command);
    let mut seen = String::new();
    let mut wait_for = |keys: &mut File, what: &str| {
        let mut chunk = [0; 256];
        while !seen.contains(what) {
            let read = keys.read(&mut chunk).unwrap_or_else(|error| panic!("{error} before {what:?}: {seen}"));
            seen.push_str(&String::from_utf8_lossy(&chunk[..read]));
        }
        seen.clear();
    };
    wait_for(&mut keys, "> ");
    keys.write_all(b"sh -c 'echo a''b; exec sleep 100'\n").unwrap();
    wait_for(&mut keys, "ab\r\n");
    keys.write_all(b"\x1a").unwrap();
    wait_for(&mut keys, "> ");
    keys.write_all(b"jobs; fg\n").unwrap();
    wait_for(&mut keys, "Stopped");
    std::thread::sleep(Duration::from_millis(300));
    keys.write_all(b"\x03").unwrap();
    wait_for(&mut keys, "> ");
    keys.write_all(b"exit 7\n").unwrap();
    wait_for(&mut keys, "status 7\r\n");
    assert!(child.wait().unwrap().success());
}

/// A `/dev` and a `/sys/class` with virtio ports in them, to be seen by one command in a mount namespace of its own.
struct Machine {
    dir: TempDir,
}

impl Machine {
    /// Without the right to make mount namespaces there is none, and the test says so.
    fn new() -> Option<Machine> {
        let try_it = Command::new("unshare").args(Machine::OPTIONS).arg("true").output();
        if !try_it.is_ok_and(|output| output.status.success()) {
            eprintln!("SKIPPED: no mount namespaces here");
            return None;
        }
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("class/virtio-ports")).unwrap();
        fs::create_dir(dir.path().join("dev")).unwrap();
        fs::write(dir.path().join("dev/null"), "").unwrap();
        Some(Machine { dir })
    }

    const OPTIONS: [&str; 3] = ["--map-root-user", "--user", "--mount"];

    /// A port, here an ordinary file with this content.
    fn port(&self, device: &str, name: &str, content: &str) -> PathBuf {
        let class = self.dir.path().join("class/virtio-ports").join(device);
        fs::create_dir(&class).unwrap();
        fs::write(class.join("name"), format!("{name}\n")).unwrap();
        self.device(device, content)
    }

    fn device(&self, device: &str, content: &str) -> PathBuf {
        let path = self.dir.path().join("dev").join(device);
        fs::write(&path, content).unwrap();
        path
    }

    /// Runs the program after something that the shell does to its descriptors.
    fn run(&self, orders: &Orders, before: &str) -> Output {
        let file = self.dir.path().join("orders");
        fs::write(&file, orders.encode()).unwrap();
        let script = format!(
            "mount --bind /dev/null \"$1/dev/null\" && mount --bind \"$1/class\" /sys/class && \
             mount --rbind \"$1/dev\" /dev && {before} exec \"$2\" \"$1/orders\""
        );
        let mut command = apart("unshare");
        command.args(Machine::OPTIONS).args(["/bin/sh", "-c", &script, "sh"]).arg(self.dir.path()).arg(PROGRAM);
        command.stdin(Stdio::null()).output().unwrap()
    }
}

fn words(port: &Path) -> Vec<Word> {
    let said = fs::read(port).unwrap();
    let lines = said.strip_suffix(b"\n").unwrap().split(|&byte| byte == b'\n');
    lines.map(|line| Word::parse(line).unwrap()).collect()
}

#[test]
fn the_host_is_told_what_became_of_the_workload() {
    let Some(machine) = Machine::new() else { return };
    machine.port("vport9p1", "other", "");
    let port = machine.port("vport9p2", "krundl", "");
    let told = |mut orders: Orders| {
        orders.channel = Channel::Port { name: b"krundl".to_vec() };
        fs::write(&port, "").unwrap();
        let output = machine.run(&orders, "");
        let mut words = words(&port);
        assert_eq!(words.remove(0), Word::Hello { version: 1 });
        (words, output.status.code())
    };
    assert_eq!(told(shell("exit 3")), (vec![Word::Up, Word::Exit(3)], Some(3)));
    assert_eq!(told(shell("kill -TERM $$")), (vec![Word::Up, Word::Signal(15)], Some(143)));
    let message = "cannot run 'no\\x0asuch': No such file or directory".to_string();
    assert_eq!(told(orders("no\nsuch", &[])), (vec![Word::FailedExec { errno: 2, message }], Some(127)));
    let mut wrong = shell("exit 0");
    wrong.workdir = b"/x".to_vec();
    let message = "working directory /x: ENOENT: No such file or directory".to_string();
    assert_eq!(told(wrong), (vec![Word::Failed { errno: 2, message }], Some(125)));
    let mut wrong = shell("exit 0");
    let path = machine.dir.path().join("made/mount").into_os_string().into_encoded_bytes();
    wrong.mounts = vec![OrderMount {
        tag: b"m0".to_vec(),
        path,
        create: true,
        read_only: false,
        overlay: false,
        options: Vec::new(),
    }];
    let (words, status) = told(wrong);
    assert!(matches!(&words[..], [Word::Failed { message, .. }] if message.starts_with("mount of tag \"m0\" on /")));
    assert_eq!(status, Some(125));
}

#[test]
fn without_its_channel_the_workload_runs_all_the_same() {
    let Some(machine) = Machine::new() else { return };
    let mut orders = shell("exit 3");
    orders.channel = Channel::Port { name: b"krundl".to_vec() };
    let output = machine.run(&orders, "");
    assert_eq!(output.status.code(), Some(3));
    assert_eq!(stderr(&output), "krundl: no channel to the host on port \"krundl\": ENODEV: No such device\n");
}

#[test]
fn standard_descriptors_come_from_the_ports() {
    let Some(machine) = Machine::new() else { return };
    machine.port("vport9p1", "krun-stdin", "first\nsecond\n");
    let stdout = machine.port("vport9p2", "krun-stdout", "");
    let stderr = machine.port("vport9p3", "krun-stderr", "");
    let mut orders = shell("cat; echo err >&2");
    let output = machine.run(&orders, "");
    assert_eq!(output.stderr, b"err\n");
    orders.reopen_stdio = true;
    for closed in ["exec <&- >&- 2>&-;", "exec </dev/null >/dev/null 2>/dev/null;"] {
        machine.run(&orders, closed);
        let content = (fs::read_to_string(&stdout).unwrap(), fs::read_to_string(&stderr).unwrap());
        assert_eq!(content, ("first\nsecond\n".into(), "err\n".into()));
        fs::write(&stdout, "").unwrap();
        fs::write(&stderr, "").unwrap();
    }
}

#[test]
fn ports_that_init_left_under_other_numbers_are_moved() {
    let Some(machine) = Machine::new() else { return };
    machine.port("vport9p1", "krun-stdin", "first\nsecond\n");
    let stdout = machine.port("vport9p2", "krun-stdout", "");
    let stderr = machine.port("vport9p3", "krun-stderr", "");
    let mut orders = shell("cat; echo err >&2");
    orders.reopen_stdio = true;
    // Half read, so that a port that was opened again would show; and standard output has standard input's number.
    machine.run(&orders, "exec 7</dev/vport9p1; read line <&7; exec 0>>/dev/vport9p2 >&- 2>&-;");
    assert_eq!(fs::read_to_string(&stdout).unwrap(), "second\n");
    assert_eq!(fs::read_to_string(&stderr).unwrap(), "err\n");
    // Standard input's port as standard output.
    fs::write(&stdout, "").unwrap();
    machine.run(&orders, "exec <&- 1<>/dev/vport9p1; read line <&1; exec 2>&-;");
    assert_eq!(fs::read_to_string(&stdout).unwrap(), "second\n");
}

#[test]
fn ports_that_have_their_names_late_are_waited_for() {
    let Some(machine) = Machine::new() else { return };
    let console = machine.device("hvc0", "");
    let stderr = machine.port("vport9p3", "", "");
    let channel = machine.port("vport9p4", "", "");
    let mut orders = shell("echo err >&2");
    orders.channel = Channel::Port { name: b"krundl".to_vec() };
    (orders.reopen_stdio, orders.ports) = (true, 0b100);
    let late = "(sleep 0.3; cd \"$1/class/virtio-ports\"; echo krun-stderr > vport9p3/name; sleep 0.3; \
                echo krundl > vport9p4/name) & exec 2>&-;";
    machine.run(&orders, late);
    assert_eq!(fs::read_to_string(&console).unwrap(), "");
    assert_eq!(fs::read_to_string(&stderr).unwrap(), "err\n");
    assert_eq!(words(&channel).last(), Some(&Word::Exit(0)));
}

#[test]
fn the_console_stands_in_for_a_descriptor_without_a_port() {
    let Some(machine) = Machine::new() else { return };
    machine.port("vport9p2", "krun-stdout", "");
    let console = machine.device("hvc0", "");
    let mut orders = shell("echo err >&2");
    orders.reopen_stdio = true;
    machine.run(&orders, "exec 2>&-;");
    assert_eq!(fs::read_to_string(&console).unwrap(), "err\n");
    // What somebody redirected stays.
    assert_eq!(machine.run(&orders, "").stderr, b"err\n");
}

#[test]
fn the_share_with_the_orders_is_detached() {
    let Some(machine) = Machine::new() else { return };
    let point = machine.dir.path().join("share");
    fs::create_dir(&point).unwrap();
    let orders = shell(&format!("ls -A {}", point.display()));
    fs::write(machine.dir.path().join("orders"), orders.encode()).unwrap();
    let script = "mount -t tmpfs none \"$1/share\" && cp \"$1/orders\" \"$1/share/orders\" && cp \"$2\" \"$1/share/guest\" && \
                  cd / && exec \"$1/share/guest\" \"$1/share/orders\" \"--detach=$1/share\"";
    let mut command = apart("unshare");
    command.args(Machine::OPTIONS).args(["/bin/sh", "-c", script, "sh"]).arg(machine.dir.path()).arg(PROGRAM);
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert_eq!((output.status.code(), stderr(&output), output.stdout.as_slice()), (Some(0), "", b"".as_slice()));
    assert_eq!(output.status.signal(), None);
}

/// A root of its own in a mount namespace, with a `/dev`, `/proc` and `/sys` that are mounts, and the program in it.
fn run_in_a_root(machine: &Machine, orders: &Orders) -> Output {
    let script = "r=$1/r; mkdir -p $r/dev $r/proc $r/sys $r/newroot $r/bin && cp \"$(command -v busybox)\" $r/bin/busybox && \
                  cp \"$2\" $r/guest && cp \"$1/orders\" $r/orders && mount --bind $r $r && mount -t tmpfs none $r/dev && \
                  mount -t tmpfs none $r/proc && mount -t tmpfs none $r/sys && echo x >$r/dev/vda && \
                  echo x >$r/dev/null && exec chroot $r /guest /orders";
    fs::write(machine.dir.path().join("orders"), orders.encode()).unwrap();
    let mut command = apart("unshare");
    command.args(Machine::OPTIONS).args(["/bin/sh", "-c", script, "sh"]).arg(machine.dir.path()).arg(PROGRAM);
    command.stdin(Stdio::null()).output().unwrap()
}

#[test]
fn a_root_on_a_disk_is_entered_with_dev_proc_and_sys() {
    let Some(machine) = Machine::new() else { return };
    if !Command::new("busybox").arg("true").output().is_ok_and(|output| output.status.success()) {
        eprintln!("SKIPPED: no busybox here");
        return;
    }
    // A file system that needs no device, and is empty.
    let root = |device: &str, fstype: &str, options: &str| OrderRoot {
        device: device.as_bytes().to_vec(),
        fstype: fstype.as_bytes().to_vec(),
        options: options.as_bytes().to_vec(),
        read_only: false,
    };
    let mut orders = orders("/bin/busybox", &["true"]);
    assert_eq!(run_in_a_root(&machine, &orders).status.code(), Some(0), "the old root has it");
    orders.root = Some(root("/dev/vda", "tmpfs", "noatime,size=1m"));
    orders.settle = true;
    assert_failed(&run_in_a_root(&machine, &orders), 127, "cannot run '/bin/busybox': No such file or directory");
    // What was mounted before is there again.
    orders.workdir = b"/dev".to_vec();
    orders.exec = b"/dev/vda".to_vec();
    assert_failed(&run_in_a_root(&machine, &orders), 126, "cannot run '/dev/vda': Permission denied");
    for (root, message) in [
        (root("/dev/vdb", "ext4", ""), "root on /dev/vdb: there is no such device; "),
        (root("/dev/vda", "nosuchfs", ""), "root on /dev/vda: ENODEV: this kernel has no nosuchfs"),
        (
            root("/dev/vda", "tmpfs", "nosuch=1"),
            "root on /dev/vda: EINVAL: it holds no tmpfs, or an option is not known",
        ),
    ] {
        orders.root = Some(root);
        let output = run_in_a_root(&machine, &orders);
        let told = stderr(&output).strip_prefix("krundl: ").unwrap_or_default();
        assert!(told.starts_with(message) && output.status.code() == Some(125), "{told}");
    }
}
