//! What krundl's tests share: libraries that look like libkrun and say how they were called, roots for guests, what the
//! kernel tells of processes, and the cases that have the same answers in every language.

pub mod cases;
mod gvproxy;
mod passt;
pub mod processes;
mod root;
pub mod stubs;

pub use gvproxy::FakeGvproxy;
pub use passt::FakePasst;
pub use root::guest_root;
