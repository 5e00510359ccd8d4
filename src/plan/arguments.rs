//! What the calls of a plan are given beside numbers and names.

use serde::{Deserialize, Serialize};

use crate::spec::{HostPath, HostSocket, Text};

/// A descriptor of the VM's process, by what it is for. The child knows the numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fd {
    /// The workload's standard input.
    Stdin,
    /// The workload's standard output.
    Stdout,
    /// The workload's standard error.
    Stderr,
    /// Nothing: /dev/null.
    Null,
    /// The log that the parent reads.
    Log,
    /// The channel on which the guest's program speaks.
    Channel,
    /// The directory of a private control port's socket.
    Control,
    /// One of those that the host checks kept open, by its number there.
    Held(u32),
    /// Our end of the connection to one of the plan's networks, by its number there.
    Network(u32),
}

/// Contents of a file that is laid over a share.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// krundl's program for the guest.
    GuestProgram,
    /// What that program is to do ([`super::Guest`]).
    Orders,
    /// These bytes.
    Text(Text),
    /// Those of a file of the host, read when the VM starts.
    File(HostPath),
}

/// A directory of the host that is shared.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Shared {
    /// One that was checked.
    Host(HostPath),
    /// The small directory that the child makes for krundl's program and its orders, before libkrun 1.19.0.
    Bootstrap {
        /// Always `true`; tells this variant from the others in JSON.
        bootstrap: bool,
    },
    /// None (NULL): the share holds only what is laid over it. From libkrun 1.19.0 on.
    Nothing {
        /// Always `true`; tells this variant from the others in JSON.
        nothing: bool,
    },
}

impl Shared {
    /// The child's own directory.
    pub const BOOTSTRAP: Shared = Shared::Bootstrap { bootstrap: true };
    /// No directory.
    pub const NOTHING: Shared = Shared::Nothing { nothing: true };
}

/// The unix socket behind a vsock port.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Socket {
    /// A descriptor that leads to one, or to the directory that it is to be made in ([`Fd::Control`]).
    Ours(Fd),
    /// A name in a directory that was checked.
    Host(HostSocket),
}

/// What a network card is connected to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum NetSocket {
    /// A connection that the child has.
    Ours(Fd),
    /// A socket that was checked.
    Host(HostPath),
}
