//! The user and group that the VM's process becomes: who may ask for it, and what that user can reach.

use std::fs::Metadata;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustix::fs::Access;

use super::Checker;
use crate::spec::model::VmSpec;

/// Who the VM's process becomes.
#[derive(Clone, Copy)]
pub(super) struct Identity {
    uid: u32,
    gid: u32,
}

impl Identity {
    /// `None` where nothing changes that could take rights away: nothing is asked, or root stays root.
    pub(super) fn of(spec: &VmSpec) -> Option<Identity> {
        let uid = spec.uid.filter(|uid| *uid != 0)?;
        Some(Identity { uid, gid: spec.gid.unwrap_or_else(|| rustix::process::getegid().as_raw()) })
    }
}

impl Checker {
    pub(super) fn who(&mut self, spec: &VmSpec) {
        let asked = [("uid", spec.uid), ("gid", spec.gid)];
        for (field, id) in asked.into_iter().filter_map(|(field, id)| Some((field, id?))) {
            if id == u32::MAX {
                self.invalid(field, format!("{id} is no number of a user or group"));
            } else if !rustix::process::geteuid().is_root() {
                self.host(field, "only root can give the VM's process another user or group");
            }
        }
        // libkrun opens it after the change, and aborts where it cannot.
        let kvm = Path::new("/dev/kvm");
        self.allowed("uid", || kvm.metadata(), kvm, Access::READ_OK | Access::WRITE_OK);
    }

    /// Whether the user that the VM's process becomes may do that with a file, as far as its mode tells. What is not
    /// there is not judged.
    pub(super) fn allowed(
        &mut self,
        field: &str,
        file: impl FnOnce() -> io::Result<Metadata>,
        path: &Path,
        wish: Access,
    ) {
        let Some(Identity { uid, gid }) = self.identity else { return };
        let Ok(file) = file() else { return };
        let shift = match (file.uid() == uid, file.gid() == gid) {
            (true, _) => 6,
            (false, true) => 3,
            (false, false) => 0,
        };
        let granted = (file.mode() >> shift) & 0o7;
        let rights = [(4, Access::READ_OK, "read"), (2, Access::WRITE_OK, "write to"), (1, Access::EXEC_OK, "enter")];
        let denied: Vec<&str> = rights
            .into_iter()
            .filter(|(bit, right, _)| wish.contains(*right) && granted & bit == 0)
            .map(|(_, _, word)| word)
            .collect();
        if denied.is_empty() || has_access_list(path) {
            return;
        }
        self.host(
            field,
            format!(
                "user {uid}, group {gid} may not {} {} (owner {}:{}, mode {:04o})",
                denied.join(" or "),
                path.display(),
                file.uid(),
                file.gid(),
                file.mode() & 0o7777
            ),
        );
    }
}

/// Whether more than the mode decides; then only trying would tell.
fn has_access_list(path: &Path) -> bool {
    rustix::fs::getxattr(path, "system.posix_acl_access", &mut [0u8; 0][..]).is_ok_and(|size| size > 0)
}
