//! Files and directories laid over the root: they hide what is there under the same name, and a directory hides all
//! that it holds, so nothing of the root's may be hidden by accident.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::fd::AsFd;

use rustix::fs::FileType;

use super::Checker;
use super::mounts::guest_path;
use crate::spec::findings::HostPath;
use crate::spec::model::Overlay;
use crate::spec::mountpoint;

impl Checker {
    /// Returns the files of the host whose contents are laid over.
    pub(super) fn overlay(&mut self, overlay: &Overlay, root: Option<&File>) -> Vec<Option<HostPath>> {
        let mut seen = BTreeSet::new();
        for (n, dir) in overlay.dirs.iter().enumerate() {
            let field = format!("overlay.dirs[{n}]");
            self.overlay_path(&format!("{field}.path"), &dir.path, FileType::Directory, root, &mut seen);
            self.mode(&field, dir.mode);
        }
        let mut found = Vec::new();
        for (n, file) in overlay.files.iter().enumerate() {
            let field = format!("overlay.files[{n}]");
            self.overlay_path(&format!("{field}.path"), &file.path, FileType::RegularFile, root, &mut seen);
            self.mode(&field, file.mode);
            match (&file.text, &file.from) {
                (Some(_), Some(_)) | (None, None) => self.invalid(&*field, "has either text or from"),
                _ => {}
            }
            found.push(file.from.as_ref().and_then(|path| self.readable(&format!("{field}.from"), path)));
        }
        found
    }

    fn mode(&mut self, field: &str, mode: u32) {
        if mode > 0o7777 {
            self.invalid(format!("{field}.mode"), format!("must be at most 4095 (07777), not {mode}"));
        }
    }

    fn overlay_path<'s>(
        &mut self,
        field: &str,
        path: &'s str,
        kind: FileType,
        root: Option<&File>,
        seen: &mut BTreeSet<&'s str>,
    ) {
        if let Err(reason) = guest_path(path) {
            return self.invalid(field, reason);
        }
        if path == "/init.krun" || path.starts_with("/init.krun/") || path.starts_with("/dev/") {
            return self.invalid(field, "is libkrun's own or lies in the guest's own /dev");
        }
        if !seen.insert(path) {
            return self.invalid(field, format!("{path} is there twice"));
        }
        let Some(root) = root else { return };
        let top = path[1..].split('/').next().unwrap_or_default();
        let there = mountpoint::lookup(root.as_fd(), top);
        let hidden = if top.len() + 1 < path.len() { there.is_ok() } else { there.is_ok_and(|there| there != kind) };
        if hidden || (kind == FileType::Directory && there.is_ok()) {
            self.host(
                field,
                format!(
                    "the root has /{top}, and libkrun lays over whole names in the root only: all of it would be hidden"
                ),
            );
        }
    }
}
