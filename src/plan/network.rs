//! What the child starts for a network card before it opens libkrun.

use std::net::{Ipv4Addr, SocketAddrV4};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::spec::Protocol;

/// A program that serves a card, and ends with the VM.
///
/// In JSON: `{"field": "nics[0].passt", "program": "/usr/bin/passt", "args": [...], "ports": [...], ...}`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// The field of the spec that asks for it.
    pub field: String,
    /// What it is.
    #[serde(default)]
    pub kind: NetworkKind,
    /// The program.
    pub program: PathBuf,
    /// Its arguments but for its connection or sockets and the ports.
    pub args: Vec<String>,
    /// The ports that it opens on the host; 0 on the host is any that is free by then.
    pub ports: Vec<OpenPort>,
    /// The card's hardware address.
    pub mac: String,
}

/// How such a program and libkrun find each other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NetworkKind {
    /// passt: it is given one end of a connection, libkrun the other.
    #[default]
    Passt,
    /// gvproxy: it makes sockets, one on which krundl connects to it for libkrun, and one on which it is told its ports.
    Gvproxy,
}

/// A port of the host that leads to one of the guest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpenPort {
    /// The card, by its index in the spec.
    pub nic: usize,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The host's address on which it is open; 0.0.0.0 is all of them.
    pub address: Ipv4Addr,
    /// Its number on the host.
    pub host: u16,
    /// Its number in the guest.
    pub guest: u16,
}

/// `tcp 127.0.0.1:2222 -> guest port 22`; `any` for a number that is chosen at the start.
impl std::fmt::Display for OpenPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let OpenPort { protocol, address, host, guest, .. } = self;
        if *host == 0 {
            write!(f, "{protocol} {address}:any -> guest port {guest}")
        } else {
            write!(f, "{protocol} {} -> guest port {guest}", SocketAddrV4::new(*address, *host))
        }
    }
}
