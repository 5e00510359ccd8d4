//! Shares: their directories on the host, their tags, and where they go in the guest.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use super::Checker;
use crate::spec::findings::{HostPath, MountFinding};
use crate::spec::model::Mount;
use crate::spec::mountpoint::{self, MountPoint};

/// The longest tag that libkrun takes, in bytes; one more aborts it.
const MAX_TAG: usize = 36;
/// DAX windows come in these, in MiB: the guest's driver refuses others.
const DAX_UNIT_MIB: u32 = 2;
/// The largest DAX window, in MiB: it takes guest-physical address space, of which there is little more.
const MAX_DAX_MIB: u32 = 256 * 1024;
/// krundl's own directory in the guest.
const RESERVED_GUEST: &str = "/.krundl";
/// Tags that libkrun or krundl use themselves.
const RESERVED_TAGS: &[&str] = &["/dev/root", "krundl"];

impl Checker {
    pub(super) fn dax(&mut self, field: &str, mib: u32) {
        if !mib.is_multiple_of(DAX_UNIT_MIB) {
            self.invalid(
                field,
                format!("must be a multiple of {DAX_UNIT_MIB} MiB, not {mib}: the guest's driver takes no other"),
            );
        } else if mib > MAX_DAX_MIB {
            self.invalid(field, format!("must be at most {MAX_DAX_MIB} MiB, not {mib}"));
        }
    }

    /// With `on_disk` nobody knows what the root holds.
    pub(super) fn mounts(&mut self, mounts: &[Mount], root: Option<&File>, on_disk: bool) -> Vec<MountFinding> {
        self.unique(mounts);
        let opened: Vec<(HostPath, Option<File>)> = mounts
            .iter()
            .enumerate()
            .map(|(n, mount)| {
                self.dax(&format!("mounts[{n}].dax_mib"), mount.dax_mib);
                self.directory(&format!("mounts[{n}].host"), &mount.host)
            })
            .collect();
        let mut findings = Vec::new();
        for (n, mount) in mounts.iter().enumerate() {
            let field = format!("mounts[{n}].guest");
            let within = enclosing(mounts, n);
            let base = within.map_or(root, |m| opened[m].1.as_ref());
            let point = match guest_path(&mount.guest) {
                Err(reason) => {
                    self.invalid(&*field, reason);
                    MountPoint::Exists
                }
                Ok(()) if mount.guest.starts_with("/dev/") => MountPoint::Device,
                Ok(()) if on_disk && within.is_none() => MountPoint::Unknown,
                Ok(()) => base.map_or(MountPoint::Exists, |base| {
                    let relative = within.map_or(&*mount.guest, |m| &mount.guest[mounts[m].guest.len()..]);
                    mountpoint::find(base.as_fd(), relative).unwrap_or_else(|reason| {
                        self.host(&*field, reason);
                        MountPoint::Exists
                    })
                }),
            };
            if mount.overlay && mount.read_only {
                let reason = "an overlay is there to be written to: leave out one of overlay and read_only";
                self.invalid(format!("mounts[{n}].overlay"), reason);
            }
            findings.push(MountFinding { host: opened[n].0.clone(), point, within });
        }
        findings
    }

    fn unique(&mut self, mounts: &[Mount]) {
        let mut tags = BTreeMap::new();
        let mut guests = BTreeMap::new();
        for (n, mount) in mounts.iter().enumerate() {
            if let Some(tag) = &mount.tag {
                let field = format!("mounts[{n}].tag");
                if tag.is_empty() || tag.contains('\0') {
                    self.invalid(field, "is empty or holds a NUL");
                } else if tag.len() > MAX_TAG {
                    self.invalid(field, format!("is {} bytes long; libkrun aborts at more than {MAX_TAG}", tag.len()));
                } else if RESERVED_TAGS.contains(&tag.as_str()) {
                    self.invalid(field, format!("{tag:?} is used by libkrun or krundl itself"));
                } else if let Some(other) = tags.insert(tag, n) {
                    self.invalid(field, format!("{tag:?} is also the tag of mounts[{other}]"));
                }
            }
            if let Some(other) = guests.insert(&mount.guest, n) {
                self.invalid(
                    format!("mounts[{n}].guest"),
                    format!("{} is also where mounts[{other}] goes", mount.guest),
                );
            }
        }
    }
}

/// The mount, by index, whose path in the guest is the longest proper prefix of that of mount `n`.
fn enclosing(mounts: &[Mount], n: usize) -> Option<usize> {
    let path = Path::new(&mounts[n].guest);
    (0..mounts.len())
        .filter(|m| *m != n && mounts[*m].guest != mounts[n].guest && path.starts_with(&mounts[*m].guest))
        .filter(|m| guest_path(&mounts[*m].guest).is_ok())
        .max_by_key(|m| mounts[*m].guest.len())
}

pub(super) fn guest_path(path: &str) -> Result<(), String> {
    let components = || path.split('/').skip(1);
    if !path.starts_with('/') {
        Err(format!("must be an absolute path, not {path:?}"))
    } else if path == "/" {
        Err("must not be /: that is the root's place".to_owned())
    } else if path.contains('\0') {
        Err("holds a NUL".to_owned())
    } else if components().any(|c| matches!(c, "" | "." | "..")) {
        Err(format!("must be written plainly, without //, /./, /../ or a slash at its end: {path:?}"))
    } else if path.len() > 4000 {
        Err("is longer than 4000 bytes".to_owned())
    } else if matches!(components().next(), Some("proc" | "sys")) || path == "/dev" {
        Err(format!("{path} belongs to the guest's kernel"))
    } else if Path::new(path).starts_with(RESERVED_GUEST) {
        Err(format!("{RESERVED_GUEST} is krundl's own"))
    } else {
        Ok(())
    }
}
