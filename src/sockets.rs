//! Sockets that libkrun makes for VMs: which of those that are left in the file system were ours, and where krundl keeps
//! what it must remember from one process to the next.
//!
//! A VM that is killed leaves its sockets behind. One is told apart from everybody else's by a note that was made when its
//! VM was up: device, inode, and the time at which it was made, to the nanosecond. An inode's number may be used again,
//! but not with that time; a copy, a link made elsewhere or another program's socket under the same name has other
//! numbers. What is not noted is not touched.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use rustix::net::{SocketAddrUnix, connect};

use crate::system::stream_socket;

/// What is under the name of a socket that is to be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Found {
    /// Nothing.
    Nothing,
    /// A socket of a VM that has ended: nobody listens on it, and it is noted.
    Stale,
    /// A VM's socket, and it still answers.
    Served,
    /// Something else.
    Foreign,
}

/// Looks at the name. Only what is noted as ours is ever connected to: a stranger's server may serve one client alone.
pub(crate) fn look(path: &Path) -> Found {
    let Ok(metadata) = fs::symlink_metadata(path) else { return Found::Nothing };
    if !metadata.file_type().is_socket() || !is_noted(&metadata) {
        return Found::Foreign;
    }
    match try_connect(path) {
        // Another kind of refusal proves nothing.
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Found::Stale,
        _ => Found::Served,
    }
}

/// Removes the socket if it is a stale one; leaves everything else.
pub(crate) fn remove_stale(path: &Path) {
    if look(path) == Found::Stale {
        remove(path);
    }
}

/// Removes a socket of a VM that has ended, and its note.
pub(crate) fn remove(path: &Path) {
    let Some(metadata) = fs::symlink_metadata(path).ok().filter(|found| found.file_type().is_socket()) else { return };
    let _ = fs::remove_file(path);
    if let Ok(notes) = notes() {
        let _ = fs::remove_file(notes.join(name_of(&metadata)));
    }
}

/// Notes a socket as ours. That it cannot be noted does no harm but that nobody will remove it if its VM is killed.
pub(crate) fn note(path: &Path) {
    let _ = try_note(path);
}

fn try_note(path: &Path) -> io::Result<()> {
    let metadata = fs::symlink_metadata(path)?;
    if !metadata.file_type().is_socket() {
        return Ok(());
    }
    let notes = notes()?;
    sweep_notes(&notes);
    let path = std::path::absolute(path)?;
    fs::write(notes.join(name_of(&metadata)), path.as_os_str().as_encoded_bytes())
}

/// Removes the notes of sockets that are gone.
fn sweep_notes(notes: &Path) {
    for entry in fs::read_dir(notes).into_iter().flatten().flatten() {
        let Ok(path) = fs::read(entry.path()) else { continue };
        let path = PathBuf::from(<std::ffi::OsString as std::os::unix::ffi::OsStringExt>::from_vec(path));
        let same = fs::symlink_metadata(path).is_ok_and(|found| entry.file_name() == *name_of(&found));
        if !same {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn is_noted(metadata: &fs::Metadata) -> bool {
    notes().is_ok_and(|notes| notes.join(name_of(metadata)).exists())
}

fn name_of(metadata: &fs::Metadata) -> String {
    format!("{:x}-{}-{}.{:09}", metadata.dev(), metadata.ino(), metadata.mtime(), metadata.mtime_nsec())
}

fn notes() -> io::Result<PathBuf> {
    own_directory(runtime_dir()?.join("sockets"))
}

fn try_connect(path: &Path) -> io::Result<()> {
    Ok(connect(&stream_socket()?, &SocketAddrUnix::new(path)?)?)
}

/// The directory for what lasts as long as VMs do: `$XDG_RUNTIME_DIR/krundl`; without that variable `/run/krundl` for root
/// and `krundl-UID` in the directory for temporary files for everybody else. It belongs to this user alone.
///
/// # Errors
/// It cannot be made, or is somebody else's.
pub fn runtime_dir() -> io::Result<PathBuf> {
    let user = rustix::process::geteuid();
    let given = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
    own_directory(match given {
        Some(path) => path.join("krundl"),
        None if user.is_root() => PathBuf::from("/run/krundl"),
        None => std::env::temp_dir().join(format!("krundl-{}", user.as_raw())),
    })
}

/// Makes the directory where there is none. It must be this user's, and closed to everybody else.
pub(crate) fn own_directory(path: PathBuf) -> io::Result<PathBuf> {
    match DirBuilder::new().mode(0o700).create(&path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            return Err(io::Error::new(error.kind(), format!("{}: {error}", path.display())));
        }
        _ => {}
    }
    let found = fs::symlink_metadata(&path)?;
    let ours = found.is_dir() && found.uid() == rustix::process::geteuid().as_raw() && found.mode() & 0o077 == 0;
    if !ours {
        let reason = format!("{} is not a directory of this user alone (mode 0700)", path.display());
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, reason));
    }
    Ok(path)
}

