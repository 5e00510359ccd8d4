//! Functions that upstream prepares and that no release has yet: known by name, so that a library that has one is told
//! for what it is. krundl calls none of them: what they will be like is not settled.

use super::named;

named! {
    /// Something that libkrun cannot do in any release that krundl knows.
    #[non_exhaustive]
    pub enum Operation {
        /// Stop a running VM for a while.
        Pause => "pause",
        /// Let it go on.
        Resume => "resume",
        /// Write a running VM to a file.
        Snapshot => "snapshot",
        /// Start a VM from such a file.
        Restore => "restore",
    }
}

/// A function that no release has yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Upcoming {
    /// Its name.
    pub name: &'static str,
    /// What it is for.
    pub operation: Operation,
    /// Where upstream works on it.
    pub thread: &'static str,
}

/// All of them.
pub const UPCOMING: &[Upcoming] = &[
    Upcoming { name: "krun_vm_pause", operation: Operation::Pause, thread: "libkrun/libkrun#767" },
    Upcoming { name: "krun_vm_resume", operation: Operation::Resume, thread: "libkrun/libkrun#767" },
    Upcoming { name: "krun_snapshot_create", operation: Operation::Snapshot, thread: "libkrun/libkrun#762" },
    Upcoming { name: "krun_snapshot_request", operation: Operation::Snapshot, thread: "libkrun/libkrun#762" },
    Upcoming { name: "krun_restore", operation: Operation::Restore, thread: "libkrun/libkrun#748" },
];

impl Upcoming {
    /// The one of that name.
    pub fn from_name(name: &str) -> Option<&'static Upcoming> {
        UPCOMING.iter().find(|upcoming| upcoming.name == name)
    }
}

impl Operation {
    /// The functions that are prepared for it.
    pub fn upcoming(self) -> impl Iterator<Item = &'static Upcoming> {
        UPCOMING.iter().filter(move |upcoming| upcoming.operation == self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::symbols::Function;

    #[test]
    fn none_of_them_is_in_a_release_and_each_operation_has_one() {
        for upcoming in UPCOMING {
            assert_eq!(Function::from_name(upcoming.name), None, "{} was released", upcoming.name);
            assert_eq!(Upcoming::from_name(upcoming.name), Some(upcoming));
        }
        for operation in Operation::ALL {
            assert!(operation.upcoming().next().is_some(), "{operation}");
        }
    }
}
