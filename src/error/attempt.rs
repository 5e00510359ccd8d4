//! What became of each candidate in the search for libkrun.

use serde::{Deserialize, Serialize};

/// Where the idea to try a candidate came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Origin {
    /// The caller named this file.
    Explicit,
    /// `KRUNDL_LIBRARY` names this file.
    EnvLibrary,
    /// The caller named its directory.
    Directory,
    /// `KRUNDL_LIBRARY_DIR` names its directory.
    EnvDirectory,
    /// The system's loader, by soname.
    Loader,
    /// A well-known place.
    WellKnown,
    /// A package that brings a libkrun along, for where there is no other.
    Bundled,
}

impl Origin {
    /// In words, for people.
    pub fn describe(self) -> &'static str {
        match self {
            Origin::Explicit => "named by the caller",
            Origin::EnvLibrary => "KRUNDL_LIBRARY",
            Origin::Directory => "in the directory given",
            Origin::EnvDirectory => "KRUNDL_LIBRARY_DIR",
            Origin::Loader => "the system's loader",
            Origin::WellKnown => "a well-known place",
            Origin::Bundled => "the package krundl-libkrun",
        }
    }
}

/// Why a candidate was not it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum AttemptKind {
    /// There is no such file.
    Missing,
    /// The file is there and this process may not read it.
    Unreadable,
    /// The file is there and is no shared library (text, a directory, truncated ...).
    NotALibrary,
    /// A library for another processor or system.
    WrongArchitecture,
    /// The library is there and one that it needs is not.
    MissingDependency,
    /// A shared library that has none of libkrun's functions.
    NotLibkrun,
    /// It aborted, hung or exited when it was opened.
    Crashed,
    /// The loader refused for another reason.
    Refused,
}

/// Why a candidate was not it, with the words of whoever said so.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AttemptError {
    /// The kind of failure.
    pub kind: AttemptKind,
    /// The loader's own message, or what was found in the file.
    pub message: String,
}

/// One candidate and what became of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Attempt {
    /// A path, or a bare soname for the system's loader.
    pub candidate: String,
    /// Why it was tried.
    pub origin: Origin,
    /// `None` for the one that was chosen.
    pub error: Option<AttemptError>,
}

pub(super) fn summary(attempts: &[Attempt]) -> String {
    let broken = present(attempts).count();
    match (attempts.len(), broken) {
        (n, 0) => format!("none of {n} candidates exists"),
        (n, b) => format!("of {n} candidates {b} exist, and none of them works"),
    }
}

fn present(attempts: &[Attempt]) -> impl Iterator<Item = (&Attempt, &AttemptError)> {
    attempts
        .iter()
        .filter_map(|attempt| Some((attempt, attempt.error.as_ref()?)))
        .filter(|(_, error)| error.kind != AttemptKind::Missing)
}

pub(super) fn list(attempts: &[Attempt]) -> String {
    // Dozens of well-known places where there is nothing are one line.
    let nothing_there = |attempt: &&Attempt| {
        attempt.origin == Origin::WellKnown && attempt.error.as_ref().is_some_and(|e| e.kind == AttemptKind::Missing)
    };
    let mut lines = Vec::new();
    for attempt in attempts.iter().filter(|attempt| !nothing_there(attempt)) {
        let why = attempt.error.as_ref().map_or("chosen", |error| error.message.as_str());
        lines.push(format!("  {} ({}): {why}", attempt.candidate, attempt.origin.describe()));
    }
    let empty = attempts.iter().filter(nothing_there).count();
    if empty > 0 {
        lines.push(format!("  {empty} well-known places: nothing there (krundl doctor -v lists them)"));
    }
    lines.join("\n")
}

pub(super) fn fix(attempts: &[Attempt]) -> String {
    match present(attempts).next() {
        Some((attempt, error)) if error.kind == AttemptKind::MissingDependency => {
            format!("install what {} needs, or name another libkrun with KRUNDL_LIBRARY", attempt.candidate)
        }
        Some((attempt, _)) => {
            format!("mend or remove {}, or name another libkrun with KRUNDL_LIBRARY", attempt.candidate)
        }
        None => "install libkrun and libkrunfw, or name the file with KRUNDL_LIBRARY".to_owned(),
    }
}
