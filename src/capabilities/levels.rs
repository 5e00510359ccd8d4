//! How far each group of functions goes, as one number a group.

use serde::{Deserialize, Serialize};

use super::{Capabilities, Support};
use crate::symbols::{Function, Group};

/// How far each group goes; 0 is not at all. Each level includes those below it in libkrun's releases, but not
/// necessarily in a fork: what is called is always looked up by function.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Levels {
    /// 1: shares. 2: with a DAX window. 3: read-only, enforced on the host's side. 4: with a choice of ownership
    /// semantics.
    pub virtiofs: u8,
    /// 1: raw disks. 2: qcow2 and vmdk. 3: direct I/O and sync modes.
    pub disk: u8,
    /// 1: one legacy device (passt or gvproxy). 2: several devices over sockets and taps.
    pub net: u8,
    /// 1: ports from guest to host. 2: ports from host to guest. 3: an explicit device.
    pub vsock: u8,
    /// 1: output to a file. 2: an explicit console. 3: consoles with several named ports.
    pub console: u8,
    /// 1: a kernel of the user's own. 2: firmware as well.
    pub kernel: u8,
    /// 1: files and directories laid over a share.
    pub overlay: u8,
}

impl Levels {
    /// The levels with their names and highest values, in a fixed order.
    pub fn named(&self) -> [(&'static str, u8, u8); 7] {
        [
            ("virtiofs", self.virtiofs, 4),
            ("disk", self.disk, 3),
            ("net", self.net, 2),
            ("vsock", self.vsock, 3),
            ("console", self.console, 3),
            ("kernel", self.kernel, 2),
            ("overlay", self.overlay, 1),
        ]
    }
}

/// Functions that are there and prove nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Doubt {
    /// The functions' group.
    pub group: String,
    /// What cannot be relied on, and why.
    pub why: String,
}

pub(super) fn judge(capabilities: &Capabilities) -> (Levels, Vec<Doubt>) {
    use Function as F;
    let supported = |f: F| matches!(capabilities.support(f), Support::Yes | Support::Unknown);
    // The highest step whose function is there.
    let level = |steps: &[F]| {
        let top = steps.iter().rposition(|f| supported(*f)).map_or(0, |n| n + 1);
        u8::try_from(top).expect("there are few steps")
    };
    let levels = Levels {
        virtiofs: level(&[F::krun_add_virtiofs, F::krun_add_virtiofs2, F::krun_add_virtiofs3, F::krun_add_virtiofs4]),
        disk: level(&[F::krun_add_disk, F::krun_add_disk2, F::krun_add_disk3]),
        net: level(&[F::krun_set_passt_fd, F::krun_add_net_unixstream]),
        vsock: level(&[F::krun_add_vsock_port, F::krun_add_vsock_port2, F::krun_add_vsock]),
        console: level(&[
            F::krun_set_console_output,
            F::krun_add_virtio_console_default,
            F::krun_add_virtio_console_multiport,
        ]),
        kernel: level(&[F::krun_set_kernel, F::krun_set_firmware]),
        overlay: level(&[F::krun_fs_add_overlay_file]),
    };
    (levels, doubts(capabilities))
}

fn doubts(capabilities: &Capabilities) -> Vec<Doubt> {
    let functions = capabilities.observation.functions.iter();
    let supports = functions.map(|function| (function.symbol().group, capabilities.support(function), function));
    let doubtful: Vec<_> = supports.filter(|(_, support, _)| *support != Support::Yes).collect();
    let mut doubts = Vec::new();
    for group in Group::ALL.iter().filter(|group| doubtful.iter().any(|(of, ..)| of == *group)) {
        for (support, why) in [
            (Support::Refuses, "there and refuse: this build lacks what they need"),
            (Support::NoEffect, "there and accept without doing anything: this build lacks what they need"),
            (Support::Unknown, "there, and whether this build means them cannot be told"),
        ] {
            let these = doubtful.iter().filter(|(of, found, _)| of == group && *found == support);
            let names: Vec<&str> = these.map(|(_, _, function)| function.name()).collect();
            if !names.is_empty() {
                let why = format!("{why}: {}", names.join(", "));
                doubts.push(Doubt { group: group.name().to_owned(), why });
            }
        }
    }
    doubts
}
