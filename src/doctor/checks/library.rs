//! The libkrun in use, and those beside it.

use super::Facts;
use crate::capabilities::{Capabilities, EvidenceKind, Generation};
use crate::doctor::catalog::Id;
use crate::doctor::check::{By, Check, Remedy};
use crate::doctor::distro::Package;
use crate::doctor::others;
use crate::error::{Attempt, AttemptError, AttemptKind, Error, Origin};
use crate::library::Flavour;
use crate::symbols::Function;

pub(super) fn all(facts: &Facts<'_>) -> Vec<Check> {
    let mut checks = vec![found(facts), opening(facts), dependencies(facts), beside(facts), majors(facts)];
    checks.push(architecture(facts));
    if let Some(capabilities) = facts.capabilities {
        checks.extend([
            generation(capabilities),
            version(capabilities),
            flavour(capabilities),
            fork(capabilities),
            exports(capabilities),
        ]);
    }
    checks
}

/// Those that failed, of one kind.
fn failed<'a>(facts: &'a Facts<'_>, kind: AttemptKind) -> impl Iterator<Item = (&'a Attempt, &'a AttemptError)> {
    let failed = facts.attempts.iter().filter_map(|attempt| Some((attempt, attempt.error.as_ref()?)));
    failed.filter(move |(_, error)| error.kind == kind)
}

fn found(facts: &Facts<'_>) -> Check {
    const ID: Id = Id::LibraryFound;
    if let Some(error) = facts.failure {
        return Check::fail(ID, "libkrun cannot be looked at").detail([error.to_string()]).mend(helper_remedy(error));
    }
    let Some(capabilities) = facts.capabilities else { return nothing_found(facts) };
    let observation = &capabilities.observation;
    let path = observation.real_path.display();
    let mut detail = vec![format!("found as {} ({})", observation.candidate, observation.origin.describe())];
    let before: Vec<_> = facts.attempts.iter().filter(|attempt| is_broken(attempt)).collect();
    if !before.is_empty() {
        detail.push(format!("{} before it could not be used", before.len()));
    }
    Check::pass(ID, format!("{path}"))
        .known(By::Opened, "opened in a child process, and each function asked for")
        .known(
            By::Symbol,
            format!("{} of the {} functions of libkrun's history", observation.functions.len(), Function::ALL.len()),
        )
        .detail(detail)
}

fn is_broken(attempt: &Attempt) -> bool {
    attempt.error.as_ref().is_some_and(|error| error.kind != AttemptKind::Missing)
}

fn nothing_found(facts: &Facts<'_>) -> Check {
    const ID: Id = Id::LibraryFound;
    let broken: Vec<&Attempt> = facts.attempts.iter().filter(|attempt| is_broken(attempt)).collect();
    let named = facts.attempts.iter().all(is_named);
    let Some(first) = broken.first() else {
        let summary = match facts.attempts {
            [only] => format!("no libkrun: {} is not there", only.candidate),
            attempts => format!("no libkrun in any of {} places", attempts.len()),
        };
        let (well_known, told): (Vec<&Attempt>, Vec<&Attempt>) =
            facts.attempts.iter().partition(|attempt| attempt.origin == Origin::WellKnown);
        let mut lines: Vec<String> = told
            .iter()
            .filter_map(|attempt| {
                let error = attempt.error.as_ref()?;
                Some(format!("{} ({}): {}", attempt.candidate, attempt.origin.describe(), error.message))
            })
            .collect();
        if !well_known.is_empty() {
            lines.push(format!("{} well-known places: nothing there (-v lists them)", well_known.len()));
        }
        let check = Check::fail(ID, summary).detail(lines).known(By::Asked, "the loader, and each place");
        return if named && !facts.attempts.is_empty() {
            check.mend(Remedy::words("install libkrun there, or name another place, or none: then all are searched"))
        } else {
            check.mend(facts.distribution.install_libkrun(facts.world.is_root()))
        };
    };
    let lines = broken.iter().map(|attempt| {
        let why = attempt.error.as_ref().map_or("", |error| error.message.as_str());
        format!("{}: {why}", attempt.candidate)
    });
    let summary = match broken.len() {
        1 => format!("{} is there and cannot be used", first.candidate),
        n => format!("{n} files are there and none can be used"),
    };
    let remedy = match first.error.as_ref().map(|error| error.kind) {
        Some(AttemptKind::Unreadable) => {
            Remedy::words("let everybody read it").command(format!("sudo chmod a+r {}", first.candidate))
        }
        Some(AttemptKind::MissingDependency) => Remedy::words("install what it needs: library.dependencies names it"),
        _ => facts.distribution.install_libkrun(facts.world.is_root()),
    };
    Check::fail(ID, summary).detail(lines).mend(remedy)
}

