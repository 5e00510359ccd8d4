//! The control port without a VM: krundl's program of the guest serves it on this machine, over a unix socket, and the
//! library speaks with it.

#![cfg(target_os = "linux")]

mod commands;
mod hostile;
mod names;
mod port;
mod terminals;

#[allow(dead_code, reason = "its control port alone is used here")]
#[path = "../../guest/main.rs"]
mod program;

use port::{LONG, Port, captured, sh};
