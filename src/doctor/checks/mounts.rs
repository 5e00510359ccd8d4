//! A mount that was asked about.

use super::Facts;
use crate::doctor::catalog::Id;
use crate::doctor::check::{By, Check, Remedy};
use crate::doctor::mounts::MountReport;
use crate::symbols::Function;

/// The release with which ownership and refusals were observed.
const OBSERVED: &str = "observed in real guests of libkrun 1.18.0 and 1.19.7, on tmpfs";

pub(super) fn all(mount: &MountReport, facts: &Facts<'_>) -> Vec<Check> {
    let mode = if mount.read_only { ":ro" } else { "" };
    let subject = format!("{}:{}{mode}", mount.host.display(), mount.guest);
    let mut checks = vec![works(mount, facts)];
    if mount.problems.is_empty() {
        if mount.read_only {
            checks.push(read_only(mount, facts));
        } else {
            checks.push(owner(mount, facts));
        }
        checks.push(confinement(mount, facts));
    }
    checks.into_iter().map(|check| check.about(&subject)).collect()
}

fn works(mount: &MountReport, facts: &Facts<'_>) -> Check {
    const ID: Id = Id::MountWorks;
    if !mount.problems.is_empty() {
        let fixes: Vec<&str> = mount.problems.iter().filter_map(|problem| problem.fix.as_deref()).collect();
        let remedy = if fixes.is_empty() { "as each reason says".to_owned() } else { fixes.join("; ") };
        return Check::fail(ID, "it is refused")
            .detail(mount.problems.iter().map(ToString::to_string))
            .known(By::Asked, "the directory was opened and the calls negotiated")
            .mend(Remedy::words(remedy));
    }
    let Some(function) = mount.function else {
        let why = if facts.capabilities.is_some() { "no root to judge it by" } else { "no libkrun" };
        return Check::skip(ID, format!("the directory can be used; whether it can be mounted is not known: {why}"));
    };
    let host = mount.on_host.as_ref();
    let on = host.map_or(String::new(), |host| format!(", on {}", host.kind));
    if host.is_some_and(|host| host.read_only) && !mount.read_only {
        return Check::warn(ID, format!("it would be made by {function}{on}; the host's own file system is read-only"))
            .known(By::File, "/proc/self/mountinfo")
            .mend(Remedy::words("mount it read-only, or remount the host's file system"));
    }
    Check::pass(ID, format!("it would be made by {function}{on}"))
        .known(By::Asked, "the directory was opened and the calls negotiated")
        .known(By::Symbol, format!("{function} is there"))
}

fn owner(mount: &MountReport, facts: &Facts<'_>) -> Check {
    const ID: Id = Id::MountOwner;
    let machine = &facts.world.machine;
    let idmapped = mount.on_host.as_ref().is_some_and(|host| host.idmapped);
    let mapped = facts.world.read("/proc/self/uid_map").is_some_and(|map| !is_identity(&map));
    let mut lines = vec!["semantics: the library's default, complete Linux ones".to_owned()];
    if mapped {
        lines.push("this process is in a user namespace: the numbers are those of the namespace".to_owned());
    }
    let summary = if facts.world.is_root() {
        lines.push("chown in the guest takes effect on the host, and so do set-user-ID bits".to_owned());
        "the guest's own user numbers: root in the guest makes files of the host's root".to_owned()
    } else {
        let user = machine.user;
        lines.push("other users of the guest are refused as on the host, and chown is refused".to_owned());
        format!("user {user}, who runs krundl, whether root or user {user} writes in the guest")
    };
    if idmapped {
        return Check::warn(ID, "the directory lies on an idmapped mount: owners are translated, how was not observed")
            .detail(lines)
            .known(By::File, "/proc/self/mountinfo");
    }
    Check::pass(ID, summary).detail(lines).known(By::Observed, OBSERVED)
}

/// All numbers stand for themselves.
fn is_identity(map: &str) -> bool {
    map.split_whitespace().collect::<Vec<_>>() == ["0", "0", "4294967295"]
}

fn read_only(mount: &MountReport, facts: &Facts<'_>) -> Check {
    const ID: Id = Id::MountReadOnly;
    match mount.function {
        Some(function) if function.since() >= Function::krun_add_virtiofs3.since() => {
            Check::pass(ID, "libkrun's process refuses every write with EROFS, whatever the guest does")
                .known(By::Symbol, format!("{function} is there"))
                .known(By::Observed, OBSERVED)
        }
        _ if facts.capabilities.is_none() => Check::skip(ID, "there is no libkrun to enforce it"),
        _ => Check::fail(ID, "nothing enforces it").mend(Remedy::words("install libkrun 1.18.0 or later")),
    }
}

fn confinement(mount: &MountReport, facts: &Facts<'_>) -> Check {
    const ID: Id = Id::MountConfinement;
    let mut lines =
        vec!["a guest that breaks out of the share can do what the VM's process may do on this machine".to_owned()];
    if !mount.below.is_empty() {
        lines.push(format!("file systems mounted below it are in the share too: {}", mount.below.join(", ")));
    }
    let remedy = Remedy::words("run krundl as a user that may do no more than the guest may");
    let known = "libkrun's README: it does not protect against a guest that leaves the directory";
    if facts.world.is_root() {
        return Check::warn(ID, "not confined, and the VM's process runs as root")
            .detail(lines)
            .known(By::File, known)
            .mend(remedy);
    }
    let user = facts.world.machine.user;
    Check::pass(ID, format!("confined by nothing but the rights of user {user}")).detail(lines).known(By::File, known)
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_user_namespace_is_told_by_its_map() {
        assert!(super::is_identity("         0          0 4294967295\n"));
        assert!(!super::is_identity("0 1000 1\n1 100000 65536\n"));
    }
}
