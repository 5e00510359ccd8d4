//! What libkrun, the host and the guest really do when something is wrong. Power-off apart, each comes to an end by
//! itself, with libkrun's words.

use std::fs::{self, File, Permissions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use krundl::error::Ended;
use krundl::plan::{Call, Shared};
use krundl::spec::{HostPath, Text};
use krundl::symbols::Function;
use krundl::{Error, Exit, LaunchOptions, Stream};
use krundl_test_support::processes::children;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Signal, pidfd_send_signal};
use serde_json::json;

use crate::stage::{Guest, Stage, mount};
use crate::talk::{LONG, Talk, all, await_end, process};

/// What ends a VM that never came up; both ways to hear of it agree.
fn failure(guest: Guest) -> Error {
    let ready = guest.vm.wait_ready(Some(LONG)).unwrap_err();
    let ended = guest.vm.wait().unwrap_err();
    assert_eq!(ready.to_string(), ended.to_string());
    ended
}

/// libkrun goes on for ever then. Nobody can tell that from a guest that is busy, so nothing is done about it.
pub fn a_guest_that_is_powered_off_runs_until_it_is_stopped(stage: &Stage) {
    let guest = stage.launch(stage.prepare(&stage.spec("read word; poweroff -f")));
    guest.vm.wait_ready(Some(LONG)).unwrap();
    writeln!(guest.vm.take_stdin().unwrap(), "go on").unwrap();
    assert_eq!(guest.vm.wait_timeout(Duration::from_secs(5)).unwrap(), None);
    // There is nobody left in the guest who could be asked.
    assert_eq!(guest.vm.stop(Duration::from_secs(1)).unwrap(), Exit::Stopped(9));
}

/// libkrun hangs without descriptor 0, so it never is.
pub fn a_krundl_without_stdin_gives_an_empty_one(stage: &Stage) {
    let krundl = stage.krundl(&[], &stage.root, &["sh", "-c", "cat; echo its end; exit 7"]);
    let mut without = Command::new("sh");
    without.args(["-c", "exec \"$@\" <&-", "sh"]).arg(krundl.get_program()).args(krundl.get_args());
    let end = Talk::without_stdin(without).end();
    assert_eq!((end.status, end.text(), end.stderr.as_str()), (Some(7), "its end\n", ""));
}

/// krundl counts them; past it, libkrun says which device did not fit.
pub fn too_many_mounts_are_refused(stage: &Stage) {
    let dir = stage.dir("dir");
    let mut spec = stage.spec("true");
    spec.mounts = (0..12).map(|n| mount(&dir, &format!("/mnt/{n}"))).collect();
    let fit = if stage.has_overlays() { 6 } else { 5 };
    let problems = stage.problems(&spec);
    assert_eq!(problems.len(), 12 - fit, "{problems:?}");
    assert!(problems[0].starts_with(&format!("mounts[{fit}]: only {fit} mounts fit")), "{problems:?}");

    let mut prepared = stage.prepare(&stage.spec("true"));
    let calls = &mut prepared.plan.calls;
    let more = |n| Call::AddVirtiofs { tag: format!("more{n}"), dir: shared(&dir) };
    calls.splice(calls.len() - 1..calls.len() - 1, (0..12).map(more));
    let error = failure(stage.launch(prepared));
    assert!(matches!(error, Error::Start { errno: libc::EINVAL, .. }), "{error:?}");
    assert!(error.to_string().contains("RegisterFsDevice(IrqsExhausted)"), "{error}");
}

