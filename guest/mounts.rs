//! The shares that the orders name, mounted.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, Metadata};
use std::io::{self, ErrorKind};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, chown};
use std::path::{Path, PathBuf};

use super::failure::{Failure, shown, text};
use super::orders::OrderMount;
use super::sys;

/// Mounts every share, in order.
pub fn all(mounts: &[OrderMount]) -> Result<(), Failure> {
    mounts.iter().try_for_each(one)
}

fn one(mount: &OrderMount) -> Result<(), Failure> {
    let path = Path::new(OsStr::from_bytes(&mount.path));
    let what = format!("mount of tag \"{}\" on {}", shown(&mount.tag), shown(&mount.path));
    if mount.create {
        create(path).map_err(|(part, error)| {
            Failure::new(format_args!("{what}: cannot create {}", shown(part.as_os_str().as_bytes())), &error)
        })?;
    }
    if mount.overlay { overlay(mount, &what) } else { share(mount, path, mount.read_only, &what).map(drop) }
}

/// Mounts the share and looks at it.
fn share(mount: &OrderMount, path: &Path, read_only: bool, what: &str) -> Result<Metadata, Failure> {
    sys::mount_virtiofs(&mount.tag, path.as_os_str().as_bytes(), read_only, &mount.options)
        .map_err(|error| Failure::explained(what, &error, &reason(&error, !mount.options.is_empty())))?;
    // A mount succeeds although nothing stands behind it on the host; the first access tells.
    fs::metadata(path).map_err(|error| {
        let why = format!("the host's side of the share does not answer ({})", text(&error));
        Failure::explained(what, &error, &why)
    })
}

/// The share below, and above it a layer in memory that takes what is written. Both are mounted where the result goes,
/// and hidden by it, so that this takes no other place in a root that may have none.
fn overlay(mount: &OrderMount, what: &str) -> Result<(), Failure> {
    let path = Path::new(OsStr::from_bytes(&mount.path));
    let failed = |part: &str, error: &io::Error| Failure::new(format_args!("{what}: {part}"), error);
    let layer = |error| failed("a layer in memory", &error);
    sys::mount_tmpfs(&mount.path).map_err(layer)?;
    let [lower, upper, work] = sys::OVERLAY_LAYERS.map(|name| path.join(name));
    for dir in [&lower, &upper, &work] {
        fs::create_dir(dir).map_err(layer)?;
    }
    let below = share(mount, &lower, true, what)?;
    // The upper directory's owner and permissions are those of the whole.
    chown(&upper, Some(below.uid()), Some(below.gid()))
        .and_then(|()| fs::set_permissions(&upper, below.permissions()))
        .map_err(|error| failed("its owner and permissions", &error))?;
    sys::mount_overlay(&mount.tag, &mount.path).map_err(|error| match error.raw_os_error() {
        Some(sys::ENODEV) => Failure::explained(what, &error, "this kernel has no overlay (CONFIG_OVERLAY_FS)"),
        _ => failed("the overlay", &error),
    })
}

/// Makes a directory and whatever is missing above it. An error comes with the part that it is about.
fn create(path: &Path) -> Result<(), (PathBuf, io::Error)> {
    let mut part = PathBuf::new();
    for component in path.components() {
        part.push(component);
        match DirBuilder::new().mode(0o755).create(&part) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err((part, error)),
        }
    }
    Ok(())
}

/// What an error of mount means for virtio-fs, where that is known better than the general text.
fn reason(error: &io::Error, has_options: bool) -> String {
    match error.raw_os_error() {
        Some(sys::ENODEV) => "this kernel has no virtiofs".into(),
        Some(sys::EINVAL) if has_options => {
            "the machine has no share with this tag, or it has no DAX window, or this kernel no DAX (CONFIG_FUSE_DAX)"
                .into()
        }
        Some(sys::EINVAL) => "the machine has no share with this tag".into(),
        Some(sys::ENOENT) => "the mount point does not exist".into(),
        Some(sys::ENOTDIR) => "the mount point is not a directory".into(),
        _ => text(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn missing_directories_are_made() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::set_permissions(dir.path().join("a"), fs::Permissions::from_mode(0o700)).unwrap();
        create(&dir.path().join("a/b/c")).unwrap();
        create(&dir.path().join("a/b/c")).unwrap();
        let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("a"), mode("a/b") & 0o700, mode("a/b/c") & 0o700), (0o700, 0o700, 0o700));
        fs::write(dir.path().join("file"), "").unwrap();
        let (part, error) = create(&dir.path().join("file/x/y")).unwrap_err();
        assert_eq!((part, error.kind()), (dir.path().join("file/x"), ErrorKind::NotADirectory));
    }

    #[test]
    fn reasons() {
        let reason = |errno, options| reason(&io::Error::from_raw_os_error(errno), options);
        assert_eq!(reason(sys::ENODEV, false), "this kernel has no virtiofs");
        assert_eq!(reason(sys::EINVAL, false), "the machine has no share with this tag");
        assert_eq!(reason(16, false), "Device or resource busy");
    }
}
