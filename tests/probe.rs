//! Opening libkrun in a child process: whatever the library does there, the caller lives and is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use krundl::capabilities::EvidenceKind;
use krundl::error::{AttemptError, AttemptKind, Code};
use krundl::{Error, ProbeOptions, Probed, Result, probe_isolated};
use krundl_test_support::stubs::Stub;

const HELPER: &str = env!("CARGO_BIN_EXE_krundl-vmm");

fn options(library: &Path) -> ProbeOptions {
    ProbeOptions { library: Some(library.into()), helper: Some(HELPER.into()), ..ProbeOptions::default() }
}

/// Probes in a thread, so that a probe that never ends is a failure and not a test that never ends.
fn probe(options: ProbeOptions) -> Result<Probed> {
    let (answer, answered) = mpsc::channel();
    std::thread::spawn(move || {
        let _ = answer.send(probe_isolated(&options));
    });
    answered.recv_timeout(Duration::from_secs(20)).expect("the probe ends")
}

/// What is said about the only candidate, a library that does this when it is opened.
fn crash(statements: &str) -> AttemptError {
    let stub = Stub::new("1.18.0").constructor(statements).build();
    let options = ProbeOptions { timeout: Duration::from_millis(400), ..options(&stub.path) };
    let Err(Error::LibraryNotFound { attempts }) = probe(options) else { panic!("it opened") };
    assert_eq!(attempts.len(), 1, "{attempts:?}");
    assert_eq!(attempts[0].candidate, stub.path.display().to_string());
    let error = attempts[0].error.clone().unwrap();
    assert_eq!(error.kind, AttemptKind::Crashed);
    error
}

#[test]
fn a_good_library_is_described() {
    let stub = Stub::new("1.18.1").build();
    let Probed { capabilities, attempts, words, died } = probe(options(&stub.path)).unwrap();
    assert_eq!(capabilities.version.range.to_string(), "=1.18.1");
    assert_eq!(capabilities.observation.real_path, stub.path);
    assert_eq!(capabilities.observation.functions.len(), stub_functions("1.18.1"));
    assert_eq!((attempts.len(), attempts[0].error.clone()), (1, None));
    assert_eq!((words.as_str(), died), ("", None));
    assert!(stub.calls().iter().all(|call| call.function == "krun_has_feature"), "{:?}", stub.calls());
}

fn stub_functions(release: &str) -> usize {
    Stub::new(release).exports().len()
}

#[test]
fn a_library_that_ends_its_process_is_told_by_how_it_ended() {
    for (statements, words) in [
        ("abort();", "was killed by signal 6 (SIGABRT)"),
        ("*(volatile int *)0 = 1;", "was killed by signal 11 (SIGSEGV)"),
        ("_exit(0);", "exited with status 0"),
        ("exit(3);", "exited with status 3"),
        ("fprintf(stderr, \"no \\033[31mluck\\n\"); abort();", "(SIGABRT), and wrote: no luck"),
    ] {
        let message = crash(statements).message;
        assert!(
            message.starts_with("the process that opened it ") && message.contains(words),
            "{statements}: {message}"
        );
    }
}

#[test]
fn a_library_that_hangs_is_given_up_when_its_time_is_over() {
    for statements in [
        "for (;;) pause();",
        // One that keeps its caller busy is no less hung.
        "for (;;) if (write(1, \"still here\\n\", 11) < 0) pause();",
    ] {
        let started = Instant::now();
        let message = crash(statements).message;
        assert!(message.contains("was killed after 400 ms without an answer"), "{message}");
        assert!(started.elapsed() >= Duration::from_millis(400));
    }
}

#[test]
fn a_library_that_closes_all_descriptors_cannot_hold_its_caller_up() {
    let close = "for (int fd = 0; fd < 300; fd++) close(fd);";
    assert!(crash(close).message.contains("exited with status 0"), "it had no way to answer");
    crash(&format!("{close} for (;;) pause();"));
}