/// krundl looks into it; past that, libkrun takes the path and refuses to start.
pub fn a_kernel_that_is_none_is_refused(stage: &Stage) {
    let junk = stage.dir_with("dir", vec![b'x'; 1 << 20]).join("f");
    for format in ["auto", "elf", "image_gz"] {
        let mut spec = stage.spec("true");
        spec.kernel = Some(serde_json::from_value(json!({"path": junk, "format": format})).unwrap());
        let problems = stage.problems(&spec);
        assert!(problems.iter().any(|problem| problem.starts_with("kernel.")), "{format}: {problems:?}");
    }
    for (format, function) in [(1, None), (4, None), (77, Some(Function::krun_set_kernel))] {
        let mut prepared = stage.prepare(&stage.spec("true"));
        let file = HostPath { path: junk.clone().into(), held: None };
        let kernel = Call::SetKernel { file, format, initrd: None, cmdline: None };
        let at = prepared.plan.calls.len() - 1;
        prepared.plan.calls.insert(at, kernel);
        let error = match function {
            Some(function) => {
                let null = LaunchOptions { stdout: Stream::Null, stderr: Stream::Null, ..LaunchOptions::default() };
                let error = krundl::launch(prepared, null).expect_err("the setter refuses");
                let refused = matches!(error, Error::Call { function: f, errno: libc::EINVAL, .. } if f == function);
                assert!(refused, "{format}: {error:?}");
                continue;
            }
            None => failure(stage.launch(prepared)),
        };
        assert!(matches!(error, Error::Start { errno: libc::EINVAL, .. }), "{format}: {error:?}");
        assert!(!error.words().unwrap().as_str().is_empty(), "{format}: {error:?}");
    }
}

/// krundl looks for it; past that, libkrun takes the path and refuses to start.
pub fn a_disk_that_is_not_there_is_refused(stage: &Stage) {
    let absent = stage.dir("dir").join("absent");
    let mut spec = stage.spec("true");
    spec.disks.push(serde_json::from_value(json!({"path": absent})).unwrap());
    let problems = stage.problems(&spec);
    assert!(problems.len() == 1 && problems[0].starts_with("disks[0].path: "), "{problems:?}");

    let mut prepared = stage.prepare(&stage.spec("true"));
    let disk = HostPath { path: absent.into(), held: None };
    let at = prepared.plan.calls.len() - 1;
    prepared.plan.calls.insert(at, Call::AddDisk { id: "data".to_owned(), disk, read_only: false });
    let error = failure(stage.launch(prepared));
    assert!(matches!(error, Error::Start { errno: libc::EINVAL, .. }), "{error:?}");
    assert!(error.to_string().contains("Error configuring virtio-blk"), "{error}");
}

/// krundl asks whether somebody listens; when the server goes after that, libkrun loses a thread and goes on for ever.
pub fn a_card_without_a_server_is_never_up(stage: &Stage) {
    let socket = stage.dir("dir").join("socket");
    let server = UnixListener::bind(&socket).unwrap();
    let mut spec = stage.spec("true");
    spec.nics.push(serde_json::from_value(json!({"unixstream": socket})).unwrap());
    let prepared = stage.prepare(&spec);
    drop(server);
    let problems = stage.problems(&spec);
    assert!(problems.len() == 1 && problems[0].starts_with("nics[0].unixstream: "), "{problems:?}");

    let guest = stage.launch(prepared);
    let error = loop {
        let error = guest.vm.wait_ready(Some(Duration::from_secs(1))).unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. }), "{error:?}");
        if error.to_string().contains("Failed to activate device") {
            break error;
        }
    };
    assert!(error.words().unwrap().as_str().contains("BadActivate"), "{error}");
    guest.vm.terminate().unwrap();
    assert_eq!(guest.vm.wait().unwrap(), Exit::Stopped(15));
}

/// libkrun aborts then; krundl refuses such a spec beforehand ([`crate::failures`]).
pub fn a_kernel_that_does_not_fit_into_memory_is_a_crash(stage: &Stage) {
    let mut prepared = stage.prepare(&stage.spec("true"));
    for call in &mut prepared.plan.calls {
        if let Call::SetVmConfig { ram_mib, .. } = call {
            *ram_mib = 32;
        }
    }
    let error = failure(stage.launch(prepared));
    let aborted =
        matches!(error, Error::Crashed { ended: Ended::Signal(6), during: Some(Function::krun_start_enter), .. });
    assert!(aborted, "{error:?}");
    assert!(error.to_string().contains("Kernel doesn't fit in RAM"), "{error}");
}

