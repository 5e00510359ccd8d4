//! Where the programs are looked for that serve network cards.

use std::ffi::OsStr;
use std::path::PathBuf;

/// Where a user's PATH often does not lead.
const SYSTEM: [&str; 3] = ["/usr/bin", "/usr/local/bin", "/usr/sbin"];
/// Where podman keeps its helpers, which are in no PATH.
const PODMAN: [&str; 5] = [
    "/usr/libexec/podman",
    "/usr/lib/podman",
    "/usr/local/libexec/podman",
    "/opt/homebrew/opt/podman/libexec/podman",
    "/opt/podman/bin",
];

/// The directories, in order: those of `path` (as in `PATH`; relative ones do not count), then the usual ones.
pub(crate) fn directories(program: &str, path: Option<&OsStr>) -> Vec<PathBuf> {
    let named = path.map(|path| std::env::split_paths(path).filter(|dir| dir.is_absolute()).collect());
    let mut directories: Vec<PathBuf> = named.unwrap_or_default();
    directories.extend(SYSTEM.map(PathBuf::from));
    if program == "gvproxy" {
        directories.extend(PODMAN.map(PathBuf::from));
    }
    directories
}
