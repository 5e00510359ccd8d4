//! Everything that a library, the host or the caller can do wrong while a VM is started and runs: a typed error, in
//! bounded time, and nothing left behind.
//!
//! Each test looks at its own process (descriptors, children, threads) and temporary directory, so each runs in a
//! process of its own ([`alone::alone`]).

mod alone;
mod bench;
#[cfg(feature = "cli")]
mod callers;
mod calls;
mod hanging;
mod hosts;
mod leftovers;
mod many;
#[cfg(feature = "cli")]
mod terminal;
