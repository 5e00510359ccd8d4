//! Whatever a library does wrong is a typed error with libkrun's own words, in bounded time.

use std::time::Duration;

use krundl::error::{Code, Ended};
use krundl::symbols::Function;
use krundl::{Error, LaunchOptions, launch};
use krundl_test_support::stubs::{Start, Stub};
use serde_json::json;

use super::{Lab, exists, in_time, newest, options, saw, seen};

/// Starts it, with little time to get as far as libkrun; it must not, and nothing may be left running.
fn refused(stub: Stub) -> Error {
    let pid = "char pid[16]; snprintf(pid, 16, \"%d\", getpid());";
    let lab = Lab::new(&stub.on("krun_create_ctx", &format!("{pid} {}", saw("pid"))));
    let prepared = lab.prepare(json!({}));
    let options = LaunchOptions { start_timeout: Duration::from_millis(500), ..options() };
    let Err(error) = in_time(move || launch(prepared, options)) else { panic!("launched") };
    assert!(seen(&lab.stub).iter().all(|pid| !exists(pid.parse().unwrap())), "{:?} runs", seen(&lab.stub));
    error
}

/// Starts it and waits: the two must agree.
fn failed(stub: &Stub) -> Error {
    let vm = Lab::new(stub).launch().expect("libkrun is entered");
    in_time(move || {
        let (ready, ended) = (vm.wait_ready(None).unwrap_err(), vm.wait().unwrap_err());
        assert_eq!(ready.to_string(), ended.to_string());
        ended
    })
}

/// C statements that leave words in libkrun's log and on its standard error.
const WORDS: &str = "write(280, \"said in the log\\n\", 16); fprintf(stderr, \"\\033[31msaid on stderr\\033[0m\\n\");";

/// Keeps the log's descriptor where WORDS finds it.
fn speaking() -> Stub {
    newest().on("krun_init_log", "dup2(target_fd, 280);")
}

fn has_both_words(error: &Error) -> bool {
    let words = error.words().unwrap().as_str();
    assert!(!words.contains('\u{1b}'), "{words:?}");
    words.contains("said in the log") && words.contains("said on stderr")
}

#[test]
fn a_refused_call_is_told_with_function_arguments_and_errno() {
    let error = refused(speaking().on("krun_set_vm_config", WORDS).returns("krun_set_vm_config", -libc::EINVAL));
    let Error::Call { function, args, errno, .. } = &error else { panic!("{error}") };
    assert_eq!((*function, *errno), (Function::krun_set_vm_config, libc::EINVAL));
    assert!(args.contains("512"), "{args}");
    assert!(has_both_words(&error) && error.to_string().contains("EINVAL"), "{error}");
}

#[test]
fn every_setter_can_refuse() {
    let lab = Lab::new(&newest());
    let functions: Vec<Function> = lab.prepare(json!({})).plan.calls.iter().map(|call| call.function()).collect();
    for function in &functions[..functions.len() - 1] {
        let error = refused(newest().returns(function.name(), -libc::EPERM));
        assert!(
            matches!(error, Error::Call { function: told, errno: libc::EPERM, .. } if told == *function),
            "{error}"
        );
    }
    assert!(functions.len() > 10, "{functions:?}");
}

#[test]
fn a_setter_that_ends_the_process_is_named() {
    for (statements, expected) in [
        ("abort();", Ended::Signal(libc::SIGABRT)),
        ("*(volatile int *)0 = 1;", Ended::Signal(libc::SIGSEGV)),
        ("_exit(0);", Ended::Exit(0)),
        ("_exit(3);", Ended::Exit(3)),
    ] {
        let error = refused(speaking().on("krun_set_exec", &format!("{WORDS} {statements}")));
        let Error::Crashed { ended, during, .. } = &error else { panic!("{error}") };
        assert_eq!((*ended, *during), (expected, Some(Function::krun_set_exec)));
        assert!(has_both_words(&error) && error.to_string().contains("krun_set_exec"), "{error}");
    }
}

#[test]
fn a_setter_that_hangs_is_named_when_the_time_is_over() {
    let error = refused(speaking().on("krun_set_exec", &format!("{WORDS} for (;;) pause();")));
    assert_eq!(error.code(), Code::TimedOut);
    assert!(has_both_words(&error), "{error}");
    assert!(error.to_string().contains("krun_set_exec"), "which function hangs? {error}");
}

#[test]
fn a_library_that_dies_when_it_is_opened_again_is_a_crash() {
    // Sound when it is probed, not when it is used.
    let error = refused(newest().constructor(
        "char b[4096] = {0}; int f = open(\"/proc/self/cmdline\", O_RDONLY); ssize_t n = read(f, b, sizeof b - 1); \
         close(f); for (ssize_t i = 0; i < n; i++) if (!strcmp(b + i, \"run\")) abort();",
    ));
    assert!(matches!(error, Error::Crashed { ended: Ended::Signal(libc::SIGABRT), during: None, .. }), "{error}");
}

#[test]
fn a_start_that_comes_back_is_told_with_libkruns_words() {
    let error = failed(&speaking().on("krun_start_enter", WORDS).start(Start::Return(-libc::EINVAL)));
    assert!(matches!(error, Error::Start { errno: libc::EINVAL, .. }), "{error}");
    assert!(has_both_words(&error) && error.to_string().contains("krun_start_enter returned -22"), "{error}");
    let error = failed(&newest().start(Start::Return(-libc::ENOENT)));
    assert!(error.to_string().contains("returned -2 ") && error.to_string().contains("install libkrunfw"), "{error}");
}

#[test]
fn a_start_that_comes_back_with_nonsense_is_an_error_all_the_same() {
    for returned in [0, 5, i32::MIN] {
        let error = failed(&newest().start(Start::Return(returned)));
        assert_eq!(error.code(), Code::Start);
        assert!(error.to_string().contains(&format!("returned {returned} ")), "{error}");
    }
    let error = refused(newest().returns("krun_set_vm_config", i32::MIN));
    assert_eq!(error.code(), Code::Call, "{error}");
}

#[test]
fn a_crash_after_the_start_is_told_with_libkruns_words() {
    for (start, signal) in [(Start::Abort, libc::SIGABRT), (Start::Segfault, libc::SIGSEGV)] {
        let error = failed(&speaking().on("krun_start_enter", WORDS).start(start));
        let Error::Crashed { ended, during, .. } = &error else { panic!("{error}") };
        assert_eq!((*ended, *during), (Ended::Signal(signal), Some(Function::krun_start_enter)));
        assert!(has_both_words(&error), "{error}");
    }
}

#[test]
fn a_silent_end_has_at_least_libkruns_words() {
    let error = failed(&speaking().on("krun_start_enter", WORDS).start(Start::Exit(0)));
    assert_eq!(error.code(), Code::NeverUp);
    assert!(has_both_words(&error), "{error}");
}

#[test]
fn a_helper_that_is_none_is_named_at_the_start_too() {
    let lab = Lab::new(&newest());
    for helper in ["/bin/true", "/bin/cat"] {
        let options = LaunchOptions { helper: Some(helper.into()), ..options() };
        let error = launch(lab.prepare(json!({})), options).err().unwrap();
        let Error::HelperMismatch { helper: told, .. } = &error else { panic!("{error}") };
        assert_eq!(told, std::path::Path::new(helper));
    }
    let missing = lab.root.path().join("missing");
    let options = LaunchOptions { helper: Some(missing.clone()), ..options() };
    let error = launch(lab.prepare(json!({})), options).err().unwrap();
    assert!(error.to_string().contains(&missing.display().to_string()), "{error}");
}
