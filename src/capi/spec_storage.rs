//! The builder's part for file systems: the root, mounts, disks, and what is laid over the root.

use std::ffi::c_char;

use super::boundary::{needed_options, optional_text, text};
use super::spec::{edit, named, path};
use super::{krundl_spec, krundl_status};
use crate::error::Error;
use crate::spec::{DEFAULT_GUEST, Disk, Mount, OverlayDir, OverlayFile, RootDisk};

/// A directory of the host that the guest sees. Zeroes are the defaults: `krundl_mount mount = {.struct_size = sizeof
/// mount};`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct krundl_mount {
    /// sizeof(krundl_mount), so that fields can be added.
    pub struct_size: usize,
    /// The directory on the host; not NULL.
    pub host: *const c_char,
    /// Where the guest sees it: absolute, UTF-8; NULL: "/workspace".
    pub guest: *const c_char,
    /// The virtio-fs tag, at most 36 bytes; NULL: chosen by krundl.
    pub tag: *const c_char,
    /// Who owns what: "complete" or "simplified"; NULL: libkrun's default.
    pub semantics: *const c_char,
    /// Size of the DAX window in MiB, a multiple of 2; 0 for none.
    pub dax_mib: u32,
    /// Whether the guest may not write, enforced on the host's side.
    pub read_only: bool,
    /// Whether the guest may write without changing anything on the host.
    pub overlay: bool,
}

impl Default for krundl_mount {
    fn default() -> krundl_mount {
        let none = std::ptr::null();
        krundl_mount {
            struct_size: 0,
            host: none,
            guest: none,
            tag: none,
            semantics: none,
            dax_mib: 0,
            read_only: false,
            overlay: false,
        }
    }
}

/// A disk. Zeroes are the defaults: `krundl_disk disk = {.struct_size = sizeof disk};`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct krundl_disk {
    /// sizeof(krundl_disk), so that fields can be added.
    pub struct_size: usize,
    /// The image or block device; not NULL.
    pub path: *const c_char,
    /// The disk's serial number, at most 20 bytes; NULL: chosen by krundl.
    pub id: *const c_char,
    /// "raw", "qcow2" or "vmdk"; NULL: "raw".
    pub format: *const c_char,
    /// What the guest's flushes do: "none", "relaxed" or "full"; NULL: libkrun's default.
    pub sync: *const c_char,
    /// Whether the guest may not write to it.
    pub read_only: bool,
    /// Whether the host's page cache is passed by.
    pub direct_io: bool,
}

impl Default for krundl_disk {
    fn default() -> krundl_disk {
        let none = std::ptr::null();
        krundl_disk {
            struct_size: 0,
            path: none,
            id: none,
            format: none,
            sync: none,
            read_only: false,
            direct_io: false,
        }
    }
}

/// A directory of the host as the guest's root. dir: not NULL. read_only: whether the guest may not write to it.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle; `dir` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_set_root_dir(
    spec: *mut krundl_spec,
    dir: *const c_char,
    read_only: bool,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            let root = spec.root.get_or_insert_default();
            root.dir = Some(path("root.dir", dir)?);
            root.disk = None;
            root.read_only = read_only;
            Ok(())
        })
    }
}

/// The size of the root directory's DAX window. mib: in MiB, a multiple of 2; 0 for none.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_set_root_dax(spec: *mut krundl_spec, mib: u32) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            spec.root.get_or_insert_default().dax_mib = mib;
            Ok(())
        })
    }
}

/// The file system on one of the disks as the guest's root. device: the block device in the guest; NULL for
/// "/dev/vda", the first disk. fstype: the file system's type; NULL to try all that the kernel knows. options: as
/// for mount -o, or NULL. read_only: whether it is mounted read-only.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle; `device`, `fstype`, `options` NULL or C strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_set_root_disk(
    spec: *mut krundl_spec,
    device: *const c_char,
    fstype: *const c_char,
    options: *const c_char,
    read_only: bool,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            let mut disk = RootDisk::default();
            if let Some(device) = optional_text("root.disk.device", device)? {
                disk.device = device.to_owned();
            }
            disk.fstype = optional_text("root.disk.fstype", fstype)?.map(str::to_owned);
            disk.options = optional_text("root.disk.options", options)?.map(str::to_owned);
            let root = spec.root.get_or_insert_default();
            root.disk = Some(disk);
            root.dir = None;
            root.read_only = read_only;
            Ok(())
        })
    }
}

