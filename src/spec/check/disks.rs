//! Disks: files or block devices, and whether they are what they are said to be.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::{FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};

use super::Checker;
use super::files::{plain, refuse_nul};
use crate::error::{Problem, ProblemKind};
use crate::spec::findings::HostPath;
use crate::spec::model::{Disk, DiskFormat};

/// As much of an identifier as a virtio disk can show, in bytes; libkrun cuts off the rest.
const MAX_ID: usize = 20;
/// What the guest sees of a disk comes in these, in bytes.
const SECTOR: u64 = 512;

impl Checker {
    pub(super) fn disks(&mut self, disks: &[Disk]) -> Vec<HostPath> {
        let mut ids = BTreeMap::new();
        let mut files = BTreeMap::new();
        let mut found = Vec::new();
        for (n, disk) in disks.iter().enumerate() {
            if let Some(id) = &disk.id {
                let field = format!("disks[{n}].id");
                if id.is_empty() || id.len() > MAX_ID || !id.bytes().all(|b| (0x20..0x7f).contains(&b)) {
                    self.invalid(field, format!("must be printable ASCII, 1 to {MAX_ID} bytes"));
                } else if let Some(other) = ids.insert(id, n) {
                    self.invalid(field, format!("{id:?} is also that of disks[{other}]"));
                }
            }
            if disk.format == DiskFormat::Vmdk && !disk.read_only {
                self.invalid(
                    format!("disks[{n}].read_only"),
                    "must be true: libkrun only reads vmdk, and the guest's writes would fail",
                );
            }
            let opened = self.disk(n, disk);
            if let Some(key) = opened.as_ref().and_then(|file| file.metadata().ok()).map(|m| (m.dev(), m.ino())) {
                match files.get(&key) {
                    Some((other, writable)) if *writable || !disk.read_only => {
                        let reason = format!("is the same as disks[{other}]: two disks that are written to destroy it");
                        self.host(format!("disks[{n}].path"), reason);
                    }
                    _ => drop(files.insert(key, (n, !disk.read_only))),
                }
            }
            found.push(match opened {
                // Their headers name other files relative to their own path, so libkrun needs that.
                Some(_) if disk.format != DiskFormat::Raw => {
                    let path = disk.path.canonicalize().unwrap_or_else(|_| disk.path.clone());
                    HostPath { path: path.into(), held: None }
                }
                Some(file) => self.hold(file, &disk.path),
                None => HostPath::default(),
            });
        }
        found
    }

    fn disk(&mut self, n: usize, disk: &Disk) -> Option<File> {
        let field = format!("disks[{n}].path");
        let shown = disk.path.display();
        let opened = refuse_nul(&disk.path).and_then(|()| {
            // Non-blocking, so that a FIFO is seen instead of waited for.
            File::options().read(true).write(!disk.read_only).custom_flags(libc::O_NONBLOCK).open(&disk.path)
        });
        let opened = opened.and_then(|file| Ok((file.metadata()?, file)));
        let (metadata, file) = match opened {
            Ok(opened) => opened,
            Err(error) => {
                let what = if disk.read_only { "read" } else { "read and written to" };
                self.host(field, format!("{shown} cannot be {what}: {}", plain(&error)));
                return None;
            }
        };
        if !metadata.is_file() && !metadata.file_type().is_block_device() {
            self.host(field, format!("{shown} is neither a regular file nor a block device"));
            return None;
        }
        let is = magic(&file);
        let field = format!("disks[{n}].format");
        match (disk.format, is) {
            (said, is) if said == is => {}
            (DiskFormat::Raw, is) => {
                let name = name(is);
                let reason = format!(
                    "{shown} begins like a {name} image. If it is one, say so. If a guest wrote that there, do not: such a header can name any file of the host"
                );
                self.problems.push(Problem::new(ProblemKind::Host, field, reason));
                return None;
            }
            (said, _) => {
                self.host(field, format!("{shown} is no {} image", name(said)));
                return None;
            }
        }
        if disk.format == DiskFormat::Raw && metadata.is_file() && (metadata.len() == 0 || metadata.len() % SECTOR != 0)
        {
            let reason = format!(
                "{shown} has {} bytes; a disk has a multiple of {SECTOR}, and the guest would not see the rest",
                metadata.len()
            );
            self.host(format!("disks[{n}].path"), reason);
            return None;
        }
        Some(file)
    }
}

fn name(format: DiskFormat) -> &'static str {
    match format {
        DiskFormat::Raw => "raw",
        DiskFormat::Qcow2 => "qcow2",
        DiskFormat::Vmdk => "vmdk",
    }
}

/// What a file's first bytes say; `Raw` where they say nothing.
fn magic(file: &File) -> DiskFormat {
    let mut head = [0; 21];
    let read = file.read_at(&mut head, 0).unwrap_or(0);
    match &head[..read] {
        [b'Q', b'F', b'I', 0xfb, ..] => DiskFormat::Qcow2,
        [b'K', b'D', b'M', b'V', ..] | [b'C', b'O', b'W', b'D', ..] => DiskFormat::Vmdk,
        head if head.eq_ignore_ascii_case(b"# disk descriptorfile") => DiskFormat::Vmdk,
        _ => DiskFormat::Raw,
    }
}
