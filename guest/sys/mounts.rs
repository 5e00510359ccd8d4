//! File systems: mounts, the root, and what is not yet on a disk.

use std::ffi::{c_char, c_int, c_ulong, c_void};
use std::io::Result;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::descriptors::O_CLOEXEC;
use super::{c_string, check};

/// Mount options that the kernel takes as flags: the name, what it sets, what it clears.
pub const MOUNT_FLAGS: &[(&str, u64, u64)] = &[
    ("defaults", 0, 0),
    ("rw", 0, 1),
    ("ro", 1, 0),
    ("suid", 0, 2),
    ("nosuid", 2, 0),
    ("dev", 0, 4),
    ("nodev", 4, 0),
    ("exec", 0, 8),
    ("noexec", 8, 0),
    ("async", 0, 16),
    ("sync", 16, 0),
    ("dirsync", 128, 0),
    ("atime", 0, 1024),
    ("noatime", 1024, 0),
    ("diratime", 0, 2048),
    ("nodiratime", 2048, 0),
    ("relatime", 1 << 21, 0),
    ("strictatime", 1 << 24, 0),
    ("lazytime", 1 << 25, 0),
];

pub const MS_RDONLY: u64 = 1;
const MS_REMOUNT: c_ulong = 32;
const MS_BIND: c_ulong = 4096;
const MS_MOVE: c_ulong = 8192;
const MS_REC: c_ulong = 16384;
const MS_PRIVATE: c_ulong = 1 << 18;
const MS_SHARED: c_ulong = 1 << 20;
const CLONE_NEWNS: c_int = 0x0002_0000;
const MNT_DETACH: c_int = 2;
const O_RDONLY: c_int = 0;
const O_PATH: c_int = 0o10000000;
/// `O_NOFOLLOW`, which is not the same everywhere.
#[cfg(target_arch = "aarch64")]
const O_NOFOLLOW: c_int = 0o100000;
#[cfg(not(target_arch = "aarch64"))]
const O_NOFOLLOW: c_int = 0o400000;

unsafe extern "C" {
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn mount(
        source: *const c_char,
        target: *const c_char,
        fstype: *const c_char,
        flags: c_ulong,
        data: *const c_void,
    ) -> c_int;
    fn unshare(flags: c_int) -> c_int;
    fn chdir(path: *const c_char) -> c_int;
    fn chroot(path: *const c_char) -> c_int;
    fn sync();
    fn umount2(target: *const c_char, flags: c_int) -> c_int;
}

/// Mounts a virtio-fs share.
pub fn mount_virtiofs(tag: &[u8], target: &[u8], read_only: bool, options: &[u8]) -> Result<()> {
    let (tag, target, options) = (c_string(tag)?, c_string(target)?, c_string(options)?);
    let flags = if read_only { MS_RDONLY as c_ulong } else { 0 };
    let data = if options.is_empty() { std::ptr::null() } else { options.as_ptr().cast() };
    // SAFETY: all pointers are C strings that outlive the call; the data may be NULL.
    check(unsafe { mount(tag.as_ptr(), target.as_ptr(), c"virtiofs".as_ptr(), flags, data) }).map(drop)
}

/// Mounts an empty file system in memory.
pub fn mount_tmpfs(target: &[u8]) -> Result<()> {
    let target = c_string(target)?;
    // SAFETY: C strings that outlive the call.
    check(unsafe { mount(c"tmpfs".as_ptr(), target.as_ptr(), c"tmpfs".as_ptr(), 0, c"mode=0755".as_ptr().cast()) })
        .map(drop)
}

/// The directories in the target of [`mount_overlay`]: below, above, and the file system's own.
pub const OVERLAY_LAYERS: [&str; 3] = ["lower", "upper", "work"];

/// Mounts over `target` the layers that are in it. Leaves this process in `/`.
pub fn mount_overlay(source: &[u8], target: &[u8]) -> Result<()> {
    let (source, target) = (c_string(source)?, c_string(target)?);
    // Relative, because a comma or colon in the target would have a meaning here.
    let layers = c"lowerdir=lower,upperdir=upper,workdir=work";
    // SAFETY: C strings that outlive the calls; this program has one thread.
    unsafe {
        check(chdir(target.as_ptr()))?;
        let mounted = check(mount(source.as_ptr(), c".".as_ptr(), c"overlay".as_ptr(), 0, layers.as_ptr().cast()));
        check(chdir(c"/".as_ptr()))?;
        mounted.map(drop)
    }
}

