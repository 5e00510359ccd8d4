//! A root on a disk: mounted, entered, and left in order.
//!
//! libkrun's init stays where it is, on virtio-fs, because only from there can it tell the host the exit status. So the
//! disk becomes the root of this process and its children alone, in a mount namespace of their own.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::failure::{Failure, shown, text};
use super::orders::OrderRoot;
use super::sys;

/// Where the disk is mounted before it becomes the root.
const NEW_ROOT: &[u8] = b"/newroot";
/// What libkrun's init has mounted, and the disk gets.
const SYSTEM: [&str; 3] = ["dev", "proc", "sys"];

/// Makes the disk the root.
pub fn enter(root: &OrderRoot) -> Result<(), Failure> {
    let what = format!("root on {}", shown(&root.device));
    let failed = |part: &str, error: &io::Error| Failure::new(format_args!("{what}: {part}"), error);
    if !Path::new(OsStr::from_bytes(&root.device)).exists() {
        let message = format!("{what}: there is no such device; {}", disks());
        return Err(Failure { errno: sys::ENOENT, message });
    }
    sys::own_mounts().map_err(|error| failed("a mount namespace", &error))?;
    let (flags, data) = split_options(&root.options, root.read_only);
    mount(root, flags, &data).map_err(|error| Failure::explained(&what, &error, &reason(root, &error)))?;
    for name in SYSTEM {
        let (from, to) = (format!("/{name}"), [NEW_ROOT, b"/", name.as_bytes()].concat());
        // A root that is read-only must have it.
        let _ = fs::create_dir(OsStr::from_bytes(&to));
        sys::move_mount(from.as_bytes(), &to).map_err(|error| failed(&format!("its /{name}"), &error))?;
    }
    sys::move_into_root(NEW_ROOT).map_err(|error| failed("entering it", &error))
}

/// Writes out what is in memory, and ends the writing: what comes after is the machine's end.
pub fn settle() {
    sys::sync_all();
    // Fails while a process that the workload left behind has a file open for writing; then the journal has to do.
    let _ = sys::remount_root_read_only();
}

fn mount(root: &OrderRoot, flags: u64, data: &[u8]) -> io::Result<()> {
    if !root.fstype.is_empty() {
        return sys::mount_disk(&root.device, NEW_ROOT, &root.fstype, flags, data);
    }
    let mut last = io::Error::from_raw_os_error(sys::ENODEV);
    for fstype in filesystems(&fs::read_to_string("/proc/filesystems").unwrap_or_default()) {
        match sys::mount_disk(&root.device, NEW_ROOT, fstype.as_bytes(), flags, data) {
            Ok(()) => return Ok(()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// The types that need a device.
fn filesystems(table: &str) -> impl Iterator<Item = &str> {
    table.lines().filter_map(|line| line.strip_prefix('\t')).filter(|name| !name.is_empty())
}

fn reason(root: &OrderRoot, error: &io::Error) -> String {
    let fstype = shown(&root.fstype);
    match error.raw_os_error() {
        Some(sys::ENODEV) if !root.fstype.is_empty() => format!("this kernel has no {fstype}"),
        Some(sys::EINVAL) if root.fstype.is_empty() => "it holds no file system that this kernel knows".into(),
        Some(sys::EINVAL) => format!("it holds no {fstype}, or an option is not known"),
        _ => text(error),
    }
}

fn disks() -> String {
    let names = fs::read_dir("/sys/class/block").into_iter().flatten().flatten();
    let mut names: Vec<String> =
        names.filter_map(|entry| entry.file_name().into_string().ok()).filter(|name| name.starts_with("vd")).collect();
    names.sort();
    if names.is_empty() { "this machine has no disks".into() } else { format!("there are {}", names.join(", ")) }
}

/// Options that are the kernel's own for every file system become flags, as mount(8) makes them.
fn split_options(options: &[u8], read_only: bool) -> (u64, Vec<u8>) {
    let mut flags = if read_only { sys::MS_RDONLY } else { 0 };
    let mut data: Vec<&[u8]> = Vec::new();
    for option in options.split(|byte| *byte == b',').filter(|option| !option.is_empty()) {
        match sys::MOUNT_FLAGS.iter().find(|(name, ..)| name.as_bytes() == option) {
            Some((_, set, cleared)) => flags = (flags & !cleared) | set,
            None => data.push(option),
        }
    }
    if read_only {
        flags |= sys::MS_RDONLY;
    }
    (flags, data.join(&b','))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_told_apart_as_mount_does() {
        assert_eq!(split_options(b"", false), (0, b"".to_vec()));
        assert_eq!(split_options(b"", true), (1, b"".to_vec()));
        assert_eq!(
            split_options(b"ro,noatime,data=ordered,,errors=panic", false),
            (1 | 1024, b"data=ordered,errors=panic".to_vec())
        );
        assert_eq!(split_options(b"nosuid,suid,defaults,rw", true), (1, b"".to_vec()), "read-only is not undone");
    }

    #[test]
    fn types_that_need_no_device_are_not_tried() {
        let table = "nodev\tsysfs\nnodev\ttmpfs\n\text4\n\tvfat\nnodev\tvirtiofs\n";
        assert_eq!(filesystems(table).collect::<Vec<_>>(), ["ext4", "vfat"]);
    }

    #[test]
    fn reasons() {
        let root = |fstype: &[u8]| OrderRoot {
            device: b"/dev/vda".to_vec(),
            fstype: fstype.to_vec(),
            options: Vec::new(),
            read_only: false,
        };
        let reason = |fstype, errno| reason(&root(fstype), &io::Error::from_raw_os_error(errno));
        assert_eq!(reason(b"xfs", sys::ENODEV), "this kernel has no xfs");
        assert_eq!(reason(b"ext4", sys::EINVAL), "it holds no ext4, or an option is not known");
        assert_eq!(reason(b"", sys::EINVAL), "it holds no file system that this kernel knows");
        assert_eq!(reason(b"", 30), "Read-only file system");
    }
}
