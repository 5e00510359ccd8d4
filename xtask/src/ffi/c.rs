//! C and C++.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{Stage, source};
use crate::command::{find_program, output};
use crate::debian;

const WARNINGS: &[&str] = &["-Wall", "-Wextra", "-Wpedantic", "-Werror"];
/// Everything is checked by all of these programs.
const PROGRAMS: &[&str] = &["cases", "errors", "builder", "inspect", "nulls", "vm", "control", "threads", "fork"];

pub(super) fn test(stage: &Stage) -> Result<()> {
    for (program, package) in [("gcc", "gcc"), ("g++", "g++"), ("clang", "clang"), ("pkg-config", "pkg-config")] {
        debian::program(program, package)?;
    }
    // It reads the C library's symbols, which come in a package that it only recommends.
    if !Command::new("valgrind").args(["-q", "true"]).output().is_ok_and(|run| run.status.success()) {
        debian::install(&["valgrind", "libc6-dbg"])?;
    }
    headers(stage)?;
    let sanitizers = ["-fsanitize=address,undefined", "-fno-sanitize-recover=all", "-fno-omit-frame-pointer"];
    let memory = ["valgrind", "-q", "--error-exitcode=99", "--fair-sched=yes"];
    // What a thread's own storage reaches only from its middle is no leak, but "possibly" one.
    let leaks = ["--leak-check=full", "--errors-for-leak-kinds=definite,indirect"];
    for name in PROGRAMS {
        // A child that becomes a VM frees nothing any more.
        let valgrind = [&memory[..], if *name == "fork" { &[] } else { &leaks }].concat();
        let plain = compile(stage, name, &[])?;
        run(stage, &[], &plain)?;
        run(stage, &[], &compile(stage, name, &sanitizers)?)?;
        run(stage, &valgrind, &plain)?;
    }
    let noticed = |wrapper: &[&str], program: &Path| run(stage, wrapper, program).is_err();
    ensure!(noticed(&[], &compile(stage, "leak", &sanitizers)?), "a leak went unnoticed by LeakSanitizer");
    let valgrind = [&memory[..], &leaks].concat();
    ensure!(noticed(&valgrind, &compile(stage, "leak", &[])?), "a leak went unnoticed by valgrind");
    statically(stage)?;
    doctor(stage)?;
    for compiler in ["g++", "clang++"] {
        for standard in ["c++11", "c++17", "c++20"] {
            let options = [sanitizers.as_slice(), WARNINGS].concat();
            // clang brings its sanitizers' libraries in a package of its own.
            let options = if compiler == "g++" { &options[..] } else { WARNINGS };
            let program = stage.programs()?.join(format!("raii-{compiler}-{standard}"));
            let mut command = stage.command(compiler);
            command.arg(format!("-std={standard}")).args(["-g", "-O1"]).args(options).args(flags(stage, false)?);
            output(command.arg("-o").arg(&program).arg(source("cpp/raii.cpp")).args(flags(stage, true)?))?;
            run(stage, &[], &program)?;
        }
    }
    Ok(())
}

/// The header alone, in every language and by every compiler; and Rust's layout as a C compiler sees it.
fn headers(stage: &Stage) -> Result<()> {
    let include = format!("-I{}", stage.dir.join("usr/include").display());
    let alone = stage.dir.join("alone.c");
    std::fs::write(&alone, "#include <krundl.h>\n")?;
    for (compilers, language, standards) in
        [(["gcc", "clang"], "c", ["c99", "c11", "c17"]), (["g++", "clang++"], "c++", ["c++11", "c++17", "c++20"])]
    {
        for (compiler, standard) in compilers.iter().flat_map(|compiler| standards.map(|standard| (compiler, standard)))
        {
            let mut command = stage.command(compiler);
            command.arg(format!("-std={standard}")).args(WARNINGS).args([&include, "-fsyntax-only", "-x", language]);
            output(command.arg(&alone))?;
        }
    }
    let mut command = stage.command("gcc");
    command.arg("-std=c11").args(WARNINGS).args([&include, "-fsyntax-only"]);
    output(command.arg(source("c/layout.c"))).map(drop)
}