fn is_named(attempt: &Attempt) -> bool {
    matches!(attempt.origin, Origin::Explicit | Origin::EnvLibrary | Origin::Directory | Origin::EnvDirectory)
}

fn helper_remedy(error: &Error) -> Remedy {
    match error {
        Error::HelperNotFound { .. } | Error::HelperMismatch { .. } => {
            Remedy::words("put the krundl-vmm of the same build beside krundl, or name it with KRUNDL_VMM")
        }
        _ => Remedy::words("see the message"),
    }
}

fn opening(facts: &Facts<'_>) -> Check {
    const ID: Id = Id::LibraryOpening;
    let crashed: Vec<_> = failed(facts, AttemptKind::Crashed).collect();
    if let Some((first, error)) = crashed.first() {
        let remedy = Remedy::words("remove or replace it, or name another libkrun with KRUNDL_LIBRARY");
        return Check::crash(ID, format!("{}: {}", first.candidate, first_line(&error.message)))
            .detail(crashed.iter().skip(1).map(|(attempt, error)| format!("{}: {}", attempt.candidate, error.message)))
            .known(By::Opened, "opened in a child process, which did not survive it")
            .mend(remedy);
    }
    match facts.capabilities {
        None => Check::skip(ID, "nothing was opened"),
        Some(_) if !facts.words.as_str().is_empty() => Check::warn(ID, "it opened, and printed something while it did")
            .detail(facts.words.as_str().lines().map(|line| format!("| {line}"))),
        Some(_) => Check::pass(ID, "it opened without a word").known(By::Opened, "opened in a child process"),
    }
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or("")
}

fn dependencies(facts: &Facts<'_>) -> Check {
    const ID: Id = Id::LibraryDependencies;
    let missing: Vec<_> = failed(facts, AttemptKind::MissingDependency).collect();
    if missing.is_empty() {
        return match facts.capabilities {
            None => Check::skip(ID, "nothing was opened"),
            Some(capabilities) => {
                let needed = &capabilities.observation.needed;
                let summary = format!("the loader found everything that it is linked with ({})", needed.len());
                Check::pass(ID, summary).known(By::Opened, needed.join(", "))
            }
        };
    }
    let mut lines = Vec::new();
    let mut names: Vec<String> = Vec::new();
    for (attempt, error) in &missing {
        lines.push(format!("{}: {}", attempt.candidate, error.message));
        let unresolved = others::unresolved(facts.world, std::path::Path::new(&attempt.candidate));
        if !unresolved.is_empty() {
            lines.push(format!("by its file, not in any known place: {}", unresolved.join(", ")));
        }
        names.extend(unresolved);
    }
    names.sort();
    names.dedup();
    let summary = match names.len() {
        0 => format!("{} needs something that the loader does not find", missing[0].0.candidate),
        _ => format!("{} needs {}", missing[0].0.candidate, names.join(", ")),
    };
    // Another one that opens makes it a nuisance.
    let check = if facts.capabilities.is_some() { Check::warn(ID, summary) } else { Check::fail(ID, summary) };
    let remedy = match names.iter().find(|name| name.starts_with("libkrunfw")) {
        Some(name) => facts.distribution.install(Package::Libkrunfw(name), facts.world.is_root()),
        None => Remedy::words("install the packages that hold them"),
    };
    check.detail(lines).known(By::Opened, "the loader's own words").mend(remedy)
}

