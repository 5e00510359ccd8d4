//! What docs/abi.md, docs/embedding-c.md and docs/embedding-go.md show, taken out of them and run.
//!
//! A block of code belongs to a program by its language, and all of a page's blocks of one language with a `main` are
//! programs of their own. The first `console` block is what a reader types, and what comes then.

use std::path::Path;

use anyhow::{Context, Result, bail, ensure};

use super::{Stage, go, source};
use crate::command::output;
use crate::project;

pub(super) fn test(stage: &Stage) -> Result<()> {
    for page in ["abi", "embedding-c", "embedding-go"] {
        let text = std::fs::read_to_string(project::root().join("docs").join(page).with_extension("md"))
            .with_context(|| format!("docs/{page}.md cannot be read"))?;
        let blocks = blocks(&text);
        let first = blocks.first().map_or("", |(language, _)| language);
        ensure!(["c", "go", "sh"].contains(&first), "docs/{page}.md does not begin with something that runs");
        let mut ran = 0;
        for (number, (language, code)) in blocks.iter().enumerate() {
            let dir = stage.dir.join("docs").join(format!("{page}-{number}"));
            std::fs::create_dir_all(&dir).with_context(|| format!("could not create {}", dir.display()))?;
            let run = match language.as_str() {
                "c" => c(stage, &dir, code),
                "cpp" => cpp(stage, &dir, code),
                "go" => in_go(stage, &dir, code),
                "sh" => shell(stage, code),
                "" | "text" | "console" => continue,
                language => bail!("docs/{page}.md has a block of {language}, which nothing runs"),
            };
            run.with_context(|| format!("block {} of docs/{page}.md, {language}:\n{code}", number + 1))?;
            ran += 1;
        }
        eprintln!("docs/{page}.md: {ran} blocks of code");
    }
    Ok(())
}

/// Language and code of each fenced block.
fn blocks(text: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut open: Option<(String, String)> = None;
    for line in text.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(language)) => open = Some((language.trim().to_owned(), String::new())),
            (Some(_), Some(_)) => found.extend(open.take()),
            (Some((_, code)), None) => {
                code.push_str(line);
                code.push('\n');
            }
            (None, None) => {}
        }
    }
    found
}

/// A program, or statements to be put into one: these have a probe, a plan and a VM to work with.
fn c(stage: &Stage, dir: &Path, code: &str) -> Result<()> {
    let whole = if code.contains("int main(") {
        code.to_owned()
    } else {
        format!("{}{code}{}", include_str!("before.c"), include_str!("after.c"))
    };
    let file = dir.join("shown.c");
    std::fs::write(&file, whole)?;
    build_and_run(stage, dir, &format!("cc -std=gnu11 -Wall -Wextra -Werror {}", shown(&file)?))
}

fn cpp(stage: &Stage, dir: &Path, code: &str) -> Result<()> {
    let file = dir.join("shown.cpp");
    std::fs::write(&file, code)?;
    let include = shown(&source("cpp"))?;
    build_and_run(stage, dir, &format!("g++ -std=c++17 -Wall -Wextra -Werror -I{include} {}", shown(&file)?))
}

fn build_and_run(stage: &Stage, dir: &Path, compile: &str) -> Result<()> {
    let program = dir.join("shown");
    let line = format!("{compile} $(pkg-config --cflags --libs krundl) -lpthread -o {}", shown(&program)?);
    output(stage.command("sh").args(["-c", &line]))?;
    output(in_place(stage, &mut stage.command(&program))).map(drop)
}

/// What a page shows runs with a libkrun that is found, in a directory that has `rootfs` and `src`.
fn in_place<'a>(stage: &Stage, command: &'a mut std::process::Command) -> &'a mut std::process::Command {
    let place = stage.dir.join("docs/place");
    let link = |name: &str, to: &str| {
        let link = place.join(name);
        let _absent = std::fs::remove_file(&link);
        std::os::unix::fs::symlink(stage.cases.join("files").join(to), link)
    };
    let made = std::fs::create_dir_all(&place).and_then(|()| link("rootfs", "root")).and_then(|()| link("src", "data"));
    made.expect("a directory in the target directory can be written to");
    let library = stage.cases.join("libraries/succeeds/libkrun.so.1.19.7");
    command.current_dir(place).env("KRUNDL_LIBRARY", library)
}

/// A whole program; the module is the one of ffi-tests/go.
fn in_go(stage: &Stage, dir: &Path, code: &str) -> Result<()> {
    let program = dir.join("shown");
    let file = dir.join("main.go");
    std::fs::write(&file, code)?;
    let mut build = go::go(stage, &["build", "-o", &shown(&program)?, &shown(&file)?])?;
    output(&mut build)?;
    output(in_place(stage, &mut stage.command(&program))).map(drop)
}

/// Commands, in the repository's root.
fn shell(stage: &Stage, code: &str) -> Result<()> {
    let mut command = stage.command("sh");
    command.args(["-e", "-u", "-c", code]).current_dir(project::root());
    output(&mut command).map(drop)
}

fn shown(path: &Path) -> Result<String> {
    path.to_str().map(str::to_owned).with_context(|| format!("{} is not UTF-8", path.display()))
}