/// What pkg-config says: for compiling, or for linking.
fn flags(stage: &Stage, libs: bool) -> Result<Vec<String>> {
    let said = output(stage.command("pkg-config").args([if libs { "--libs" } else { "--cflags" }, "krundl"]))?;
    Ok(String::from_utf8_lossy(&said).split_whitespace().map(str::to_owned).collect())
}

fn compile(stage: &Stage, name: &str, options: &[&str]) -> Result<PathBuf> {
    let kind = if options.is_empty() { "" } else { "-sanitized" };
    let program = stage.programs()?.join(format!("{name}{kind}"));
    let mut command = stage.command("gcc");
    command.args(["-std=gnu11", "-g", "-O1"]).args(WARNINGS).args(options).args(flags(stage, false)?);
    command.arg("-I").arg(&stage.cases).arg("-o").arg(&program).arg(source(&format!("c/{name}.c")));
    output(command.args(flags(stage, true)?).arg("-lpthread"))?;
    Ok(program)
}

fn run(stage: &Stage, wrapper: &[&str], program: &Path) -> Result<()> {
    let mut command = match wrapper {
        [] => stage.command(program),
        [first, rest @ ..] => {
            let mut command = stage.command(find_program(first).with_context(|| format!("there is no {first}"))?);
            command.args(rest).arg(program);
            command
        }
    };
    limited(&mut command)?;
    Ok(())
}

/// Runs a program that must not take longer than two minutes.
fn limited(command: &mut Command) -> Result<Vec<u8>> {
    let mut timed = Command::new("timeout");
    timed.arg("120").arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => timed.env(name, value),
            None => timed.env_remove(name),
        };
    }
    output(&mut timed)
}

/// With the static library, whose needs pkg-config knows. Its helper is found by the program's own place.
fn statically(stage: &Stage) -> Result<()> {
    let program = stage.dir.join("usr/bin/cases-static");
    let said = output(stage.command("pkg-config").args(["--static", "--libs", "krundl"]))?;
    let needs = String::from_utf8_lossy(&said).replace("-lkrundl", "-l:libkrundl.a");
    let mut command = stage.command("gcc");
    command.args(["-std=gnu11", "-g"]).args(flags(stage, false)?).arg("-I").arg(&stage.cases);
    command.arg("-o").arg(&program).arg(source("c/cases.c"));
    output(command.args(needs.split_whitespace()))?;
    let needed = output(Command::new("readelf").arg("-d").arg(&program))?;
    ensure!(!String::from_utf8_lossy(&needed).contains("libkrundl"), "it is linked with the shared library");
    run(stage, &[], &program)
}

/// The doctor tells about a library that is there, and about one that is not.
fn doctor(stage: &Stage) -> Result<()> {
    let lines = std::fs::read_to_string(source("c/doctor.c"))?.lines().count();
    ensure!(lines <= 60, "the doctor has {lines} lines, and ought to have 60 at most");
    let program = compile(stage, "doctor", &[])?;
    let said = |library: &Path| -> Result<String> {
        // Whether something is in the way depends on this machine.
        let output = stage.command(&program).arg(library).output().context("could not start the doctor")?;
        ensure!(matches!(output.status.code(), Some(0 | 1)), "the doctor ended with {}", output.status);
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    };
    let there = said(&stage.cases.join("libraries/1.18.0/libkrun.so.1.18.0"))?;
    ensure!(there.contains("libkrun =1.18.0") && there.contains("mounts: yes, read-only: yes"), "{there}");
    let missing = said(&stage.cases.join("libraries/missing/libkrun.so.1"))?;
    ensure!(missing.contains("libkrun.so.1: missing") && missing.contains("in the way: library.found"), "{missing}");
    Ok(())
}