#[test]
fn megabytes_on_standard_output_are_taken_and_bounded() {
    let chatter = "char text[4096]; memset(text, 'x', sizeof text); \
                   for (int i = 0; i < 1024; i++) for (size_t n = 0; n < sizeof text;) n += write(1, text + n, sizeof text - n);";
    let stub = Stub::new("1.18.0").constructor(chatter).build();
    let probed = probe(options(&stub.path)).unwrap();
    assert!(probed.capabilities.version.range.matches(&"1.18.0".parse().unwrap()));
    let quoted = probed.words.as_str().len();
    assert!((1000..5000).contains(&quoted), "{quoted} bytes are quoted");
}

#[test]
fn a_process_that_a_library_leaves_behind_does_not_hold_the_answer_up() {
    let stub = Stub::new("1.18.0").constructor("if (fork() == 0) { sleep(30); _exit(0); }").build();
    let started = Instant::now();
    let probed = probe(options(&stub.path)).unwrap();
    assert_eq!(probed.capabilities.observation.path, stub.path);
    assert!(
        started.elapsed() < Duration::from_secs(15),
        "waited for a process of the library's: {:?}",
        started.elapsed()
    );
}

#[test]
fn a_crash_is_kept_and_the_next_candidate_is_chosen() {
    let dir = tempfile::tempdir().unwrap();
    let crashing = Stub::new("1.17.4").constructor("abort();").build_in(dir.path());
    let working =
        Stub::new("1.18.0").file_name("libkrun-sev.so.1.18.0").soname("libkrun-sev.so.1").build_in(dir.path());
    let options = ProbeOptions {
        kernel_release: false,
        directory: Some(dir.path().into()),
        library: None,
        helper: Some(HELPER.into()),
        timeout: Duration::from_secs(10),
        environment: None,
    };
    let Probed { capabilities, attempts, .. } = probe(options).unwrap();
    assert_eq!(capabilities.observation.path.file_name(), working.link.file_name());
    let crashed: Vec<_> = attempts.iter().filter_map(|attempt| Some((attempt, attempt.error.as_ref()?))).collect();
    assert_eq!(crashed[0].0.candidate, crashing.link.display().to_string());
    assert_eq!(crashed[0].1.kind, AttemptKind::Crashed);
    assert!(attempts.last().unwrap().error.is_none());
    let again = crashed.iter().filter(|(attempt, _)| attempt.candidate == crashing.link.display().to_string());
    assert_eq!(again.count(), 1, "told once: {attempts:?}");
}

#[test]
fn nothing_found_is_every_attempt() {
    let dir = tempfile::tempdir().unwrap();
    let options = ProbeOptions { directory: Some(dir.path().into()), ..options(Path::new("")) };
    let error = probe(ProbeOptions { library: None, ..options }).unwrap_err();
    assert_eq!(error.code(), Code::LibraryNotFound);
    let Error::LibraryNotFound { attempts } = &error else { unreachable!() };
    assert!(attempts.iter().all(|attempt| attempt.error.as_ref().unwrap().kind == AttemptKind::Missing));
    assert!(error.to_string().contains(&dir.path().join("libkrun.so.1").display().to_string()), "{error}");
    assert!(error.to_string().contains("fix: install libkrun"), "{error}");
}

