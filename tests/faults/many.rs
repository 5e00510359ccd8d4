//! Many VMs from one process.

use std::time::Instant;

use krundl::{Exit, launch};
use krundl_test_support::stubs::Fault;
use serde_json::json;

use crate::alone::alone;
use crate::bench::{Bench, options};
use crate::leftovers::Inventory;

/// Half of them with a bootstrap share; most end well, some fail early, late, or are dropped while they run.
#[test]
fn five_hundred_launches_leave_nothing_behind() {
    alone("many::five_hundred_launches_leave_nothing_behind", || {
        let benches = ["1.18.0", "1.19.7"].map(Bench::new);
        let before = Inventory::take();
        let started = Instant::now();
        for n in 0..500 {
            let bench = &benches[n % 2];
            bench.stub.heal();
            match n % 10 {
                6 => bench.stub.fault("krun_set_exec", 0, &[Fault::Return(-libc::EINVAL)]),
                7 => bench.stub.fault("krun_set_exec", 0, &[Fault::Abort]),
                8 => bench.stub.fault("krun_start_enter", 0, &[Fault::Return(-libc::EINVAL)]),
                9 => bench.stub.fault("krun_start_enter", 0, &[Fault::Hang]),
                _ => {}
            }
            let launched = launch(bench.prepare(&json!({})), options());
            match n % 10 {
                6 | 7 => drop(launched.unwrap_err()),
                8 => drop(launched.unwrap().wait().unwrap_err()),
                9 => drop(launched.unwrap()),
                _ => assert_eq!(launched.unwrap().wait().unwrap(), Exit::Code(0)),
            }
            if n % 50 == 9 {
                before.expect(&n);
            }
        }
        before.expect(&"all");
        eprintln!("500 launches: {:.1} s", started.elapsed().as_secs_f32());
    });
}
