//! RPM packages.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use krundl::capi::ABI_VERSION;

use super::{dir, empty, files, source_date, stage};
use crate::command::output;
use crate::{Cache, project, tools};

/// The packages: cargo-generate-rpm's name of what it packs, and the package's.
const PACKAGES: [(Option<&str>, &str); 3] =
    [(None, "krundl"), (Some("library"), "krundl-libs"), (Some("development"), "krundl-devel")];

pub(super) fn package(cache: &Cache) -> Result<Vec<PathBuf>> {
    let tool = tools::RPM.program(cache)?;
    let tree = dir().join("rpm");
    stage(&tree, "lib64")?;
    without_links(&tree.join("usr/lib64"))?;
    let out = empty("rpms")?;
    for (variant, name) in PACKAGES {
        let mut command = Command::new(&tool);
        command.args(["--auto-req", "builtin", "--source-date", &source_date()?, "-o"]).arg(&out);
        if let Some(variant) = variant {
            command.args(["--variant", variant]);
        }
        output(command.current_dir(project::root())).with_context(|| format!("the package {name}"))?;
    }
    files(&out)
}

/// cargo-generate-rpm makes no symlinks, so the library's file gets the name that the loader looks for, and what the
/// linker looks for becomes a script of the linker's.
fn without_links(lib: &std::path::Path) -> Result<()> {
    let soname = format!("libkrundl.so.{ABI_VERSION}");
    for link in ["libkrundl.so", &soname] {
        fs::remove_file(lib.join(link)).with_context(|| format!("there is no {link}"))?;
    }
    fs::rename(lib.join(format!("{soname}.{}", env!("CARGO_PKG_VERSION"))), lib.join(&soname))?;
    fs::write(lib.join("libkrundl.so"), format!("/* GNU ld script */\nINPUT({soname})\n"))?;
    Ok(())
}