fn script(dir: &Path, text: &str) -> PathBuf {
    let path = dir.join("krundl-vmm");
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

/// The library sees the standard streams, and what it has opened itself: nothing that the caller or another thread of the
/// caller's has left open, with close-on-exec or without.
#[test]
fn a_library_gets_none_of_the_callers_descriptors() {
    use std::os::fd::AsRawFd;
    let file = tempfile::NamedTempFile::with_prefix("left-open").unwrap();
    // SAFETY: clears the close-on-exec mark of our own descriptor, as careless code leaves it.
    assert_eq!(unsafe { libc::fcntl(file.as_file().as_raw_fd(), libc::F_SETFD, 0) }, 0);
    let note = "for (int fd = 0; fd < 300; fd++) { char p[64], real[512] = {0}; snprintf(p, 64, \"/proc/self/fd/%d\", fd); \
                if (readlink(p, real, 511) > 0) printf(\"%d is %s\\n\", fd, real); } fflush(stdout);";
    let stub = Stub::new("1.18.0").constructor(note).build();
    let Probed { words, .. } = probe(options(&stub.path)).unwrap();
    let seen: Vec<&str> = words.as_str().lines().filter(|line| line.contains(" is ")).collect();
    assert!(seen[0].ends_with("0 is /dev/null"), "{words}");
    assert!(seen[1].contains("1 is pipe:") && seen[2].contains("2 is pipe:"), "{words}");
    for line in &seen[3..] {
        let own = line.contains("socket:") || line.contains(&stub.dir.display().to_string());
        assert!(own, "{line} was inherited: {words}");
    }
    assert!(seen[3..].iter().filter(|line| line.contains("socket:")).count() == 1, "the connection: {words}");
}

#[test]
fn a_helper_that_is_none_is_named_with_the_program_that_called_it() {
    let dir = tempfile::tempdir().unwrap();
    let foreign = script(dir.path(), "#!/bin/sh\necho 'krundl-wire 999 9.9.9' >&0\n");
    let stub = Stub::new("1.18.0").build();
    for (program, words) in [
        (PathBuf::from("/bin/true"), "exited with status 0 without a word of krundl's"),
        ("/bin/cat".into(), "and wrote: "),
        (foreign, "999 9.9.9"),
    ] {
        let error = probe(ProbeOptions { helper: Some(program.clone()), ..options(&stub.path) }).unwrap_err();
        let Error::HelperMismatch { helper, caller, reason } = &error else { panic!("{error}") };
        assert_eq!(*helper, program);
        assert_eq!(*caller, std::env::current_exe().unwrap().canonicalize().unwrap());
        assert!(reason.contains(words), "{reason}");
        let message = error.to_string();
        assert!(message.contains(&program.display().to_string()) && message.contains(&caller.display().to_string()));
    }
}

#[test]
fn a_helper_that_cannot_be_started_is_an_error_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let stub = Stub::new("1.18.0").build();
    let helper = dir.path().join("missing");
    let error = probe(ProbeOptions { helper: Some(helper.clone()), ..options(&stub.path) }).unwrap_err();
    let Error::HelperNotFound { tried } = &error else { panic!("{error}") };
    assert_eq!(*tried, [helper]);
    let helper = script(dir.path(), "#!/not/there\n");
    let error = probe(ProbeOptions { helper: Some(helper), ..options(&stub.path) }).unwrap_err();
    assert_eq!(error.code(), Code::HelperFailed, "{error}");
}

#[test]
fn witnesses_that_contradict_each_other_are_all_shown() {
    let stub = Stub::new("1.18.0").file_name("libkrun.so.1.16.0").pc_version("1.19.0").build();
    let version = probe(options(&stub.path)).unwrap().capabilities.version;
    assert_eq!(version.range.to_string(), ">=1.18.0, <1.19.0", "what the functions say");
    let said = |kind| version.evidence.iter().filter(|one| one.kind == kind).map(|one| one.says.to_string()).collect();
    let (name, pc): (Vec<String>, Vec<String>) = (said(EvidenceKind::FileName), said(EvidenceKind::PkgConfig));
    assert_eq!((&*name, &*pc), (&["=1.16.0".to_owned()][..], &["=1.19.0".to_owned()][..]));
    assert_eq!(version.conflicts.len(), 2, "{:?}", version.conflicts);
    assert!(version.conflicts[0].contains("libkrun.so.1.16.0") && version.conflicts[1].contains("libkrun.pc"));
}

#[test]
fn what_a_fork_adds_and_what_cannot_be_asked_is_told() {
    let stub = Stub::new("1.17.4").features(&[]).with_extra(&["krun_vm_pause"]).build();
    let observation = probe(options(&stub.path)).unwrap().capabilities.observation;
    assert_eq!(observation.exported_unknown, ["krun_vm_pause"]);
    let states: Vec<String> = observation.features.values().map(ToString::to_string).collect();
    assert!(states.contains(&"no".to_owned()) && states.contains(&"unknown".to_owned()), "{states:?}");
    let older = Stub::new("1.16.0").build();
    let features = probe(options(&older.path)).unwrap().capabilities.observation.features;
    assert!(features.values().all(|state| state.to_string() == "unasked"), "{features:?}");
}
