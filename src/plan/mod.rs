//! From a spec and what a library can do to an ordered list of calls, or every reason why not.
//!
//! Pure: nothing here looks at the host, opens or calls anything.

mod call;
mod devices;
mod one;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use call::{CHANNEL_NAME, CHANNEL_PORT, Call, Channel, Content, Fd, Guest, GuestMount, Shared};

use crate::capabilities::{Capabilities, Generation};
use crate::error::{Problem, ProblemKind};
use crate::library::Identity;
use crate::spec::{Findings, VmSpec};

/// What the child does, in order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    /// The library's file; the child opens this very one.
    pub library: PathBuf,
    /// By what the child knows it again.
    pub identity: Identity,
    /// The libkrunfw that the child loads first, where the system's loader alone would not find it.
    pub firmware: Option<PathBuf>,
    /// The language that the calls are in.
    pub generation: Generation,
    /// The calls.
    pub calls: Vec<Call>,
    /// What krundl's program in the guest does.
    pub guest: Guest,
    /// What happens on the way that the user may not expect.
    pub notes: Vec<String>,
}

/// Negotiates a spec with a library.
///
/// # Errors
/// Every refusal, each with its field, the reason and, where a function is missing, its name and first release.
pub fn negotiate(spec: &VmSpec, findings: &Findings, capabilities: &Capabilities) -> Result<Plan, Vec<Problem>> {
    match capabilities.generation {
        Generation::One => one::negotiate(spec, findings, capabilities),
        Generation::Unknown => Err(vec![Problem::new(
            ProblemKind::Unsupported,
            "(the library)",
            format!(
                "{} speaks an API that krundl does not: {}",
                capabilities.describe(),
                capabilities.generation_reason
            ),
        )]),
    }
}
