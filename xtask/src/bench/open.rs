//! Opening a libkrun and learning what it can do, in instructions: they are the same in every run.

use std::ffi::OsStr;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::Bench;
use super::report::{Row, thousands};
use crate::command::find_program;
use crate::debian;

/// In krundl, what opens and looks up: `Handle::open` and `Handle::functions` of src/library/loader.rs.
const LOADER: &[&str] = &["krundl::library::loader::Handle::open", "krundl::library::loader::Handle::functions"];
/// In both programs, everything.
const ALL: &[&str] = &["measured"];

pub(super) fn open(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let library = bench.libkrun()?;
    let c = bench.dir.join("open");
    // Rust's programs are linked with libgcc_s, which libkrun needs too: without it C's dlopen would do more.
    bench.cc("open.c", &c, &["-Wl,--no-as-needed", "-lgcc_s"])?;
    let ours = bench.program("open")?;
    let by_hand = instructions(&c, &[library.as_os_str()], ALL)?;
    let row = |name: &str, ours: f64, limit: f64| Row {
        name: name.to_owned(),
        c: format!("{} instructions", thousands(by_hand)),
        ours: format!("{} instructions", thousands(ours)),
        ratio: format!("{:.2}", ours / by_hand),
        limit: format!("{limit} x"),
        holds: Some(ours / by_hand <= limit),
    };
    let loader = instructions(&ours, &[library.as_os_str()], LOADER)?;
    let everything = instructions(&ours, &[library.as_os_str()], ALL)?;
    Ok(vec![
        row(&format!("open libkrun {} and look up 72 functions", super::RELEASE), loader, 1.15),
        row("the same, and everything of its capabilities", everything, 2.0),
    ])
}

/// The instructions that a program carries out in functions that do not call each other.
pub(super) fn instructions(program: &Path, arguments: &[&OsStr], functions: &[&str]) -> Result<f64> {
    if find_program("valgrind").is_none() {
        debian::install(&["valgrind"])?;
    }
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    command.args(functions.iter().map(|function| format!("--toggle-collect={function}")));
    // Cargo's own, which would be searched as well.
    command.env_remove("LD_LIBRARY_PATH");
    let output = command.arg(program).args(arguments).output().context("could not start valgrind")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let count = said.lines().find_map(|line| line.split_once("Collected : ")?.1.trim().parse::<f64>().ok());
    match count {
        Some(count) if output.status.success() && count > 0.0 => Ok(count),
        _ => bail!("valgrind counted nothing in {functions:?} of {} ({}):\n{said}", program.display(), output.status),
    }
}
