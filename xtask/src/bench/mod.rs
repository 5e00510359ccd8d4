//! What krundl costs, beside small C programs that do the same by hand (`benches/`).
//!
//! Everything is measured in pairs, in turn, in one run, so that a machine that grows slower meanwhile does so for
//! both.
//! Nothing here is a test: times depend on the machine.

mod call;
mod doctor;
mod guests;
mod launch;
mod measure;
mod open;
mod python;
mod report;
mod sizes;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::find_program;
use crate::{Cache, debian, project};
use report::Row;

/// The libkrun that is measured with.
const RELEASE: &str = "1.19.7";

/// What is measured.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Fewer pairs, and nothing is built anew.
    pub quick: bool,
    /// Only the benchmarks with this in their names.
    pub filter: String,
    /// Whether the table goes into docs/performance.md.
    pub write: bool,
}

impl Selection {
    fn pairs(&self, all: usize) -> usize {
        if self.quick { all.div_ceil(5) } else { all }
    }
}

type Benchmark = fn(&Bench<'_>) -> Result<Vec<Row>>;

/// The benchmarks by name.
const ALL: [(&str, Benchmark); 9] = [
    ("open", open::open),
    ("call", call::call),
    ("launch", launch::launch),
    ("doctor", doctor::doctor),
    ("boot", guests::boot),
    ("mount", guests::mount),
    ("terminate", guests::terminate),
    ("python", python::python),
    ("sizes", sizes::sizes),
];

/// What all benchmarks need.
struct Bench<'a> {
    cache: &'a Cache,
    selection: &'a Selection,
    /// For C programs and whatever else is made; stays, so that the next run finds it.
    dir: PathBuf,
    /// The programs of the member `benches`, and krundl's own, built for release.
    built: Vec<(String, PathBuf)>,
}

/// Measures, prints the table, and writes it where that is asked for.
///
/// # Errors
/// What could not be built or run. A limit that does not hold is no error: the table says so.
pub fn bench(cache: &Cache, selection: &Selection) -> Result<()> {
    let chosen: Vec<_> = ALL.iter().filter(|(name, _)| name.contains(&selection.filter)).collect();
    if chosen.is_empty() {
        bail!("no benchmark is named like {:?}; there are {}", selection.filter, ALL.map(|(name, _)| name).join(", "));
    }
    if selection.write && (selection.quick || chosen.len() < ALL.len()) {
        bail!("only a whole run is written down: without --quick and without a filter");
    }
    step("building");
    let mut built = project::executables(&["build", "--release", "--package", "krundl", "--bins"])?;
    built.extend(project::executables(&["build", "--release", "--package", "krundl-benches"])?);
    let krundl = project::executable(&built, "krundl")?;
    let dir = krundl.parent().context("cargo put krundl nowhere")?.join("bench");
    std::fs::create_dir_all(&dir).with_context(|| format!("could not create {}", dir.display()))?;
    let bench = Bench { cache, selection, dir, built };
    bench.write_functions()?;
    let mut rows = Vec::new();
    for (name, benchmark) in chosen {
        step(name);
        rows.extend(benchmark(&bench)?);
    }
    let table = report::table(&rows);
    println!("{table}");
    for row in rows.iter().filter(|row| row.holds == Some(false)) {
        println!("does not hold: {}", row.name);
    }
    if selection.write {
        report::write(&table)?;
    }
    Ok(())
}

impl Bench<'_> {
    fn program(&self, name: &str) -> Result<PathBuf> {
        project::executable(&self.built, name)
    }

    /// The names of all functions, for the C programs.
    fn write_functions(&self) -> Result<()> {
        let names = krundl::symbols::Function::ALL.iter().map(|function| format!("F({})\n", function.name()));
        let path = self.dir.join("functions.h");
        std::fs::write(&path, names.collect::<String>()).with_context(|| format!("could not write {}", path.display()))
    }

    /// Compiles a C program, or with the right options a library, of `benches`.
    fn cc(&self, source: &str, output: &Path, options: &[&str]) -> Result<()> {
        let cc = std::env::var("CC").ok().filter(|name| !name.is_empty()).unwrap_or_else(|| "cc".to_owned());
        if find_program(&cc).is_none() {
            debian::install(&["gcc", "libc6-dev"])?;
        }
        let mut command = Command::new(cc);
        command.args(["-O2", "-Wall", "-I"]).arg(&self.dir).arg("-o").arg(output);
        project::run(command.arg(project::root().join("benches").join(source)).args(options))
    }

    /// libkrun and libkrunfw side by side, as an installation has them.
    fn libkrun(&self) -> Result<PathBuf> {
        project::install_libkrun(self.cache, RELEASE, &self.dir.join("lib"))
    }
}

fn step(what: &str) {
    eprintln!("\n==> {what}");
}
