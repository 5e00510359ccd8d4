//! This project's own products and commands.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::{Cache, firmware, libkrun};

/// The repository's root.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the repository").to_owned()
}

/// `cargo` with these arguments, in the repository's root.
pub fn cargo<A: AsRef<OsStr>>(arguments: impl IntoIterator<Item = A>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments).current_dir(root()).stdin(Stdio::null());
    // `cargo run` sets these for xtask itself; passed on, they would make cargo build everything anew.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy().into_owned();
        if name.starts_with("CARGO_PKG_") || name.starts_with("CARGO_MANIFEST_") {
            command.env_remove(name);
        }
    }
    command
}

/// Runs a command that speaks for itself; its failure is an error.
pub fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("could not start {command:?}"))?;
    if !status.success() {
        bail!("{} failed: {status}", shown(command));
    }
    Ok(())
}

/// A command as a person would type it.
pub fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words
        .map(|word| {
            Path::new(word).file_name().filter(|_| word == command.get_program()).unwrap_or(word).to_string_lossy()
        })
        .collect::<Vec<_>>()
        .join(" ")
}

/// Builds with cargo and returns the executables: their targets' names and their paths.
pub fn executables(arguments: &[&str]) -> Result<Vec<(String, PathBuf)>> {
    let mut command = cargo(arguments);
    command.arg("--message-format=json-render-diagnostics").stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("could not start {command:?}"))?;
    if !output.status.success() {
        bail!("{} failed: {}", shown(&command), output.status);
    }
    let mut found = Vec::new();
    for line in String::from_utf8_lossy(&output.stdout).lines() {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        if let (Some(name), Some(path)) = (message["target"]["name"].as_str(), message["executable"].as_str()) {
            found.push((name.to_owned(), path.into()));
        }
    }
    Ok(found)
}

/// The executable of one name among those of [`executables`].
pub fn executable(found: &[(String, PathBuf)], name: &str) -> Result<PathBuf> {
    match found.iter().find(|(found, _)| found == name) {
        Some((_, path)) => Ok(path.clone()),
        None => bail!("cargo built no executable named {name}"),
    }
}

/// Makes `dir` a directory as an installation has it: libkrun of a release and libkrunfw side by side. Returns the
/// library's path there.
pub fn install_libkrun(cache: &Cache, release: &str, dir: &Path) -> Result<PathBuf> {
    std::fs::create_dir_all(dir).with_context(|| format!("could not create {}", dir.display()))?;
    for from in [libkrun(cache, release, &["blk", "net"])?, firmware(cache)?] {
        for entry in std::fs::read_dir(&from).with_context(|| format!("could not list {}", from.display()))? {
            let entry = entry?;
            let to = dir.join(entry.file_name());
            let _ = std::fs::remove_file(&to);
            std::os::unix::fs::symlink(entry.path(), &to)
                .with_context(|| format!("could not link {}", to.display()))?;
        }
    }
    Ok(dir.join("libkrun.so.1"))
}