fn beside(facts: &Facts<'_>) -> Check {
    const ID: Id = Id::LibraryOthers;
    let others: Vec<_> = facts.others.iter().filter(|other| other.error.is_none()).collect();
    if others.is_empty() {
        return Check::pass(ID, "no other libkrun in the places that are searched");
    }
    let lines = others.iter().map(|other| {
        let name = other.soname.as_deref().unwrap_or("no soname");
        let functions = other.functions.map_or("functions unknown".to_owned(), |n| format!("{n} functions"));
        format!("{} ({name}, {functions})", other.real_path.display())
    });
    let summary = match others.as_slice() {
        [only] => format!("another libkrun lies beside it: {}", only.path.display()),
        all => format!("{} more libkruns lie beside it", all.len()),
    };
    Check::warn(ID, summary)
        .detail(lines)
        .known(By::File, "read, not opened")
        .mend(Remedy::words("keep one, or name the one that is meant with KRUNDL_LIBRARY"))
}

fn majors(facts: &Facts<'_>) -> Check {
    const ID: Id = Id::LibraryMajors;
    let chosen = facts.capabilities.and_then(|capabilities| capabilities.observation.soname_major);
    let mut majors: Vec<u32> =
        facts.others.iter().filter(|other| other.error.is_none()).filter_map(|o| o.major()).collect();
    majors.extend(chosen);
    majors.sort_unstable();
    majors.dedup();
    let words: Vec<String> = majors.iter().map(ToString::to_string).collect();
    match majors.len() {
        0 => Check::skip(ID, "no file tells its major number"),
        1 => Check::pass(ID, format!("only major {}", words[0])).known(By::FileName, "sonames, else file names"),
        _ => {
            let used = chosen.map_or("none".to_owned(), |major| major.to_string());
            Check::warn(ID, format!("majors {} lie side by side; {used} is used", words.join(" and ")))
                .known(By::FileName, "sonames, else file names")
                .mend(Remedy::words("nothing, as long as major 1 is the one that is used"))
        }
    }
}

fn architecture(facts: &Facts<'_>) -> Check {
    const ID: Id = Id::LibraryArchitecture;
    let tried = failed(facts, AttemptKind::WrongArchitecture).map(|(a, e)| (a.candidate.clone(), e.message.clone()));
    let beside = facts.others.iter().filter_map(|other| {
        let error = other.error.as_ref().filter(|error| error.kind == AttemptKind::WrongArchitecture)?;
        Some((other.path.display().to_string(), error.message.clone()))
    });
    let foreign: Vec<(String, String)> = tried.chain(beside).collect();
    let own = &facts.world.machine.architecture;
    let Some((first, _)) = foreign.first() else {
        return Check::pass(ID, format!("nothing for another processor than {own}"));
    };
    let summary = match foreign.len() {
        1 => format!("{first} is for another machine"),
        n => format!("{n} files are for other machines"),
    };
    let check = if facts.capabilities.is_some() { Check::warn(ID, summary) } else { Check::fail(ID, summary) };
    check
        .detail(foreign.iter().map(|(path, why)| format!("{path}: {why}")))
        .known(By::File, "the header of each file")
        .mend(Remedy::words("remove it, and install libkrun for this processor: library.found says how"))
}

fn generation(capabilities: &Capabilities) -> Check {
    const ID: Id = Id::LibraryGeneration;
    let reason = &capabilities.generation_reason;
    match capabilities.generation {
        Generation::One => Check::pass(ID, "it speaks contexts and setters, as krundl does").known(By::Symbol, reason),
        Generation::Unknown => Check::fail(ID, "it speaks a language that krundl does not: it is never called")
            .known(By::Symbol, reason)
            .mend(Remedy::words("install libkrun 1.x, or name another library with KRUNDL_LIBRARY or --library")),
    }
}

