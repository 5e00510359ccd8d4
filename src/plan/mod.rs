//! From a spec and what a library can do to an ordered list of calls, or every reason why not.
//!
//! Pure: nothing here looks at the host, opens or calls anything.

mod arguments;
mod call;
mod devices;
mod guest;
pub mod ledger;
mod network;
mod one;
mod text;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

pub use arguments::{Content, Fd, NetSocket, Shared, Socket};
pub use call::Call;
pub use guest::{CHANNEL_NAME, CHANNEL_PORT, CONTROL_PORT, Channel, Guest, GuestMount, GuestNic, GuestRoot, NicSetup};
pub use network::{Network, NetworkKind, OpenPort};

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
    /// What is started before libkrun is opened, for the network cards.
    #[serde(default)]
    pub networks: Vec<Network>,
    /// The calls.
    pub calls: Vec<Call>,
    /// What krundl's program in the guest does; `None` where it does not run: firmware and confidential guests boot
    /// what they have.
    pub guest: Option<Guest>,
    /// Sockets that libkrun makes and leaves behind; they are removed when the VM has ended.
    pub sockets: Vec<PathBuf>,
    /// Where libkrun's log goes unless the caller of `launch` names another target: one of the things that the host
    /// checks kept open.
    pub log_file: Option<u32>,
    /// What happens on the way that the user may not expect.
    pub notes: Vec<String>,
}

impl Plan {
    /// The way from the guest to the host.
    pub fn channel(&self) -> Channel {
        self.guest.as_ref().map_or(Channel::None, |guest| guest.channel)
    }

    /// The socket of the control port, where there is one.
    pub fn control(&self) -> Option<&Socket> {
        self.calls.iter().find_map(|call| match call {
            Call::AddVsockPort2 { port: CONTROL_PORT, socket, .. } => Some(socket),
            _ => None,
        })
    }

    /// Whether the control port's socket is in a directory that is made for this VM alone.
    pub fn has_private_control(&self) -> bool {
        self.control() == Some(&Socket::Ours(Fd::Control))
    }

    /// The same without the way from the guest to the host, and without a private way back, for a process that nobody
    /// watches.
    #[must_use]
    pub fn without_channel(mut self) -> Plan {
        if self.has_private_control()
            && let Some(guest) = &mut self.guest
        {
            guest.control = None;
        }
        let is_channel = |call: &Call| match call {
            Call::AddVsockPort { socket, .. } => *socket == Socket::Ours(Fd::Channel),
            Call::AddVsockPort2 { socket, .. } => *socket == Socket::Ours(Fd::Control),
            Call::AddConsolePortInout { output, .. } => *output == Some(Fd::Channel),
            _ => false,
        };
        self.calls.retain(|call| !is_channel(call));
        // A console that had no other port has none left.
        let is_port = |call: Option<&Call>| {
            matches!(call, Some(Call::AddConsolePortInout { .. } | Call::AddConsolePortTty { .. }))
        };
        let bare = |at: &usize| {
            matches!(self.calls[*at], Call::AddVirtioConsoleMultiport {}) && !is_port(self.calls.get(at + 1))
        };
        if let Some(bare) = (0..self.calls.len()).find(bare) {
            self.calls.remove(bare);
        }
        if let Some(guest) = &mut self.guest {
            guest.channel = Channel::None;
        }
        self
    }
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
