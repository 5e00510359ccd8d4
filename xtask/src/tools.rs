//! Tools of cargo's that are programs and no libraries, each of one version, built once and kept in the cache.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, bail};

use crate::Cache;
use crate::command::{output, with_retries};

/// A tool and its version: another one may do things differently.
#[derive(Clone, Copy, Debug)]
pub struct Tool {
    name: &'static str,
    version: &'static str,
    /// Its program, of those that it has.
    program: &'static str,
}

/// Makes Debian packages.
pub const DEB: Tool = Tool { name: "cargo-deb", version: "3.8.0", program: "cargo-deb" };
/// Builds C libraries, and installs them. Each of its releases is for one of cargo's.
pub const C: Tool = Tool { name: "cargo-c", version: "0.10.24+cargo-0.98.0", program: "cargo-cinstall" };
/// Checks licences, sources and crates that are not wanted.
pub const DENY: Tool = Tool { name: "cargo-deny", version: "0.20.2", program: "cargo-deny" };
/// Makes RPM packages.
pub const RPM: Tool = Tool { name: "cargo-generate-rpm", version: "0.21.1", program: "cargo-generate-rpm" };
/// Compares two APIs for Rust.
pub const SEMVER: Tool = Tool { name: "cargo-semver-checks", version: "0.51.0", program: "cargo-semver-checks" };

impl Tool {
    /// The tool's program, built if the cache lacks it.
    ///
    /// # Errors
    /// What could not be fetched or built.
    pub fn program(self, cache: &Cache) -> Result<PathBuf> {
        let Tool { name, version, program } = self;
        let dir = cache.entry(&format!("tools/{name}-{version}-{}", std::env::consts::ARCH), |dir| {
            eprintln!("building {name} {version} (minutes, once) ...");
            let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
            let mut command = Command::new("nice");
            command.arg(cargo).args(["install", "--quiet", "--locked", "--debug", "--no-track", name]);
            command.args(["--version", &format!("={version}"), "--root"]).arg(dir);
            // It runs for seconds, so it is not worth minutes of optimising; its compression alone must not crawl.
            command.env("CARGO_PROFILE_DEV_DEBUG", "0").env("CARGO_PROFILE_DEV_OPT_LEVEL", "1");
            // Some have their own mind of that for the crates that they depend on.
            command.args(["--config", "profile.dev.package.'*'.opt-level=1"]);
            // In a directory of its own, which cargo removes.
            command.env_remove("CARGO_TARGET_DIR").current_dir(dir);
            with_retries(&format!("building {name}"), || output(&mut command)).map(drop)
        })?;
        let program = dir.join("bin").join(program);
        if !program.is_file() {
            bail!("{name} was built, but {} is not there", program.display());
        }
        Ok(program)
    }
}
