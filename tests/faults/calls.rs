//! Every call of every plan, with every fault that ends it.

use std::collections::BTreeSet;
use std::time::Duration;

use krundl::error::{Ended, Words};
use krundl::plan::Call;
use krundl::symbols::Function;
use krundl::{Error, errno, launch};
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
    let mut errno = errnos();
    let before = Inventory::take();
    for case in bench.cases() {
        for fault in [
            Fault::Return(-errno.next().unwrap()),
            Fault::Return(-libc::EINVAL),
            Fault::Return(-libc::ENOENT),
            Fault::Return(i32::MIN),
            Fault::Abort,
            Fault::Segfault,
            Fault::Kill,
            Fault::Exit(0),
            Fault::Exit(3),
        ] {
            let error = failure(&bench, &case, &[Fault::Say(1), fault]);
            check(&bench, &case, fault, &error);
            before.expect(&(&case, fault));
        }
        let flood = failure(&bench, &case, &[Fault::Say(1 << 20), Fault::Return(-libc::EIO)]);
        check(&bench, &case, Fault::Return(-libc::EIO), &flood);
        before.expect(&(&case, "a flood of words"));
    }
}

/// What becomes of a VM whose library does this.
fn failure(bench: &Bench, case: &Case, faults: &[Fault]) -> Error {
    bench.stub.fault(case.function().name(), case.nth, faults);
    let started = launch(bench.prepare(&case.fields), options());
    match started {
        Err(error) => {
            assert!(!case.starts(), "before libkrun was entered: {error}");
            error
        }
        Ok(mut vm) => {
            assert!(case.starts(), "{case:?} {faults:?}: launched");
            match vm.wait_timeout(LONG) {
                Err(error) => error,
                Ok(ended) => panic!("{case:?} {faults:?}: {ended:?}"),
            }
        }
    }
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
    ($($(#[$meta:meta])? $name:ident: $release:literal),+ $(,)?) => {
        $(#[test]
        $(#[$meta])?
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
    #[ignore = "takes long; `cargo xtask test` runs it"]
    every_call_can_fail_with_1_13_0: "1.13.0",
    #[ignore = "takes long; `cargo xtask test` runs it"]
    every_call_can_fail_with_1_15_0: "1.15.0",
    #[ignore = "takes long; `cargo xtask test` runs it"]
    every_call_can_fail_with_1_16_0: "1.16.0",
    #[ignore = "takes long; `cargo xtask test` runs it"]
    every_call_can_fail_with_1_17_4: "1.17.4",
    every_call_can_fail_with_1_18_0: "1.18.0",
    every_call_can_fail_with_1_19_7: "1.19.7",
}

/// The functions that a plan can call: those of which serde knows the variant.
fn callable() -> impl Iterator<Item = Function> {
    Function::ALL.iter().copied().filter(|function| {
        let answer = serde_json::from_value::<Call>(serde_json::json!({"function": function.name(), "args": {}}));
        answer.map_or_else(|error| !error.to_string().contains("unknown variant"), |_| true)
    })
}

#[test]
fn no_call_is_forgotten() {
    let made: BTreeSet<&str> =
        RELEASES.iter().flat_map(|release| Bench::new(release).cases()).map(|case| case.function().name()).collect();
    // The first has no effect on this architecture, so no plan has it; the second takes a build of its own.
    let elsewhere: &[&str] = if cfg!(target_arch = "x86_64") {
        &["krun_set_smbios_oem_strings", "krun_set_tee_config_file"]
    } else {
        &["krun_set_tee_config_file"]
    };
    let forgotten: Vec<&str> =
        callable().map(Function::name).filter(|name| !made.contains(name) && !elsewhere.contains(name)).collect();
    assert!(made.len() > 15, "{made:?}");
    assert!(forgotten.is_empty(), "no plan of these tests calls {forgotten:?}: add a spec to Bench::kinds");
}
