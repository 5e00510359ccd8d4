//! Real guests.
fn main() {}