/// As an ordinary user meets it: even root may not open it here.
pub fn a_kvm_that_may_not_be_opened_is_named(stage: &Stage) {
    struct Restore(Permissions);
    impl Drop for Restore {
        fn drop(&mut self) {
            fs::set_permissions("/dev/kvm", self.0.clone()).unwrap();
        }
    }
    let _restore = Restore(fs::metadata("/dev/kvm").unwrap().permissions());
    fs::set_permissions("/dev/kvm", Permissions::from_mode(0o000)).unwrap();
    let krundl = stage.krundl(&[], &stage.root, &["true"]);
    let mut unprivileged = Command::new("setpriv");
    unprivileged.args([
        "--bounding-set",
        "-dac_override,-dac_read_search",
        "--inh-caps",
        "-dac_override,-dac_read_search",
    ]);
    unprivileged.arg(krundl.get_program()).args(krundl.get_args());
    let end = Talk::with(unprivileged).end();
    assert_eq!((end.status, end.text()), (Some(125), ""), "{}", end.stderr);
    for words in ["SIGABRT", "Error creating the Kvm object", "(13)"] {
        assert!(end.stderr.contains(words), "{words} in {}", end.stderr);
    }
}

/// The VM ends with status 0 then.
pub fn a_guest_kernel_that_panics_is_lost(stage: &Stage) {
    const SCRIPT: &str = "
        read word
        echo 2 > /proc/sys/vm/panic_on_oom
        mount -t tmpfs -o size=100% none /tmp && dd if=/dev/zero of=/tmp/f bs=4M
        echo still here; read for_ever";
    let mut spec = stage.spec(SCRIPT);
    spec.memory_mib = 128;
    let guest = stage.launch(stage.prepare(&spec));
    guest.vm.wait_ready(Some(LONG)).unwrap();
    let mut stdin = guest.vm.take_stdin().unwrap();
    writeln!(stdin, "go on").unwrap();
    let error = guest.vm.wait().unwrap_err();
    assert!(matches!(error, Error::GuestLost { ended: Ended::Exit(0), .. }), "{error:?}");
    assert!(error.to_string().contains("Kernel panic - not syncing: Out of memory"), "{error}");
}

/// Points in time between the first call and a running workload, drawn anew in each run, with both ends.
fn anywhere() -> Vec<u64> {
    let mut random = [0; 16];
    File::open("/dev/urandom").and_then(|mut urandom| urandom.read_exact(&mut random)).unwrap();
    let within = random.chunks_exact(4).map(|bytes| u64::from(u32::from_ne_bytes(bytes.try_into().unwrap())) % 3500);
    std::iter::once(0).chain(within).collect()
}

/// From the first call to a running workload.
pub fn a_vm_that_is_killed_anywhere_on_its_way_is_told(stage: &Stage) {
    let mut lost = 0;
    for after in anywhere().into_iter().chain([60_000]) {
        let guest = stage.launch(stage.prepare(&stage.spec("read for_ever")));
        let came_up = guest.vm.wait_ready(Some(Duration::from_millis(after))).is_ok();
        pidfd_send_signal(guest.vm.pidfd().unwrap(), Signal::KILL).expect("it waits for its input");
        let error = guest.vm.wait().unwrap_err();
        match error {
            Error::GuestLost { ended: Ended::Signal(9), .. } => lost += 1,
            Error::Crashed { ended: Ended::Signal(9), during: Some(Function::krun_start_enter), .. } => {
                assert!(!came_up, "after {after} ms: {error:?}");
            }
            _ => panic!("after {after} ms: {error:?}"),
        }
    }
    assert!(lost >= 1, "none was up");
}

