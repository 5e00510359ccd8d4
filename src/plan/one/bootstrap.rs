//! How krundl's program and its orders get into the guest, and what else is laid over the root.

use super::Negotiation;
use super::shares::{ROOT_TAG, Share};
use crate::plan::arguments::{Content, Shared};
use crate::plan::call::Call;
use crate::spec::MountPoint;
use crate::symbols::Function;

/// The tag of the share that brings krundl's program in before 1.19.0.
const BOOTSTRAP_TAG: &str = "krundl";
/// init.krun reads its configuration from here: a path in the guest's own devtmpfs that no image can fill, because
/// the file's default place lies in the root and would let an image steer the boot.
const NO_INIT_CONFIG: &str = "KRUN_CONFIG=/dev/krundl-no-config";
/// init.krun uses it for the shell command below.
const BOOTSTRAP_PATH: &str = "PATH=/bin:/sbin:/usr/bin:/usr/sbin";
/// Not for init: libkrun puts the environment on the kernel's command line, where this is the root's mount option, and
/// there is no other way to it with libkrunfw's kernel. Without it the root's DAX window is not used.
const ROOT_WITH_DAX: &str = "rootflags=dax=always";
/// Brings krundl's program in where there are no overlays. init.krun has a tmpfs on /dev/shm, also over a read-only
/// root; the program takes the share off it again before it does anything else.
const BOOTSTRAP_COMMAND: &str =
    "mount -t virtiofs krundl /dev/shm && exec /dev/shm/guest /dev/shm/orders --detach=/dev/shm";
/// Where the program and its orders are laid over the root.
const OVERLAY_DIR: &str = ".krundl";

/// Directories of a root that has nothing: mount points for libkrun's init and for the disk.
const EMPTY_ROOT: [&str; 4] = ["dev", "proc", "sys", "newroot"];
const DIRECTORY: u32 = 0o040_000;
const REGULAR_FILE: u32 = 0o100_000;

