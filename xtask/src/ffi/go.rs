//! Go, from Debian's 1.19 on.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use super::{Stage, source};
use crate::command::output;
use crate::{debian, project};

/// Vets and tests the package with the race detector; what is generated is formatted as gofmt has it, too.
pub(super) fn test(stage: &Stage) -> Result<()> {
    let unformatted = output(stage.command(debian::program("gofmt", "golang-go")?).arg("-l").arg(source("go")))?;
    ensure!(unformatted.is_empty(), "gofmt would change {}", String::from_utf8_lossy(&unformatted).trim());
    for tags in ["", "lab"] {
        project::run(&mut go(stage, &["vet", "-tags", tags, "./..."])?)?;
    }
    project::run(&mut go(stage, &["test", "-race", "-count=1", "./..."])?)
}

/// Builds the launcher.
pub(super) fn launcher(stage: &Stage) -> Result<PathBuf> {
    let program = stage.programs()?.join("launch-go");
    let output = program.to_str().context("the target directory is not UTF-8")?;
    project::run(&mut go(stage, &["build", "-o", output, "./cmd/launch"])?)?;
    Ok(program)
}

/// The tests with a real guest, to be run in the lab.
pub(super) fn guest_tests(stage: &Stage) -> Result<PathBuf> {
    let program = stage.programs()?.join("guest-go");
    let output = program.to_str().context("the target directory is not UTF-8")?;
    project::run(&mut go(stage, &["test", "-race", "-c", "-tags", "lab", "-o", output, "."])?)?;
    Ok(program)
}

pub(super) fn go(stage: &Stage, arguments: &[&str]) -> Result<std::process::Command> {
    let mut command = stage.command(debian::program("go", "golang-go")?);
    // It needs nothing from elsewhere, and its cache goes with the target directory.
    command.env("GOPROXY", "off").env("GOFLAGS", "-mod=mod").env("GOCACHE", stage.dir.join("go-cache"));
    command.env("GOTOOLCHAIN", "local").env("CGO_ENABLED", "1");
    command.current_dir(source("go")).args(arguments);
    Ok(command)
}