/// The beginning of the names of directories that are made for one VM each.
const FOR_ONE: &str = "vm-";

/// A directory for sockets of one VM. The VM's process has it locked as long as it lives, so that those of VMs that
/// were killed with their callers are told apart; the next one removes them.
#[derive(Debug)]
pub(crate) struct OwnDir {
    dir: tempfile::TempDir,
    /// Locked, and handed to the VM's process.
    pub given: OwnedFd,
}

impl OwnDir {
    /// `owner`: the user and group that the VM's process becomes, where it changes.
    pub(crate) fn make(owner: (Option<u32>, Option<u32>)) -> io::Result<OwnDir> {
        let parent = runtime_dir()?;
        sweep_dirs(&parent);
        let closed = fs::Permissions::from_mode(0o700);
        let dir = tempfile::Builder::new().prefix(FOR_ONE).permissions(closed).tempdir_in(parent)?;
        if owner != (None, None) {
            std::os::unix::fs::chown(dir.path(), owner.0, owner.1)?;
        }
        let given = OwnedFd::from(File::open(dir.path())?);
        flock(&given, FlockOperation::LockShared)?;
        Ok(OwnDir { dir, given })
    }

    /// The socket in it.
    pub(crate) fn socket(&self) -> PathBuf {
        self.dir.path().join(CONTROL_NAME)
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Leaves it to the VM, which lives on without us.
    pub(crate) fn keep(mut self) {
        self.dir.disable_cleanup(true);
    }
}

/// The name of a control socket in a directory that krundl has made.
pub(crate) const CONTROL_NAME: &str = "control";

fn sweep_dirs(parent: &Path) {
    for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
        if !entry.file_name().as_encoded_bytes().starts_with(FOR_ONE.as_bytes()) {
            continue;
        }
        let Ok(dir) = File::open(entry.path()) else { continue };
        // One that its maker has not locked yet is younger.
        let settled = dir.metadata().and_then(|found| found.modified());
        let settled = settled.is_ok_and(|time| time.elapsed().is_ok_and(|age| age.as_secs() > 60));
        if settled && flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn only_a_noted_socket_that_nobody_serves_is_stale() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        assert_eq!(look(&path("none")), Found::Nothing);
        fs::write(path("file"), "").unwrap();
        note(&path("file"));
        assert_eq!(look(&path("file")), Found::Foreign);

        let listener = UnixListener::bind(path("a")).unwrap();
        assert_eq!(look(&path("a")), Found::Foreign, "nobody has noted it");
        note(&path("a"));
        assert_eq!(look(&path("a")), Found::Served);
        drop(listener);
        assert_eq!(look(&path("a")), Found::Stale);
        // A link by another name is the same socket; another socket by the same name is not.
        fs::remove_file(path("a")).unwrap();
        drop(UnixListener::bind(path("a")).unwrap());
        assert_eq!(look(&path("a")), Found::Foreign);
        remove_stale(&path("a"));
        assert!(path("a").exists(), "a stranger's socket is left alone");
        note(&path("a"));
        remove_stale(&path("a"));
        assert!(!path("a").exists());
    }

    #[test]
    fn a_directory_that_is_open_to_others_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mine");
        own_directory(path.clone()).unwrap();
        own_directory(path.clone()).unwrap();
        fs::set_permissions(&path, PermissionsExt::from_mode(0o750)).unwrap();
        assert!(own_directory(path).unwrap_err().to_string().contains("0700"));
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(dir.path(), &link).unwrap();
        assert!(own_directory(link).is_err());
    }

    #[test]
    fn a_directory_for_one_vm_goes_with_it_unless_it_is_kept() {
        let made = OwnDir::make((None, None)).unwrap();
        let path = made.socket().parent().unwrap().to_owned();
        assert!(path.is_dir());
        drop(made);
        assert!(!path.exists());
        let made = OwnDir::make((None, None)).unwrap();
        let path = made.socket().parent().unwrap().to_owned();
        made.keep();
        assert!(path.is_dir());
        // Nobody has it locked, and it is old.
        let old = fs::FileTimes::new().set_modified(std::time::UNIX_EPOCH);
        File::open(&path).unwrap().set_times(old).unwrap();
        drop(OwnDir::make((None, None)).unwrap());
        assert!(!path.exists());
    }
}
