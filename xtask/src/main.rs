//! krundl's tasks.
fn main() {}
