//! Tests in processes of their own.

use std::fs;
use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// Set in a process that was started for one test alone.
const VARIABLE: &str = "KRUNDL_TEST_ALONE";
/// Far more than any of them takes, and short of forever.
const LIMIT: Duration = Duration::from_secs(120);

/// Runs `body` in a process that runs nothing else, with an empty directory of its own for temporary files, which must
/// be without krundl's files in the end. `name` is the test's.
pub fn alone(name: &str, body: impl FnOnce()) {
    through(name, &["env"], body);
}

/// Whether this process was started for one test.
pub fn is_alone() -> bool {
    std::env::var_os(VARIABLE).is_some()
}

/// The same, where the process is started through another program: `WRAPPER... PROGRAM ARGUMENTS...`.
pub fn through(name: &str, wrapper: &[&str], body: impl FnOnce()) {
    if is_alone() {
        return body();
    }
    let tmp = tempfile::tempdir().unwrap();
    let mut command = Command::new(wrapper[0]);
    command.args(&wrapper[1..]).arg(std::env::current_exe().unwrap());
    command.args(["--exact", name, "--include-ignored", "--nocapture", "--test-threads=1"]);
    for variable in ["KRUNDL_LIBRARY", "KRUNDL_LIBRARY_DIR", "KRUNDL_VMM", "RUST_BACKTRACE"] {
        command.env_remove(variable);
    }
    command.env(VARIABLE, "1").env("TMPDIR", tmp.path()).stdin(Stdio::null());
    // Into a file: a process that is left behind must not hold up whoever reads what the test said.
    let said = tmp.path().join("said");
    let file = fs::File::create(&said).unwrap();
    let mut child = command.stdout(file.try_clone().unwrap()).stderr(file).spawn().unwrap();
    let pidfd = pidfd_open(Pid::from_child(&child), PidfdFlags::empty()).unwrap();
    let limit = LIMIT.try_into().unwrap();
    let in_time = poll(&mut [PollFd::new(&pidfd, PollFlags::IN)], Some(&limit)).unwrap() == 1;
    if !in_time {
        child.kill().unwrap();
    }
    let status = child.wait().unwrap();
    let said = text(&said);
    assert!(in_time, "it does not end: {said}");
    assert!(status.success() && said.contains("1 passed"), "{said}");
    if std::env::var_os("KRUNDL_TEST_TIMES").is_some() {
        eprintln!("{said}");
    }
    let left = krundls(tmp.path());
    assert!(left.is_empty(), "{left:?} are left behind");
}

/// The names of krundl's own files in a directory.
pub fn krundls(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned());
    names.filter(|name| name.starts_with("krundl-")).collect()
}

fn text(file: &Path) -> String {
    let mut bytes = Vec::new();
    fs::File::open(file).unwrap().read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Says that a test cannot run here, and why.
pub fn skip(name: &str, reason: &str) {
    use std::io::Write;
    eprintln!("skipped: {name}: {reason}");
    if let Some(file) = std::env::var_os("KRUNDL_SKIPS") {
        let mut file = fs::File::options().append(true).create(true).open(file).unwrap();
        writeln!(file, "{name}: {reason}").unwrap();
    }
}
