//! What krundl's tests share: libraries that look like libkrun and say how they were called.

pub mod stubs;
