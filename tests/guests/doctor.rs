//! `krundl doctor --boot`, with real libkruns: what it proves, and what it says where nothing can be proved.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;

use crate::stage::Stage;

fn doctor(stage: &Stage, more: &[&str]) -> (Output, Value) {
    let mut krundl = Command::new(env!("CARGO_BIN_EXE_krundl"));
    krundl.args(["doctor", "--json", "--library"]).arg(stage.library()).args(more);
    let output = krundl.output().expect("krundl runs");
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stdout)));
    (output, report)
}

fn status<'a>(report: &'a Value, id: &str) -> &'a str {
    let checks = report["checks"].as_array().expect("checks");
    let check = checks.iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("{id}: {report:#}"));
    check["status"].as_str().expect("a status")
}

/// Every release of the lab reads, writes, is refused and answers, with nothing in the root but krundl's program.
pub fn a_boot_proves_mounts_and_their_read_only(stage: &Stage) {
    let (output, report) = doctor(stage, &["--boot"]);
    for id in ["proof.boot", "proof.vsock", "proof.read", "proof.write", "proof.read_only"] {
        assert_eq!(status(&report, id), "pass", "{id}: {report:#}");
    }
    assert!(report["proof"]["boot_ms"].as_u64().is_some_and(|ms| ms > 0));
    assert_eq!(output.status.code(), Some(0), "{report:#}");
}

/// What a real libkrun is, by its functions, and by a file name that carries its release.
pub fn a_real_libkrun_is_told_by_its_release(stage: &Stage) {
    let (_, report) = doctor(stage, &[]);
    assert_eq!(report["library"]["version"]["range"], format!("={}", stage.version), "{report:#}");
    assert_eq!(report["library"]["version"]["conflicts"], serde_json::json!([]));
    assert_eq!(report["library"]["unknown_functions"], serde_json::json!([]));
    assert_eq!(status(&report, "firmware.answers"), "pass");
    let copy = stage.dir("unnamed").join("libkrun.so.1");
    std::fs::copy(stage.library(), &copy).expect("a copy");
    let mut krundl = Command::new(env!("CARGO_BIN_EXE_krundl"));
    let output = krundl.args(["doctor", "--json", "--library"]).arg(copy).output().expect("krundl runs");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let range = report["library"]["version"]["range"].as_str().expect("a range");
    let range: semver::VersionReq = range.parse().expect("a requirement");
    assert!(range.matches(&stage.version) && range.comparators.len() <= 2, "{range}");
    assert_eq!(status(&report, "firmware.found"), "fail", "there is none beside it");
    assert_eq!(output.status.code(), Some(1));
}

/// A fresh machine is led to a passing boot by nothing but the report's own commands. They get libkrun and libkrunfw
/// from krundl's tasks, whose place is taken by a script that knows where the lab has them.
pub fn a_fresh_machine_is_led_to_a_passing_boot(stage: &Stage) {
    let place = |file: &Path| file.canonicalize().expect("it is there").parent().expect("a directory").to_owned();
    let libkrun = place(&stage.library());
    let firmware = place(&stage.library().with_file_name("libkrunfw.so.5"));
    let bin = stage.dir("bin");
    let tasks = format!(
        "#!/bin/sh\ncase \"$*\" in\n  \"xtask libkrun \"*) echo {} ;;\n  \"xtask firmware\") echo {} ;;\n  *) exit 2 ;;\nesac\n",
        libkrun.display(),
        firmware.display()
    );
    fs::write(bin.join("cargo"), tasks).expect("a script");
    fs::set_permissions(bin.join("cargo"), fs::Permissions::from_mode(0o755)).expect("a mode");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").expect("PATH"));
    let installed = Installed;

    let look = |more: &[&str]| {
        let output = Command::new(env!("CARGO_BIN_EXE_krundl")).args(["doctor", "--json"]).args(more).output();
        let output = output.expect("krundl runs");
        let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
        (output.status.code(), report)
    };
    let (status_before, report) = look(&[]);
    assert_eq!((status_before, status(&report, "library.found")), (Some(1), "fail"), "{report:#}");
    let failing = report["checks"].as_array().expect("checks").iter().filter(|check| check["status"] == "fail");
    for command in failing.flat_map(|check| check["commands"].as_array().expect("commands")) {
        let command = command.as_str().expect("a command");
        let done = Command::new("sh").args(["-c", command]).env("PATH", &path).status().expect("sh runs");
        assert!(done.success(), "{command}");
    }
    let (status_after, report) = look(&["--boot"]);
    assert_eq!(status_after, Some(0), "{report:#}");
    assert_eq!(status(&report, "proof.write"), "pass");
    drop(installed);
}

/// What the commands have put into the lab's own directories goes again.
struct Installed;

impl Drop for Installed {
    fn drop(&mut self) {
        for entry in fs::read_dir("/usr/local/lib").into_iter().flatten().flatten() {
            if entry.file_name().to_string_lossy().starts_with("libkrun") {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}

/// On a machine whose /dev/kvm cannot be used, the true reason.
pub fn a_boot_without_kvm_says_so(stage: &Stage) {
    // In a mount namespace of its own, where the device is nothing.
    let script = format!(
        "mount --bind /dev/null /dev/kvm && exec {} doctor --json --boot --library {}",
        env!("CARGO_BIN_EXE_krundl"),
        stage.library().display()
    );
    let output = Command::new("unshare").args(["--mount", "sh", "-c", &script]).output().expect("unshare runs");
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(status(&report, "kvm"), "fail");
    assert_eq!(status(&report, "proof.boot"), "fail");
    let error = report["proof"]["error"].as_str().expect("why");
    assert!(error.contains("libkrun"), "{error}");
    assert_eq!(output.status.code(), Some(1));
}
