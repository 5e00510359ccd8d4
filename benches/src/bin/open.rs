//! Opens a libkrun and learns everything about it. The benchmark counts what happens in [`measured`].

use krundl::{Capabilities, Library};

#[unsafe(no_mangle)]
#[inline(never)]
extern "C" fn measured(path: &String) -> usize {
    // SAFETY: the benchmark names a real libkrun.
    match unsafe { Library::load_from(path) } {
        Ok(library) => Capabilities::judge(library.observation().clone()).observation.functions.len(),
        Err(error) => panic!("{error}"),
    }
}

fn main() {
    let path = std::env::args().nth(1).expect("the library");
    println!("{}", measured(&path));
}
