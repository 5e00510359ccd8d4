//! One check: what was found, how that is known, and what would mend it.

use serde::Serialize;

use super::catalog::Id;
use crate::symbols::named;

named! {
    /// How a check came out.
    pub enum Status {
        /// Fine.
        Pass => "pass",
        /// It may be in the way.
        Warn => "warn",
        /// It is in the way.
        Fail => "fail",
        /// It was not checked: it does not apply, or something else is missing.
        Skip => "skip",
        /// What was looked at took its process along: a signal, an exit or a time-out.
        Crash => "crash",
    }
}

impl Status {
    /// Whether it is in the way.
    pub fn is_bad(self) -> bool {
        matches!(self, Status::Fail | Status::Crash)
    }
}

named! {
    /// How something is known.
    pub enum By {
        /// The system's loader opened it, or refused.
        Opened => "opened",
        /// A function is there, or is not.
        Symbol => "symbol",
        /// `krun_has_feature` answered.
        FeatureBit => "feature_bit",
        /// A file's name claims it.
        FileName => "file_name",
        /// pkg-config's file claims it.
        PkgConfig => "pkg_config",
        /// Several functions together fit these releases only.
        Fingerprint => "fingerprint",
        /// It stands in a file that was read.
        File => "file",
        /// The kernel, or a device, answered.
        Asked => "asked",
        /// It was observed with real guests when krundl was made; not here and now.
        Observed => "observed",
        /// A real guest was booted here and now.
        Boot => "boot",
    }
}

impl By {
    /// In words, after "known by".
    pub fn describe(self) -> &'static str {
        match self {
            By::Opened => "opening it",
            By::Symbol => "its functions",
            By::FeatureBit => "krun_has_feature",
            By::FileName => "a file's name",
            By::PkgConfig => "libkrun.pc",
            By::Fingerprint => "the fingerprint of its functions",
            By::File => "reading",
            By::Asked => "asking",
            By::Observed => "observation elsewhere",
            By::Boot => "a real boot",
        }
    }
}

/// One thing that a check rests on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Known {
    /// How it is known.
    pub by: By,
    /// What is known.
    pub says: String,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Check {
    /// Its name, stable across releases.
    pub id: Id,
    /// What it is about, where a check is made for several things.
    pub subject: Option<String>,
    /// How it came out.
    pub status: Status,
    /// In one line.
    pub summary: String,
    /// More about it, in lines.
    pub detail: Option<String>,
    /// What it rests on.
    pub evidence: Vec<Known>,
    /// What would mend it: in words, and below that the commands, a line each.
    pub fix: Option<String>,
    /// The commands of the remedy alone.
    pub commands: Vec<String>,
}

/// What would mend something on this machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remedy {
    /// In words.
    pub words: String,
    /// What to type.
    pub commands: Vec<String>,
}

impl Remedy {
    pub(super) fn words(words: impl Into<String>) -> Remedy {
        Remedy { words: words.into(), commands: Vec::new() }
    }

    pub(super) fn command(mut self, command: impl Into<String>) -> Remedy {
        self.commands.push(command.into());
        self
    }
}

impl Check {
    pub(super) fn new(id: Id, status: Status, summary: impl Into<String>) -> Check {
        Check {
            id,
            subject: None,
            status,
            summary: summary.into(),
            detail: None,
            evidence: Vec::new(),
            fix: None,
            commands: Vec::new(),
        }
    }

    pub(super) fn pass(id: Id, summary: impl Into<String>) -> Check {
        Check::new(id, Status::Pass, summary)
    }

    pub(super) fn warn(id: Id, summary: impl Into<String>) -> Check {
        Check::new(id, Status::Warn, summary)
    }

    pub(super) fn fail(id: Id, summary: impl Into<String>) -> Check {
        Check::new(id, Status::Fail, summary)
    }

    pub(super) fn skip(id: Id, summary: impl Into<String>) -> Check {
        Check::new(id, Status::Skip, summary)
    }

    pub(super) fn crash(id: Id, summary: impl Into<String>) -> Check {
        Check::new(id, Status::Crash, summary)
    }

    pub(super) fn about(mut self, subject: impl Into<String>) -> Check {
        self.subject = Some(subject.into());
        self
    }

    pub(super) fn detail(mut self, lines: impl IntoIterator<Item = impl Into<String>>) -> Check {
        let lines: Vec<String> = lines.into_iter().map(Into::into).filter(|line| !line.is_empty()).collect();
        self.detail = (!lines.is_empty()).then(|| lines.join("\n"));
        self
    }

    pub(super) fn known(mut self, by: By, says: impl Into<String>) -> Check {
        self.evidence.push(Known { by, says: says.into() });
        self
    }

    pub(super) fn mend(mut self, remedy: Remedy) -> Check {
        let lines: Vec<&str> = std::iter::once(remedy.words.as_str())
            .chain(remedy.commands.iter().map(String::as_str))
            .filter(|line| !line.is_empty())
            .collect();
        self.fix = Some(lines.join("\n"));
        self.commands = remedy.commands;
        self
    }
}
