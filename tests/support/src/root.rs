//! A directory that passes for a guest's root.

use std::fs;
use std::path::Path;

use tempfile::TempDir;

/// A root with what krundl looks for in one: `/dev`, `/proc` and `/sys`, a shell, a mount program, `/workspace`.
pub fn guest_root() -> TempDir {
    let root = tempfile::Builder::new().prefix("guest-root").tempdir().expect("a temporary directory");
    fill(root.path());
    root
}

/// Makes a directory, which may be there already, such a root.
pub(crate) fn fill(root: &Path) {
    for dir in ["bin", "dev", "proc", "sys", "workspace"] {
        fs::create_dir_all(root.join(dir)).expect("a directory made");
    }
    for program in ["bin/sh", "bin/mount"] {
        fs::write(root.join(program), "").expect("a file written");
    }
}
