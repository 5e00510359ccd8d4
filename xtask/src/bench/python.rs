//! What krundl costs in Python: beside `import ctypes`, a C program that probes, and SmolVM's launcher.

use std::ffi::OsString;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::Bench;
use super::measure::Pairs;
use super::report::{Row, milliseconds};
use crate::command::output;
use crate::project;
use crate::python::{Package, environment};

/// The launcher that is compared with: the cost of importing what each of its children imports first.
const SMOLVM: &str = "smolvm==0.0.36\n";

pub(super) fn python(bench: &Bench<'_>) -> Result<Vec<Row>> {
    let package = Package::build(bench.cache)?;
    let smolvm = environment("smolvm", bench.cache, SMOLVM)?.join("bin/python");
    let library = bench.libkrun()?;
    let program = bench.dir.join("open");
    bench.cc("open.c", &program, &["-Wl,--no-as-needed", "-lgcc_s"])?;
    let built = project::executables(&["build", "--package", "krundl-test-support", "--bins"])?;
    let stubs = bench.dir.join("stubs");
    output(Command::new(project::executable(&built, "krundl-test-stubs")?).arg(&stubs))?;
    let (stub, root) = (stubs.join("libraries/runs/libkrun.so.1.19.7"), stubs.join("files/root"));

    let measured =
        |what: &str, all: usize, arguments: &[&Path]| measure(&package, what, bench.selection.pairs(all), arguments);
    let imports = measured("import", 51, &[])?;
    let probes = measured("probe", 101, &[&program, &library])?;
    let launches = measured("launch", 15, &[&smolvm, &stub, &root])?;
    let row = |name: &str, pairs: &Pairs, limit: f64, of: &dyn Fn(f64) -> String| Row {
        name: name.to_owned(),
        c: of(pairs.c()),
        ours: of(pairs.ours()),
        ratio: pairs.ratio_text(),
        limit: format!("{limit} x"),
        holds: Some(pairs.ratio() <= limit),
    };
    let mebibytes = |kib: f64| format!("{:.1} MiB", kib / 1024.0);
    Ok(vec![
        row(
            "`import krundl`, beside `import ctypes`: processor, whole process",
            &pairs(&imports, 0),
            2.0,
            &milliseconds,
        ),
        row("the same, the import alone", &pairs(&imports, 2), 2.0, &milliseconds),
        row("`krundl.probe()`, beside a C program that opens and looks up", &pairs(&probes, 0), 3.0, &milliseconds),
        row("children of `krundl.launch()`, beside SmolVM's: processor", &pairs(&launches, 0), 0.1, &milliseconds),
        row("the same: peak memory", &pairs(&launches, 2), 0.1, &mebibytes),
    ])
}

fn measure(package: &Package, what: &str, count: usize, arguments: &[&Path]) -> Result<Vec<Vec<f64>>> {
    let mut command = Command::new(&package.python);
    let script = project::root().join("benches/measure.py");
    command.arg(script).arg(what).arg(count.to_string()).args(arguments.iter().map(OsString::from));
    let printed = output(&mut command)?;
    let numbers = |line: &str| line.split(' ').map(|word| word.parse().ok()).collect::<Option<Vec<f64>>>();
    String::from_utf8_lossy(&printed).lines().map(numbers).collect::<Option<_>>().context("nothing was measured")
}

fn pairs(lines: &[Vec<f64>], at: usize) -> Pairs {
    Pairs(lines.iter().map(|line| (line[at], line[at + 1])).collect())
}
