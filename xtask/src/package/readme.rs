//! The commands of the README's section on installing, which the tests type.

use std::process::Command;

use anyhow::Result;

use crate::command::output;
use crate::project;

/// The programs, with cargo.
pub(super) const CARGO: &str = "cargo install --locked --path .";
/// Debian's packages.
pub(super) const DEB: &str = "cargo xtask package deb";
/// The programs, on Debian.
pub(super) const APT: &str = "apt-get install -y ./target/package/debs/krundl_*.deb";
/// The programs and the library, on Debian.
pub(super) const APT_ALL: &str = "apt-get install -y ./target/package/debs/*.deb";
/// RPM's packages.
pub(super) const RPM: &str = "cargo xtask package rpm";
/// All of them, where rpm is.
pub(super) const RPM_ALL: &str = "rpm -i ./target/package/rpms/*.rpm";
/// Everything, without a package.
pub(super) const PREFIX: &str = "cargo xtask install --prefix /usr/local";
/// Python's module and the programs.
pub(crate) const PIP: &str = "pip install .";
/// The wheels for machines without libkrun.
pub(super) const WHEELS: &str = "cargo xtask wheels";
/// Everything that a guest takes, for Python.
pub(crate) const PIP_BUNDLED: &str = "pip install --find-links target/package/wheels '.[bundled]'";

/// Types a command in the repository, with more words behind it.
pub(super) fn typed(command: &str, further: &str) -> Result<()> {
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{command} {further}")]).current_dir(project::root());
    for (name, _) in std::env::vars_os() {
        // As project::cargo has it: cargo's own for this program would make it build everything anew.
        if name.to_string_lossy().starts_with("CARGO_PKG_") || name.to_string_lossy().starts_with("CARGO_MANIFEST_") {
            shell.env_remove(name);
        }
    }
    output(&mut shell).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_says_just_what_the_tests_type() {
        let text = std::fs::read_to_string(project::root().join("README.md")).unwrap();
        let section = text.split("\n## Install it\n").nth(1).and_then(|rest| rest.split("\n## ").next()).unwrap();
        let rows = section.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---"));
        let cells = rows.skip(1).filter_map(|row| row.split(" | ").nth(1));
        let commands: Vec<&str> = cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).collect();
        let typed = [CARGO, DEB, APT, DEB, APT_ALL, RPM, RPM_ALL, PREFIX, PIP, WHEELS, PIP_BUNDLED];
        assert_eq!(commands, typed);
    }
}
