//! What no release of libkrun can do, and whether this library is the first.

use super::Capabilities;
use crate::error::{Error, Problem, ProblemKind, Result};
use crate::symbols::Operation;

impl Capabilities {
    /// The functions for an operation that this library exports, although no release that krundl knows has them.
    pub fn unreleased(&self, operation: Operation) -> Vec<&str> {
        let exported = &self.observation.exported_unknown;
        let is_there = |name: &&str| exported.iter().any(|other| other == name);
        operation.upcoming().map(|upcoming| upcoming.name).filter(is_there).collect()
    }

    /// Why an operation cannot be had.
    pub fn why_not(&self, operation: Operation) -> String {
        let there = self.unreleased(operation);
        if there.is_empty() {
            let names: Vec<String> =
                operation.upcoming().map(|upcoming| format!("{} ({})", upcoming.name, upcoming.thread)).collect();
            return format!("no release of libkrun has a function for it; upstream prepares {}", names.join(", "));
        }
        format!(
            "{} exists in this library, and not in any release that krundl knows: what it does is not settled, so krundl does not call it",
            there.join(", ")
        )
    }

    /// Whether an operation can be had: with this krundl, none.
    ///
    /// # Errors
    /// [`Error::Unsupported`] with the reason, whose field is the operation's name.
    pub fn operation(&self, operation: Operation) -> Result<()> {
        let reason = format!("{}; this is {}", self.why_not(operation), self.describe());
        let problem = Problem::new(ProblemKind::Unsupported, operation.name(), reason);
        Err(Error::Unsupported { problems: vec![problem] })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use crate::library::Observation;
    use crate::symbols::Functions;

    #[test]
    fn each_is_unsupported_with_its_reason_also_where_its_function_is_there() {
        let plain = Observation::of_table(&Functions::default());
        let newer = Observation { exported_unknown: vec!["krun_vm_pause".into()], ..plain.clone() };
        let (plain, newer) = (Capabilities::judge(plain), Capabilities::judge(newer));
        for operation in Operation::ALL {
            let error = plain.operation(*operation).unwrap_err();
            assert_eq!((error.code(), &*error.problems()[0].field), (Code::Unsupported, operation.name()));
            assert!(error.problems()[0].reason.contains("no release of libkrun has a function for it"), "{error}");
        }
        let told = newer.operation(Operation::Pause).unwrap_err().problems()[0].reason.clone();
        assert!(told.starts_with("krun_vm_pause exists in this library, and not in any release"), "{told}");
        assert!(newer.why_not(Operation::Snapshot).starts_with("no release"));
    }
}
