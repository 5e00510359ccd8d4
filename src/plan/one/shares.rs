//! virtio-fs: the root and the mounts, each by the lowest function that carries what is wished for.

use super::Negotiation;
use crate::capabilities::Capabilities;
use crate::error::{Problem, ProblemKind};
use crate::plan::arguments::Shared;
use crate::plan::call::Call;
use crate::spec::{Root, RootDisk, Semantics, no_disk};
use crate::symbols::Function;

/// The tag that makes a share the root (`KRUN_FS_ROOT_TAG`).
pub(super) const ROOT_TAG: &str = "/dev/root";
/// What `krun_set_root` takes for its DAX window, in MiB; it cannot be told otherwise.
const SET_ROOT_DAX_MIB: u32 = 512;

/// The release from which on overlayfs can copy a file of a share: libkrun refuses its ioctl with ENOTTY, which overlayfs
/// takes for a no, and no longer with EOPNOTSUPP, which it takes for a failure.
const OVERLAYS_SINCE: semver::Version = semver::Version::new(1, 19, 6);

/// Options of a mount, not of a file system: mount(8) makes flags of them, libkrun's init does not.
const PER_MOUNT: &[&str] = &[
    "defaults",
    "suid",
    "nosuid",
    "dev",
    "nodev",
    "exec",
    "noexec",
    "atime",
    "noatime",
    "diratime",
    "nodiratime",
    "relatime",
    "strictatime",
];

impl Negotiation<'_> {
    /// The root, which the host checks require of every spec that has krundl's program in its guest.
    pub(super) fn root(&mut self) {
        let Some(root) = &self.spec.root else { return };
        self.lines.push(None);
        if let Some(problem) = no_disk(self.spec) {
            self.problems.push(problem);
            return;
        }
        match &root.disk {
            Some(disk) => self.root_on_disk(root, disk),
            None => self.root_directory(root),
        }
    }

    /// From 1.19.0 on krundl's program enters the disk, so that `/` stays virtio-fs for libkrun's init: that is how the
    /// exit status travels. Before that init enters it, and the guest's word alone tells how the workload ended.
    fn root_on_disk(&mut self, root: &Root, disk: &RootDisk) {
        if self.has_overlays() {
            let share = Share::plain(ROOT_TAG, Shared::NOTHING);
            match share.lowest(self.capabilities) {
                Ok(call) => self.calls.push(call),
                Err(function) => self.refuse("root.disk", "a root without a directory cannot be made", function),
            }
            return;
        }
        let reason = "a root on a disk cannot be entered";
        if !self.needs("root.disk", reason, Function::krun_set_root_disk_remount) {
            return;
        }
        let given = disk.options.as_deref();
        let per_mount = |option: &&str| PER_MOUNT.contains(option);
        if let Some(option) = given.and_then(|options| options.split(',').find(per_mount)) {
            let reason = format!("libkrun's init hands {option} to the file system, which does not know it");
            self.refuse("root.disk.options", &reason, Function::krun_fs_add_overlay_file);
        }
        let options = match (root.read_only, given) {
            (true, Some(options)) => Some(format!("ro,{options}")),
            (true, None) => Some("ro".to_owned()),
            (false, given) => given.map(str::to_owned),
        };
        let (device, fstype) = (disk.device.clone(), disk.fstype.clone());
        self.calls.push(Call::SetRootDiskRemount { device, fstype, options });
        self.notes.push(
            "krundl's program gets into the guest by a mount command of the root's own shell: the disk must have /bin/sh and mount"
                .to_owned(),
        );
    }

    fn root_directory(&mut self, root: &Root) {
        let dir = Shared::Host(self.findings.root.clone());
        let wish = Share {
            tag: ROOT_TAG.to_owned(),
            dir: dir.clone(),
            dax_mib: root.dax_mib,
            read_only: root.read_only,
            semantics: None,
        };
        match wish.lowest(self.capabilities) {
            Ok(call) => self.calls.push(call),
            Err(_) if root.dax_mib == SET_ROOT_DAX_MIB && !root.read_only && self.has(Function::krun_set_root) => {
                self.calls.push(Call::SetRoot { dir });
            }
            Err(function) => {
                let (field, reason) = if root.read_only {
                    (
                        "root.read_only",
                        "a root that the guest cannot write to must be enforced on the host's side, which it cannot do",
                    )
                } else if root.dax_mib != 0 {
                    ("root.dax_mib", "the size of the root's DAX window cannot be chosen")
                } else {
                    ("root.dir", "the root cannot be shared without a DAX window")
                };
                self.refuse(field, reason, function);
            }
        }
    }

    /// What the guest's own init has to do.
    pub(super) fn mounted_by_the_guest(&mut self) {
        for (mount, tag) in self.spec.mounts.iter().zip(self.spec.tags()) {
            let (host, guest) = (mount.host.display(), &mount.guest);
            let dax = if mount.dax_mib == 0 { "" } else { "-o dax=always " };
            self.notes.push(format!("the guest's own init mounts {host} itself: mount -t virtiofs {dax}{tag} {guest}"));
        }
    }

    pub(super) fn mounts(&mut self) {
        let spec = self.spec;
        for (n, (mount, tag)) in spec.mounts.iter().zip(spec.tags()).enumerate() {
            self.lines.push(Some(format!("mounts[{n}]")));
            if mount.overlay && !self.capabilities.at_least(&OVERLAYS_SINCE) {
                let reason = format!(
                    "before {OVERLAYS_SINCE} libkrun answers overlayfs in a way that makes every change of a file of the host's fail; this is {}",
                    self.capabilities.describe()
                );
                let fix = format!("install libkrun {OVERLAYS_SINCE} or later, or make the mount read-only");
                let field = format!("mounts[{n}].overlay");
                self.problems.push(Problem::new(ProblemKind::Unsupported, field, reason).fix(fix));
                continue;
            }
            let host = self.findings.mounts.get(n).map(|finding| finding.host.clone()).unwrap_or_default();
            let wish = Share {
                tag,
                dir: Shared::Host(host),
                dax_mib: mount.dax_mib,
                // What the guest writes goes to the layer over it; the share itself nobody may write to.
                read_only: mount.read_only || mount.overlay,
                semantics: mount.semantics,
            };
            match wish.lowest(self.capabilities) {
                Ok(call) => self.calls.push(call),
                Err(function) => {
                    let (field, reason) = if mount.semantics.is_some() && function == Function::krun_add_virtiofs4 {
                        ("semantics", "ownership semantics cannot be chosen")
                    } else if mount.read_only {
                        (
                            "read_only",
                            "a share that the guest cannot write to must be enforced on the host's side, which it cannot do",
                        )
                    } else if mount.dax_mib != 0 {
                        ("dax_mib", "the size of a DAX window cannot be chosen")
                    } else {
                        ("host", "directories cannot be shared")
                    };
                    self.refuse(format!("mounts[{n}].{field}"), reason, function);
                }
            }
        }
    }
}

