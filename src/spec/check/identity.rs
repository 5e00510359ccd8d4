//! The user and group that the VM's process becomes: who may ask for it, and what that user can reach.

use std::os::fd::{AsFd, BorrowedFd};
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
        if self.identity.is_some()
            && let Ok(device) = rustix::fs::open(kvm, rustix::fs::OFlags::PATH, rustix::fs::Mode::empty())
        {
            self.allowed("uid", device.as_fd(), kvm, Access::READ_OK | Access::WRITE_OK);
        }
    }

    /// Whether the user that the VM's process becomes may do that with a file, as far as its mode tells.
    pub(super) fn allowed(&mut self, field: &str, file: BorrowedFd<'_>, path: &Path, wish: Access) {
        let Some(Identity { uid, gid }) = self.identity else { return };
        let Ok(stat) = rustix::fs::fstat(file) else { return };
        let shift = match (stat.st_uid == uid, stat.st_gid == gid) {
            (true, _) => 6,
            (false, true) => 3,
            (false, false) => 0,
        };
        let granted = (stat.st_mode >> shift) & 0o7;
        let denied = wish.bits() & !granted;
        if denied == 0 || has_access_list(file) {
            return;
        }
        let words = [(4, "read"), (2, "write to"), (1, "enter")];
        let what: Vec<&str> = words.iter().filter(|(bit, _)| denied & bit != 0).map(|(_, word)| *word).collect();
        self.host(
            field,
            format!(
                "user {uid}, group {gid} may not {} {} (owner {}:{}, mode {:04o})",
                what.join(" or "),
                path.display(),
                stat.st_uid,
                stat.st_gid,
                stat.st_mode & 0o7777
            ),
        );
    }
}

/// Whether more than the mode decides; then only trying would tell.
fn has_access_list(file: BorrowedFd<'_>) -> bool {
    use std::os::fd::AsRawFd;
    // Through /proc, because a descriptor that was opened for its path alone cannot be asked.
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    rustix::fs::getxattr(path, "system.posix_acl_access", &mut [0u8; 0][..]).is_ok_and(|size| size > 0)
}
