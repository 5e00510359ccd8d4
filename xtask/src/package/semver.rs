//! Whether Rust's callers still have all that they had: the API beside that of a revision which a file names.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::{dir, empty};
use crate::bare::said;
use crate::command::output;
use crate::{Cache, project, tools};

/// The file that names the revision.
const BASELINE: &str = "packaging/semver-baseline";
/// What is in the library besides; the module for Python is none for callers in Rust.
const FEATURES: &str = "capi";
/// With this in the environment the file names the last commit from now on.
const UPDATE: &str = "KRUNDL_UPDATE";

/// Compares the API, and proves that it would be noticed if something was gone.
///
/// # Errors
/// Something is gone or not what it was, or the comparison could not be made.
pub fn test(cache: &Cache) -> Result<()> {
    let file = project::root().join(BASELINE);
    let mut text = fs::read_to_string(&file).with_context(|| format!("could not read {}", file.display()))?;
    if std::env::var_os(UPDATE).is_some() {
        text = renewed(&text)?;
        fs::write(&file, &text).with_context(|| format!("could not write {}", file.display()))?;
    }
    let revision = revision(&text)?;
    if let Some(reason) = missing(&project::root(), revision) {
        eprintln!("skipped: {reason}");
        return Ok(());
    }
    let tool = tools::SEMVER.program(cache)?;
    let old = empty("semver")?.join("krundl");
    extract(revision, &old)?;
    let (before, now) = (api(&old, "before")?, api(&project::root(), "now")?);
    let (passed, told) = compare(&tool, &before, &now, &[])?;
    ensure!(
        passed,
        "the API is not what it was at {revision}:\n{told}\nthat takes a new version; where nothing is released yet, \
         {UPDATE}=1 makes the last commit the one to compare with"
    );
    let checked = told.lines().find(|line| line.trim_start().starts_with("Checked")).unwrap_or(&told);
    eprintln!("{}", checked.trim());
    // One item more in the old one: in the new one it is gone.
    let source = old.join("src/lib.rs");
    let mut source = fs::OpenOptions::new().append(true).open(&source).context("the baseline has no src/lib.rs")?;
    source.write_all(b"\n/// Gone since.\npub fn gone_since() {}\n")?;
    let (passed, told) = compare(&tool, &api(&old, "with-one-more")?, &now, &["--release-type=minor"])?;
    ensure!(!passed && told.contains("gone_since"), "an item that is gone is not noticed: {told}");
    Ok(())
}

/// The revision that the file names, on its only line that is no comment.
fn revision(text: &str) -> Result<&str> {
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    match (lines.next(), lines.next()) {
        (Some(revision), None) if revision.len() == 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            Ok(revision)
        }
        _ => bail!("{BASELINE} does not name one revision by its 40 digits"),
    }
}

/// The file's text with the last commit in place of the revision.
fn renewed(text: &str) -> Result<String> {
    let changed = git(&["diff", "--quiet", "HEAD", "--", "src", "Cargo.toml"]).status()?;
    ensure!(changed.success(), "what is to be compared with has to be committed first");
    let head = output(&mut git(&["rev-parse", "HEAD"]))?;
    let head = String::from_utf8_lossy(&head).trim().to_owned();
    eprintln!("{BASELINE} names {head} from now on");
    Ok(text.replace(revision(text)?, &head))
}

/// Why there is nothing to compare with, if there is nothing.
fn missing(repository: &Path, revision: &str) -> Option<String> {
    let says = |arguments: &[&str]| git(arguments).current_dir(repository).output().ok().filter(|o| o.status.success());
    let commit = format!("{revision}^{{commit}}");
    let is_there = || says(&["cat-file", "-e", &commit]).is_some();
    let is_shallow = || says(&["rev-parse", "--is-shallow-repository"]).is_some_and(|said| said.stdout == b"true\n");
    if is_there()
        || is_shallow() && says(&["fetch", "--quiet", "--depth=1", "origin", revision]).is_some() && is_there()
    {
        return None;
    }
    let what =
        if is_shallow() { "the clone is shallow: `git fetch --unshallow`" } else { "this is no clone with all of it" };
    Some(format!("the history lacks {revision}, with which the API is compared; {what}"))
}

fn git(arguments: &[&str]) -> Command {
    let mut command = Command::new("git");
    command.args(arguments).current_dir(project::root()).env("GIT_TERMINAL_PROMPT", "0");
    command
}

/// The repository as it was.
fn extract(revision: &str, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("could not create {}", to.display()))?;
    let archive = to.with_extension("tar");
    output(git(&["archive", "--format=tar", "-o"]).arg(&archive).arg(revision))?;
    output(Command::new("tar").arg("-xf").arg(&archive).arg("-C").arg(to)).map(drop)
}

/// What rustdoc knows of a checkout's library. Built with the lock file of that checkout, which the tool would not do.
fn api(checkout: &Path, name: &str) -> Result<PathBuf> {
    eprintln!("the API {name} ...");
    let target = dir().join("semver-target");
    let mut command = project::cargo(["rustdoc", "--quiet", "--locked", "--package", "krundl", "--lib"]);
    command.args(["--no-default-features", "--features", FEATURES, "--target-dir"]).arg(&target);
    let flags = ["-Zunstable-options", "--output-format=json", "--document-private-items", "--document-hidden-items"];
    command.arg("--").args(flags).arg("--cap-lints=allow");
    // The format is not a stable one, and the tool knows those of several releases of rustdoc.
    output(command.current_dir(checkout).env("RUSTC_BOOTSTRAP", "1"))?;
    let file = dir().join("semver").join(name).with_extension("json");
    fs::copy(target.join("doc/krundl.json"), &file).context("rustdoc wrote no krundl.json")?;
    Ok(file)
}

/// Whether the new one has all that its version promises of the old one, and what the tool says.
fn compare(tool: &Path, before: &Path, now: &Path, further: &[&str]) -> Result<(bool, String)> {
    let mut command = Command::new(tool);
    command.args(["semver-checks", "--color=never"]).args(further).arg("--baseline-rustdoc").arg(before);
    let result = command.arg("--current-rustdoc").arg(now).current_dir(project::root()).output()?;
    Ok((result.status.success(), said(&result)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_names_one_revision() {
        let text = fs::read_to_string(project::root().join(BASELINE)).unwrap();
        revision(&text).unwrap();
        for bad in ["", "# only words\n", "main\n", "0123\n", &format!("{text}\n{}\n", "0".repeat(40))] {
            assert!(revision(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_history_that_lacks_it_is_a_reason_to_skip() {
        let dir = std::env::temp_dir().join(format!("krundl-semver-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let none = missing(&dir, &"0".repeat(40)).unwrap();
        output(git(&["init", "--quiet"]).current_dir(&dir)).unwrap();
        let whole = missing(&dir, &"0".repeat(40)).unwrap();
        // A clone without its remote.
        fs::write(dir.join(".git/shallow"), "1".repeat(40) + "\n").unwrap();
        let shallow = missing(&dir, &"0".repeat(40)).unwrap();
        crate::cache::remove_dir(&dir).unwrap();
        assert!(none.contains("no clone") && whole.contains("no clone"), "{none}; {whole}");
        assert!(shallow.contains("git fetch --unshallow"), "{shallow}");
    }
}
