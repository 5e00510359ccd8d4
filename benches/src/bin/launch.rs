//! For each byte of its standard input: launches a VM. Writes a line for each: nanoseconds from before `launch` to
//! krun_start_enter, and the child's peak memory in KiB, both as the benchmark's stub libkrun wrote them down.

use std::io::Read;
use std::mem::MaybeUninit;

use krundl::{LaunchOptions, ProbeOptions, Stream, VmSpec};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [helper, library, root, mount, stamp] = &arguments[..] else {
        panic!("usage: launch HELPER LIBRARY ROOT MOUNT STAMP")
    };
    let options =
        ProbeOptions { library: Some(library.into()), helper: Some(helper.into()), ..ProbeOptions::default() };
    let capabilities = krundl::probe_isolated(&options).expect("the stub opens").capabilities;
    let spec = VmSpec::from_json(&format!(
        r#"{{"vcpus": 1, "memory_mib": 512, "root": {{"dir": {root:?}}}, "exec": {{"path": "/bin/true"}},
            "mounts": [{{"host": {mount:?}, "guest": "/mnt", "read_only": true}}]}}"#
    ))
    .expect("a good spec");
    for byte in std::io::stdin().lock().bytes() {
        byte.expect("standard input can be read");
        let prepared = krundl::prepare(&spec, &capabilities).expect("a plan");
        let options = LaunchOptions {
            helper: Some(helper.into()),
            stdin: Stream::Null,
            stdout: Stream::Null,
            stderr: Stream::Null,
            ..LaunchOptions::default()
        };
        let begin = now();
        let vm = krundl::launch(prepared, options).expect("libkrun is entered");
        // The stub returns, which is not what a libkrun does.
        vm.wait().expect_err("a stub runs no guest");
        let line = std::fs::read_to_string(stamp).expect("the stub's stamp");
        let (reached, peak) = line.trim_end().split_once(' ').expect("two numbers");
        println!("{} {peak}", reached.parse::<i64>().expect("a number") - begin);
    }
}

/// The clock that the stub reads.
fn now() -> i64 {
    let mut now = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: clock_gettime fills in a structure of ours, and this clock is always there.
    let now = unsafe {
        libc::clock_gettime(libc::CLOCK_MONOTONIC, now.as_mut_ptr());
        now.assume_init()
    };
    now.tv_sec * 1_000_000_000 + now.tv_nsec
}
