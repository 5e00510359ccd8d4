//! The real libkrun, built from its published crate.
//!
//! A small crate of our own depends on exactly one release of the crate `libkrun` and is linked as a shared library:
//! that exports libkrun's C functions, as its own build does.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use crate::cache::{Cache, fingerprint};
use crate::command::{find_program, output, with_retries};
use crate::debian;
use crate::elf::Elf;

/// The releases whose crates can be built.
pub const RELEASES: [&str; 7] = ["1.18.0", "1.18.1", "1.19.0", "1.19.2", "1.19.3", "1.19.6", "1.19.7"];

/// The features of libkrun that can be asked for. With amd-sev it is a flavour of its own, which brings blk along and
/// depends on more.
pub const FEATURES: [&str; 3] = ["blk", "net", SEV];

const SEV: &str = "amd-sev";

/// These crates were published without the source of init, the program that runs first in a guest.
const WITHOUT_INIT: [&str; 3] = ["1.18.0", "1.18.1", "1.19.0"];

/// The crate that has that source.
const INIT_CRATE: (&str, &str) = ("krun-init-blob", "0.1.0-1.19.7");

/// Raised when the way of building changes, so that older results are not used any more.
const RECIPE: &str = "1";

/// The directory that holds `libkrun.so.RELEASE` and the symlinks `libkrun.so.1` and `libkrun.so`, built if the cache
/// lacks it. `release` is one of [`RELEASES`], `features` are of [`FEATURES`]; their order does not matter.
pub fn libkrun(cache: &Cache, release: &str, features: &[&str]) -> Result<PathBuf> {
    if !RELEASES.contains(&release) {
        bail!("libkrun {release} cannot be built here; the releases that can: {}", RELEASES.join(", "));
    }
    if let Some(unknown) = features.iter().find(|feature| !FEATURES.contains(feature)) {
        bail!(
            "libkrun cannot be built with the feature {unknown:?} here; the features that can: {}",
            FEATURES.join(", ")
        );
    }
    let mut features = features.to_vec();
    features.sort_unstable();
    features.dedup();

    let sev = features.contains(&SEV);
    let manifest = manifest(release, sev);
    let lock = fs::read(lock_path(release, sev)).unwrap_or_default();
    let compiler = output(Command::new(rustc()).arg("-vV"))?;
    let inputs = fingerprint([RECIPE.as_bytes(), manifest.as_bytes(), &lock, &compiler]);
    let name = if features.is_empty() { "none".to_owned() } else { features.join("-") };
    cache.entry(&format!("libkrun/{release}-{name}-{inputs}"), |dir| {
        ensure_c_compiler()?;
        let init = WITHOUT_INIT.contains(&release).then(|| init_binary(cache)).transpose()?;
        let source = dir.join("source");
        write_crate(&source, &manifest)?;
        pin(&source, release, sev)?;
        // All releases are built in one target directory, under one name: nobody else may build until ours is copied.
        let _target = cache.lock("libkrun-target")?;
        let built = build(cache, &source, release, &features, init.as_deref())?;
        let library = dir.join(format!("libkrun.so.{release}"));
        fs::copy(&built, &library)
            .with_context(|| format!("could not copy {} to {}", built.display(), library.display()))?;
        check(&library)?;
        symlink(format!("libkrun.so.{release}"), dir.join("libkrun.so.1")).context("could not link libkrun.so.1")?;
        symlink("libkrun.so.1", dir.join("libkrun.so")).context("could not link libkrun.so")
    })
}

/// Resolves the dependencies of `release` anew and writes the result to `xtask/libkrun/RELEASE.lock`, or to the one of
/// its flavour.
pub fn relock(cache: &Cache, release: &str, features: &[&str]) -> Result<PathBuf> {
    let sev = features.contains(&SEV);
    let work = cache.root().join(format!("libkrun/relock-{release}"));
    crate::cache::remove_dir(&work)?;
    write_crate(&work, &manifest(release, sev))?;
    resolve(&work, release)?;
    let lock = lock_path(release, sev);
    fs::create_dir_all(lock.parent().expect("the path has a parent"))?;
    fs::copy(work.join("Cargo.lock"), &lock).with_context(|| format!("could not write {}", lock.display()))?;
    crate::cache::remove_dir(&work)?;
    Ok(lock)
}

