//! The main job from nothing: gets libkrun, shows what it can do, and boots a guest that reads and writes a directory of
//! the host.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::space::{self, Need};
use crate::{Cache, Lab, busybox_root, debian, project};

/// The libkrun that the demo shows.
const RELEASE: &str = "1.19.7";
/// What it takes, and the Debian packages that bring it; the last one where there is no KVM.
const PROGRAMS: [(&str, &str); 3] = [("cc", "gcc libc6-dev"), ("python3", "python3 python3-pip"), Lab::PROGRAM];
/// The room that it takes, as measured, and some more.
const NEED: Need = Need { target: 1_500, cache: 1_000 };
/// How long a guest may take where it runs natively; it needs a second or two.
const NATIVE: Duration = Duration::from_secs(30);

/// What the guest does with the directory.
const IN_THE_GUEST: &str = "echo \"the guest ($(uname -sr)) reads: $(cat /workspace/from-the-host)\"; \
    echo 'written in the guest' > /workspace/from-the-guest";

/// Runs the demo.
///
/// # Errors
/// Whatever could not be fetched, built or booted; a step that failed says what would mend it.
pub fn demo(cache: &Cache) -> Result<()> {
    // Before anything is begun.
    let has_kvm = Path::new("/dev/kvm").exists();
    debian::require(if has_kvm { &PROGRAMS[..PROGRAMS.len() - 1] } else { &PROGRAMS })?;
    space::require(cache, NEED)?;
    step("building krundl");
    let built = project::executables(&["build", "--bins"])?;
    let krundl = project::executable(&built, "krundl")?;
    let dir = krundl.parent().context("cargo put krundl nowhere")?.join("demo");
    step(&format!("getting libkrun {RELEASE} and libkrunfw"));
    let library = project::install_libkrun(cache, RELEASE, &dir.join("lib"))?;
    let root = dir.join("root");
    busybox_root(cache, &root)?;

    step("what this libkrun and this machine can do");
    shown(&["doctor", "--library"], &library);
    let status = Command::new(&krundl).arg("doctor").arg("--library").arg(&library).status();
    status.with_context(|| format!("could not start {}", krundl.display()))?;

    let shared = dir.join("shared");
    let _ = std::fs::remove_dir_all(&shared);
    std::fs::create_dir_all(&shared)?;
    std::fs::write(shared.join("from-the-host"), "written on the host\n")?;
    let command = run_command(&krundl, &library, &shared, &root);

    if guests_may_run(&krundl, &library) {
        step("booting a guest on this machine's KVM");
        print_command(&command);
        if natively(&command)? {
            return round_trip(&shared);
        }
        eprintln!("this machine's KVM opens and runs no guest; on to the lab");
    }
    step("booting a guest in the lab: an emulated machine with a KVM that works (about 10 s, slower the first time)");
    print_command(&command);
    let result = Lab::new(cache).write(&dir).retry(true).run(&command)?;
    match result.outcome {
        Ok(0) => round_trip(&shared),
        Ok(status) => bail!("krundl ended with status {status} in the lab"),
        Err(reason) => bail!("the lab failed: {reason}"),
    }
}

fn run_command(krundl: &Path, library: &Path, shared: &Path, root: &Path) -> Vec<OsString> {
    let mut mount = shared.as_os_str().to_owned();
    mount.push(":/workspace");
    let words: [OsString; 10] = [
        krundl.into(),
        "run".into(),
        "--library".into(),
        library.into(),
        "--mount".into(),
        mount,
        root.into(),
        "--".into(),
        "sh".into(),
        "-c".into(),
    ];
    words.into_iter().chain([IN_THE_GUEST.into()]).collect()
}

/// What the doctor says about this machine's KVM, by its own report.
fn guests_may_run(krundl: &Path, library: &Path) -> bool {
    let output =
        Command::new(krundl).args(["doctor", "--json", "--library"]).arg(library).stderr(Stdio::null()).output();
    let Ok(output) = output else { return false };
    let Ok(report) = serde_json::from_slice::<serde_json::Value>(&output.stdout) else { return false };
    let checks = report["checks"].as_array().cloned().unwrap_or_default();
    let status = |id: &str| {
        checks.iter().find(|check| check["id"] == id).and_then(|check| check["status"].as_str().map(str::to_owned))
    };
    ["kvm", "kvm.guests"].iter().all(|id| status(id).as_deref() == Some("pass"))
}

/// Whether the guest ran here; a KVM that only looks as if it worked may take its time to show it.
fn natively(command: &[OsString]) -> Result<bool> {
    let mut child = Command::new(&command[0]).args(&command[1..]).stdin(Stdio::null()).spawn()?;
    let deadline = Instant::now() + NATIVE;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status.success());
        }
        if Instant::now() > deadline {
            child.kill()?;
            child.wait()?;
            return Ok(false);
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn round_trip(shared: &Path) -> Result<()> {
    let file: PathBuf = shared.join("from-the-guest");
    let text = std::fs::read_to_string(&file).with_context(|| format!("the guest left no {}", file.display()))?;
    println!("the host reads: {}", text.trim_end());
    println!("\nThe directory went into a microVM and back.");
    Ok(())
}

fn step(what: &str) {
    eprintln!("\n==> {what}");
}

fn shown(words: &[&str], library: &Path) {
    eprintln!("$ krundl {} {}", words.join(" "), library.display());
}

fn print_command(command: &[OsString]) {
    let quote = |word: &OsString| {
        let word = word.to_string_lossy();
        if word.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-:=".contains(&b)) {
            word.into_owned()
        } else {
            format!("'{}'", word.replace('\'', r"'\''"))
        }
    };
    let words: Vec<String> = std::iter::once("krundl".to_owned()).chain(command[1..].iter().map(quote)).collect();
    eprintln!("$ {}", words.join(" "));
}