fn version(capabilities: &Capabilities) -> Check {
    const ID: Id = Id::LibraryVersion;
    let version = &capabilities.version;
    if capabilities.generation != Generation::One {
        let claims = version.evidence.iter().filter(|evidence| evidence.kind == EvidenceKind::FileName);
        let check = Check::skip(ID, "unknown: its functions tell nothing where they speak another language");
        return claims.fold(check, |check, claim| check.known(By::FileName, &claim.because));
    }
    let mut check = if version.conflicts.is_empty() {
        Check::pass(ID, format!("libkrun {}", version.range))
    } else {
        Check::warn(ID, format!("libkrun {}, against what something else claims", version.range))
            .detail(version.conflicts.iter().map(|conflict| format!("contradiction: {conflict}")))
            .mend(Remedy::words("reinstall libkrun from one source; what its functions say counts"))
    };
    for evidence in &version.evidence {
        let by = match evidence.kind {
            EvidenceKind::FunctionPresent | EvidenceKind::FunctionAbsent => By::Fingerprint,
            EvidenceKind::FeatureId => By::FeatureBit,
            EvidenceKind::FileName => By::FileName,
            EvidenceKind::PkgConfig => By::PkgConfig,
        };
        check = check.known(by, format!("{} because {}", evidence.says, evidence.because));
    }
    check
}

fn flavour(capabilities: &Capabilities) -> Check {
    const ID: Id = Id::LibraryFlavour;
    let (flavour, reason) = capabilities.flavour();
    let by = if flavour == capabilities.observation.flavour { By::FileName } else { By::FeatureBit };
    let guests = match flavour {
        Flavour::Plain => return Check::pass(ID, "the ordinary one").known(by, reason),
        Flavour::Sev => "confidential guests with AMD SEV",
        Flavour::Tdx => "confidential guests with Intel TDX",
        Flavour::AwsNitro => "AWS Nitro enclaves",
        Flavour::Efi => return Check::pass(ID, "with its own EFI firmware").known(by, reason),
    };
    Check::warn(ID, format!("for {guests}"))
        .known(by, reason)
        .mend(Remedy::words("install the ordinary libkrun, unless such guests are what is wanted"))
}

fn fork(capabilities: &Capabilities) -> Check {
    const ID: Id = Id::LibraryFork;
    let unknown = &capabilities.observation.exported_unknown;
    if unknown.is_empty() {
        return Check::pass(ID, "no function that libkrun's releases do not have").known(By::File, "its exports");
    }
    Check::warn(ID, format!("{} functions that no known release has: a fork, or a newer release", unknown.len()))
        .detail([unknown.join(", ")])
        .known(By::File, "its exports")
        .mend(Remedy::words("use an unmodified release, or a newer krundl, if something behaves oddly"))
}

fn exports(capabilities: &Capabilities) -> Check {
    const ID: Id = Id::LibraryExports;
    let observation = &capabilities.observation;
    let list = |set: crate::symbols::FunctionSet| set.iter().map(Function::name).collect::<Vec<_>>().join(", ");
    let (only_file, only_loader) = (observation.missing_in_loader, observation.missing_in_file);
    if only_file.is_empty() && only_loader.is_empty() {
        return Check::pass(ID, "what its file exports is what the loader finds")
            .known(By::File, "the table of symbols")
            .known(By::Symbol, "dlsym of each function");
    }
    let mut lines = Vec::new();
    if !only_loader.is_empty() {
        lines.push(format!(
            "found by the loader and no function in the file (data of that name?): {}",
            list(only_loader)
        ));
    }
    if !only_file.is_empty() {
        lines.push(format!("exported by the file and not found by the loader: {}", list(only_file)));
    }
    Check::fail(ID, "its file and the loader disagree about its functions")
        .detail(lines)
        .known(By::File, "the table of symbols")
        .known(By::Symbol, "dlsym of each function")
        .mend(Remedy::words("reinstall libkrun"))
}
