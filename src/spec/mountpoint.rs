//! Where in the guest a mount can go, seen from the directory that will be there.

use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// What there is at a mount's path in the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MountPoint {
    /// A directory: it is used.
    Exists,
    /// Nothing, not even its first component.
    MissingTop,
    /// Its first component is there, a later one is not.
    MissingBelow,
    /// It lies in a root on a disk, whose contents nobody knows: the guest makes it where it is missing.
    Unknown,
    /// It lies in the guest's own /dev, where the guest can always make directories.
    Device,
}

/// Looks `path` (absolute, clean) up below `base`, the directory that the guest will see as `/`; symbolic links
/// are followed as they would be there.
///
/// # Errors
/// Why nothing can be mounted there.
pub(super) fn find(base: BorrowedFd<'_>, path: &str) -> Result<MountPoint, String> {
    let components: Vec<&str> = path.split('/').filter(|c| !c.is_empty()).collect();
    for depth in 1..=components.len() {
        let prefix = components[..depth].join("/");
        match lookup(base, &prefix) {
            Ok(FileType::Directory) => {}
            Ok(_) => return Err(format!("/{prefix} is there and is not a directory")),
            Err(Errno::NOENT) if depth == 1 => return Ok(MountPoint::MissingTop),
            Err(Errno::NOENT) => return Ok(MountPoint::MissingBelow),
            Err(errno) => return Err(format!("/{prefix} cannot be looked up: {errno}")),
        }
    }
    Ok(MountPoint::Exists)
}

/// Type of what `path` leads to below `base`; never leaves `base`.
pub(super) fn lookup(base: BorrowedFd<'_>, path: &str) -> Result<FileType, Errno> {
    look(base, path, OFlags::PATH | OFlags::CLOEXEC)
}

/// Whether there is anything by that name below `base`, be it a link that leads nowhere.
pub(super) fn is_there(base: BorrowedFd<'_>, path: &str) -> bool {
    look(base, path, OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW).is_ok()
}

fn look(base: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<FileType, Errno> {
    let resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
    let found = match rustix::fs::openat2(base, path, flags, Mode::empty(), resolve) {
        // Kernels before 5.6 and some sandboxes: links are then followed on the host's side, which can only
        // misjudge absolute ones.
        Err(Errno::NOSYS | Errno::PERM) => rustix::fs::openat(base, path, flags, Mode::empty()),
        other => other,
    }?;
    Ok(FileType::from_raw_mode(rustix::fs::fstat(&found)?.st_mode))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::fd::AsFd;

    #[test]
    fn mount_points_are_judged_as_the_guest_would_see_them() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("srv/data")).unwrap();
        std::fs::write(root.path().join("file"), "").unwrap();
        std::os::unix::fs::symlink("/srv/data", root.path().join("link")).unwrap();
        std::os::unix::fs::symlink("/nowhere", root.path().join("dangling")).unwrap();
        let base = std::fs::File::open(root.path()).unwrap();
        let find = |path| find(base.as_fd(), path);
        assert_eq!(find("/srv/data"), Ok(MountPoint::Exists));
        assert_eq!(find("/link"), Ok(MountPoint::Exists), "an absolute link leads into the root, not the host");
        assert_eq!(find("/workspace/a"), Ok(MountPoint::MissingTop));
        assert_eq!(find("/srv/other/x"), Ok(MountPoint::MissingBelow));
        assert!(find("/file/x").unwrap_err().contains("/file is there and is not a directory"));
        assert!(find("/file").is_err());
    }
}
