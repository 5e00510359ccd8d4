//! `terminate COUNT LIBRARY HELPER SPEC.json`: launches a VM COUNT times each way and ends it once it is up. Writes a line
//! for each: nanoseconds from asking the workload to the end of the VM, and from killing it to there.

use std::time::{Duration, Instant};

use krundl::{LaunchOptions, ProbeOptions, Stream, Vm, VmSpec};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [count, library, helper, spec] = &arguments[..] else { panic!("usage: terminate COUNT LIBRARY HELPER SPEC") };
    let probe = ProbeOptions { library: Some(library.into()), helper: Some(helper.into()), ..ProbeOptions::default() };
    let capabilities = krundl::probe_isolated(&probe).expect("libkrun opens").capabilities;
    let spec = VmSpec::from_json(&std::fs::read_to_string(spec).expect("a file")).expect("a good spec");
    let launched = || {
        let prepared = krundl::prepare(&spec, &capabilities).expect("a plan");
        let options = LaunchOptions {
            helper: Some(helper.into()),
            stdin: Stream::Null,
            stdout: Stream::Null,
            stderr: Stream::Null,
            ..LaunchOptions::default()
        };
        let vm = krundl::launch(prepared, options).expect("libkrun is entered");
        vm.wait_ready(Some(Duration::from_secs(120))).expect("the guest is up");
        // So that the workload runs, too, and waits.
        std::thread::sleep(Duration::from_millis(200));
        vm
    };
    let end = |vm: Vm, way: fn(&Vm)| {
        let begin = Instant::now();
        way(&vm);
        let end = vm.wait();
        (begin.elapsed().as_nanos(), end)
    };
    for _ in 0..count.parse::<u32>().expect("a number") {
        let (asked, exit) = end(launched(), |vm| {
            vm.terminate().expect("the workload can be asked");
        });
        assert_eq!(exit.expect("the guest's word").status(), 143, "the workload ended by SIGTERM");
        let (killed, _) = end(launched(), |vm| vm.kill().expect("a VM can be killed"));
        println!("{asked} {killed}");
    }
}
