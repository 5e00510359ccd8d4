//! Packages of krundl for Debian and for RPM, of one installation each.

pub mod cargo_c;
pub mod crates;
mod deb;
pub mod fresh;
pub(crate) mod readme;
mod rpm;
pub mod semver;
pub mod test;
pub mod third_party;
pub mod wheels;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::command::output;
use crate::install::{Installation, install};
use crate::{Cache, project};

/// What kind of packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// krundl, libkrundl1 and libkrundl-dev, by cargo-deb
    Deb,
    /// krundl, krundl-libs and krundl-devel, by cargo-generate-rpm
    Rpm,
}

/// Builds krundl for release and packs it. Returns the packages' files.
///
/// # Errors
/// What could not be built or packed.
pub fn package(cache: &Cache, kind: Kind, maintainer: Option<&str>) -> Result<Vec<PathBuf>> {
    let files = match kind {
        Kind::Deb => deb::package(cache, maintainer),
        Kind::Rpm => rpm::package(cache),
    }?;
    for file in &files {
        eprintln!("{} bytes", fs::metadata(file)?.len());
    }
    Ok(files)
}

/// Where the packages and what they are made of lie: cargo-deb and cargo-generate-rpm find it by Cargo.toml's words,
/// so it is in the repository, wherever cargo builds.
fn dir() -> PathBuf {
    project::root().join("target/package")
}

/// Installs krundl below `dir`, without what only debuggers read, and the man pages packed.
fn stage(dir: &Path, libdir: &str) -> Result<()> {
    crate::cache::remove_dir(dir)?;
    let destdir = Some(dir.to_owned());
    install(&Installation { prefix: "/usr".into(), destdir, libdir: libdir.into(), debug: false })?;
    let usr = dir.join("usr");
    for program in ["bin/krundl", "libexec/krundl/krundl-vmm"] {
        output(Command::new("strip").arg("--strip-unneeded").arg(usr.join(program)))?;
    }
    let lib = usr.join(libdir);
    for file in files(&lib)?.into_iter().filter(|file| !file.is_symlink()) {
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if name.contains(".so") {
            output(Command::new("strip").arg("--strip-unneeded").arg(&file))?;
        } else if name.ends_with(".a") {
            output(Command::new("strip").args(["--strip-debug", "--enable-deterministic-archives"]).arg(&file))?;
        }
    }
    for page in files(&usr.join("share/man/man1"))? {
        output(Command::new("gzip").args(["-9", "--no-name", "--force"]).arg(page))?;
    }
    let notice = third_party::notice("krundl's programs and libraries hold", &third_party::crates("default,capi")?)?;
    let to = self::dir().join("third-party.txt");
    fs::write(&to, notice).with_context(|| format!("could not write {}", to.display()))?;
    output(Command::new("gzip").args(["-9", "--no-name", "--force", "--keep"]).arg(to)).map(drop)
}

fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(dir).with_context(|| format!("could not list {}", dir.display()))?;
    let mut files: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(|p| !p.is_dir()).collect();
    files.sort();
    Ok(files)
}

/// An empty directory for the packages of one kind.
fn empty(name: &str) -> Result<PathBuf> {
    let dir = dir().join(name);
    crate::cache::remove_dir(&dir)?;
    fs::create_dir_all(&dir).with_context(|| format!("could not create {}", dir.display()))?;
    Ok(dir)
}

/// The time of the last change, which is what files in packages get: two builds of the same are the same.
fn source_date() -> Result<String> {
    if let Some(date) = std::env::var_os("SOURCE_DATE_EPOCH").and_then(|date| date.into_string().ok()) {
        return Ok(date);
    }
    let mut command = Command::new("git");
    command.args(["log", "-1", "--format=%ct"]).current_dir(project::root());
    // In an unpacked archive there is no history; then the changelog's own date.
    let date = output(&mut command)
        .or_else(|_| output(Command::new("dpkg-parsechangelog").args(["-S", "Timestamp", "-l"]).arg(changelog())))?;
    Ok(String::from_utf8_lossy(&date).trim().to_owned())
}

fn changelog() -> PathBuf {
    project::root().join("packaging/debian/changelog")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_ask_for_each_other_in_their_own_version() {
        // The first package of a version.
        let version = format!("{}-1", env!("CARGO_PKG_VERSION"));
        let manifest = fs::read_to_string(project::root().join("Cargo.toml")).unwrap();
        for dependency in ["krundl (= V)", "libkrundl1 (= V)", "krundl = \"= V\"", "krundl-libs = \"= V\""] {
            let dependency = dependency.replace('V', &version);
            assert!(manifest.contains(&dependency), "Cargo.toml lacks {dependency}");
        }
        let changelog = fs::read_to_string(changelog()).unwrap();
        assert!(changelog.starts_with(&format!("krundl ({version}) ")), "the changelog is of another version");
        let soname = format!("libkrundl{}", krundl::capi::ABI_VERSION);
        assert!(manifest.contains(&format!("name = \"{soname}\"")), "the library's package has another number");
    }
}
