//! One thing that stands between a spec and a VM.

use serde::{Deserialize, Serialize};

use crate::symbols::Function;

/// Whose fault a problem is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ProblemKind {
    /// The spec contradicts itself or is malformed.
    Invalid,
    /// The spec is well formed and does not fit this host.
    Host,
    /// This libkrun cannot do it.
    Unsupported,
    /// krundl does not offer it yet.
    NotOffered,
}

/// What a libkrun has to have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Needs {
    /// The function.
    pub function: Function,
    /// The first release that has it.
    pub since: String,
    /// The compile-time feature that it takes, where it takes one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub built_with: Option<String>,
}

impl Needs {
    /// What `function` takes, from the one table.
    pub fn function(function: Function) -> Needs {
        let symbol = function.symbol();
        Needs { function, since: symbol.since.to_owned(), built_with: symbol.built_with.map(str::to_owned) }
    }
}

/// One thing that stands between a spec and a VM.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Problem {
    /// The field of the spec, as `mounts[0].guest`.
    pub field: String,
    /// Whose fault it is.
    pub kind: ProblemKind,
    /// Why, in a sentence.
    pub reason: String,
    /// The function that is missing, where one is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needs: Option<Needs>,
    /// What would mend it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
}

impl Problem {
    /// A problem without needs or fix.
    pub fn new(kind: ProblemKind, field: impl Into<String>, reason: impl Into<String>) -> Problem {
        Problem { field: field.into(), kind, reason: reason.into(), needs: None, fix: None }
    }

    /// With what would mend it.
    #[must_use]
    pub fn fix(mut self, fix: impl Into<String>) -> Problem {
        self.fix = Some(fix.into());
        self
    }

    /// With the function that it takes.
    #[must_use]
    pub fn needs(mut self, function: Function) -> Problem {
        self.needs = Some(Needs::function(function));
        self
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.field, self.reason)?;
        if let Some(needs) = &self.needs {
            write!(f, "; needs {} (libkrun {}", needs.function.name(), needs.since)?;
            if let Some(built_with) = &needs.built_with {
                write!(f, ", built with: {built_with}")?;
            }
            write!(f, ")")?;
        }
        if let Some(fix) = &self.fix {
            write!(f, "; fix: {fix}")?;
        }
        Ok(())
    }
}

pub(super) fn list(problems: &[Problem]) -> String {
    problems.iter().map(|problem| format!("\n  {problem}")).collect()
}