/// A share as it is wished for.
pub(super) struct Share {
    pub tag: String,
    pub dir: Shared,
    pub dax_mib: u32,
    pub read_only: bool,
    pub semantics: Option<Semantics>,
}

impl Share {
    /// Writable, without a window.
    pub(super) fn plain(tag: &str, dir: Shared) -> Share {
        Share { tag: tag.to_owned(), dir, dax_mib: 0, read_only: false, semantics: None }
    }

    /// The call of the lowest virtio-fs function that carries what is wished for.
    ///
    /// # Errors
    /// The lowest function that would.
    pub(super) fn lowest(self, capabilities: &Capabilities) -> Result<Call, Function> {
        use Function as F;
        let plain = self.dax_mib == 0 && !self.read_only && self.semantics.is_none();
        let steps = [
            (F::krun_add_virtiofs, plain),
            (F::krun_add_virtiofs2, !self.read_only && self.semantics.is_none()),
            (F::krun_add_virtiofs3, self.semantics.is_none()),
            (F::krun_add_virtiofs4, true),
        ];
        let mut carriers = steps.iter().filter(|(_, carries)| *carries).map(|(function, _)| *function);
        let lowest = carriers.clone().next().expect("the last step carries everything");
        let function = carriers.find(|function| capabilities.has(*function)).ok_or(lowest)?;
        let Share { tag, dir, dax_mib, read_only, semantics } = self;
        let shm_size = u64::from(dax_mib) << 20;
        Ok(match function {
            F::krun_add_virtiofs => Call::AddVirtiofs { tag, dir },
            F::krun_add_virtiofs2 => Call::AddVirtiofs2 { tag, dir, shm_size },
            F::krun_add_virtiofs3 => Call::AddVirtiofs3 { tag, dir, shm_size, read_only },
            _ => {
                let semantics = u32::from(semantics == Some(Semantics::Simplified));
                Call::AddVirtiofs4 { tag, dir, shm_size, read_only, semantics }
            }
        })
    }
}
