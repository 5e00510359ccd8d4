//! What a VM's process inherits, and what is left when it is gone: nothing that was not meant.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use krundl::{LaunchOptions, Stream, launch};
use krundl_test_support::stubs::{Start, Stub};
use serde_json::json;

use super::{Lab, exists, newest, options, saw, seen, up};

/// C statements: notes every open descriptor by what it leads to, the stub's own file apart.
fn descriptors() -> String {
    format!(
        "for (int fd = 0; fd < 300; fd++) {{ char p[64], real[512] = {{0}}; snprintf(p, 64, \"/proc/self/fd/%d\", fd); \
         if (readlink(p, real, 511) > 0) {} }}",
        saw("real")
    )
}

#[test]
fn only_descriptors_that_are_meant_are_inherited() {
    let lab = Lab::new(&newest().on("krun_create_ctx", &descriptors()).start(up("exit 0\n")));
    let secret = tempfile::NamedTempFile::new().unwrap();
    let careless = File::open(secret.path()).unwrap();
    // SAFETY: clears the close-on-exec mark of our own descriptor, as careless code leaves it.
    assert_eq!(unsafe { libc::fcntl(careless.as_raw_fd(), libc::F_SETFD, 0) }, 0);
    launch(lab.prepare(json!({})), options()).unwrap().wait().unwrap();
    let root = lab.root.path().canonicalize().unwrap().display().to_string();
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for link in seen(&lab.stub) {
        let kind = match link.as_str() {
            "/dev/null" => "null",
            link if link == root => "root",
            link if link.starts_with("pipe:") => "pipe",
            link if link.contains("/krundl-") && link.ends_with(" (deleted)") => "channel",
            link => panic!("{link} was inherited"),
        };
        *kinds.entry(kind).or_default() += 1;
    }
    // null: standard input and three copies for libkrun. Pipes: standard output and error, which lead to the log, the
    // log, libkrun's copy of it, the statuses.
    assert_eq!(kinds, BTreeMap::from([("null", 4), ("root", 1), ("pipe", 5), ("channel", 1)]));
}

#[test]
fn a_dropped_vm_is_gone_and_a_detached_one_runs_on() {
    let lab = Lab::new(&newest().start(up("")).then_hang());
    let vm = lab.launch().unwrap();
    let pid = vm.pid();
    assert!(exists(pid));
    drop(vm);
    assert!(!exists(pid));

    let options = LaunchOptions { stdout: Stream::Piped, ..options() };
    let pid = launch(lab.prepare(json!({})), options).unwrap().detach();
    let state = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    assert!(!state.contains(") Z "), "{state}");
    let raw = i32::try_from(pid).unwrap();
    // SAFETY: our own child, which nobody else has waited for.
    unsafe {
        assert_eq!(libc::kill(raw, libc::SIGKILL), 0);
        assert_eq!(libc::waitpid(raw, std::ptr::null_mut(), 0), raw);
    }
    assert!(!exists(pid));
}

/// Whether this process is the one that [`thirty_vms_leave_nothing_behind`] starts for itself.
const ALONE: &str = "KRUNDL_TEST_ALONE";

/// In a process of its own: other tests open descriptors and start processes at the same time.
#[test]
fn thirty_vms_leave_nothing_behind() {
    if std::env::var_os(ALONE).is_some() {
        return thirty_vms();
    }
    let tmp = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "leftovers::thirty_vms_leave_nothing_behind", "--nocapture"]);
    let output = command.env(ALONE, "1").env("TMPDIR", tmp.path()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}");
    let left = entries(tmp.path());
    assert!(left.iter().all(|name| !name.starts_with("krundl-")), "{left:?}");
}

fn entries(dir: &Path) -> Vec<String> {
    fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect()
}

fn children() -> String {
    let tasks = entries(Path::new("/proc/self/task"));
    tasks.iter().map(|task| fs::read_to_string(format!("/proc/self/task/{task}/children")).unwrap()).collect()
}

fn thirty_vms() {
    // With the bootstrap share; one that ends well, one that never gets as far, one that is killed.
    let labs = [
        Stub::new("1.18.0").start(up("exit 0\n")),
        Stub::new("1.18.0").returns("krun_set_exec", -1),
        Stub::new("1.17.4").start(Start::Hang),
    ]
    .map(|stub| Lab::new(&stub));
    let mut before = None;
    for _ in 0..10 {
        for lab in &labs {
            if let Ok(vm) = lab.launch() {
                vm.wait_timeout(Duration::from_millis(10)).expect("a VM that ends, ends well");
            }
        }
        let now = (entries(Path::new("/proc/self/fd")).len(), children());
        assert_eq!(*before.get_or_insert_with(|| now.clone()), now);
    }
    assert_eq!(before.unwrap().1, "", "no child is left");
    let calls: usize = labs.iter().map(|lab| lab.stub.calls_of("krun_create_ctx").len()).sum();
    assert_eq!(calls, 30);
    let left = entries(&std::env::temp_dir());
    assert!(left.iter().all(|name| !name.starts_with("krundl-")), "{left:?}");
}
