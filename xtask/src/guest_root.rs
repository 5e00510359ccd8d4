//! A directory that a guest can have as its root: busybox and nothing else.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cache::Cache;
use crate::command::output;
use crate::debian;

const DIRECTORIES: [&str; 11] = ["bin", "dev", "etc", "mnt", "proc", "root", "run", "sys", "tmp", "var", "workspace"];

/// The static busybox of Debian's package, fetched if the cache lacks it.
pub fn busybox(cache: &Cache) -> Result<PathBuf> {
    let package = debian::unpacked(cache, "busybox-static", None)?;
    // Newer releases of Debian have it below /usr.
    let places = ["bin/busybox", "usr/bin/busybox"].map(|place| package.join(place));
    match places.into_iter().find(|place| place.is_file()) {
        Some(place) => Ok(place),
        None => bail!("the Debian package busybox-static in {} holds no busybox", package.display()),
    }
}

/// Fills the directory `dir` (created if missing) as the root of a guest: `/bin/busybox`, a symlink in `/bin` for each
/// of its applets, and the empty directories that a system expects. What is there already is left alone.
pub fn busybox_root(cache: &Cache, dir: &Path) -> Result<()> {
    let busybox = busybox(cache)?;
    for name in DIRECTORIES {
        let path = dir.join(name);
        fs::create_dir_all(&path).with_context(|| format!("could not create {}", path.display()))?;
    }
    let target = dir.join("bin/busybox");
    fs::copy(&busybox, &target).with_context(|| format!("could not copy busybox to {}", target.display()))?;
    let applets = output(Command::new(&busybox).arg("--list"))?;
    for applet in String::from_utf8_lossy(&applets).lines().filter(|name| *name != "busybox") {
        let link = dir.join("bin").join(applet);
        if link.symlink_metadata().is_err() {
            symlink("busybox", &link).with_context(|| format!("could not link {}", link.display()))?;
        }
    }
    Ok(())
}
