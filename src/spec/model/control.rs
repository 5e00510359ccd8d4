//! The way into a running guest.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where the control port is on the host. Over it come further commands (`exec`), figures and the request to end, by
/// krundl's program in the guest. Whoever can connect to the socket can do anything in the guest.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// A socket in a directory that krundl makes for this VM alone, and removes with it.
    Private,
    /// This socket, which libkrun makes and which goes with the VM; at most 107 bytes, in a directory that is closed to
    /// everybody else (mode 0700), because libkrun makes sockets that others may use.
    Socket(PathBuf),
}
