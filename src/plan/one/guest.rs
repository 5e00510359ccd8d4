//! What krundl's program in the guest is told.

use super::Negotiation;
use crate::error::{Problem, ProblemKind};
use crate::plan::guest::{CONTROL_PORT, Channel, Guest, GuestMount, GuestRoot};
use crate::spec::MountPoint;
use crate::symbols::Function;

impl Negotiation<'_> {
    pub(super) fn guest(&mut self, channel: Channel) -> Option<Guest> {
        let spec = self.spec;
        let exec = spec.exec.as_ref()?;
        let root = spec.root.as_ref()?;
        let mut mounts: Vec<GuestMount> = Vec::new();
        for (n, (mount, tag)) in spec.mounts.iter().zip(spec.tags()).enumerate() {
            let create = self.mount_point(n);
            let (path, read_only, overlay) = (mount.guest.clone(), mount.read_only, mount.overlay);
            mounts.push(GuestMount { tag, path, create, read_only, overlay, dax: mount.dax_mib != 0 });
        }
        // Parents first; a stable sort keeps the spec's order otherwise.
        mounts.sort_by_key(|mount| mount.path.matches('/').count());
        let entered = root.disk.as_ref().filter(|_| self.has_overlays());
        Some(Guest {
            channel,
            control: spec.control.is_some().then_some(CONTROL_PORT),
            reopen_stdio: spec.kernel.is_some(),
            root: entered.map(|disk| GuestRoot {
                device: disk.device.clone(),
                fstype: disk.fstype.clone(),
                options: disk.options.clone(),
                read_only: root.read_only,
            }),
            root_on_disk: root.disk.is_some(),
            mounts,
            nics: self.guest_nics(),
            exec: exec.path.clone(),
            args: exec.args.clone(),
            env: exec
                .full_env()
                .into_iter()
                .map(|(name, value)| {
                    let mut entry = format!("{name}=").into_bytes();
                    entry.extend_from_slice(value.as_bytes());
                    entry.into()
                })
                .collect(),
            workdir: exec.workdir.clone(),
        })
    }

    /// Whether the guest's program has to make the mount point of mount `n`; refuses where nobody can.
    fn mount_point(&mut self, n: usize) -> bool {
        let Some(finding) = self.findings.mounts.get(n) else { return false };
        let spec = self.spec;
        let guest = &spec.mounts[n].guest;
        let overlay = self.has_overlays();
        let (read_only, owner) = match finding.within {
            Some(m) => (spec.mounts[m].read_only, format!("mounts[{m}] ({})", spec.mounts[m].host.display())),
            None => {
                let root = spec.root.as_ref();
                let dir = root.and_then(|root| root.dir.as_deref()).unwrap_or(std::path::Path::new(""));
                (root.is_some_and(|root| root.read_only), format!("the root ({})", dir.display()))
            }
        };
        match finding.point {
            MountPoint::Exists => false,
            MountPoint::Device | MountPoint::Unknown => true,
            MountPoint::MissingTop if overlay && finding.within.is_none() => false,
            MountPoint::MissingTop | MountPoint::MissingBelow if read_only => {
                let reason = format!("{guest} does not exist in {owner}, which is read-only, so nobody can make it");
                let field = format!("mounts[{n}].guest");
                let fix = "make the directory there first, or choose one that exists";
                let mut problem = Problem::new(ProblemKind::Host, field, reason).fix(fix);
                if finding.point == MountPoint::MissingTop && finding.within.is_none() {
                    problem = problem.needs(Function::krun_fs_add_overlay_dir);
                }
                self.problems.push(problem);
                false
            }
            // In the guest's memory, so that nothing stays.
            MountPoint::MissingTop | MountPoint::MissingBelow
                if finding.within.is_some_and(|m| spec.mounts[m].overlay) =>
            {
                true
            }
            MountPoint::MissingTop | MountPoint::MissingBelow => {
                self.notes.push(format!("{guest} does not exist in {owner}; the guest makes it, and it stays there"));
                true
            }
        }
    }
}
