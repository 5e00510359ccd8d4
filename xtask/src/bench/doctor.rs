//! All of `krundl doctor`, against what launchers do today: Python's ctypes with find_library.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use super::Bench;
use super::measure::Pairs;
use super::report::{Row, milliseconds};
use crate::command::find_program;
use crate::{debian, project};

pub(super) fn doctor(bench: &Bench<'_>) -> Result<Vec<Row>> {
    if find_program("python3").is_none() {
        debian::install(&["python3-minimal"])?;
    }
    let library = bench.libkrun()?;
    let place = library.parent().context("libkrun lies nowhere")?;
    let functions = krundl::symbols::Function::ALL.iter().map(|function| function.name());
    let mut python = Command::new("python3");
    python.arg(project::root().join("benches/probe.py")).args(functions);
    let mut krundl = Command::new(bench.program("krundl")?);
    krundl.arg("doctor");

    whole(&mut python, place, &[0])?;
    whole(&mut krundl, place, &[0, 1])?;
    let mut pairs = Pairs(Vec::new());
    for _ in 0..bench.selection.pairs(31) {
        pairs.0.push((whole(&mut python, place, &[0])?, whole(&mut krundl, place, &[0, 1])?));
    }
    Ok(vec![
        Row {
            name: "krundl doctor, against a probe with ctypes and find_library".to_owned(),
            c: milliseconds(pairs.c()),
            ours: milliseconds(pairs.ours()),
            ratio: pairs.ratio_text(),
            limit: "0.2 x".to_owned(),
            holds: Some(pairs.ratio() <= 0.2),
        },
        Row {
            name: "the whole process of krundl doctor".to_owned(),
            c: String::new(),
            ours: milliseconds(pairs.ours()),
            ratio: String::new(),
            limit: "60 ms".to_owned(),
            holds: Some(pairs.ours() <= 60e6),
        },
    ])
}

/// A whole process, in nanoseconds. Where the libraries lie is told to loader and linker alike, as find_library asks both.
fn whole(command: &mut Command, place: &Path, statuses: &[i32]) -> Result<f64> {
    command.env("LD_LIBRARY_PATH", place).env("LIBRARY_PATH", place).stdin(Stdio::null()).stdout(Stdio::null());
    let begin = Instant::now();
    let output = command.stderr(Stdio::piped()).output().with_context(|| format!("could not start {command:?}"))?;
    let took = begin.elapsed().as_nanos();
    if !output.status.code().is_some_and(|code| statuses.contains(&code)) {
        bail!("{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(took as f64)
}
