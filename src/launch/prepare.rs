//! From a spec to a plan with everything that it needs kept open.

use std::os::fd::OwnedFd;

use crate::capabilities::Capabilities;
use crate::error::{Error, Problem, Result};
use crate::plan::{Plan, negotiate};
use crate::spec::{self, Parsed, VmSpec};

/// A plan and what the host checks opened for it: what the VM gets is what was checked.
#[derive(Debug)]
pub struct Prepared {
    /// The plan.
    pub plan: Plan,
    /// What the plan's paths stand for; closed when dropped.
    pub held: Vec<OwnedFd>,
}

impl Prepared {
    /// A copy, so that the same plan can be launched more than once.
    ///
    /// # Errors
    /// [`Error::Os`] when this process has no descriptors left.
    pub fn try_clone(&self) -> Result<Prepared> {
        let held = self.held.iter().map(OwnedFd::try_clone).collect::<Result<_, _>>();
        let held = held.map_err(|error| Error::os("copying what the plan keeps open", error))?;
        Ok(Prepared { plan: self.plan.clone(), held })
    }
}

/// Checks a spec against this host and negotiates it with a library.
///
/// # Errors
/// [`Error::InvalidSpec`] or [`Error::Unsupported`] with every problem of both steps.
pub fn prepare(spec: &VmSpec, capabilities: &Capabilities) -> Result<Prepared> {
    let checked = spec::check(spec);
    let mut problems = checked.problems;
    match negotiate(spec, &checked.findings, capabilities) {
        Ok(plan) if problems.is_empty() => Ok(Prepared { plan, held: checked.held }),
        Ok(_) => Err(Error::refused(problems)),
        Err(refusals) => {
            for refusal in refusals {
                // What takes no host to see, the check has said as well.
                if !problems.contains(&refusal) {
                    problems.push(refusal);
                }
            }
            Err(Error::refused(problems))
        }
    }
}

/// The same from JSON: mistakes of the text, of the host and of the library in one answer.
///
/// # Errors
/// As [`prepare`]; what the text itself gets wrong comes first.
pub fn prepare_json(text: &str, capabilities: &Capabilities) -> Result<Prepared> {
    prepare_parsed(&spec::parse(text)?, capabilities)
}

/// The same from a spec that may have been read with mistakes.
///
/// # Errors
/// As [`prepare_json`].
pub fn prepare_parsed(parsed: &Parsed, capabilities: &Capabilities) -> Result<Prepared> {
    let Parsed { spec, problems } = parsed;
    match prepare(spec, capabilities) {
        Ok(prepared) if problems.is_empty() => Ok(prepared),
        Ok(_) => Err(Error::refused(problems.clone())),
        Err(error) => {
            // A field that the text got wrong holds a placeholder: whatever is said about that is noise.
            let noise = |found: &Problem| problems.iter().any(|known| covers(&known.field, &found.field));
            let mut all = problems.clone();
            all.extend(error.problems().iter().filter(|found| !noise(found)).cloned());
            Err(Error::refused(all))
        }
    }
}

/// Whether `inner` is `outer` or a part of it.
fn covers(outer: &str, inner: &str) -> bool {
    inner.strip_prefix(outer).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_field_covers_its_parts_and_nothing_else() {
        assert!(super::covers("root", "root.dir"));
        assert!(super::covers("mounts[1]", "mounts[1].host"));
        assert!(!super::covers("mounts[1]", "mounts[10].host"));
        assert!(!super::covers("root.dir", "root"));
    }
}
