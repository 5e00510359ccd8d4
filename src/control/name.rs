//! Names for running VMs: a directory each, locked by whoever runs the VM, with the control port's socket in it.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::sockets::{self, CONTROL_NAME, own_directory, runtime_dir};

/// The longest name, in bytes: a socket's path has 107.
const LONGEST: usize = 32;

/// A name that is taken for as long as this value, or a process that has inherited its lock, lives.
#[derive(Debug)]
pub struct Name {
    dir: PathBuf,
    _lock: File,
}

/// A VM that runs under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct Named {
    /// The name.
    pub name: String,
    /// The process that has taken it.
    pub pid: Option<u32>,
    /// The control port's socket.
    pub socket: PathBuf,
}

impl Name {
    /// Takes a name for a VM that is about to start. `owner`: the user and group that the VM's process becomes, where they
    /// change.
    ///
    /// # Errors
    /// [`Error::InvalidArgument`] when it is no name, or a VM of this user runs under it.
    pub fn take(name: &str, owner: (Option<u32>, Option<u32>)) -> Result<Name> {
        let dir = directory(name)?;
        let taken = loop {
            own_directory(dir.clone())
                .or_else(|error| unless_anothers(&dir, error))
                .map_err(|error| unusable(&dir, error))?;
            let lock = File::open(&dir).map_err(|error| unusable(&dir, error))?;
            if !lock_alone(&lock) {
                let by = pid_of(&dir).map(|pid| format!(" (process {pid})")).unwrap_or_default();
                return Err(Error::argument("name", format!("a VM runs under the name {name}{by}")));
            }
            // Whoever had it may have removed the directory in between.
            let same = |a: fs::Metadata, b: fs::Metadata| (a.dev(), a.ino()) == (b.dev(), b.ino());
            if lock.metadata().and_then(|locked| Ok(same(locked, fs::symlink_metadata(&dir)?))).unwrap_or(false) {
                break lock;
            }
        };
        // What is there is of a VM that is gone: the directory is this user's alone, and nobody has it locked.
        let socket = dir.join(CONTROL_NAME);
        sockets::remove(&socket);
        let made = fs::write(dir.join("pid"), std::process::id().to_string()).and_then(|()| match owner {
            (None, None) => Ok(()),
            (uid, gid) => std::os::unix::fs::chown(&dir, uid, gid),
        });
        made.map_err(|error| unusable(&dir, error))?;
        Ok(Name { dir, _lock: taken })
    }

    /// The path for the control port's socket.
    pub fn socket(&self) -> PathBuf {
        self.dir.join(CONTROL_NAME)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        // Still locked, so that nobody else can have it yet.
        sockets::remove(&self.socket());
        let _ = fs::remove_file(self.dir.join("pid"));
        let _ = fs::remove_dir(&self.dir);
    }
}

/// The control socket of a VM, by its name or, where there is a slash in it, by the socket's own path.
///
/// # Errors
/// [`Error::InvalidArgument`] when no VM runs under the name.
pub fn socket_of(name_or_path: &str) -> Result<PathBuf> {
    if name_or_path.contains('/') {
        return Ok(PathBuf::from(name_or_path));
    }
    let dir = directory(name_or_path)?;
    if !is_taken(&dir) {
        let reason = format!("no VM of this user runs under the name {name_or_path} (krundl ps shows them)");
        return Err(Error::argument("name", reason));
    }
    Ok(dir.join(CONTROL_NAME))
}

/// The VMs of this user that run under a name, in the order of the names.
///
/// # Errors
/// [`Error::Os`] when the directory for them cannot be read.
pub fn named() -> Result<Vec<Named>> {
    let all = names().and_then(fs::read_dir);
    let all = all.map_err(|error| Error::os("looking for names of VMs", error))?;
    let mut found: Vec<Named> = all
        .flatten()
        .filter(|entry| is_taken(&entry.path()))
        .filter_map(|entry| {
            let (dir, name) = (entry.path(), entry.file_name().into_string().ok()?);
            Some(Named { name, pid: pid_of(&dir), socket: dir.join(CONTROL_NAME) })
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(found)
}

fn names() -> io::Result<PathBuf> {
    own_directory(runtime_dir()?.join("names"))
}

fn directory(name: &str) -> Result<PathBuf> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric());
    if !first || name.len() > LONGEST || !name.bytes().all(good) {
        let reason = format!("{name:?} is no name: 1 to {LONGEST} of A-Z a-z 0-9 . _ -, and a letter or digit first");
        return Err(Error::argument("name", reason));
    }
    names().map(|names| names.join(name)).map_err(|error| Error::os("making the directory for names of VMs", error))
}

/// A directory that an earlier VM's user owns, within one that is ours alone, will do.
fn unless_anothers(dir: &Path, error: io::Error) -> io::Result<PathBuf> {
    if fs::symlink_metadata(dir)?.is_dir() { Ok(dir.to_owned()) } else { Err(error) }
}

/// Locks it for ourselves, though somebody may be looking at it just now.
fn lock_alone(lock: &File) -> bool {
    (0..5).any(|n| {
        std::thread::sleep(std::time::Duration::from_millis(n * 10));
        flock(lock, FlockOperation::NonBlockingLockExclusive).is_ok()
    })
}

fn unusable(dir: &Path, error: io::Error) -> Error {
    Error::os(format!("taking the name's directory {}", dir.display()), error)
}

fn is_taken(dir: &Path) -> bool {
    File::open(dir).is_ok_and(|dir| flock(&dir, FlockOperation::NonBlockingLockShared).is_err())
}

fn pid_of(dir: &Path) -> Option<u32> {
    fs::read_to_string(dir.join("pid")).ok()?.trim().parse().ok()
}
