//! The root: a directory, or a file system on a disk.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::{Access, AtFlags, FileType};

use super::Checker;
use super::files::shell_quote;
use crate::error::{Problem, ProblemKind};
use crate::spec::findings::Findings;
use crate::spec::model::{Root, RootDisk, VmSpec};
use crate::spec::mountpoint;

impl Checker {
    /// Returns the root's directory, where it is one.
    pub(super) fn root(&mut self, root: &Root, spec: &VmSpec, findings: &mut Findings) -> Option<File> {
        if let Some(disk) = &root.disk {
            self.root_disk(disk, root, spec);
        }
        let path = root.dir.as_ref()?;
        let (found, dir) = self.directory("root.dir", path);
        findings.root = found;
        self.dax("root.dax_mib", root.dax_mib);
        let dir = dir?;
        if spec.has_guest_program() {
            self.guest_directories(root, path, &dir);
        }
        findings.no_shell_mount = shell_mount(dir.as_fd()).err();
        findings.resolv_conf = Some(mountpoint::is_there(dir.as_fd(), "etc/resolv.conf"));
        Some(dir)
    }

    fn root_disk(&mut self, disk: &RootDisk, root: &Root, spec: &VmSpec) {
        if root.dax_mib != 0 {
            self.invalid("root.dax_mib", "a disk has no DAX window");
        }
        // They travel on the kernel's command line before libkrun 1.19.0.
        let plain = |text: &str| text.bytes().all(|b| b.is_ascii_graphic() && !b"\"'\\".contains(&b));
        for (field, text) in
            [("fstype", disk.fstype.as_deref()), ("options", disk.options.as_deref()), ("device", Some(&disk.device))]
        {
            if text.is_some_and(|text| text.is_empty() || !plain(text)) {
                self.invalid(
                    format!("root.disk.{field}"),
                    "must be printable ASCII without blanks and quotation marks, and not empty",
                );
            }
        }
        if !disk.device.starts_with("/dev/") {
            self.invalid("root.disk.device", format!("must be a device in /dev, not {}", disk.device));
            return;
        }
        if let Some(problem) = no_disk(spec) {
            self.problems.push(problem);
            return;
        }
        let Some(index) = virtio_index(&disk.device) else { return };
        match spec.disks.get(index) {
            None => self.invalid(
                "root.disk.device",
                format!("{} is disk number {}, and the spec has {}", disk.device, index + 1, spec.disks.len()),
            ),
            Some(on) if on.read_only && !root.read_only => self
                .invalid("root.read_only", format!("must be true: disks[{index}], on which the root is, is read-only")),
            Some(_) => {}
        }
    }

    /// libkrun's init makes /dev, /proc and /sys where it can; where it cannot, the guest ends at once and silently.
    fn guest_directories(&mut self, root: &Root, path: &std::path::Path, dir: &File) {
        let missing: Vec<&str> = ["dev", "proc", "sys"]
            .into_iter()
            .filter(|name| mountpoint::lookup(dir.as_fd(), name) != Ok(FileType::Directory))
            .collect();
        if missing.is_empty() {
            return;
        }
        let names = missing.iter().map(|name| format!("/{name}")).collect::<Vec<_>>().join(", ");
        let make = format!("cd {} && mkdir {}", shell_quote(path), missing.join(" "));
        let problem = if root.read_only {
            Problem::new(
                ProblemKind::Host,
                "root.read_only",
                format!("a read-only root must have {names}: the guest's init cannot make them"),
            )
        } else if rustix::fs::accessat(dir, ".", Access::WRITE_OK, AtFlags::EACCESS).is_err() {
            Problem::new(
                ProblemKind::Host,
                "root.dir",
                format!("the root lacks {names} and cannot be written to by this user"),
            )
        } else {
            return;
        };
        self.problems.push(problem.fix(make));
    }
}

/// What is wrong with a root on a disk where the spec has no disks. No host is needed to see it, and libkrun refuses it
/// (`EINVAL` from `krun_set_root_disk_remount`), so that a plan of a spec that nobody checked refuses it as well.
pub(crate) fn no_disk(spec: &VmSpec) -> Option<Problem> {
    let disk = spec.root.as_ref()?.disk.as_ref()?;
    let reason = format!("the root is on {}, and the spec has no disks", disk.device);
    spec.disks
        .is_empty()
        .then(|| Problem::new(ProblemKind::Invalid, "root.disk", reason).fix("name its image in disks"))
}

/// 1 for `/dev/vdb` and its partitions; `None` for other names.
fn virtio_index(device: &str) -> Option<usize> {
    let letter = device.strip_prefix("/dev/vd")?.bytes().next()?;
    let rest = &device["/dev/vd".len() + 1..];
    (letter.is_ascii_lowercase() && rest.bytes().all(|b| b.is_ascii_digit())).then(|| usize::from(letter - b'a'))
}

/// Can `/bin/sh -c "mount ..."` work in this root? The error says what is missing.
fn shell_mount(root: BorrowedFd<'_>) -> Result<(), String> {
    let is_file = |path: &&str| mountpoint::lookup(root, path) == Ok(FileType::RegularFile);
    if !is_file(&"bin/sh") {
        return Err("the root has no /bin/sh".to_owned());
    }
    if !["bin/mount", "sbin/mount", "usr/bin/mount", "usr/sbin/mount"].iter().any(is_file) {
        return Err("the root has no mount program in /bin, /sbin, /usr/bin or /usr/sbin".to_owned());
    }
    Ok(())
}
