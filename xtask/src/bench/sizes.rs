//! What the products weigh, and what it takes to build them.

use std::collections::BTreeSet;
use std::mem::MaybeUninit;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::Bench;
use super::report::{Row, thousands};
use crate::project::{self, cargo};

pub(super) fn sizes(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for name in ["krundl", "krundl-vmm"] {
        rows.push(row(&format!("size of {name}, stripped"), stripped(bench, &bench.program(name)?)?));
    }
    let messages = messages()?;
    // Not stripped again: it is built that way.
    let guest = guest_program(&messages).context("cargo does not tell where the guest program is")?;
    rows.push(row("size of the guest program", bytes(&guest)?));
    for library in shared_libraries(&messages) {
        let name = library.file_name().unwrap_or_default().display().to_string();
        rows.push(row(&format!("size of {name}, stripped"), stripped(bench, &library)?));
    }
    rows.push(row("crates in the default build", crates(&[])?.to_string()));
    rows.push(row("crates of the library alone", crates(&["--no-default-features"])?.to_string()));
    if !bench.selection.quick {
        rows.push(row("cold release build of the library alone", cold_build(bench)?));
    }
    Ok(rows)
}

fn row(name: &str, ours: String) -> Row {
    Row { name: name.to_owned(), c: String::new(), ours, ratio: String::new(), limit: String::new(), holds: None }
}

fn bytes(path: &Path) -> Result<String> {
    let size = std::fs::metadata(path).with_context(|| format!("could not look at {}", path.display()))?.len();
    Ok(format!("{} bytes", thousands(size as f64)))
}

fn stripped(bench: &Bench<'_>, path: &Path) -> Result<String> {
    let output = bench.dir.join("stripped");
    project::run(Command::new("strip").arg("-o").arg(&output).arg(path))?;
    bytes(&output)
}

/// What cargo says about the release build.
fn messages() -> Result<Vec<serde_json::Value>> {
    let mut command = cargo(["build", "--release", "--package", "krundl", "--message-format=json-render-diagnostics"]);
    let output = command.stderr(Stdio::inherit()).output().context("could not start cargo")?;
    if !output.status.success() {
        bail!("{} failed: {}", project::shown(&command), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(|line| serde_json::from_str(line).ok()).collect())
}

fn guest_program(messages: &[serde_json::Value]) -> Option<PathBuf> {
    let dirs = messages.iter().filter(|message| message["reason"] == "build-script-executed");
    let mut programs = dirs.filter_map(|message| Some(Path::new(message["out_dir"].as_str()?).join("krundl-guest")));
    programs.find(|program| program.is_file())
}

/// krundl's own, once it has any.
fn shared_libraries(messages: &[serde_json::Value]) -> Vec<PathBuf> {
    let of_krundl = messages.iter().filter(|message| message["target"]["name"].as_str().is_some_and(is_krundl));
    let files =
        of_krundl.filter_map(|message| message["filenames"].as_array()).flatten().filter_map(|file| file.as_str());
    files.filter(|file| file.ends_with(".so")).map(PathBuf::from).collect()
}

fn is_krundl(target: &str) -> bool {
    target.starts_with("krundl")
}

/// Those that are compiled for krundl, krundl itself not counted.
fn crates(features: &[&str]) -> Result<usize> {
    let mut command =
        cargo(["tree", "--package", "krundl", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"]);
    let output = command.args(features).output().context("could not start cargo")?;
    let tree = String::from_utf8_lossy(&output.stdout).into_owned();
    let crates: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    Ok(crates.len().saturating_sub(1))
}

/// In seconds, with everything that it depends on, in an empty directory; and in seconds of processors, which do not
/// depend on what else the machine does.
fn cold_build(bench: &Bench<'_>) -> Result<String> {
    let target = bench.dir.join("cold");
    crate::cache::remove_dir(&target)?;
    let mut command = cargo(["build", "--quiet", "--release", "--package", "krundl", "--lib", "--no-default-features"]);
    command.arg("--target-dir").arg(&target);
    let (begin, spent) = (Instant::now(), processor_seconds());
    project::run(&mut command)?;
    let (passed, spent) = (begin.elapsed(), processor_seconds() - spent);
    crate::cache::remove_dir(&target)?;
    Ok(format!("{:.0} s, {spent} s of processors", passed.as_secs_f64()))
}

/// What children that have ended have used.
fn processor_seconds() -> i64 {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: getrusage fills in a structure of ours, for which zeros are a value.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
        usage.assume_init()
    };
    usage.ru_utime.tv_sec + usage.ru_stime.tv_sec
}
