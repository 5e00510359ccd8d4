//! The C ABI from outside: what is installed, programs in C and C++ with every tool that finds mistakes, the Go package,
//! what the docs show, and a real guest booted by each.

mod c;
mod docs;
mod go;
mod guests;
mod products;

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::guests::Job;
use crate::install::{Installation, install};
use crate::{Cache, project};

/// Everything that the steps work with.
struct Stage {
    /// Where krundl is installed, and whatever else is made.
    dir: PathBuf,
    /// Where krundl-test-stubs has built its libraries.
    cases: PathBuf,
}

/// Installs krundl into a directory of its own and tests it from there. What takes guests is left to be run.
///
/// # Errors
/// The first step that failed.
pub fn test(cache: &Cache) -> Result<Job> {
    let stage = Stage::new()?;
    step("what is exported, and what is told to package builders");
    products::test(&stage)?;
    step("the header and the programs in C and C++");
    c::test(&stage)?;
    step("the Go package");
    go::test(&stage)?;
    step("what the docs show");
    docs::test(&stage)?;
    guests::tests(cache, &stage)
}

impl Stage {
    fn new() -> Result<Stage> {
        let built = project::executables(&["build", "--package", "krundl-test-support", "--bins"])?;
        let stubs = project::executable(&built, "krundl-test-stubs")?;
        let target = stubs.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file());
        let dir = target.map_or_else(|| project::root().join("target"), Path::to_owned).join("krundl-ffi");
        let cases = dir.join("cases");
        std::fs::create_dir_all(&cases).with_context(|| format!("could not create {}", cases.display()))?;
        project::run(Command::new(&stubs).arg(&cases))?;
        // Unoptimised: what is tested is the same, and building it takes a quarter of the time.
        install(&Installation { prefix: dir.join("usr"), destdir: None, libdir: "lib".into(), debug: true })?;
        Ok(Stage { dir, cases })
    }

    fn lib(&self) -> PathBuf {
        self.dir.join("usr/lib")
    }

    fn programs(&self) -> Result<PathBuf> {
        let dir = self.dir.join("programs");
        std::fs::create_dir_all(&dir).with_context(|| format!("could not create {}", dir.display()))?;
        Ok(dir)
    }

    /// A command that finds the libraries of the stage, and nothing of the person's who runs the tests.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        for name in ["KRUNDL_LIBRARY", "KRUNDL_LIBRARY_DIR", "KRUNDL_VMM", "RUST_BACKTRACE", "DESTDIR"] {
            command.env_remove(name);
        }
        command.env("KRUNDL_TEST_CASES", &self.cases);
        // Cargo's own would be searched first.
        command.env("LD_LIBRARY_PATH", self.lib());
        command.env("PKG_CONFIG_PATH", self.lib().join("pkgconfig"));
        command
    }
}

fn step(what: &str) {
    eprintln!("--> {what}");
}

fn source(path: &str) -> PathBuf {
    project::root().join("ffi-tests").join(path)
}
