//! The mounts that were asked about: opened and negotiated, for a root that is empty.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::boot::plain_spec;
use super::ground::Ground;
use super::world::World;
use crate::capabilities::Capabilities;
use crate::error::{Problem, ProblemKind};
use crate::plan::{Call, negotiate};
use crate::spec::{self, Mount};
use crate::symbols::Function;

/// What was found out about a mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MountReport {
    /// The host's directory, as it was given.
    pub host: PathBuf,
    /// Where the guest would see it.
    pub guest: String,
    /// Whether it was asked to be read-only.
    pub read_only: bool,
    /// The function that would make it; `None` if it cannot be made, or there is no libkrun.
    pub function: Option<Function>,
    /// What stands in the way.
    pub problems: Vec<Problem>,
    /// How the directory is mounted on the host; `None` if that cannot be told.
    pub on_host: Option<HostMount>,
    /// Further file systems mounted below the directory, which the guest sees too.
    pub below: Vec<String>,
}

/// A file system of the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct HostMount {
    /// Where it is mounted.
    pub point: String,
    /// Its type.
    pub kind: String,
    /// Whether it is mounted read-only.
    pub read_only: bool,
    /// Whether its owners are translated (an idmapped mount).
    pub idmapped: bool,
}

/// Looks at all mounts, together and one by one.
pub(super) fn look(world: &World, capabilities: Option<&Capabilities>, mounts: &[Mount]) -> Vec<MountReport> {
    if mounts.is_empty() {
        return Vec::new();
    }
    let mut problems = together(capabilities, mounts);
    let table = world.read("/proc/self/mountinfo").unwrap_or_default();
    let mut reports = Vec::new();
    for (n, mount) in mounts.iter().enumerate() {
        let field = format!("mounts[{n}]");
        let own = problems.extract_if(.., |problem| problem.field.starts_with(&field)).collect();
        let real = mount.host.canonicalize().ok();
        reports.push(MountReport {
            host: mount.host.clone(),
            guest: mount.guest.clone(),
            read_only: mount.read_only,
            function: capabilities.and_then(|capabilities| function(capabilities, mount)),
            problems: own,
            on_host: real.as_deref().and_then(|path| host_mount(&table, path)),
            below: real.as_deref().map(|path| below(&table, path)).unwrap_or_default(),
        });
    }
    reports
}

fn together(capabilities: Option<&Capabilities>, mounts: &[Mount]) -> Vec<Problem> {
    let ground = match Ground::new(None) {
        Ok(ground) => ground,
        Err(error) => {
            let reason = format!("an empty root to judge it by cannot be made: {error}");
            return vec![Problem::new(ProblemKind::Host, "mounts[0]", reason)];
        }
    };
    let mut spec = plain_spec(ground.root());
    spec.mounts = mounts.to_vec();
    let checked = spec::check(&spec);
    let mut problems = checked.problems;
    if let Some(Err(refusals)) = capabilities.map(|capabilities| negotiate(&spec, &checked.findings, capabilities)) {
        problems.extend(refusals);
    }
    problems
}

/// The function that carries a mount like this one, if the library has one.
fn function(capabilities: &Capabilities, mount: &Mount) -> Option<Function> {
    let ground = Ground::new(None).ok()?;
    let mut spec = plain_spec(ground.root());
    spec.mounts = vec![mount.clone()];
    let tag = spec.tags().pop()?;
    let plan = negotiate(&spec, &spec::check(&spec).findings, capabilities).ok()?;
    let of_mount = |call: &&Call| match call {
        Call::AddVirtiofs { tag: one, .. }
        | Call::AddVirtiofs2 { tag: one, .. }
        | Call::AddVirtiofs3 { tag: one, .. }
        | Call::AddVirtiofs4 { tag: one, .. } => *one == tag,
        _ => false,
    };
    plan.calls.iter().find(of_mount).map(Call::function)
}

/// The file system that a path lies on, from /proc/self/mountinfo.
fn host_mount(table: &str, path: &Path) -> Option<HostMount> {
    let mounts = table.lines().filter_map(parse);
    // Of those mounted at one place the last one counts.
    mounts
        .filter(|mount| path.starts_with(&mount.point))
        .max_by_key(|mount| Path::new(&mount.point).components().count())
}

fn below(table: &str, path: &Path) -> Vec<String> {
    let points = table.lines().filter_map(parse).map(|mount| mount.point);
    points.filter(|point| Path::new(point) != path && Path::new(point).starts_with(path)).collect()
}

/// `36 35 98:0 /root /point rw,noatime,idmapped shared:1 - ext4 /dev/root rw`.
fn parse(line: &str) -> Option<HostMount> {
    let (mount, system) = line.split_once(" - ")?;
    let mut fields = mount.split(' ').skip(4);
    let (point, options) = (fields.next()?, fields.next()?);
    let mut system = system.split(' ');
    let (kind, of_system) = (system.next()?, system.nth(1).unwrap_or(""));
    let has = |options: &str, name: &str| options.split(',').any(|option| option == name);
    Some(HostMount {
        point: unescape(point),
        kind: kind.to_owned(),
        read_only: has(options, "ro") || has(of_system, "ro"),
        idmapped: has(options, "idmapped"),
    })
}

/// Blanks stand in the table as `\040`.
fn unescape(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let code = rest.get(at + 1..at + 4).and_then(|digits| u8::from_str_radix(digits, 8).ok());
        match code {
            Some(code) => {
                out.push(char::from(code));
                rest = &rest[at + 4..];
            }
            None => {
                out.push('\\');
                rest = &rest[at + 1..];
            }
        }
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "\
21 1 8:1 / / rw,relatime - ext4 /dev/sda1 rw
30 21 8:2 / /data ro,relatime shared:1 - xfs /dev/sdb rw
31 21 0:9 / /with\\040blank rw,idmapped - btrfs none rw
32 30 0:5 / /data/below rw - tmpfs tmpfs rw
";

    #[test]
    fn a_path_lies_on_the_file_system_that_is_mounted_nearest() {
        let mount = |path: &str| host_mount(TABLE, Path::new(path)).unwrap();
        assert_eq!((mount("/home/x").kind.as_str(), mount("/home/x").read_only), ("ext4", false));
        assert_eq!((mount("/data/x").kind.as_str(), mount("/data/x").read_only), ("xfs", true));
        assert_eq!(mount("/database").kind, "ext4", "a name is more than its beginning");
        assert!(mount("/with blank/x").idmapped);
        assert_eq!(below(TABLE, Path::new("/data")), ["/data/below"]);
    }
}
