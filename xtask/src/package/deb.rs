//! Debian packages.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use krundl::capi::ABI_VERSION;

use super::{dir, empty, files, source_date, stage};
use crate::command::{find_program, output};
use crate::{Cache, debian, project, tools};

/// The packages: cargo-deb's name of what it packs, and the package's.
const PACKAGES: [(Option<&str>, &str); 3] =
    [(None, "krundl"), (Some("library"), LIBRARY), (Some("development"), "libkrundl-dev")];

const LIBRARY: &str = "libkrundl1";

pub(super) fn package(cache: &Cache, maintainer: Option<&str>) -> Result<Vec<PathBuf>> {
    // It looks the dependencies up.
    if find_program("dpkg-shlibdeps").is_none() {
        debian::install(&["dpkg-dev"])?;
    }
    let tool = tools::DEB.program(cache)?;
    let (tree, libdir) = (dir().join("deb"), format!("lib/{}-linux-gnu", std::env::consts::ARCH));
    stage(&tree, &libdir)?;
    // Where Cargo.toml finds it whatever the architecture; cargo-deb puts it back.
    fs::rename(tree.join("usr").join(libdir), tree.join("lib"))?;
    let out = empty("debs")?;
    for (variant, name) in PACKAGES {
        let mut command = Command::new(&tool);
        command.args(["--no-build", "--quiet", "--locked", "--package", "krundl", "-o"]).arg(&out);
        if let Some(variant) = variant {
            command.args(["--multiarch", "same", "--variant", variant]);
        }
        if let Some(maintainer) = maintainer {
            command.args(["--maintainer", maintainer]);
        }
        command.current_dir(project::root()).env("SOURCE_DATE_EPOCH", source_date()?);
        output(&mut command).with_context(|| format!("the package {name}"))?;
    }
    files(&out)?.iter().try_for_each(|file| complete(file))?;
    files(&out)
}

/// Adds what cargo-deb has no place for: the sums of the files, and of the library the package on which programs that
/// are linked with it depend.
fn complete(file: &Path) -> Result<()> {
    let tree = dir().join("completed");
    crate::cache::remove_dir(&tree)?;
    output(Command::new("dpkg-deb").arg("-R").arg(file).arg(&tree))?;
    if name(file).starts_with(&format!("{LIBRARY}_")) {
        complete_library(&tree)?;
    }
    let sums = "find usr -type f -print0 | sort -z | xargs -0 md5sum > DEBIAN/md5sums && chmod 644 DEBIAN/md5sums";
    output(Command::new("sh").args(["-c", sums]).current_dir(&tree))?;
    let mut command = Command::new("dpkg-deb");
    command.args(["--root-owner-group", "-Zxz", "-b"]).arg(&tree).arg(file).env("SOURCE_DATE_EPOCH", source_date()?);
    output(&mut command).map(drop)
}

fn complete_library(tree: &Path) -> Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    let shlibs = tree.join("DEBIAN/shlibs");
    fs::write(&shlibs, format!("libkrundl {ABI_VERSION} {LIBRARY} (>= {version})\n"))?;
    fs::set_permissions(&shlibs, fs::Permissions::from_mode(0o644))?;
    let lib = tree.join("usr/lib").join(format!("{}-linux-gnu", std::env::consts::ARCH));
    let library = lib.join(format!("libkrundl.so.{ABI_VERSION}.{version}"));
    fs::set_permissions(&library, fs::Permissions::from_mode(0o644))
        .with_context(|| format!("{} is not in the package", library.display()))
}

fn name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