fn lock_path(release: &str, sev: bool) -> PathBuf {
    let name = if sev { format!("{release}-{SEV}.lock") } else { format!("{release}.lock") };
    Path::new(env!("CARGO_MANIFEST_DIR")).join("libkrun").join(name)
}

fn manifest(release: &str, sev: bool) -> String {
    let sev = if sev { "amd-sev = [\"libkrun/amd-sev\"]\n" } else { "" };
    format!(
        r#"[package]
name = "real-libkrun"
version = "0.0.0"
edition = "2024"
rust-version = "1.88"

[lib]
crate-type = ["cdylib"]

[features]
blk = ["libkrun/blk"]
net = ["libkrun/net"]
{sev}
[dependencies]
libkrun = "={release}"

[profile.release]
strip = true

[workspace]
"#
    )
}

fn write_crate(dir: &Path, manifest: &str) -> Result<()> {
    let source = dir.join("src");
    fs::create_dir_all(&source)
        .and_then(|()| fs::write(dir.join("Cargo.toml"), manifest))
        .and_then(|()| fs::write(source.join("lib.rs"), "extern crate krun as _;\n"))
        .with_context(|| format!("could not write the crate that builds libkrun in {}", dir.display()))
}

/// Puts the checked-in resolution of the dependencies in place, or a new one where that is missing or does not work.
fn pin(dir: &Path, release: &str, sev: bool) -> Result<()> {
    let pinned = lock_path(release, sev);
    if pinned.is_file() {
        let lock = dir.join("Cargo.lock");
        fs::copy(&pinned, &lock).with_context(|| format!("could not copy {}", pinned.display()))?;
        let fetched = with_retries(&format!("fetching the crates of libkrun {release}"), || {
            output(cargo(dir).args(["fetch", "--locked"]))
        });
        let Err(error) = fetched else { return Ok(()) };
        eprintln!("{} no longer resolves, so the dependencies are resolved anew: {error:#}", pinned.display());
        fs::remove_file(&lock).with_context(|| format!("could not remove {}", lock.display()))?;
    }
    resolve(dir, release)
}

fn resolve(dir: &Path, release: &str) -> Result<()> {
    with_retries(&format!("resolving the dependencies of libkrun {release}"), || {
        output(cargo(dir).arg("generate-lockfile"))
    })?;
    if WITHOUT_INIT.contains(&release) {
        // Two releases of vm-memory that these libkruns name loosely do not fit together; this order brings ones that do.
        for package in ["vm-memory@0.17.2", "vm-memory@0.16.2"] {
            output(cargo(dir).args(["update", "--package", package, "--precise", "0.17.1"]))?;
        }
    }
    Ok(())
}

fn build(cache: &Cache, source: &Path, release: &str, features: &[&str], init: Option<&Path>) -> Result<PathBuf> {
    ensure_c_compiler()?;
    // One target directory for all releases, because they share most of their dependencies.
    let target = cache.root().join("libkrun-target");
    let time = if target.is_dir() { "about 20 s" } else { "about 70 s" };
    eprintln!("building libkrun {release} ({time}, once) ...");
    let mut command = cargo(source);
    command.args(["rustc", "--release", "--locked", "--lib", "--no-default-features"]);
    command.arg("--features").arg(features.join(",")).arg("--target-dir").arg(&target);
    command.args(["--", "-C", "link-arg=-Wl,-soname,libkrun.so.1"]);
    if let Some(init) = init {
        command.env("KRUN_INIT_BINARY_PATH", init);
    }
    output(&mut command).with_context(|| format!("could not build libkrun {release}"))?;
    Ok(target.join("release/libreal_libkrun.so"))
}

