//! Which release a library is, from everything that bears witness. libkrun has no function that tells.
//!
//! A release is told by the functions that are there (it is at least as new as the newest of them) and, where the
//! build must have them, by those that are not (it is older than the oldest of them). File names and `libkrun.pc`
//! only claim.

use std::path::Path;

use semver::{Version as Release, VersionReq};
use serde::{Deserialize, Serialize};

use crate::library::{FeatureState, Observation};
use crate::symbols::{Feature, Function, FunctionSet, Without};

/// Which release a library is, as far as it can be told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// The releases that it can be: the fingerprint of its functions, narrowed by those claims that agree with it.
    /// `*` when the fingerprint contradicts itself (a fork, a patched build).
    pub range: VersionReq,
    /// Everything that bears witness.
    pub evidence: Vec<Evidence>,
    /// What contradicts what; nothing of it was resolved by guessing.
    pub conflicts: Vec<String>,
}

/// One witness.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Evidence {
    /// What kind of witness.
    pub kind: EvidenceKind,
    /// The releases that fit it.
    #[cfg_attr(feature = "schema", schemars(with = "String"))]
    pub says: VersionReq,
    /// Why.
    pub because: String,
}

/// What kind of witness.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum EvidenceKind {
    /// A function is there.
    FunctionPresent,
    /// A function that this build would have is not there.
    FunctionAbsent,
    /// `krun_has_feature` knows a number, or does not.
    FeatureId,
    /// The file's name claims it.
    FileName,
    /// `libkrun.pc` claims it.
    PkgConfig,
}

/// Releases from one on, up to another.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Span {
    from: Release,
    /// The bound, and whether it is itself in.
    to: Option<(Release, bool)>,
}

impl Span {
    fn all() -> Span {
        Span { from: Release::new(0, 1, 1), to: None }
    }

    fn from(release: Release) -> Span {
        Span { from: release, to: None }
    }

    fn below(release: Release) -> Span {
        Span { to: Some((release, false)), ..Span::all() }
    }

    fn through(from: Release, to: Release) -> Span {
        Span { from, to: Some((to, true)) }
    }

    fn meet(&self, other: &Span) -> Span {
        let to = match (&self.to, &other.to) {
            (None, to) | (to, None) => to.clone(),
            // Of equal bounds the exclusive one is the tighter.
            (Some(a), Some(b)) => Some(if (&a.0, a.1) <= (&b.0, b.1) { a.clone() } else { b.clone() }),
        };
        Span { from: self.from.clone().max(other.from.clone()), to }
    }

    fn is_empty(&self) -> bool {
        match &self.to {
            None => false,
            Some((to, true)) => self.from > *to,
            Some((to, false)) => self.from >= *to,
        }
    }

    fn requirement(&self) -> VersionReq {
        let text = match &self.to {
            None => format!(">={}", self.from),
            Some((to, true)) if *to == self.from => format!("={to}"),
            Some((to, true)) => format!(">={}, <={to}", self.from),
            Some((to, false)) => format!(">={}, <{to}", self.from),
        };
        text.parse().expect("written as semver wants it")
    }
}

struct Witness {
    kind: EvidenceKind,
    span: Span,
    because: String,
}

/// Judges all witnesses.
pub(super) fn judge(observation: &Observation) -> Version {
    judge_for(observation, cfg!(target_os = "linux"))
}

/// The same of a library that may be for another system.
pub(super) fn judge_for(observation: &Observation, linux: bool) -> Version {
    let measured = fingerprint(observation, linux);
    let claimed = claims(observation);
    let mut conflicts = Vec::new();

    let print = measured.iter().fold(Span::all(), |span, witness| span.meet(&witness.span));
    let range = if print.is_empty() {
        conflicts.push("its functions fit no release: a fork or a patched build".to_owned());
        VersionReq::STAR
    } else {
        let (agreeing, lying): (Vec<&Witness>, Vec<&Witness>) =
            claimed.iter().partition(|claim| !claim.span.meet(&print).is_empty());
        conflicts.extend(lying.iter().map(|claim| {
            format!("{} ({}), but its functions fit {}", claim.because, claim.span.requirement(), print.requirement())
        }));
        let narrowed = agreeing.iter().fold(print.clone(), |span, claim| span.meet(&claim.span));
        if narrowed.is_empty() {
            let said: Vec<&str> = agreeing.iter().map(|claim| claim.because.as_str()).collect();
            conflicts.push(format!("{}: they contradict each other", said.join("; ")));
            print.requirement()
        } else {
            narrowed.requirement()
        }
    };
    let evidence = measured
        .into_iter()
        .chain(claimed)
        .map(|w| Evidence { kind: w.kind, says: w.span.requirement(), because: w.because })
        .collect();
    Version { range, evidence, conflicts }
}

