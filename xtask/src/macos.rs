//! Whether krundl compiles for macOS, which no machine here can run: its types are checked, with the standard library's.

use anyhow::{Result, bail};

use crate::bare::{Bare, said};
use crate::cache::remove_dir;
use crate::{Cache, project};

/// The first release of Debian whose compiler is new enough for krundl. It has the standard library's source as well, from
/// which the compiler makes the one for a system whose own is not installed.
const SUITE: &str = "forky";
const PACKAGES: [&str; 6] = ["ca-certificates", "cargo", "gcc", "libc6-dev", "rust-src", "rustc"];
/// The Macs on which libkrun runs.
const TARGET: &str = "aarch64-apple-darwin";
/// What the command, the library for C and the module for Python are made of.
const FEATURES: [&str; 2] = ["--no-default-features", "--all-features"];

/// # Errors
/// What does not compile, or the compiler's warnings.
pub(crate) fn test(cache: &Cache) -> Result<()> {
    let root = project::root();
    let work = root.join("target/krundl-macos");
    let bare = Bare::of(cache, SUITE, &PACKAGES, &work)?.online()?.see(&root);
    for features in FEATURES {
        eprintln!("with {features} ...");
        // What makes the standard library anew is kept from all but its own developers.
        let line = format!(
            "cd '{}' && RUSTC_BOOTSTRAP=1 CARGO_HOME=/cargo CARGO_TARGET_DIR=/target CARGO_INCREMENTAL=0 cargo check --locked \
             --package krundl {features} --target {TARGET} -Zbuild-std=std,panic_abort",
            root.display()
        );
        let result = bare.run(&line)?;
        let said = said(&result);
        if !result.status.success() || said.contains("warning: `krundl`") {
            bail!("krundl does not compile for {TARGET} with {features}:\n{said}");
        }
    }
    remove_dir(&work)
}