impl Negotiation<'_> {
    pub(super) fn has_overlays(&self) -> bool {
        self.has(Function::krun_fs_add_overlay_dir) && self.has(Function::krun_fs_add_overlay_file)
    }

    pub(super) fn bootstrap(&mut self) {
        self.overlay_of_the_spec();
        if self.has_overlays() { self.bootstrap_by_overlay() } else { self.bootstrap_by_share() }
    }

    fn overlay_of_the_spec(&mut self) {
        let overlay = &self.spec.overlay;
        let field = match (overlay.files.is_empty(), overlay.dirs.is_empty()) {
            (true, true) => return,
            (false, _) => "overlay.files",
            (true, false) => "overlay.dirs",
        };
        if self.spec.root.as_ref().is_some_and(|root| root.disk.is_some()) {
            self.unsupported(field, "only a shared directory can have files laid over it, and the root is on a disk");
        } else if !self.has_overlays() {
            let reason = "nothing can be laid over the root";
            self.refuse(field, reason, Function::krun_fs_add_overlay_file);
        }
    }

    /// From 1.19.0 on: krundl's program and its orders are files that only this guest sees, and mount points whose
    /// first component is missing are directories of the same kind, so that nothing of them stays on the host.
    fn bootstrap_by_overlay(&mut self) {
        let spec = self.spec;
        let mut layers = Layers::default();
        if spec.root.as_ref().is_some_and(|root| root.disk.is_some()) {
            EMPTY_ROOT.iter().for_each(|name| layers.directory(name, 0o755));
        }
        layers.directory(OVERLAY_DIR, 0o755);
        let mut dirs: Vec<_> = spec.overlay.dirs.iter().collect();
        dirs.sort_by_key(|dir| dir.path.matches('/').count());
        for dir in dirs {
            layers.above(&dir.path);
            layers.directory(&dir.path, dir.mode);
        }
        for file in &spec.overlay.files {
            layers.above(&file.path);
        }
        for (mount, finding) in spec.mounts.iter().zip(&self.findings.mounts) {
            if finding.point == MountPoint::MissingTop && finding.within.is_none() {
                layers.above(&mount.guest);
                layers.directory(&mount.guest, 0o755);
            }
        }
        for (path, mode) in layers.0 {
            let mode = DIRECTORY | mode;
            self.calls.push(Call::FsAddOverlayDir { fs_tag: ROOT_TAG.to_owned(), path, mode });
        }
        let program = format!("{OVERLAY_DIR}/guest");
        let orders = format!("{OVERLAY_DIR}/orders");
        self.overlay_file(&program, Content::GuestProgram, 0o755);
        self.overlay_file(&orders, Content::Orders, 0o400);
        for (file, found) in spec.overlay.files.iter().zip(&self.findings.overlay_files) {
            let content = match (&file.text, found) {
                (Some(text), _) => Content::Text(text.clone()),
                (None, found) => Content::File(found.clone().unwrap_or_default()),
            };
            self.overlay_file(file.path.trim_start_matches('/'), content, file.mode);
        }
        self.calls.push(Call::SetExec {
            path: format!("/{program}"),
            args: vec![format!("/{orders}")],
            env: self.init_environment(&[NO_INIT_CONFIG]),
        });
    }

    fn init_environment(&self, words: &[&str]) -> Vec<String> {
        let dax = self.spec.root.as_ref().is_some_and(|root| root.dir.is_some() && root.dax_mib != 0);
        words.iter().copied().chain(dax.then_some(ROOT_WITH_DAX)).map(str::to_owned).collect()
    }

    fn overlay_file(&mut self, path: &str, content: Content, mode: u32) {
        // The orders hold the workload's environment: once krundl's program has them, they are gone.
        let one_shot = content == Content::Orders;
        let (fs_tag, path, mode) = (ROOT_TAG.to_owned(), path.to_owned(), REGULAR_FILE | mode);
        self.calls.push(Call::FsAddOverlayFile { fs_tag, path, content, mode, one_shot });
    }

    /// Before 1.19.0: on a small share of its own, which a shell in the root mounts.
    fn bootstrap_by_share(&mut self) {
        if let Some(missing) = &self.findings.no_shell_mount {
            let reason = format!(
                "krundl's program gets into the guest by a mount command of the root's own shell, and {missing}"
            );
            self.refuse("root.dir", &reason, Function::krun_fs_add_overlay_file);
        }
        self.lines.push(None);
        let read_only = self.has(Function::krun_add_virtiofs3);
        let share = Share { read_only, ..Share::plain(BOOTSTRAP_TAG, Shared::BOOTSTRAP) };
        match share.lowest(self.capabilities) {
            Ok(call) => self.calls.push(call),
            // Said by the root already, unless that went by krun_set_root.
            Err(function) if self.problems.is_empty() => {
                self.refuse("exec", "krundl's program cannot get into the guest", function)
            }
            Err(_) => {}
        }
        self.calls.push(Call::SetExec {
            path: "/bin/sh".to_owned(),
            args: vec!["-c".to_owned(), BOOTSTRAP_COMMAND.to_owned()],
            env: self.init_environment(&[NO_INIT_CONFIG, BOOTSTRAP_PATH]),
        });
    }
}

/// Directories that are laid over the root, each once and after the one that it is in.
#[derive(Default)]
struct Layers(Vec<(String, u32)>);

impl Layers {
    fn directory(&mut self, path: &str, mode: u32) {
        let path = path.trim_start_matches('/');
        if self.0.iter().all(|(known, _)| known != path) {
            self.0.push((path.to_owned(), mode));
        }
    }

    /// Those that a path lies in.
    fn above(&mut self, path: &str) {
        let path = path.trim_start_matches('/');
        for (at, _) in path.match_indices('/') {
            self.directory(&path[..at], 0o755);
        }
    }
}
