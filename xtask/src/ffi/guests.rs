//! A real guest with a mount, booted in the lab by a C program and by a Go program, and one that the Go package goes into.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Stage, go, source};
use crate::command::output;
use crate::guests::{Job, pass};
use crate::{Cache, Lab, busybox_root, project};

/// The libkrun that the guests run with.
const RELEASE: &str = "1.19.7";

pub(super) fn tests(cache: &Cache, stage: &Stage) -> Result<Job> {
    let dir = stage.dir.join("guests");
    let library = project::install_libkrun(cache, RELEASE, &dir.join("lib"))?;
    let root = dir.join("root");
    busybox_root(cache, &root)?;
    let programs = [("c", launcher(stage)?), ("go", go::launcher(stage)?)];
    let shared = dir.join("shared");
    let _absent = std::fs::remove_dir_all(&shared);
    std::fs::create_dir_all(&shared)?;
    std::fs::write(shared.join("from-the-host"), "written on the host\n")?;
    let inside = go::guest_tests(stage)?;
    // All in one lab, for the lab takes longer than the guests.
    let mut script = String::from("set -e\n");
    for (language, program) in &programs {
        let inside = format!("cp /workspace/from-the-host /workspace/by-{language}; exit 7");
        let words = [text(program)?, text(&root)?, text(&shared)?, "/bin/sh".to_owned(), "-c".to_owned()];
        let words: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
        script += &format!("status=0; {} '{inside}' || status=$?\n", words.join(" "));
        script += &format!("echo \"{language} ended with $status\"; test $status = 7\n");
    }
    script += &format!("'{}' -test.run '^TestARealGuest$' -test.v\n", text(&inside)?);
    let command: [OsString; 3] = ["sh".into(), "-c".into(), script.into()];
    let lab = Lab::new(cache)
        .timeout(Duration::from_secs(240))
        .env("LD_LIBRARY_PATH", stage.lib())
        .env("KRUNDL_LIBRARY", &library)
        .env("KRUNDL_TEST_ROOT", &root)
        .read(&stage.dir)
        .write(&dir)
        .capture(true);
    Ok(Box::new(move || {
        pass(&lab, &command, "guests booted by a C program and by a Go program")?;
        for (language, _) in programs {
            let copy = shared.join(format!("by-{language}"));
            let copied =
                std::fs::read_to_string(&copy).with_context(|| format!("the guest left no {}", copy.display()))?;
            ensure!(copied == "written on the host\n", "the guest of the {language} program left {copied:?}");
        }
        Ok(())
    }))
}

/// ffi-tests/c/launch.c, built by the very line that stands in it.
fn launcher(stage: &Stage) -> Result<PathBuf> {
    let program = stage.programs()?.join("launch");
    let line =
        format!("cc '{}' $(pkg-config --cflags --libs krundl) -o '{}'", text(&source("c/launch.c"))?, text(&program)?);
    output(stage.command("sh").args(["-c", &line]))?;
    Ok(program)
}

fn text(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).with_context(|| format!("{} is not UTF-8", path.display()))
}
