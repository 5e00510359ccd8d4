//! The crates that krundl's programs and libraries hold, and their licences, which say that they want to be passed on.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde_json::Value;

use crate::command::output;
use crate::project;

/// A crate of somebody else's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Crate {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The SPDX expression of its licence.
    pub license: String,
    /// Where its source lies.
    pub dir: PathBuf,
}

/// What is linked into a build with these features, on this platform.
///
/// # Errors
/// cargo does not say.
pub fn crates(features: &str) -> Result<Vec<Crate>> {
    crates_of(&project::root().join("Cargo.toml"), "krundl", features)
}

/// The same for the package of that name in another workspace.
///
/// # Errors
/// cargo does not say.
pub fn crates_of(manifest: &Path, name: &str, features: &str) -> Result<Vec<Crate>> {
    let features = ["--locked", "--features", features, "--manifest-path"];
    // The tree alone knows what these features take: the metadata have those that other members of the workspace ask for.
    let mut tree =
        project::cargo(["tree", "--edges", "normal", "--prefix", "none", "--format", "{p}", "--package", name]);
    let tree = output(tree.args(features).arg(manifest))?;
    let tree = String::from_utf8_lossy(&tree);
    let linked: BTreeSet<(&str, &str)> =
        tree.lines().filter_map(|line| line.split_once(" v")).map(|(name, rest)| (name, word(rest))).collect();
    let mut command = project::cargo(["metadata", "--format-version=1", "--filter-platform", &host()?]);
    let metadata: Value = serde_json::from_slice(&output(command.args(features).arg(manifest))?)?;
    let packages = metadata["packages"].as_array().context("cargo names no packages")?;
    let mut crates: Vec<Crate> = packages
        .iter()
        .map(|package| {
            let text = |field: &str| package[field].as_str().unwrap_or_default().to_owned();
            let manifest = PathBuf::from(text("manifest_path"));
            let dir = manifest.parent().unwrap_or(Path::new("")).to_owned();
            Crate { name: text("name"), version: text("version"), license: text("license"), dir }
        })
        .filter(|one| one.name != name && linked.contains(&(&one.name, &one.version)))
        .collect();
    crates.sort();
    Ok(crates)
}

fn word(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}

fn host() -> Result<String> {
    let said = output(std::process::Command::new("rustc").arg("-vV"))?;
    let said = String::from_utf8_lossy(&said).into_owned();
    said.lines().find_map(|line| line.strip_prefix("host: ")).map(str::to_owned).context("rustc names no host")
}

/// The text for whoever gets the packages: every crate with its licence, then the texts of these.
///
/// # Errors
/// A text cannot be read.
pub fn notice(what: &str, crates: &[Crate]) -> Result<String> {
    let mut text = format!("{what} these crates, linked statically:\n\n");
    let mut licenses: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for one in crates {
        writeln!(text, "{} {}: {}", one.name, one.version, one.license)?;
        for file in license_files(&one.dir)? {
            let license = fs::read_to_string(&file).with_context(|| format!("could not read {}", file.display()))?;
            let license = license.lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
            licenses.entry(license.trim_matches('\n').to_owned()).or_default().push(one.name.clone());
        }
    }
    for (license, names) in licenses {
        write!(text, "\n{}\n{}\n\n{license}\n", "=".repeat(79), names.join(", "))?;
    }
    Ok(text)
}

fn license_files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("could not list {}", dir.display()))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default().to_ascii_uppercase();
            path.is_file()
                && ["LICENSE", "LICENCE", "COPYING", "NOTICE", "UNLICENSE"].iter().any(|begin| name.starts_with(begin))
        })
        .collect();
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_linked_crate_is_named_with_its_licence_and_its_text() {
        let crates = crates("default,capi").unwrap();
        let names: Vec<&str> = crates.iter().map(|one| one.name.as_str()).collect();
        assert!(["clap", "libc", "libloading", "serde_json"].iter().all(|name| names.contains(name)), "{names:?}");
        // Of the tests, of the Python module and of the tasks only.
        assert!(["proptest", "pyo3", "schemars", "krundl"].iter().all(|name| !names.contains(name)), "{names:?}");
        let notice = notice("krundl holds", &crates).unwrap();
        for one in &crates {
            assert!(!one.license.is_empty(), "{} names no licence", one.name);
            assert!(notice.contains(&format!("{} {}: ", one.name, one.version)));
        }
        assert!(notice.contains("Permission is hereby granted") && notice.contains("Apache License"));
        assert!(!notice.contains(env!("CARGO_MANIFEST_DIR")), "no path of this machine");
    }
}
