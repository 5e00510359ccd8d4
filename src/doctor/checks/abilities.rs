//! What the library's functions can do.

use crate::capabilities::{Capabilities, Generation, Support};
use crate::doctor::catalog::Id;
use crate::doctor::check::{By, Check, Remedy, Status};
use crate::doctor::compare::Comparison;
use crate::symbols::{Function, Operation};

/// Every ability, for a library whose functions may mean anything.
const ABILITIES: [Id; 12] = [
    Id::Mounts,
    Id::MountsReadOnly,
    Id::MountsOwnership,
    Id::MountsOverlay,
    Id::Readiness,
    Id::Control,
    Id::Console,
    Id::OwnKernel,
    Id::Disks,
    Id::Network,
    Id::Snapshots,
    Id::Features,
];

pub(super) fn all(capabilities: &Capabilities) -> Vec<Check> {
    if capabilities.generation != Generation::One {
        return ABILITIES.map(|id| Check::skip(id, "unknown: its functions speak another language")).to_vec();
    }
    use Function as F;
    let of = |ability: Ability| ability.check(capabilities);
    vec![
        of(Ability {
            id: Id::Mounts,
            function: F::krun_add_virtiofs,
            can: "directories of the host can be mounted",
            cannot: "no directory of the host can be mounted",
            lacking: Status::Fail,
        }),
        of(Ability {
            id: Id::MountsReadOnly,
            function: F::krun_add_virtiofs3,
            can: "mounts can be read-only, enforced on the host's side",
            cannot: "mounts cannot be made read-only: such a mount is refused",
            lacking: Status::Warn,
        }),
        of(Ability {
            id: Id::MountsOwnership,
            function: F::krun_add_virtiofs4,
            can: "ownership semantics of a mount can be chosen",
            cannot: "ownership semantics of a mount cannot be chosen",
            lacking: Status::Warn,
        }),
        of(Ability {
            id: Id::MountsOverlay,
            function: F::krun_fs_add_overlay_file,
            can: "files can be laid over the root: krundl's program comes that way, any root will do",
            cannot: "krundl's program comes on a share of its own: the root needs /bin/sh and mount, and one mount fewer fits",
            lacking: Status::Warn,
        }),
        of(Ability {
            id: Id::Readiness,
            function: F::krun_add_vsock_port,
            can: "the guest can say that it is up, over vsock",
            cannot: "whether the guest is up, and how its workload ended, cannot be told",
            lacking: Status::Warn,
        }),
        of(Ability {
            id: Id::Control,
            function: F::krun_add_vsock_port2,
            can: "the host can connect into a guest, whose vsock address (CID) is always 3",
            cannot: "the host cannot connect into a guest: no further commands, no figures",
            lacking: Status::Warn,
        }),
        of(Ability {
            id: Id::Console,
            function: F::krun_add_virtio_console_default,
            can: "the standard streams are given to the guest explicitly",
            cannot: "libkrun takes descriptors 0, 1 and 2 of its process for the guest",
            lacking: Status::Warn,
        }),
        own_kernel(capabilities),
        of(Ability {
            id: Id::Disks,
            function: F::krun_add_disk,
            can: "disk images can be attached",
            cannot: "disk images cannot be attached",
            lacking: Status::Warn,
        }),
        of(Ability {
            id: Id::Network,
            function: F::krun_add_net_unixstream,
            can: "network cards can be attached",
            cannot: "network cards cannot be attached; the guest's own sockets go over vsock (TSI)",
            lacking: Status::Warn,
        }),
        snapshots(capabilities),
        features(capabilities),
    ]
}

/// What another release would add.
pub(super) fn compare(comparison: &Comparison) -> Check {
    Check::pass(Id::Compare, comparison.summary()).detail(comparison.lines()).known(By::Symbol, "krundl's table")
}

/// Something that rests on one function.
struct Ability {
    id: Id,
    function: Function,
    can: &'static str,
    cannot: &'static str,
    lacking: Status,
}

