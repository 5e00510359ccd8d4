//! Files that are not what they seem: the doctor lives, names each, and its report stays a report.

use std::ffi::CString;
use std::fs::{self, File};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use krundl::doctor::{Report, Status};
use krundl_test_support::stubs::Stub;

use super::{Made, check, compile, in_the_way, status, validate};

/// What the doctor says of this file, which is named to it.
fn said_of(made: &mut Made, file: &Path) -> Report {
    made.named(file);
    let started = Instant::now();
    let report = made.report();
    assert!(started.elapsed() < Duration::from_secs(15), "{}: {:?}", file.display(), started.elapsed());
    validate(&report);
    report
}

fn assert_found_says(report: &Report, words: &str) {
    let check = check(report, "library.found");
    assert_eq!(check.status, Status::Fail, "{words}: {check:?}");
    let text = format!("{}\n{}", check.summary, check.detail.as_deref().unwrap_or_default());
    assert!(text.contains(words), "{words}: {text}");
    assert!(check.fix.is_some(), "{check:?}");
}

#[test]
fn what_is_no_library_is_named() {
    let mut made = Made::new();
    let whole = fs::read(Stub::new("1.18.0").build().path).expect("a stub");
    let patched = |at: usize, byte: u8| {
        let mut bytes = whole.clone();
        bytes[at] = byte;
        bytes
    };
    let (other, other_name) = if cfg!(target_arch = "aarch64") { (62, "x86_64") } else { (183, "aarch64") };
    for (name, bytes, words) in [
        ("empty", Vec::new(), "an empty file"),
        ("text", b"#!/bin/sh\n".to_vec(), "a text file"),
        ("ld-script", b"INPUT(libkrun.so.1)\n".to_vec(), "a text file"),
        ("archive", b"!<arch>\n\0\0".to_vec(), "an archive"),
        ("other", b"\0\x01\x02 and so on".to_vec(), "another kind"),
        ("mach-o", b"\xcf\xfa\xed\xfe\x07\0\0\x01".to_vec(), "macOS"),
        ("other-machine", patched(18, other), other_name),
        ("32-bit", patched(4, 1), "32-bit"),
        ("big-endian", patched(5, 2), "big-endian"),
        ("object", patched(16, 1), "an object file"),
        ("program", patched(16, 2), "a program"),
        ("core", patched(16, 4), "a core dump"),
    ] {
        let file = made.file(&format!("/opt/{name}.so"), bytes);
        assert_found_says(&said_of(&mut made, &file), words);
    }
}

#[test]
fn a_library_that_is_cut_off_anywhere_is_truncated() {
    let mut made = Made::new();
    let whole = fs::read(Stub::new("1.18.0").build().path).expect("a stub");
    // Behind each part of the header, the table of segments, the middle, the last section header.
    for length in [5, 16, 20, 63, 64, 100, 64 + 56, 700, whole.len() / 2, whole.len() - 64, whole.len() - 1] {
        let file = made.file("/opt/libkrun.so.1", &whole[..length]);
        assert_found_says(&said_of(&mut made, &file), "truncated");
    }
}

#[test]
fn what_cannot_be_opened_is_not_waited_for() {
    let mut made = Made::new();
    fs::create_dir_all(made.at("/opt/dir.so")).expect("a directory");
    let at = |made: &Made, name: &str| made.at(&format!("/opt/{name}"));
    symlink("loop.so", at(&made, "loop.so")).expect("a link");
    symlink("gone.so", at(&made, "dangling.so")).expect("a link");
    let _socket = std::os::unix::net::UnixListener::bind(at(&made, "socket.so")).expect("a socket");
    let fifo = CString::new(at(&made, "fifo.so").into_os_string().into_vec()).expect("a path");
    // SAFETY: a C string.
    assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
    let sparse = File::create(at(&made, "sparse.so")).expect("a file");
    sparse.set_len(1 << 40).expect("a terabyte of nothing");
    for (file, words) in [
        (at(&made, "dir.so"), "a directory"),
        (at(&made, "loop.so"), "ELOOP"),
        (at(&made, "fifo.so"), "a FIFO"),
        (at(&made, "socket.so"), "a socket"),
        (at(&made, "sparse.so"), "larger than"),
        (PathBuf::from("/dev/zero"), "a device"),
    ] {
        assert_found_says(&said_of(&mut made, &file), words);
    }
    let dangling = at(&made, "dangling.so");
    let report = said_of(&mut made, &dangling);
    assert!(check(&report, "library.found").summary.contains("is not there"), "{report:?}");
}