/// A static program from the source of libkrun's init.
fn init_binary(cache: &Cache) -> Result<PathBuf> {
    let (name, version) = INIT_CRATE;
    let entry = cache.entry(&format!("libkrun-init/{version}"), |dir| {
        ensure_c_compiler()?;
        let manifest = format!(
            "[package]\nname = \"init\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\n{name} = \"={version}\"\n\n[workspace]\n"
        );
        write_crate(dir, &manifest)?;
        let metadata = with_retries(&format!("fetching the crate {name} {version}"), || {
            output(cargo(dir).args(["metadata", "--format-version", "1"]))
        })?;
        let source = package_dir(&metadata, name)?.join("init");
        output(
            Command::new(c_compiler())
                .args(["-O2", "-static", "-o"])
                .arg(dir.join("init"))
                .args([source.join("init.c"), source.join("dhcp.c")]),
        )
        .context("could not build libkrun's init as a static program; a static C library is needed (Debian: libc6-dev)")?;
        Ok(())
    })?;
    Ok(entry.join("init"))
}

/// Where cargo unpacked the package `name`.
fn package_dir(metadata: &[u8], name: &str) -> Result<PathBuf> {
    let metadata: serde_json::Value = serde_json::from_slice(metadata).context("cargo metadata wrote no JSON")?;
    let packages = metadata["packages"].as_array().context("cargo metadata lists no packages")?;
    let manifest =
        packages.iter().find(|package| package["name"] == name).and_then(|package| package["manifest_path"].as_str());
    manifest
        .and_then(|manifest| Some(Path::new(manifest).parent()?.to_owned()))
        .ok_or_else(|| anyhow!("cargo metadata does not tell where the crate {name} is"))
}

fn check(library: &Path) -> Result<()> {
    let bytes = fs::read(library).with_context(|| format!("could not read {}", library.display()))?;
    let elf = Elf::parse(&bytes).with_context(|| format!("{} is damaged", library.display()))?;
    let soname = elf.soname()?;
    if soname != Some("libkrun.so.1") {
        bail!("{} calls itself {soname:?} and not libkrun.so.1", library.display());
    }
    if !exported(&elf)?.contains(&"krun_create_ctx") {
        bail!("{} exports no krun_create_ctx, so it is not a libkrun", library.display());
    }
    Ok(())
}

fn exported<'a>(elf: &Elf<'a>) -> Result<Vec<&'a str>> {
    Ok(elf.exported_functions()?.into_iter().filter(|name| name.starts_with("krun_")).collect())
}

/// The names of libkrun's functions that `library` exports, sorted.
pub fn exports(library: &Path) -> Result<Vec<String>> {
    let bytes = fs::read(library).with_context(|| format!("could not read {}", library.display()))?;
    let mut names: Vec<String> = exported(&Elf::parse(&bytes)?)?.into_iter().map(str::to_owned).collect();
    names.sort_unstable();
    Ok(names)
}

fn ensure_c_compiler() -> Result<()> {
    if find_program(&c_compiler()).is_none() {
        debian::install(&["gcc", "libc6-dev"])?;
    }
    Ok(())
}

fn c_compiler() -> String {
    std::env::var("CC").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "cc".to_owned())
}

fn rustc() -> std::ffi::OsString {
    std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into())
}

/// Cargo in `dir`, without what the cargo that runs this very task put into the environment.
fn cargo(dir: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(dir);
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        if name.starts_with("CARGO_PKG_")
            || ["CARGO_TARGET_DIR", "CARGO_BUILD_TARGET", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"].contains(&&*name)
        {
            command.env_remove(&*name);
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_release_or_feature_is_refused_before_anything_is_fetched() {
        let cache = Cache::at(std::env::temp_dir()).unwrap();
        let error = libkrun(&cache, "1.17.0", &[]).unwrap_err().to_string();
        assert!(error.contains("1.17.0") && error.contains("1.19.7"), "{error}");
        let error = libkrun(&cache, "1.19.7", &["gpu"]).unwrap_err().to_string();
        assert!(error.contains("gpu") && error.contains("blk, net"), "{error}");
    }

    #[test]
    fn the_place_of_a_package() {
        let metadata = br#"{"packages":[{"name":"a","manifest_path":"/x/a/Cargo.toml"},{"name":"b","manifest_path":"/x/b/Cargo.toml"}]}"#;
        assert_eq!(package_dir(metadata, "b").unwrap(), Path::new("/x/b"));
        assert!(package_dir(metadata, "c").is_err());
    }
}
