//! Every call of every plan, with every fault that ends it.

use std::collections::BTreeSet;
use std::time::Duration;

use krundl::error::{Ended, Words};
use krundl::plan::Call;
use krundl::{Error, Exit, errno, launch};
use krundl_test_support::stubs::Fault;

use crate::alone::alone;
use crate::bench::{Bench, Case, RELEASES, options};
use crate::leftovers::Inventory;

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

/// Every errno of Linux in turn, and some that are none.
fn errnos() -> impl Iterator<Item = i32> {
    (1..=133).chain([200, 4095, 4096, 100_000, i32::MAX]).cycle()
}

fn every_fault_of(release: &'static str) {
    let bench = Bench::new(release);
    // Each release goes on where another one stopped.
    let mut errno = errnos().skip(24 * RELEASES.iter().position(|known| *known == release).unwrap());
    let before = Inventory::take();
    for (n, case) in bench.cases().into_iter().enumerate() {
        let several = n % 2 == 0;
        for fault in [
            Fault::Return(-errno.next().unwrap()),
            Fault::Return(if several { -libc::ENOENT } else { i32::MIN }),
            Fault::Abort,
            Fault::Segfault,
            Fault::Kill,
            Fault::Exit(if several { 0 } else { 3 }),
        ] {
            match outcome(&bench, &case, &[Fault::Say(1), fault]) {
                Err(error) => check(&bench, &case, fault, &error),
                // Nobody inside can say more then.
                Ok(exit) => assert!(
                    case.starts()
                        && !case.has_channel
                        && matches!((&exit, fault), (Exit::Unproved(a), Fault::Exit(b)) if *a == b),
                    "{case:?} {fault:?}: {exit:?}"
                ),
            }
            before.expect(&(&case, fault));
        }
        if n % 4 == 0 {
            let fault = Fault::Return(-libc::EINVAL);
            let flood = outcome(&bench, &case, &[Fault::Say(1 << 20), fault]).unwrap_err();
            check(&bench, &case, fault, &flood);
            before.expect(&(&case, "a flood of words"));
        }
    }
}

/// What becomes of a VM whose library does this.
fn outcome(bench: &Bench, case: &Case, faults: &[Fault]) -> Result<Exit, Error> {
    bench.stub.fault(case.function().name(), case.nth, faults);
    let started = launch(bench.prepare(&case.fields), options());
    assert_eq!(started.is_ok(), case.starts(), "{case:?} {faults:?}: {:?}", started.err());
    Ok(started?.wait_timeout(LONG)?.expect("it ends in time"))
}

/// The error that belongs to the fault.
fn check(bench: &Bench, case: &Case, fault: Fault, error: &Error) {
    let context = || format!("{} {case:?} {fault:?}: {error:?}", bench.release);
    let (name, function) = (case.function().name(), Some(case.function()));
    let said = error.to_string();
    match (error, fault) {
        (Error::Call { function, args, errno, .. }, Fault::Return(value)) if !case.starts() => {
            assert_eq!(
                (*function, args.as_str(), *errno),
                (case.function(), &*case.call.args(), value.wrapping_neg()),
                "{}",
                context()
            );
            assert!(said.contains(&errno::describe(*errno)), "{}", context());
        }
        (Error::Start { errno, .. }, Fault::Return(value)) if case.starts() => {
            assert_eq!(*errno, value.wrapping_neg(), "{}", context());
            assert!(said.contains(&format!("krun_start_enter returned {value} (")), "{}", context());
        }
        (Error::NeverUp { ended, .. }, Fault::Exit(status)) if case.starts() => {
            assert_eq!(*ended, Ended::Exit(status), "{}", context());
        }
        (Error::Crashed { ended, during, .. }, fault) => {
            let expected = match fault {
                Fault::Abort => Ended::Signal(libc::SIGABRT),
                Fault::Segfault => Ended::Signal(libc::SIGSEGV),
                Fault::Kill => Ended::Signal(libc::SIGKILL),
                Fault::Exit(status) if !case.starts() => Ended::Exit(status),
                _ => panic!("{}", context()),
            };
            assert_eq!((*ended, *during), (expected, function), "{}", context());
            assert!(said.contains(name), "{}", context());
        }
        _ => panic!("{}", context()),
    }
    let words = error.words().expect("libkrun's words").as_str();
    assert_eq!(words.lines().last() == Some(&format!("said in {name}")), bench.has_words(case), "{}", context());
    assert!(words.len() <= Words::MAX + "[...] ".len(), "{} bytes are quoted: {}", words.len(), context());
    assert!(said.len() < 4 * Words::MAX, "{} bytes are told", said.len());
    let bad = |c: char| c.is_control() && c != '\n';
    assert!(!said.contains(bad), "{said:?}");
}

macro_rules! releases {
    ($($name:ident: $release:literal),+ $(,)?) => {
        $(#[test]
        fn $name() {
            alone(concat!("calls::", stringify!($name)), || every_fault_of($release));
        })+

        #[test]
        fn every_release_has_its_test() {
            assert_eq!(RELEASES, [$($release),+]);
        }
    };
}

releases! {
    every_call_can_fail_with_1_8_0: "1.8.0",
    every_call_can_fail_with_1_13_0: "1.13.0",
    every_call_can_fail_with_1_16_0: "1.16.0",
    every_call_can_fail_with_1_17_4: "1.17.4",
    every_call_can_fail_with_1_18_0: "1.18.0",
    every_call_can_fail_with_1_19_7: "1.19.7",
    every_call_can_fail_with_a_build_for_confidential_guests: "1.19.7+amd-sev",
}

#[test]
fn no_call_is_forgotten() {
    let made: BTreeSet<&str> =
        RELEASES.iter().flat_map(|release| Bench::new(release).cases()).map(|case| case.function().name()).collect();
    // Only root can become another user.
    let impossible =
        |name: &str| !rustix::process::geteuid().is_root() && ["krun_setuid", "krun_setgid"].contains(&name);
    let names = Call::FUNCTIONS.iter().map(|function| function.name());
    let forgotten: Vec<&str> = names.filter(|name| !made.contains(name) && !impossible(name)).collect();
    assert!(forgotten.is_empty(), "no plan of these tests calls {forgotten:?}: add a spec to Bench::kinds");
}
