//! The crate as it would be published, and the licences of what it is built from.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use super::third_party::{Crate, crates};
use crate::command::output;
use crate::project::{self, run};
use crate::{Cache, tools};

/// The largest crate that is still small, in bytes.
const LARGEST: u64 = 1024 * 1024;
/// All that is linked by anybody.
const FEATURES: &str = "default,capi,python";

/// Packs the crate, builds it from what was packed, and checks the licences.
///
/// # Errors
/// The first step that failed.
pub fn test(cache: &Cache, full: bool) -> Result<()> {
    eprintln!("--> the crate");
    let target = super::dir().join("crate");
    // It is built from the archive, in a directory of its own.
    let mut command = project::cargo(["package", "--quiet", "--package", "krundl", "--allow-dirty", "--target-dir"]);
    run(command.arg(&target))?;
    let file = target.join(format!("package/krundl-{}.crate", env!("CARGO_PKG_VERSION")));
    let size = fs::metadata(&file).with_context(|| format!("there is no {}", file.display()))?.len();
    let listed = output(Command::new("tar").arg("-tzf").arg(&file))?;
    let listed: Vec<String> = String::from_utf8_lossy(&listed)
        .lines()
        .filter_map(|line| line.split_once('/').map(|(_, path)| path.to_owned()))
        .collect();
    eprintln!("{}: {size} bytes, {} files", file.display(), listed.len());
    ensure!(size <= LARGEST, "the crate has {size} bytes, more than {LARGEST}");
    for path in ["LICENSE-APACHE", "LICENSE-MIT", "README.md", "src/lib.rs", "guest/main.rs", "include/krundl.map"] {
        ensure!(listed.iter().any(|one| one == path), "the crate lacks {path}");
    }
    let places = ["tests/", "xtask/", "python/", "packaging/", "ffi-tests/", ".ci/"];
    if let Some(other) = listed.iter().find(|path| places.iter().any(|place| path.starts_with(place))) {
        bail!("the crate has {other}, which is not for its users");
    }
    eprintln!("--> its documentation, with every feature");
    let mut command = project::cargo(["doc", "--quiet", "--package", "krundl", "--no-deps", "--all-features"]);
    run(command.env("RUSTDOCFLAGS", "-D warnings"))?;
    eprintln!("--> licences");
    licenses()?;
    if full {
        run(Command::new(tools::DENY.program(cache)?)
            .args(["--log-level", "warn", "check", "bans", "licenses", "sources"])
            .current_dir(project::root()))?;
    }
    Ok(())
}

/// Every linked crate has a licence that deny.toml allows.
fn licenses() -> Result<()> {
    let allowed = allowed(&fs::read_to_string(deny_file())?)?;
    let crates = crates(FEATURES)?;
    let refused: Vec<String> = crates.iter().filter_map(|one| refusal(one, &allowed)).collect();
    ensure!(refused.is_empty(), "licences that deny.toml does not allow:\n  {}", refused.join("\n  "));
    eprintln!("{} crates", crates.len());
    Ok(())
}

fn deny_file() -> PathBuf {
    project::root().join("deny.toml")
}

fn allowed(text: &str) -> Result<BTreeSet<String>> {
    let settings: toml::Value = toml::from_str(text).context("deny.toml")?;
    let list = settings.get("licenses").and_then(|licenses| licenses.get("allow")).and_then(toml::Value::as_array);
    Ok(list.context("deny.toml allows nothing")?.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect())
}

/// Why a crate may not be linked, if it may not.
fn refusal(one: &Crate, allowed: &BTreeSet<String>) -> Option<String> {
    let name = format!("{} {}", one.name, one.version);
    let expression = match spdx::Expression::parse_mode(&one.license, spdx::ParseMode::LAX) {
        Ok(expression) => expression,
        Err(error) => return Some(format!("{name}: {:?} is no expression: {}", one.license, error.reason)),
    };
    let is_allowed = |requirement: &spdx::LicenseReq| allowed.contains(&requirement.to_string());
    (!expression.evaluate(is_allowed)).then(|| format!("{name}: {}", one.license))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_is_allowed_if_one_of_its_choices_is() {
        let allowed =
            allowed("[licenses]\nallow = [\"MIT\", \"Unicode-3.0\", \"Apache-2.0 WITH LLVM-exception\"]").unwrap();
        let of = |license: &str| {
            let one = Crate { name: "x".into(), version: "1".into(), license: license.into(), dir: PathBuf::new() };
            refusal(&one, &allowed)
        };
        for good in ["MIT", "MIT OR GPL-3.0-only", "GPL-3.0-only/MIT", "(MIT OR Apache-2.0) AND Unicode-3.0"] {
            assert_eq!(of(good), None);
        }
        assert_eq!(of("Apache-2.0 WITH LLVM-exception"), None);
        for bad in ["GPL-3.0-only", "MIT AND MPL-2.0", "Apache-2.0", ""] {
            assert!(of(bad).is_some(), "{bad}");
        }
    }
}
