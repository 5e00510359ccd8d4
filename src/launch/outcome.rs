//! How a VM ended.

use serde::{Deserialize, Serialize};

/// How the workload ended. Only the guest's own word counts: the status of the VM's process proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Exit {
    /// The workload exited with this status, 0 to 255.
    Code(i32),
    /// This signal killed the workload.
    Signal(i32),
    /// The workload could not be executed.
    NotExecuted {
        /// 127: there is no such program; 126: it is there and cannot be executed.
        status: i32,
        /// Why, in words.
        reason: String,
    },
    /// The caller stopped the VM with this signal before the workload had ended.
    Stopped(i32),
    /// The VM's process exited with this status, and this libkrun has no way for the guest to say more.
    Unproved(i32),
}

impl Exit {
    /// As a shell would put it: the workload's own status, or 128 and the signal's number.
    pub fn status(&self) -> i32 {
        match self {
            Exit::Code(status) | Exit::NotExecuted { status, .. } | Exit::Unproved(status) => *status,
            Exit::Signal(signal) | Exit::Stopped(signal) => 128 + signal,
        }
    }

    /// Whether the workload ran and exited with status 0, on the guest's word.
    pub fn success(&self) -> bool {
        *self == Exit::Code(0)
    }
}

impl std::fmt::Display for Exit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let name = |signal: &i32| crate::errno::signal_name(*signal).unwrap_or("unnamed");
        match self {
            Exit::Code(status) => write!(f, "the workload exited with status {status}"),
            Exit::Signal(signal) => write!(f, "the workload was killed by signal {signal} ({})", name(signal)),
            Exit::NotExecuted { status, reason } => {
                write!(f, "the workload was not executed: {reason} (status {status})")
            }
            Exit::Stopped(signal) => write!(f, "the VM was stopped with signal {signal} ({})", name(signal)),
            Exit::Unproved(status) => {
                write!(f, "the VM's process exited with status {status}; whether the workload ran is unknown")
            }
        }
    }
}
