//! The wheels that go with krundl's own: `krundl-libkrun` with the real libkrun, `krundl-kernel` with a guest's kernel.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::{dir, empty, files, source_date, third_party};
use crate::command::output;
use crate::{Cache, kernel, libkrun, project, python};

/// The libkrun in the wheel, and the wheel's version.
pub const LIBKRUN: &str = "1.19.7";
const FEATURES: [&str; 2] = ["blk", "net"];
/// The crate with the source of the program that libkrun carries.
const INIT: &str = "krun-init-blob";

/// What builds them, pinned.
const REQUIREMENTS: &str = "hatchling==1.33.0\npackaging==26.3\npathspec==1.1.1\npluggy==1.7.0\n\
                            tomli==2.5.0; python_version < \"3.11\"\ntrove-classifiers\n";

/// Builds both and returns their files.
///
/// # Errors
/// What could not be fetched or built.
pub fn build(cache: &Cache) -> Result<Vec<PathBuf>> {
    if cfg!(not(target_arch = "x86_64")) {
        bail!("these wheels are built for x86-64 only");
    }
    let out = empty("wheels")?;
    let python = python::environment("wheels", cache, REQUIREMENTS)?.join("bin/python");
    for project in [stage_libkrun(cache)?, stage_kernel(cache)?] {
        let pip = ["-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--no-index", "-w"];
        let mut command = Command::new(&python);
        command.args(pip).arg(&out).arg(&project).env("SOURCE_DATE_EPOCH", source_date()?);
        output(command.env("PIP_DISABLE_PIP_VERSION_CHECK", "1"))?;
    }
    files(&out)
}

fn stage_libkrun(cache: &Cache) -> Result<PathBuf> {
    let (project, package) = project("libkrun")?;
    let built = libkrun(cache, LIBKRUN, &FEATURES)?;
    let library = built.join(format!("libkrun.so.{LIBKRUN}"));
    copy(&library, &package.join("libkrun.so.1"))?;
    copy(&built.join("source/Cargo.lock"), &package.join("Cargo.lock"))?;
    // By which krundl knows the release.
    let pc = format!("Name: libkrun\nDescription: Dynamic library for microVMs\nVersion: {LIBKRUN}\nLibs: -lkrun\n");
    write(&package.join("pkgconfig/libkrun.pc"), &pc)?;
    let crates = third_party::crates_of(&built.join("source/Cargo.toml"), "real-libkrun", &FEATURES.join(","))?;
    write(&project.join("licenses/third-party.txt"), &third_party::notice("libkrun holds", &crates)?)?;
    copy(&project::root().join("LICENSE-APACHE"), &project.join("licenses/LICENSE-APACHE"))?;
    let init = crates.iter().find(|one| one.name == INIT).with_context(|| format!("libkrun has no {INIT}"))?;
    for source in files(&init.dir.join("init"))? {
        copy(&source, &package.join("init-source").join(source.file_name().unwrap_or_default()))?;
    }
    write(&project.join("VERSION"), LIBKRUN)?;
    let bytes = fs::read(&library)?;
    write(&project.join("TAG"), &format!("py3-none-manylinux_2_{}_x86_64", glibc_minor(&bytes)))?;
    Ok(project)
}

fn stage_kernel(cache: &Cache) -> Result<PathBuf> {
    let (project, package) = project("kernel")?;
    let built = kernel(cache)?;
    copy(&built.join("vmlinux"), &package.join("vmlinux"))?;
    copy(&built.join("config"), &package.join("config"))?;
    let config = fs::read_to_string(built.join("config"))?;
    let release = config.lines().find_map(|line| line.strip_prefix("# Linux/")?.split(' ').nth(1));
    let release = release.context("the kernel's configuration names no release")?;
    for file in files(&project::root().join("kernel"))? {
        copy(&file, &package.join("recipe").join(file.file_name().unwrap_or_default()))?;
    }
    let source = kernel::source(cache)?;
    write(
        &package.join("SOURCE"),
        &format!("{}\nof Debian's linux-source, version {}\nSHA-256 {}\n", source.name, source.version, source.sha256),
    )?;
    copy(Path::new("/usr/share/common-licenses/GPL-2"), &project.join("licenses/COPYING"))?;
    write(&project.join("VERSION"), release)?;
    // It runs in a guest of this architecture and needs nothing of the host's C library.
    write(&project.join("TAG"), "py3-none-manylinux_2_17_x86_64")?;
    Ok(project)
}

/// The newest glibc 2.N of which a library wants a symbol, by the version names in it.
fn glibc_minor(bytes: &[u8]) -> u32 {
    const NAME: &[u8] = b"\0GLIBC_2.";
    let names = bytes.windows(NAME.len()).enumerate().filter(|(_, window)| *window == NAME);
    let minors = names.filter_map(|(at, _)| {
        let digits: Vec<u8> = bytes[at + NAME.len()..].iter().copied().take_while(u8::is_ascii_digit).collect();
        String::from_utf8(digits).ok()?.parse().ok()
    });
    minors.max().unwrap_or(17)
}

/// A copy of a wheel's project, and in it the directory of its package.
fn project(name: &str) -> Result<(PathBuf, PathBuf)> {
    let sources = project::root().join("packaging/wheels");
    let project = dir().join("wheel-projects").join(format!("krundl-{name}"));
    crate::cache::remove_dir(&project)?;
    for file in ["pyproject.toml", "README.md"] {
        copy(&sources.join(format!("krundl-{name}")).join(file), &project.join(file))?;
    }
    copy(&sources.join("hatch_build.py"), &project.join("hatch_build.py"))?;
    let inner = format!("src/krundl_{name}");
    for file in files(&sources.join(format!("krundl-{name}")).join(&inner))? {
        copy(&file, &project.join(&inner).join(file.file_name().unwrap_or_default()))?;
    }
    let package = project.join(inner);
    Ok((project, package))
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    make_parent(to)?;
    fs::copy(from, to).with_context(|| format!("could not copy {} to {}", from.display(), to.display())).map(drop)
}

fn write(path: &Path, text: &str) -> Result<()> {
    make_parent(path)?;
    fs::write(path, text).with_context(|| format!("could not write {}", path.display()))
}

fn make_parent(path: &Path) -> Result<()> {
    let dir = path.parent().context("a file needs a directory")?;
    fs::create_dir_all(dir).with_context(|| format!("could not create {}", dir.display()))
}
