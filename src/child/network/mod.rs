//! Starts the programs that serve network cards.
//!
//! Each is connected to us, and libkrun is given our end. The program ends when that is closed, which the kernel does when
//! this process ends, however it ends; and on Linux the kernel kills it then (unless it has become another user, as passt
//! does when it is started by root).

mod frames;
mod gvproxy;
mod passt;
mod program;
mod udp;

use std::os::fd::BorrowedFd;

use crate::plan::{Network, NetworkKind};
use program::{Failure, Serving};

/// How often other ports are chosen when somebody else has opened one that was.
const ATTEMPTS: usize = 3;

/// Starts a network's program and waits until it serves; what it writes goes to `log`.
///
/// # Errors
/// Why it does not, as the end of a sentence that begins with the program.
pub(super) fn start(network: &Network, log: BorrowedFd<'_>) -> Result<Serving, String> {
    let chosen = network.ports.iter().any(|port| port.host == 0);
    let mut attempt = 1;
    loop {
        let tried = match network.kind {
            NetworkKind::Passt => passt::try_start(network, log),
            NetworkKind::Gvproxy => gvproxy::try_start(network, log),
        };
        match tried {
            Err(Failure::Ended(_) | Failure::Refused(_)) if chosen && attempt < ATTEMPTS => attempt += 1,
            result => return result.map_err(|failure| failure.to_string()),
        }
    }
}
