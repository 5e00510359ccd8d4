//! `krundl run`, with libraries that play the guest.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use krundl_test_support::guest_root;
use krundl_test_support::stubs::{Start, Stub, StubLibrary};
use serde_json::json;
use tempfile::TempDir;

use super::{Said, krundl, said, text};

fn up(last: &str) -> Start {
    Start::guest(format!("krundl-guest 1\nup\n{last}"))
}

struct Lab {
    stub: StubLibrary,
    root: TempDir,
    share: TempDir,
    tmp: TempDir,
}

impl Lab {
    fn new(stub: &Stub) -> Lab {
        let dir = || tempfile::tempdir().unwrap();
        Lab { stub: stub.build(), root: guest_root(), share: dir(), tmp: dir() }
    }

    /// `krundl run OPTIONS ROOT -- /bin/work`.
    fn command(&self, options: &[&str]) -> Command {
        let mut command = krundl(&["run", "--library", text(&self.stub.path)]);
        command.args(options).arg(self.root.path()).args(["--", "/bin/work", "-x"]).env("TMPDIR", self.tmp.path());
        command
    }

    fn run(&self, options: &[&str]) -> Said {
        said(&mut self.command(options))
    }

    fn mount(&self, rest: &str) -> String {
        format!("{}{rest}", text(self.share.path()))
    }

    fn left(&self) -> Vec<std::ffi::OsString> {
        fs::read_dir(self.tmp.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect()
    }
}

#[test]
fn output_and_exit_status_are_the_workloads() {
    for (last, status) in [("exit 0\n", 0), ("exit 42\n", 42), ("exit 255\n", 255), ("signal 9\n", 137)] {
        let lab = Lab::new(&Stub::new("1.19.7").prints("out\n").prints_error("err\n").start(up(last)));
        let told = lab.run(&[]);
        assert_eq!((told.status, &*told.out, &*told.err), (status, "out\n", "err\n"));
    }
    for (errno, status) in [(2, 127), (13, 126)] {
        let words = format!("krundl-guest 1\nfailed-exec {errno} cannot run '/bin/work'\n");
        assert_eq!(Lab::new(&Stub::new("1.19.7").start(Start::guest(words))).run(&[]).status, status);
    }
}

#[test]
fn a_read_only_mount_that_this_libkrun_cannot_keep_is_refused_before_anything_starts() {
    let lab = Lab::new(&Stub::new("1.17.4").start(up("exit 0\n")));
    let told = lab.run(&["--mount", &lab.mount(":/workspace:ro")]);
    assert_eq!((told.status, told.out.as_str()), (125, ""));
    for words in ["mounts[0].read_only", "krun_add_virtiofs3", "1.18.0", "1.17."] {
        assert!(told.err.contains(words), "{words} in {}", told.err);
    }
    assert!(lab.stub.calls().iter().all(|call| call.function == "krun_has_feature"), "{:?}", lab.stub.calls());
    // The same without :ro, and the same with the next release.
    assert_eq!(lab.run(&["--mount", &lab.mount(":/workspace")]).status, 0);
    let next = Lab::new(&Stub::new("1.18.0").start(up("exit 0\n")));
    assert_eq!(next.run(&["--mount", &next.mount(":ro")]).status, 0);
    let shares = next.stub.calls_of("krun_add_virtiofs3");
    assert!(shares.iter().any(|call| call.text(1).unwrap() == "mount0" && call.number(4) == 1), "{shares:?}");
}

#[test]
fn failures_of_krundls_own_are_one_message_and_125() {
    let never_up =
        Lab::new(&Stub::new("1.19.7").on("krun_start_enter", "fprintf(stderr, \"no luck\\n\");").start(Start::Exit(0)));
    let told = never_up.run(&[]);
    assert_eq!(told.status, 125);
    assert!(told.err.starts_with("krundl: the VM ended without the guest ever having been up"), "{}", told.err);
    assert!(told.err.contains("no luck") && told.err.matches("krundl: ").count() == 1, "{}", told.err);

    let refusing = Lab::new(&Stub::new("1.19.7").returns("krun_set_exec", -22));
    let told = refusing.run(&[]);
    assert_eq!(told.status, 125);
    assert!(told.err.starts_with("krundl: krun_set_exec(") && told.err.contains("EINVAL"), "{}", told.err);

    let wrong = refusing.run(&["--mount", ":/x", "--mount", "/not/there", "--cpus", "0"]);
    assert_eq!(wrong.status, 125);
    for field in ["--mount :/x: ", "vcpus: ", "mounts[0].host: "] {
        assert!(wrong.err.contains(&format!("\n  {field}")), "{field} in {}", wrong.err);
    }
}

/// As a shell does that finds krundl in PATH, in a directory that has other files of these names.
#[test]
fn a_helper_in_the_current_directory_is_not_run() {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::CommandExt;
    let lab = Lab::new(&Stub::new("1.19.7").start(up("exit 0\n")));
    let here = TempDir::new().unwrap();
    for name in ["krundl", "krundl-vmm"] {
        let file = here.path().join(name);
        fs::write(&file, "#!/bin/sh\ntouch was-run\n").unwrap();
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).unwrap();
    }
    let told = said(lab.command(&[]).arg0("krundl").current_dir(here.path()));
    assert_eq!((told.status, told.err.as_str()), (0, ""));
    assert!(!here.path().join("was-run").exists());
}

