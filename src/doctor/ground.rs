//! A root directory made on the spot: krundl's own program for the guest, and nothing else.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::helper::Helper;

/// The program's name in the root.
pub(super) const PROGRAM: &str = "/bin/selftest";
/// What libkrun's init makes where it can, and what it needs where it cannot.
const DIRECTORIES: [&str; 4] = ["bin", "dev", "proc", "sys"];
/// What a libkrun before 1.19.0 needs to get krundl's program in; the program is that, too.
const SHELL: [&str; 2] = ["bin/sh", "bin/mount"];

/// The directory; gone when dropped.
pub(super) struct Ground {
    temp: TempDir,
}

impl Ground {
    /// Makes it, with the program that the helper has. Without a helper that is empty, which is enough to plan with.
    pub(super) fn new(helper: Option<&Helper>) -> io::Result<Ground> {
        let ground = Ground { temp: tempfile::Builder::new().prefix("krundl-doctor-").tempdir()? };
        for name in DIRECTORIES {
            ground.dir(&format!("root/{name}"))?;
        }
        let program = ground.root().join(PROGRAM.trim_start_matches('/'));
        let file = fs::File::create(&program)?;
        if let Some(helper) = helper {
            helper.write_guest_program(file)?;
        }
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        for name in SHELL {
            fs::hard_link(&program, ground.root().join(name))?;
        }
        Ok(ground)
    }

    /// The root.
    pub(super) fn root(&self) -> PathBuf {
        self.path("root")
    }

    /// A further directory.
    pub(super) fn dir(&self, name: &str) -> io::Result<PathBuf> {
        let path = self.path(name);
        fs::create_dir_all(&path)?;
        Ok(path)
    }

    fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.temp.path().join(name)
    }
}
