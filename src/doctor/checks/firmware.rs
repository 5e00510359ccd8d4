//! libkrunfw.

use super::Facts;
use crate::capabilities::Capabilities;
use crate::doctor::catalog::Id;
use crate::doctor::check::{By, Check, Remedy};
use crate::doctor::distro::Package;
use crate::doctor::others::major;
use crate::error::AttemptKind;

pub(super) fn all(capabilities: &Capabilities, facts: &Facts<'_>) -> Vec<Check> {
    vec![wanted(capabilities), found(capabilities, facts), answers(capabilities, facts)]
}

fn wanted(capabilities: &Capabilities) -> Check {
    const ID: Id = Id::FirmwareWanted;
    let firmware = &capabilities.observation.firmware;
    match &firmware.wanted {
        Some(name) if firmware.linked => {
            Check::pass(ID, format!("it is linked with {name}")).known(By::File, &firmware.evidence)
        }
        Some(name) => Check::pass(ID, format!("it opens {name} when a VM is made")).known(By::File, &firmware.evidence),
        None => Check::warn(ID, "which libkrunfw it asks for is unknown")
            .known(By::File, &firmware.evidence)
            .mend(Remedy::words("install the libkrunfw that the package of this libkrun comes with")),
    }
}

fn found(capabilities: &Capabilities, facts: &Facts<'_>) -> Check {
    const ID: Id = Id::FirmwareFound;
    let firmware = &capabilities.observation.firmware;
    let Some(path) = &firmware.path else {
        let broken = firmware.attempts.iter().filter_map(|attempt| Some((attempt, attempt.error.as_ref()?)));
        let broken = broken.filter(|(_, error)| error.kind != AttemptKind::Missing);
        let lines = broken.map(|(attempt, error)| format!("{}: {}", attempt.candidate, error.message));
        let places = firmware.attempts.len();
        return match &firmware.wanted {
            None => Check::skip(ID, "not looked for: its name is not known"),
            // A kernel of one's own does without.
            Some(name) if facts.kernel.is_some() => Check::warn(
                ID,
                format!("{name} was not found in {places} places: only the kernel asked about can start"),
            )
            .detail(lines)
            .mend(facts.distribution.install(Package::Libkrunfw(name), facts.world.is_root())),
            Some(name) => {
                Check::fail(ID, format!("{name} was not found in {places} places: no guest starts without a kernel"))
                    .detail(lines)
                    .known(By::File, "each place was looked at, and the loader was asked")
                    .mend(facts.distribution.install(Package::Libkrunfw(name), facts.world.is_root()))
            }
        };
    };
    let how = if firmware.preload { "krundl loads it by its path" } else { "the system's loader finds it" };
    Check::pass(ID, path.display().to_string()).detail([how]).known(By::File, "its soname and its functions were read")
}

fn answers(capabilities: &Capabilities, facts: &Facts<'_>) -> Check {
    const ID: Id = Id::FirmwareAnswers;
    let firmware = &capabilities.observation.firmware;
    if let Some(how) = facts.died {
        return Check::crash(ID, "the process that asked libkrunfw did not survive it")
            .detail([format!("it {how}")])
            .known(By::Opened, "loaded in a child process")
            .mend(Remedy::words("reinstall libkrunfw"));
    }
    if firmware.path.is_none() {
        return Check::skip(ID, "there is no libkrunfw to ask");
    }
    let refused = firmware.attempts.iter().rev().find_map(|attempt| attempt.error.as_ref());
    let (Some(abi), Some(kernel)) = (firmware.abi, &firmware.kernel) else {
        return Check::fail(ID, "it does not load, or does not say which kernel it holds")
            .detail(refused.map(|error| error.message.clone()))
            .mend(Remedy::words("reinstall libkrunfw"));
    };
    let release = kernel.release.as_deref().unwrap_or("unknown");
    let file = firmware.file_version.as_deref().map_or("unknown, its name does not tell".to_owned(), str::to_owned);
    let room = (kernel.load_address + kernel.size).div_ceil(1 << 20);
    let lines = [format!("file version: {file}"), format!("the guest needs more than {room} MiB of memory for it")];
    let expected = firmware.wanted.as_deref().and_then(major);
    let check = if expected.is_some_and(|expected| i64::from(expected) != i64::from(abi)) {
        Check::warn(ID, format!("interface {abi}, and libkrun asks for {}; Linux {release}", expected.unwrap_or(0)))
            .mend(Remedy::words("reinstall libkrunfw: its name and its interface disagree"))
    } else {
        Check::pass(ID, format!("interface {abi}, Linux {release}"))
    };
    check.detail(lines).known(By::Asked, "krunfw_get_version and krunfw_get_kernel, in a child process")
}