#[test]
fn what_the_command_line_says_wrong_is_told_without_a_libkrun_too() {
    let mut command = krundl(&["run", "--library", "/not/there/libkrun.so.1", "--net", "bogus", "/", "--", "true"]);
    let told = said(&mut command);
    assert_eq!(told.status, 125);
    assert!(told.err.contains("\n  --net bogus: "), "{}", told.err);
    assert!(told.err.contains("\nBesides, ") && told.err.contains("/not/there/libkrun.so.1"), "{}", told.err);
    assert_eq!(told.err.matches("krundl: ").count(), 1, "{}", told.err);
}

#[test]
fn a_helper_that_is_none_is_named() {
    let lab = Lab::new(&Stub::new("1.19.7").start(up("exit 0\n")));
    for helper in ["/bin/true", "/not/there"] {
        let told = said(lab.command(&[]).env("KRUNDL_VMM", helper));
        assert_eq!(told.status, 125);
        assert!(told.err.contains(helper), "{}", told.err);
    }
    assert_eq!(said(lab.command(&[]).env("KRUNDL_VMM", "")).status, 0, "empty means unset");
}

#[test]
fn the_command_line_counts_more_than_the_spec_file() {
    let words = "if (strstr(path, \"orders\")) { const char *w[] = {\"/bin/work\", \"/bin/other\", \"A=1\", \"B=two\", \"/dir\"}; \
                 for (int i = 0; i < 5; i++) if (memmem(data, data_len, w[i], strlen(w[i]))) { call_begin(\"saw\"); arg_text(w[i]); call_end(); } }";
    let lab = Lab::new(&Stub::new("1.19.7").on("krun_fs_add_overlay_file", words).start(up("exit 0\n")));
    let file = lab.tmp.path().join("spec.json");
    // Without vcpus, which the command line gives, and with a root that it replaces.
    let spec = json!({
        "memory_mib": 256, "root": {"dir": "/not/there"}, "exec": {"path": "/bin/other", "env": {"A": "1", "B": "one"}},
        "mounts": [{"host": lab.share.path(), "guest": "/a"}],
    });
    fs::write(&file, spec.to_string()).unwrap();
    let options = ["--spec", text(&file), "--cpus", "3", "-e", "B=two", "-w", "/dir", "--mount", &lab.mount(":/b:ro")];
    let told = lab.run(&options);
    assert_eq!((told.status, told.err.as_str()), (0, ""));
    assert_eq!(lab.stub.calls_of("krun_set_vm_config")[0].args, ["0", "3", "256"]);
    let seen: Vec<String> = lab.stub.calls_of("saw").iter().map(|call| call.text(0).unwrap()).collect();
    assert_eq!(seen, ["/bin/work", "A=1", "B=two", "/dir"]);
    assert_eq!(lab.stub.calls_of("krun_add_virtiofs").len(), 2, "the root and the file's mount");
    assert_eq!(lab.stub.calls_of("krun_add_virtiofs3").len(), 1, "the command line's mount");
}

#[test]
fn the_log_goes_to_the_file_that_was_named() {
    let stub = Stub::new("1.19.7").on("krun_init_log", "write(target_fd, \"a line\\n\", 7);").start(up("exit 0\n"));
    let lab = Lab::new(&stub);
    let log = lab.tmp.path().join("log");
    fs::write(&log, "before\n").unwrap();
    let told = lab.run(&["--log", text(&log), "--log-level", "info"]);
    assert_eq!((told.status, told.err.as_str()), (0, ""));
    assert_eq!(fs::read_to_string(&log).unwrap(), "before\na line\n");
    assert_eq!(lab.stub.calls_of("krun_init_log")[0].args[1..], ["3", "2", "1"]);
}

#[test]
fn a_workload_that_does_not_end_when_asked_has_so_many_seconds_or_until_the_next_signal() {
    for (timeout, signals) in [("0", 1), ("600", 2)] {
        let lab = Lab::new(&Stub::new("1.19.7").start(up("")).then_hang());
        let mut child = lab.command(&["--stop-timeout", timeout]).spawn().unwrap();
        let pid = i32::try_from(child.id()).unwrap();
        while lab.stub.calls_of("krun_start_enter").is_empty() {}
        for _ in 0..signals {
            // SAFETY: a signal to our own child, which has not been waited for.
            assert_eq!(unsafe { libc::kill(pid, libc::SIGTERM) }, 0);
            // Two that come together would be one.
            std::thread::sleep(std::time::Duration::from_millis(300));
        }
        let status = child.wait().unwrap().code();
        assert!([Some(137), Some(143)].contains(&status), "killed, or asked before it was up: {status:?}");
    }
}

#[test]
fn signals_end_the_vm_and_leave_nothing_behind() {
    // Up or not; with the bootstrap share, which has to go.
    let stub = || Stub::new("1.18.0").prints("running\n");
    for (signal, status, stub) in [
        (libc::SIGTERM, 143, stub().start(Start::Hang)),
        (libc::SIGTERM, 143, stub().start(up("")).then_obey()),
        (libc::SIGINT, 130, stub().start(Start::Hang)),
        (libc::SIGHUP, 129, stub().start(Start::Hang)),
    ] {
        let lab = Lab::new(&stub);
        let mut child = lab.command(&[]).stdout(Stdio::piped()).spawn().unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        output.read_line(&mut line).unwrap();
        assert_eq!(line, "running\n");
        // SAFETY: a signal to our own child, which has not been waited for.
        assert_eq!(unsafe { libc::kill(i32::try_from(child.id()).unwrap(), signal) }, 0);
        assert_eq!(child.wait().unwrap().code(), Some(status));
        assert_eq!(output.read_to_string(&mut String::new()).unwrap(), 0, "the VM's process is gone as well");
        assert_eq!(lab.left(), [""; 0]);
    }
}
