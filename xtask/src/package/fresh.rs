//! The README on a fresh machine of another kind: a bare Debian with cargo, and neither a C compiler nor python3 nor QEMU,
//! for somebody who may install nothing. Each command says at once what is missing, and leaves nothing half done.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::bare::{Bare, has, said};
use crate::command::output;
use crate::{Cache, project};

/// The tasks that a person may begin with, and the packages that each has to name.
const TASKS: [(&str, &[&str]); 10] = [
    ("demo", &["gcc", "libc6-dev", "python3", "python3-pip", "qemu-system-x86"]),
    ("test", &["gcc", "libc6-dev", "python3", "python3-pip", "qemu-system-x86", "qemu-utils", "golang-go", "valgrind"]),
    ("test --guests", &["gcc", "libc6-dev", "python3", "python3-pip", "qemu-system-x86", "qemu-utils"]),
    ("lab -- true", &["qemu-system-x86"]),
    ("firmware", &["python3"]),
    ("kernel", &["gcc", "make", "flex", "bison", "libelf-dev"]),
    ("libkrun --release 1.19.7", &["gcc", "libc6-dev"]),
    ("install --prefix /tmp/installed", &["gcc", "libc6-dev"]),
    ("package deb", &["gcc", "libc6-dev", "dpkg-dev"]),
    ("wheels", &["python3"]),
];

/// Types the commands.
///
/// # Errors
/// One does not say what is missing, or leaves something behind.
pub fn test(cache: &Cache) -> Result<()> {
    let xtask = std::env::current_exe().context("this program lies nowhere")?;
    let toolchain = output(Command::new("rustc").args(["--print", "sysroot"]))?;
    let toolchain = PathBuf::from(String::from_utf8_lossy(&toolchain).trim());
    let bare = Bare::new(cache, &[], &super::dir().join("fresh"))?
        .see(&project::root())
        .see(xtask.parent().context("this program lies nowhere")?)
        .see(&toolchain);
    let user = bare.as_nobody();
    for missing in ["cc", "python3", "qemu-system-x86_64", "sudo"] {
        ensure!(!has(&user, missing)?, "the bare Debian has {missing}");
    }
    let prelude = format!(
        "export HOME=/tmp KRUNDL_CACHE=/tmp/cache PATH={}/bin:$PATH; cd {}; ",
        toolchain.display(),
        project::root().display()
    );
    let cargo = user.succeed(&format!("{prelude} cargo --version"))?;
    ensure!(cargo.starts_with("cargo "), "cargo says {cargo}");
    for (task, packages) in TASKS {
        let result = user.run(&format!("{prelude} timeout 60 {} {task}", xtask.display()))?;
        let told = said(&result);
        ensure!(!result.status.success(), "`{task}` succeeded without anything: {told}");
        let errors: Vec<&str> = told.lines().filter(|line| line.starts_with("error: ")).collect();
        let [error] = errors[..] else {
            anyhow::bail!("`{task}` does not say one thing: {told}");
        };
        let command = error.split("run `apt-get install ").nth(1).and_then(|rest| rest.split('`').next());
        let named: Vec<&str> = command.unwrap_or_default().split(' ').collect();
        let wanted = packages.iter().all(|package| named.contains(package));
        ensure!(wanted && error.ends_with("as root"), "`{task}` names {named:?} and not all of {packages:?}: {told}");
        ensure!(!told.contains("panicked") && told.lines().count() < 12, "`{task}` says too much: {told}");
        nothing_half_done(&user, task)?;
    }
    Ok(())
}

/// Neither in the cache nor where something was to be installed.
fn nothing_half_done(user: &Bare, task: &str) -> Result<()> {
    let left = user.succeed("find /tmp -mindepth 1 -not -path '/tmp/cache/locks*' -not -path /tmp/cache")?;
    let left: Vec<&str> = left.lines().filter(|path| is_something(Path::new(path))).collect();
    ensure!(left.is_empty(), "`{task}` left {left:?}");
    Ok(())
}

/// An entry of the cache begins with directories; what was to be in it is gone if it could not be made.
fn is_something(path: &Path) -> bool {
    let below = path.strip_prefix("/tmp/cache").ok();
    below.is_none_or(|below| below.components().count() != 1)
}
