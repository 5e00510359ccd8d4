//! Libraries that do not come back.

use std::fs;
use std::time::{Duration, Instant};

use krundl::{Error, Exit, LaunchOptions, launch};
use krundl_test_support::stubs::{Fault, StubLibrary};

use crate::alone::alone;
use crate::bench::{Bench, Case, RELEASES, options};
use crate::leftovers::Inventory;

/// Enough to get as far as any call also when all of them are started at once on a busy machine.
const TIME: Duration = Duration::from_secs(4);

/// The same library under a name of its own, so that each hangs elsewhere.
fn alias(bench: &Bench, number: usize) -> StubLibrary {
    let dir = bench.stub.dir.join(number.to_string());
    fs::create_dir(&dir).unwrap();
    let path = dir.join("libkrun.so");
    fs::hard_link(&bench.stub.path, &path).unwrap();
    StubLibrary::at(&path)
}

#[test]
fn every_call_can_hang() {
    alone("hanging::every_call_can_hang", || {
        let benches = RELEASES.map(Bench::new);
        let before = Inventory::take();
        let started = Instant::now();
        std::thread::scope(|scope| {
            let mut threads = Vec::new();
            for bench in &benches {
                for (number, case) in bench.cases().into_iter().enumerate() {
                    threads.push(scope.spawn(move || hang(bench, &case, &alias(bench, number))));
                }
            }
            // A scope alone does not wait until they are gone.
            threads.into_iter().for_each(|thread| thread.join().unwrap());
        });
        assert!(started.elapsed() < 4 * TIME, "{:?}", started.elapsed());
        before.expect(&"calls that hang");
    });
}

fn hang(bench: &Bench, case: &Case, library: &StubLibrary) {
    library.fault(case.function().name(), case.nth, &[Fault::Say(1), Fault::Hang]);
    let mut prepared = bench.prepare(&case.fields);
    prepared.plan.library = library.path.clone();
    let started = launch(prepared, LaunchOptions { start_timeout: TIME, ..options() });
    if case.starts() {
        // A VM that runs hangs just so.
        let vm = started.unwrap();
        let error = vm.wait_ready(Some(Duration::from_millis(50))).unwrap_err();
        assert!(matches!(error, Error::TimedOut { .. } | Error::ReadinessUnknown { .. }), "{error}");
        vm.terminate().unwrap();
        assert_eq!(vm.wait().unwrap(), Exit::Stopped(libc::SIGTERM));
        return;
    }
    let Err(error) = started else { panic!("{case:?}: launched") };
    let Error::TimedOut { after, during, words, .. } = &error else { panic!("{case:?}: {error}") };
    assert_eq!((*after, *during), (TIME, Some(case.function())));
    assert_eq!(words.as_str().contains("said in"), bench.has_words(case), "{}: {error}", bench.release);
    assert!(error.to_string().contains(case.function().name()), "{error}");
}
