//! `cargo cinstall`: krundl's library by way of cargo-c, as some distributions build Rust's libraries for C.

use std::process::Command;

use anyhow::{Result, ensure};

use super::empty;
use crate::bare::said;
use crate::command::output;
use crate::{Cache, debian, install, project, tools};

/// Installs the library, and builds and runs a program with it.
///
/// # Errors
/// The first step that failed.
pub fn test(cache: &Cache) -> Result<()> {
    debian::require(&[("pkg-config", "pkg-config")])?;
    let tool = tools::C.program(cache)?;
    let tree = empty("cargo-c")?;
    let mut command = Command::new(tool);
    command.args(["cinstall", "--locked", "--no-default-features", "--release", "--manifest-path"]);
    command
        .arg(project::root().join("Cargo.toml"))
        .args(["--prefix", "/usr", "--libdir", "lib", "--destdir"])
        .arg(&tree);
    // As project::cargo has it.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_")) {
        if name != "CARGO_TARGET_DIR" && name != "CARGO_HOME" {
            command.env_remove(name);
        }
    }
    output(&mut command)?;
    let usr = tree.join("usr");
    for file in ["lib/libkrundl.so.1.0.1", "lib/libkrundl.so.1", "lib/libkrundl.a", "include/krundl.h"] {
        ensure!(usr.join(file).exists(), "cargo cinstall makes no {file}");
    }
    ensure!(!usr.join("bin").exists(), "cargo cinstall brings programs, which docs/packaging.md denies");
    let flags = Command::new("pkg-config")
        .args(["--cflags", "--libs", "krundl"])
        .env("PKG_CONFIG_PATH", usr.join("lib/pkgconfig"))
        .env("PKG_CONFIG_SYSROOT_DIR", &tree)
        .output()?;
    ensure!(flags.status.success(), "pkg-config: {}", said(&flags));
    let flags = String::from_utf8(flags.stdout)?;
    let program = tree.join("doctor");
    let mut cc = install::cc()?;
    cc.arg(project::root().join("ffi-tests/c/doctor.c")).args(flags.split_whitespace()).arg("-o").arg(&program);
    output(&mut cc)?;
    let helper = project::executables(&["build", "--package", "krundl", "--bins", "--release"])?;
    let told = said(
        &Command::new(&program)
            .env("LD_LIBRARY_PATH", usr.join("lib"))
            .env("KRUNDL_VMM", project::executable(&helper, "krundl-vmm")?)
            .output()?,
    );
    ensure!(told.contains("libkrun"), "the program says {told}");
    Ok(())
}