/// Its VM holds the other end of its standard output as long as it lives.
pub fn a_vm_dies_with_a_krundl_that_is_killed_anywhere_on_its_way(stage: &Stage) {
    for after in anywhere() {
        let krundl = Talk::with(stage.krundl(&[], &stage.root, &["sh", "-c", "read for_ever"]));
        let own = process(krundl.pid());
        let time = Duration::from_millis(after).try_into().unwrap();
        let ended = poll(&mut [PollFd::new(&own, PollFlags::IN)], Some(&time)).unwrap();
        assert_eq!(ended, 0, "after {after} ms: it waits for its input");
        let vmms: Vec<_> = children(krundl.pid()).into_iter().map(process).collect();
        pidfd_send_signal(&own, Signal::KILL).unwrap();
        assert_eq!(krundl.end().status, None, "after {after} ms");
        vmms.iter().for_each(await_end);
    }
}

/// In one boot; the bytes are drawn anew for each libkrun.
pub fn arguments_of_any_bytes_arrive(stage: &Stage) {
    let mut state = 0x9e37_79b9_7f4a_7c15 ^ stage.version.to_string().bytes().fold(0, |n, b| n * 31 + u64::from(b));
    let mut random = move |below: u64| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state % below
    };
    let mut argument = || -> Vec<u8> {
        let length = random(60);
        (0..length).map(|_| u8::try_from(1 + random(255)).unwrap()).collect()
    };
    let arguments: Vec<Vec<u8>> = (0..500).map(|_| argument()).collect();
    let dir = stage.dir("dir");
    let mut spec = stage.spec("cat /proc/$$/cmdline > /workspace/cmdline; exit 0");
    let exec = spec.exec.as_mut().unwrap();
    exec.args.push("name".into());
    let own = exec.args.len() + 1;
    exec.args.extend(arguments.iter().map(|bytes| Text::from(bytes.clone())));
    spec.mounts.push(mount(&dir, "/workspace"));
    assert!(stage.launch(stage.prepare(&spec)).vm.wait().unwrap().success());
    let cmdline = fs::read(dir.join("cmdline")).unwrap();
    let arrived: Vec<&[u8]> = cmdline.strip_suffix(b"\0").unwrap().split(|byte| *byte == 0).skip(own).collect();
    assert_eq!(arrived.len(), arguments.len());
    for (n, (arrived, sent)) in arrived.iter().zip(&arguments).enumerate() {
        assert_eq!(arrived, sent, "argument {n}");
    }
}

pub fn eight_guests_at_once(stage: &Stage) {
    let mut guests: Vec<Guest> = (0..8)
        .map(|n| {
            let mut spec = stage.spec(&format!("read word; echo $word; exit {n}"));
            spec.memory_mib = 128;
            stage.launch(stage.prepare(&spec))
        })
        .collect();
    for guest in &mut guests {
        guest.vm.wait_ready(Some(LONG)).unwrap();
    }
    for (n, guest) in guests.iter_mut().enumerate() {
        writeln!(guest.vm.take_stdin().unwrap(), "word {n}").unwrap();
        assert_eq!(all(guest.vm.take_stdout().unwrap()), format!("word {n}\n").into_bytes());
        assert_eq!(guest.vm.wait().unwrap().status(), i32::try_from(n).unwrap());
    }
}

/// Descriptors, processes and files are looked at after each case; here the threads, too, and after each of many.
pub fn twenty_launches_leave_nothing_behind(stage: &Stage) {
    let count = |dir: &str| fs::read_dir(Path::new("/proc/self").join(dir)).unwrap().count();
    let now = || {
        // A thread of the test's that was joined may be seen for a moment longer.
        let soon = Instant::now() + Duration::from_secs(10);
        while count("task") > 1 && Instant::now() < soon {
            std::thread::yield_now();
        }
        [count("task"), count("fd")]
    };
    let before = now();
    for n in 0..20 {
        let guest = stage.launch(stage.prepare(&stage.spec(&format!("exit {n}"))));
        match n % 4 {
            3 => drop(guest.vm.wait_ready(Some(LONG))),
            _ => assert_eq!(guest.vm.wait().unwrap().status(), n),
        }
        drop(guest);
        assert_eq!(now(), before, "after launch {n}");
    }
}

fn shared(path: &Path) -> Shared {
    Shared::Host(HostPath { path: path.into(), held: None })
}