impl Ability {
    fn check(self, capabilities: &Capabilities) -> Check {
        let Ability { id, function, can, cannot, lacking } = self;
        match capabilities.support(function) {
            Support::Yes => Check::pass(id, can).known(By::Symbol, format!("{function} is there")),
            Support::Unknown => Check::warn(id, format!("whether {can} cannot be told"))
                .known(By::Symbol, format!("{function} is there, and builds that lack what it needs have it too")),
            Support::Refuses | Support::NoEffect => Check::new(id, lacking, cannot)
                .known(By::FeatureBit, format!("{function} is there, and this build lacks what it needs")),
            Support::Absent => Check::new(id, lacking, cannot)
                .known(By::Symbol, format!("{function} is not there"))
                .mend(since(function, capabilities)),
        }
    }
}

/// From which release, or with which build, it would work.
fn since(function: Function, capabilities: &Capabilities) -> Remedy {
    let symbol = function.symbol();
    let release = symbol.since;
    // A library that is new enough was built without it.
    let newest = capabilities.observation.functions.iter().map(Function::since).max();
    let is_new_enough = newest.is_some_and(|newest| newest >= function.since());
    Remedy::words(match symbol.built_with {
        Some(what) if is_new_enough => format!("use a libkrun that was built with: {what}"),
        Some(what) if !what.starts_with("not ") => {
            format!("install libkrun {release} or later, built with: {what}")
        }
        _ => format!("install libkrun {release} or later"),
    })
}

fn own_kernel(capabilities: &Capabilities) -> Check {
    const ID: Id = Id::OwnKernel;
    const SET: Function = Function::krun_set_kernel;
    const VSOCK: Function = Function::krun_disable_implicit_vsock;
    let missing = [SET, VSOCK].into_iter().find(|function| !capabilities.has(*function));
    if capabilities.has(SET) && capabilities.is_tee() {
        return Check::warn(ID, "a build for confidential guests takes no kernel of your own")
            .known(By::Symbol, format!("{SET} refuses in such a build"));
    }
    match missing {
        None => Check::pass(ID, "the guest can have a kernel of your own")
            .known(By::Symbol, format!("{SET} and {VSOCK} are there")),
        Some(function) => {
            let why = if function == SET {
                "the guest cannot have a kernel of your own"
            } else {
                "a kernel of your own would be given the word tsi_hijack, so krundl refuses it"
            };
            Check::warn(ID, why)
                .known(By::Symbol, format!("{function} is not there"))
                .mend(since(function, capabilities))
        }
    }
}

fn snapshots(capabilities: &Capabilities) -> Check {
    const ID: Id = Id::Snapshots;
    let is_there = |operation: &&Operation| !capabilities.unreleased(**operation).is_empty();
    let there: Vec<&str> = Operation::ALL.iter().filter(is_there).map(|operation| operation.name()).collect();
    let summary = match &there[..] {
        [] => "no release of libkrun can pause, resume, snapshot or restore a VM".to_owned(),
        there => format!("{}: exists in this library, not in any release krundl knows", there.join(", ")),
    };
    let why = |operation: &Operation| format!("{operation}: {}", capabilities.why_not(*operation));
    let check = Check::skip(ID, summary).known(By::File, "its exports");
    // What every library lacks needs no lines of its own.
    if there.is_empty() { check } else { check.detail(Operation::ALL.iter().map(why)) }
}

fn features(capabilities: &Capabilities) -> Check {
    const ID: Id = Id::Features;
    let answers: Vec<String> =
        capabilities.observation.features.iter().map(|(feature, state)| format!("{feature} {state}")).collect();
    let check = if capabilities.doubts.is_empty() {
        Check::pass(ID, "each function that is there does what its name says")
    } else {
        let count: usize = capabilities
            .observation
            .functions
            .iter()
            .filter(|function| capabilities.support(*function) != Support::Yes)
            .count();
        Check::pass(ID, format!("{count} functions are there and prove nothing"))
            .detail(capabilities.doubts.iter().map(|doubt| format!("{}: {}", doubt.group, doubt.why)))
    };
    check.known(By::FeatureBit, answers.join(", "))
}
