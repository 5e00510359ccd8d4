//! What krundl's tests share: libraries that look like libkrun and say how they were called, and roots for guests.

mod root;
pub mod stubs;

pub use root::guest_root;