/// What is said of a library that does this when it is opened.
fn opened_and(statements: &str) -> Report {
    let mut made = Made::new();
    made.options.probe.timeout = Duration::from_millis(500);
    let stub = Stub::new("1.18.0").constructor(statements).build();
    said_of(&mut made, &stub.path)
}

#[test]
fn a_library_that_ends_its_process_is_a_crash_with_its_end() {
    for (statements, words) in [
        ("abort();", "SIGABRT"),
        ("*(volatile int *)0 = 1;", "SIGSEGV"),
        ("exit(3);", "exited with status 3"),
        ("_exit(0);", "exited with status 0"),
        ("for (;;) pause();", "was killed after 500 ms"),
        ("for (;;) if (write(1, \"x\\n\", 2) < 0) pause();", "was killed after 500 ms"),
        ("for (int fd = 0; fd < 300; fd++) close(fd);", "exited with status"),
    ] {
        let report = opened_and(statements);
        let opening = check(&report, "library.opening");
        assert_eq!(opening.status, Status::Crash, "{statements}: {opening:?}");
        assert!(opening.summary.contains(words), "{statements}: {}", opening.summary);
        assert!(!report.is_fine(false));
        assert!(report.attempts.iter().any(|attempt| attempt.error.is_some()), "{statements}");
    }
}

#[test]
fn what_a_library_does_while_it_is_opened_stays_with_its_process() {
    for (statements, expected) in [
        ("write(1, \"hello\\n\", 6);", Status::Warn),
        ("for (int s = 1; s < 32; s++) signal(s, (void (*)(int))1);", Status::Pass),
        ("if (fork() == 0) { sleep(3); _exit(0); }", Status::Pass),
    ] {
        let report = opened_and(statements);
        assert_eq!(status(&report, "library.opening"), expected, "{statements}");
        assert_eq!(status(&report, "library.found"), Status::Pass, "{statements}");
    }
    // SAFETY: only asks.
    let handler = unsafe { libc::signal(libc::SIGUSR2, libc::SIG_DFL) };
    assert_eq!(handler, libc::SIG_DFL, "this process's own handlers are as they were");
}

#[test]
fn a_library_that_writes_over_the_answer_is_no_answer() {
    // Whatever it does to the descriptors, it does not put words into the report.
    let garbage = "for (int fd = 3; fd < 40; fd++) write(fd, \"{\\\"observed\\\": 1}\\n\", 16);";
    let report = opened_and(garbage);
    assert!(report.library.is_none(), "{report:?}");
    assert!(!in_the_way(&report).is_empty());
}

#[test]
fn a_missing_dependency_is_named_by_the_loader_and_by_the_file() {
    let mut made = Made::new();
    let stub = Stub::new("1.18.0").needs_missing("libnotthere.so.9").build();
    let report = said_of(&mut made, &stub.path);
    let dependencies = check(&report, "library.dependencies");
    assert_eq!(dependencies.status, Status::Fail);
    assert!(dependencies.summary.contains("libnotthere.so.9"), "{dependencies:?}");
    let detail = dependencies.detail.as_deref().expect("details");
    assert!(detail.contains("cannot open shared object file") && detail.contains("by its file"), "{detail}");
}

#[test]
fn a_function_that_is_data_is_no_function() {
    let mut made = Made::new();
    let file = made.at("/opt/libkrun.so.1");
    let source = "int krun_create_ctx(void) { return 0; } int krun_free_ctx(void) { return 0; }\n\
                  int krun_set_vm_config(void) { return 0; } int krun_set_exec(void) { return 0; }\n\
                  int krun_start_enter(void) { return 0; } char krun_add_virtiofs[64] = \"data\";";
    compile(&file, source, &["-Wl,-soname,libkrun.so.1"]);
    let report = said_of(&mut made, &file);
    let exports = check(&report, "library.exports");
    assert_eq!(exports.status, Status::Fail);
    assert!(exports.detail.as_deref().is_some_and(|detail| detail.contains("krun_add_virtiofs")), "{exports:?}");
}

#[test]
fn a_library_without_symbols_is_not_libkrun() {
    let mut made = Made::new();
    let file = made.at("/opt/libkrun.so.1");
    compile(&file, "static int nothing;", &["-nostdlib", "-Wl,-soname,libkrun.so.1"]);
    assert_found_says(&said_of(&mut made, &file), "none of libkrun's functions");
    compile(&file, "int other(void) { return 0; }", &["-Wl,-soname,libkrun.so.1"]);
    assert_found_says(&said_of(&mut made, &file), "none of libkrun's functions");
}

