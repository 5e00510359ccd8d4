//! A kernel that was asked about.

use crate::doctor::catalog::Id;
use crate::doctor::check::{By, Check, Remedy};
use crate::doctor::kernel::{ConfigSource, KernelReport, needs};

pub(super) fn all(kernel: &KernelReport, architecture: &str) -> Vec<Check> {
    let subject = kernel.path.display().to_string();
    [format(kernel), config(kernel, architecture)].into_iter().map(|check| check.about(&subject)).collect()
}

fn format(kernel: &KernelReport) -> Check {
    const ID: Id = Id::KernelFormat;
    let release = kernel.release.as_ref().map_or(String::new(), |release| format!(", Linux {release}"));
    let Some(format) = kernel.format.filter(|_| kernel.problems.is_empty()) else {
        let fixes: Vec<&str> = kernel.problems.iter().filter_map(|problem| problem.fix.as_deref()).collect();
        let remedy = if fixes.is_empty() {
            "give a vmlinux (ELF), a bzImage or an arm64 Image for this machine's processor".to_owned()
        } else {
            fixes.join("; ")
        };
        return Check::fail(ID, "libkrun cannot start it")
            .detail(kernel.problems.iter().map(ToString::to_string))
            .known(By::File, "its magic numbers")
            .mend(Remedy::words(remedy));
    };
    let name = serde_json::to_value(format).ok().and_then(|name| name.as_str().map(str::to_owned));
    Check::pass(ID, format!("{}{release}", name.unwrap_or_default())).known(By::File, "its magic numbers")
}

fn config(kernel: &KernelReport, architecture: &str) -> Check {
    const ID: Id = Id::KernelConfig;
    let Some(source) = &kernel.config_from else {
        let why = kernel.config_unknown.clone().unwrap_or_default();
        let check = if kernel.format.is_some() {
            Check::warn(ID, "unknown: its configuration cannot be read")
                .mend(Remedy::words("build it with CONFIG_IKCONFIG=y, or put its config-RELEASE beside it"))
        } else {
            Check::skip(ID, "unknown")
        };
        return check.detail([why]);
    };
    let (by, how) = match source {
        ConfigSource::Carried => (By::File, "the configuration that it carries (IKCONFIG)".to_owned()),
        ConfigSource::Itself => (By::File, "it is a configuration".to_owned()),
        ConfigSource::Beside(path) => (By::FileName, format!("{}, which only its name ties to it", path.display())),
    };
    let mut lines = Vec::new();
    let (mut vital, mut wanted) = (false, Vec::new());
    for need in needs(architecture) {
        for option in need.options {
            let value = kernel.options.get(*option).copied().unwrap_or('n');
            if value == 'y' {
                continue;
            }
            let why = if value == 'm' { "a module, which nobody loads" } else { "not set" };
            lines.push(format!("{}: CONFIG_{option} is {why}", need.what));
            vital |= need.vital;
            wanted.push(format!("CONFIG_{option}=y"));
        }
    }
    if lines.is_empty() {
        return Check::pass(
            ID,
            "it has what devices, mounts, console, vsock, disks, network, overlays, initial RAM disks and DAX need",
        )
        .known(by, how);
    }
    let summary = format!("{} options are missing", lines.len());
    let check = if vital { Check::fail(ID, summary) } else { Check::warn(ID, summary) };
    check.detail(lines).known(by, how).mend(Remedy::words(format!("build it with {}", wanted.join(" "))))
}