/// A directory of the host that the guest sees. host: the directory; not NULL. guest: where the guest sees it:
/// absolute, UTF-8; NULL for "/workspace". read_only: whether the guest may not write, enforced on the host's side.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle; `host`, `guest` NULL or C strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_add_mount(
    spec: *mut krundl_spec,
    host: *const c_char,
    guest: *const c_char,
    read_only: bool,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe { edit(spec, |spec| add_mount(spec, &krundl_mount { host, guest, read_only, ..krundl_mount::default() })) }
}

/// The same with everything that a mount can have. mount: not NULL.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle; `mount` NULL or as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_add_mount_with(
    spec: *mut krundl_spec,
    mount: *const krundl_mount,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            let field = format!("mounts[{}]", spec.mounts.len());
            add_mount(spec, &needed_options(&field, mount)?)
        })
    }
}

/// # Safety
/// The mount's texts are null or C strings.
unsafe fn add_mount(spec: &mut crate::VmSpec, mount: &krundl_mount) -> crate::Result<()> {
    let field = |name: &str| format!("mounts[{}].{name}", spec.mounts.len());
    // SAFETY: the caller's promise is the same.
    let mount = unsafe {
        Mount {
            host: path(&field("host"), mount.host)?,
            guest: optional_text(&field("guest"), mount.guest)?.unwrap_or(DEFAULT_GUEST).to_owned(),
            tag: optional_text(&field("tag"), mount.tag)?.map(str::to_owned),
            read_only: mount.read_only,
            overlay: mount.overlay,
            dax_mib: mount.dax_mib,
            semantics: named(&field("semantics"), mount.semantics)?,
        }
    };
    spec.mounts.push(mount);
    Ok(())
}

/// A disk, which the guest has as /dev/vda, /dev/vdb and so on. disk: not NULL.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle; `disk` NULL or as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_add_disk(spec: *mut krundl_spec, disk: *const krundl_disk) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            let at = spec.disks.len();
            let disk = needed_options(&format!("disks[{at}]"), disk)?;
            let field = |name: &str| format!("disks[{at}].{name}");
            let disk = Disk {
                path: path(&field("path"), disk.path)?,
                id: optional_text(&field("id"), disk.id)?.map(str::to_owned),
                format: named(&field("format"), disk.format)?.unwrap_or_default(),
                read_only: disk.read_only,
                direct_io: disk.direct_io,
                sync: named(&field("sync"), disk.sync)?,
            };
            spec.disks.push(disk);
            Ok(())
        })
    }
}

/// A file that only this guest sees, laid over the root directory. path: where the guest sees it: absolute, UTF-8;
/// not NULL. bytes: its contents; may be NULL where size is 0. size: their number. mode: its permissions, such as
/// 0644.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle; `path`, `bytes` NULL or as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_add_overlay_bytes(
    spec: *mut krundl_spec,
    path: *const c_char,
    bytes: *const u8,
    size: usize,
    mode: u32,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            let at = spec.overlay.files.len();
            let path = text(&format!("overlay.files[{at}].path"), path)?.to_owned();
            let bytes = match (bytes.is_null(), size) {
                (_, 0) => &[],
                (true, _) => return Err(Error::argument(format!("overlay.files[{at}].text"), "is NULL")),
                (false, size) => std::slice::from_raw_parts(bytes, size),
            };
            spec.overlay.files.push(OverlayFile { path, text: Some(bytes.to_vec().into()), from: None, mode });
            Ok(())
        })
    }
}

/// The same with the contents of a file of the host, read when the VM starts. path, from: not NULL. mode: its
/// permissions, such as 0644.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle; `path`, `from` NULL or C strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_add_overlay_file(
    spec: *mut krundl_spec,
    path: *const c_char,
    from: *const c_char,
    mode: u32,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            let at = spec.overlay.files.len();
            let path = text(&format!("overlay.files[{at}].path"), path)?.to_owned();
            let from = Some(self::path(&format!("overlay.files[{at}].from"), from)?);
            spec.overlay.files.push(OverlayFile { path, text: None, from, mode });
            Ok(())
        })
    }
}

/// An empty directory that only this guest sees. path: absolute, UTF-8; not NULL. mode: its permissions, such as
/// 0755.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle; `path` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_add_overlay_dir(
    spec: *mut krundl_spec,
    path: *const c_char,
    mode: u32,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            let path = text(&format!("overlay.dirs[{}].path", spec.overlay.dirs.len()), path)?.to_owned();
            spec.overlay.dirs.push(OverlayDir { path, mode });
            Ok(())
        })
    }
}