#[test]
fn a_library_without_section_headers_is_told_by_the_loader_alone() {
    let mut made = Made::new();
    let mut bytes = fs::read(Stub::new("1.18.0").build().path).expect("a stub");
    // e_shoff, and e_shnum with e_shstrndx.
    bytes[0x28..0x30].fill(0);
    bytes[0x3c..0x40].fill(0);
    let file = made.file("/opt/libkrun.so.1", bytes);
    let report = said_of(&mut made, &file);
    let library = report.library.as_ref().expect("it opens");
    assert!(library.version.range.starts_with(">=1.18.0"), "{}", library.version.range);
    assert_eq!(status(&report, "library.exports"), Status::Pass, "there is nothing to compare with");
}

#[test]
fn a_stripped_library_is_as_good_as_another() {
    let mut made = Made::new();
    let stub = Stub::new("1.18.0").build();
    let stripped = std::process::Command::new("strip").arg(&stub.path).status();
    assert!(stripped.expect("strip, which comes with the compiler").success());
    let report = said_of(&mut made, &stub.path);
    assert_eq!(report.library.as_ref().expect("it opens").version.range, "=1.18.0");
}

#[test]
fn a_soname_that_lies_does_not_change_what_the_functions_say() {
    let mut made = Made::new();
    let stub = Stub::new("1.18.0").features(&["amd-sev"]).file_name("libkrun.so.1").build();
    let report = said_of(&mut made, &stub.path);
    let library = report.library.as_ref().expect("it opens");
    assert_eq!((library.flavour.name(), library.flavour_reason.as_str()), ("sev", "krun_has_feature says amd_sev"));
    let own_kernel = check(&report, "own_kernel");
    assert_eq!(own_kernel.status, Status::Warn, "only its functions and krun_has_feature give it away: {own_kernel:?}");
    assert!(own_kernel.summary.contains("confidential"), "{own_kernel:?}");
    assert_eq!(status(&report, "mounts"), Status::Fail, "such a build has none");
}

#[test]
fn other_generations_are_reported_and_never_called() {
    for (stub, words) in [
        (Stub::new("1.19.7").soname("libkrun.so.2").file_name("libkrun.so.2.0.0"), "major 2"),
        (
            Stub::new("1.19.7")
                .without(&["krun_create_ctx", "krun_set_vm_config", "krun_set_exec"])
                .with_extra(&["krun_vm_builder_new", "krun_vm_start"]),
            "lacks krun_create_ctx",
        ),
    ] {
        let mut made = Made::new();
        let library = stub.build();
        let report = said_of(&mut made, &library.path);
        let generation = check(&report, "library.generation");
        assert_eq!(generation.status, Status::Fail);
        assert!(generation.evidence.iter().any(|known| known.says.contains(words)), "{generation:?}");
        assert_eq!(library.calls(), [], "not even asked for its features");
    }
}

#[test]
fn majors_and_twins_lie_side_by_side() {
    let made = Made::new();
    made.install("/usr/lib64", &Stub::new("1.18.0"));
    made.install("/usr/lib", &Stub::new("1.17.4"));
    made.install("/usr/local/lib", &Stub::new("0.2.0"));
    made.install("/usr/local/lib64", &Stub::new("1.19.7").soname("libkrun.so.2").file_name("libkrun.so.2"));
    let report = made.report();
    validate(&report);
    assert_eq!(report.library.as_ref().expect("one").version.range, "=1.18.0");
    let majors = check(&report, "library.majors");
    assert_eq!(
        (majors.status, majors.summary.as_str()),
        (Status::Warn, "majors 0 and 1 and 2 lie side by side; 1 is used")
    );
    let others = check(&report, "library.others");
    assert_eq!(others.status, Status::Warn);
    let detail = made.without_root(others.detail.as_deref().expect("each of them"));
    assert!(detail.contains("/usr/lib/libkrun.so.1.17.4 (libkrun.so.1, "), "two with one soname: {detail}");
}

#[test]
fn a_firmware_that_aborts_is_told_apart_from_libkrun() {
    let mut made = Made::new();
    let stub = super::asks_for(Stub::new("1.18.0"), "libkrunfw.so.5").build_in(&made.at("/usr/lib64"));
    let firmware = made.at("/usr/lib64/libkrunfw.so.5");
    let source =
        "#include <stdlib.h>\nint krunfw_get_version(void) { abort(); }\nchar *krunfw_get_kernel(void) { return 0; }";
    compile(&firmware, source, &["-Wl,-soname,libkrunfw.so.5"]);
    let report = said_of(&mut made, &stub.link);
    assert_eq!(status(&report, "library.found"), Status::Pass);
    let answers = check(&report, "firmware.answers");
    assert_eq!(answers.status, Status::Crash);
    assert!(answers.detail.as_deref().is_some_and(|detail| detail.contains("SIGABRT")), "{answers:?}");
}