/// What the functions and features themselves say.
fn fingerprint(observation: &Observation, linux: bool) -> Vec<Witness> {
    let present = observation.functions;
    let mut witnesses = Vec::new();
    if let Some(newest) = present.iter().max_by_key(|f| f.since_numbers()) {
        witnesses.push(Witness {
            kind: EvidenceKind::FunctionPresent,
            span: Span::from(newest.since()),
            because: format!("{newest} is there"),
        });
        for function in present.iter() {
            if let Some((span, last)) = last_release(function, linux).map(|last| (Span::below(following(&last)), last))
            {
                witnesses.push(Witness {
                    kind: EvidenceKind::FunctionPresent,
                    span,
                    because: format!("{function} is there, which {last} was the last release to have"),
                });
            }
        }
        if let Some(oldest) = absent(present, linux).min_by_key(|f| f.since_numbers()) {
            witnesses.push(Witness {
                kind: EvidenceKind::FunctionAbsent,
                span: Span::below(oldest.since()),
                because: format!("{oldest} is not there, and this build would have it"),
            });
        }
        for function in gone(present, &newest.since(), linux) {
            let last = last_release(function, linux).expect("only functions that left are in gone");
            let next = Release::new(last.major, last.minor, last.patch + 1);
            witnesses.push(Witness {
                kind: EvidenceKind::FunctionAbsent,
                span: Span::from(next),
                because: format!("{function} is not there, which every build had up to {last}"),
            });
        }
    }
    for (feature, state) in &observation.features {
        // Only the numbers that came after the function itself tell more than its presence does.
        if feature.since() == Function::krun_has_feature.since() {
            continue;
        }
        witnesses.extend(feature_witness(*feature, *state));
    }
    witnesses
}

fn feature_witness(feature: Feature, state: FeatureState) -> Option<Witness> {
    let (span, because) = match state {
        FeatureState::Yes | FeatureState::No => (Span::from(feature.since()), "knows"),
        FeatureState::Unknown => (Span::below(feature.since()), "does not know"),
        FeatureState::Unasked => return None,
    };
    let because = format!("krun_has_feature {because} {} ({})", feature.name(), feature.id());
    Some(Witness { kind: EvidenceKind::FeatureId, span, because })
}

/// The last release whose builds for the system have the function; `None`: it never left.
fn last_release(function: Function, linux: bool) -> Option<Release> {
    let symbol = function.symbol();
    let last = if linux { symbol.linux_until.or(symbol.until) } else { symbol.until };
    last.map(|last| last.parse().expect("the table's releases are versions"))
}

/// The release of the table after `release`: not every release was seen, so a function that one was the last to
/// have may be in those between.
fn following(release: &Release) -> Release {
    Function::ALL
        .iter()
        .map(|f| f.since())
        .filter(|since| since > release)
        .min()
        .unwrap_or_else(|| Release::new(release.major, release.minor + 1, 0))
}

/// Functions that are not there although the build is one that has them.
fn absent(present: FunctionSet, linux: bool) -> impl Iterator<Item = Function> {
    let lacking = FunctionSet::ALL.difference(present).iter();
    lacking.filter(move |function| {
        let symbol = function.symbol();
        let built = match symbol.without {
            Without::Always | Without::Refuses | Without::NoEffect => true,
            // A build shows what it was built with by its other functions of that kind, if those would be absent too.
            Without::Absent | Without::AbsentSince(_) => present.iter().any(|other| {
                let other = other.symbol();
                other.build == symbol.build && matches!(other.without, Without::Absent | Without::AbsentSince(_))
            }),
        };
        built && last_release(*function, linux).is_none()
    })
}

/// Functions that every build had once and that are not there, in a library that is new enough to have had them.
fn gone(present: FunctionSet, newest: &Release, linux: bool) -> impl Iterator<Item = Function> {
    Function::ALL.iter().copied().filter(move |function| {
        *function == Function::krun_get_shutdown_eventfd
            && linux
            && !present.contains(*function)
            && function.since() <= *newest
    })
}