/// Mounts a block device.
pub fn mount_disk(device: &[u8], target: &[u8], fstype: &[u8], flags: u64, data: &[u8]) -> Result<()> {
    let (device, target, fstype, data) = (c_string(device)?, c_string(target)?, c_string(fstype)?, c_string(data)?);
    // SAFETY: all pointers are C strings that outlive the call.
    check(unsafe { mount(device.as_ptr(), target.as_ptr(), fstype.as_ptr(), flags as c_ulong, data.as_ptr().cast()) })
        .map(drop)
}

/// Gives this process mounts of its own: what it does to them, nobody else sees.
pub fn own_mounts() -> Result<()> {
    // SAFETY: plain integers; this program has one thread.
    check(unsafe { unshare(CLONE_NEWNS) })?;
    propagate(MS_PRIVATE)
}

fn propagate(kind: c_ulong) -> Result<()> {
    let none = std::ptr::null();
    // SAFETY: a C string for the target; the kernel reads nothing else for a change of propagation.
    check(unsafe { mount(none, c"/".as_ptr(), none, MS_REC | kind, none.cast()) }).map(drop)
}

/// Moves a mount, with all that is mounted in it.
pub fn move_mount(from: &[u8], to: &[u8]) -> Result<()> {
    let (from, to) = (c_string(from)?, c_string(to)?);
    let none = std::ptr::null();
    // SAFETY: C strings that outlive the call; type and data are not read for a move.
    check(unsafe { mount(from.as_ptr(), to.as_ptr(), none, MS_MOVE, none.cast()) }).map(drop)
}

/// Makes a mount the root of this process.
pub fn move_into_root(path: &[u8]) -> Result<()> {
    let path = c_string(path)?;
    // SAFETY: C strings that outlive the calls.
    unsafe {
        check(chdir(path.as_ptr()))?;
        let none = std::ptr::null();
        check(mount(c".".as_ptr(), c"/".as_ptr(), none, MS_MOVE, none.cast()))?;
        check(chroot(c".".as_ptr()))?;
        check(chdir(c"/".as_ptr()))?;
    }
    // As libkrun's init leaves the root, for tools that make containers.
    propagate(MS_SHARED)
}

/// Writes out everything that is not yet on a disk.
pub fn sync_all() {
    // SAFETY: no arguments.
    unsafe { sync() };
}

/// Makes the root read-only.
pub fn remount_root_read_only() -> Result<()> {
    let none = std::ptr::null();
    // SAFETY: a C string for the target; the kernel reads neither source nor type for a remount.
    check(unsafe { mount(none, c"/".as_ptr(), none, MS_REMOUNT | MS_RDONLY as c_ulong, none.cast()) }).map(drop)
}

/// Takes a mount out of the tree; files in use stay usable.
pub fn detach(target: &[u8]) -> Result<()> {
    let target = c_string(target)?;
    // SAFETY: a C string that outlives the call.
    check(unsafe { umount2(target.as_ptr(), MNT_DETACH) }).map(drop)
}

/// What is at a path: the thing itself, a link not followed.
pub fn open_place(path: &[u8]) -> Result<OwnedFd> {
    let path = c_string(path)?;
    // SAFETY: a C string that outlives the call; the descriptor returned is new and nobody else's.
    unsafe { Ok(OwnedFd::from_raw_fd(check(open(path.as_ptr(), O_RDONLY | O_PATH | O_NOFOLLOW | O_CLOEXEC))?)) }
}

/// Lays a file over what a descriptor of [`open_place`] is.
pub fn lay_over(file: &[u8], place: BorrowedFd<'_>) -> Result<()> {
    let target = c_string(format!("/proc/self/fd/{}", place.as_raw_fd()).as_bytes())?;
    let (file, none) = (c_string(file)?, std::ptr::null());
    // SAFETY: C strings that outlive the call; type and data are not read for a bind mount.
    check(unsafe { mount(file.as_ptr(), target.as_ptr(), none, MS_BIND, none.cast()) }).map(drop)
}
