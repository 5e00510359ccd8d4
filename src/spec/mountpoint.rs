//! Where in the guest a mount can go, seen from the directory that will be there.

use std::ffi::{OsStr, OsString};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, readlinkat, statat};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

/// As many links as Linux follows in one path.
const MAX_LINKS: u32 = 40;

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
    walk(base, path, Links::Followed)
}

/// Whether there is anything by that name below `base`, be it a link that leads nowhere.
pub(super) fn is_there(base: BorrowedFd<'_>, path: &str) -> bool {
    walk(base, path, Links::LastKept).is_ok()
}

/// What becomes of a link at a path's end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Links {
    Followed,
    LastKept,
}

/// Goes a path component by component, so that links lead where they lead the guest: below `base`, which not every
/// system's kernel can be asked for. What changes meanwhile may be misjudged; the guest looks again.
fn walk(base: BorrowedFd<'_>, path: &str, links: Links) -> Result<FileType, Errno> {
    // What is still to go, the next one last, and where we are, without links.
    let mut ahead: Vec<OsString> = components(path.as_ref());
    let mut here = PathBuf::new();
    let mut found = FileType::Directory;
    let mut followed = 0;
    while let Some(component) = ahead.pop() {
        if found != FileType::Directory {
            return Err(Errno::NOTDIR);
        }
        if component == ".." {
            // The root's parent is the root.
            here.pop();
            continue;
        }
        let next = here.join(&component);
        found = FileType::from_raw_mode(statat(base, &next, AtFlags::SYMLINK_NOFOLLOW)?.st_mode);
        if found != FileType::Symlink || (links == Links::LastKept && ahead.is_empty()) {
            here = next;
            continue;
        }
        followed += 1;
        if followed > MAX_LINKS {
            return Err(Errno::LOOP);
        }
        let target = readlinkat(base, &next, Vec::new())?;
        let target = OsStr::from_bytes(target.to_bytes());
        if Path::new(target).is_absolute() {
            here.clear();
        }
        ahead.append(&mut components(target));
        found = FileType::Directory;
    }
    Ok(found)
}

/// The components that lead anywhere, the first one last.
fn components(path: &OsStr) -> Vec<OsString> {
    let all = path.as_bytes().split(|byte| *byte == b'/').rev();
    all.filter(|name| !name.is_empty() && *name != b".").map(|name| OsStr::from_bytes(name).to_owned()).collect()
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

    #[test]
    fn links_lead_where_they_lead_the_guest() {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("srv/data")).unwrap();
        std::fs::write(root.path().join("file"), "").unwrap();
        let links = [
            ("above", "../../../srv"),
            ("srv/up", ".././srv//data/"),
            ("chain", "/above/up"),
            ("srv/data/top", "/"),
            ("self", "self"),
            ("through", "file/x"),
            ("dangling", "/nowhere"),
            ("named", "file"),
        ];
        for (name, target) in links {
            std::os::unix::fs::symlink(target, root.path().join(name)).unwrap();
        }
        let base = std::fs::File::open(root.path()).unwrap();
        let lookup = |path| lookup(base.as_fd(), path);
        assert_eq!(lookup("above/data"), Ok(FileType::Directory), "nothing is above the root");
        assert_eq!(lookup("chain"), Ok(FileType::Directory));
        assert_eq!(lookup("chain/top/srv/../srv/up"), Ok(FileType::Directory));
        assert_eq!(lookup("named"), Ok(FileType::RegularFile));
        assert_eq!(lookup("self"), Err(Errno::LOOP));
        assert_eq!(lookup("through"), Err(Errno::NOTDIR));
        assert_eq!(lookup("dangling"), Err(Errno::NOENT));
        assert_eq!(lookup(""), Ok(FileType::Directory), "the root itself");
        let is_there = |path| is_there(base.as_fd(), path);
        assert!(is_there("dangling") && is_there("self") && is_there("chain/top"));
        assert!(!is_there("dangling/x") && !is_there("srv/other"));
    }
}