/// What names and files say.
fn claims(observation: &Observation) -> Vec<Witness> {
    let mut witnesses = Vec::new();
    if let Some(version) = file_version(&observation.real_path) {
        let because = format!("the file is named {}", observation.real_path.file_name().unwrap_or_default().display());
        witnesses.push(Witness { kind: EvidenceKind::FileName, span: claim(version), because });
    }
    if let Some(pkg_config) = &observation.pkg_config
        && let Ok(version) = pkg_config.version.parse()
    {
        let because = format!("{} says {}", pkg_config.path.display(), pkg_config.version);
        witnesses.push(Witness { kind: EvidenceKind::PkgConfig, span: claim(version), because });
    }
    witnesses
}

/// Two releases were made with the number of the one before them: 1.7.0 calls itself 1.6.0, 1.17.1 calls itself 1.17.0.
fn claim(version: Release) -> Span {
    let to = match (version.major, version.minor, version.patch) {
        (1, 6, 0) => Release::new(1, 7, 0),
        (1, 17, 0) => Release::new(1, 17, 1),
        _ => version.clone(),
    };
    Span::through(version, to)
}

/// The version in `libkrun.so.1.18.0` or `libkrun.1.18.0.dylib`.
fn file_version(path: &Path) -> Option<Release> {
    let name = path.file_name()?.to_str()?;
    let number = match name.split_once(".so.") {
        Some((_, number)) => number,
        None => name.strip_suffix(".dylib")?.split_once('.')?.1,
    };
    number.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every build of a release, without the means that need libraries of their own.
    fn release(version: &str, built: &[crate::symbols::Build]) -> Observation {
        let version: Release = version.parse().unwrap();
        let functions = Function::ALL
            .iter()
            .copied()
            .filter(|f| {
                f.since() <= version && last_release(*f, cfg!(target_os = "linux")).is_none_or(|last| version <= last)
            })
            .filter(|f| match f.symbol().without {
                Without::Always | Without::Refuses | Without::NoEffect => true,
                Without::Absent => {
                    built.contains(&f.symbol().build) || f.symbol().build == crate::symbols::Build::Platform
                }
                Without::AbsentSince(_) => built.contains(&f.symbol().build) || version < Release::new(1, 15, 0),
            })
            .collect();
        Observation { functions, ..Observation::of_table(&Default::default()) }
    }

    const PLAIN: &[crate::symbols::Build] = &[crate::symbols::Build::NotTee, crate::symbols::Build::NotTeeNorNitro];

    #[test]
    fn each_release_is_within_the_range_of_its_functions() {
        for version in [
            "1.8.0", "1.9.5", "1.10.1", "1.11.0", "1.13.0", "1.15.1", "1.16.0", "1.17.4", "1.18.1", "1.19.2", "1.19.3",
            "1.19.6", "1.19.7",
        ] {
            let judged = judge(&release(version, PLAIN));
            assert!(judged.range.matches(&version.parse().unwrap()), "{version} is not in {}", judged.range);
            assert!(judged.conflicts.is_empty(), "{version}: {:?}", judged.conflicts);
        }
    }

    #[test]
    fn absence_bounds_from_above() {
        assert_eq!(judge(&release("1.18.1", PLAIN)).range.to_string(), ">=1.18.0, <1.19.0");
        assert_eq!(judge(&release("1.19.2", PLAIN)).range.to_string(), ">=1.19.0, <1.19.3");
    }

    #[test]
    fn a_file_name_that_agrees_narrows_and_one_that_does_not_is_a_conflict() {
        let mut observation = release("1.18.1", PLAIN);
        observation.real_path = "/lib/libkrun.so.1.18.1".into();
        assert_eq!(judge(&observation).range.to_string(), "=1.18.1");
        observation.real_path = "/lib/libkrun.so.1.16.0".into();
        let judged = judge(&observation);
        assert_eq!(judged.range.to_string(), ">=1.18.0, <1.19.0");
        assert_eq!(judged.conflicts.len(), 1);
        assert!(judged.conflicts[0].contains("libkrun.so.1.16.0"), "{:?}", judged.conflicts);
    }

    #[test]
    fn the_release_that_calls_itself_by_the_one_before_is_known() {
        let mut observation = release("1.17.1", PLAIN);
        observation.real_path = "/lib/libkrun.so.1.17.0".into();
        assert!(judge(&observation).range.matches(&Release::new(1, 17, 1)));
    }

    #[test]
    fn functions_that_fit_no_release_are_said_to_be_so() {
        let mut observation = release("1.19.7", PLAIN);
        observation.functions.remove(Function::krun_set_workdir);
        let judged = judge(&observation);
        assert_eq!(judged.range, VersionReq::STAR);
        assert!(judged.conflicts[0].contains("fork"), "{:?}", judged.conflicts);
    }
}
