//! The workload's standard streams, and libkrun's log beside them.

use std::fs::{self, File};
use std::io::{Read, Write};

use krundl::{Error, LaunchOptions, LogTarget, Stream, launch};
use krundl_test_support::stubs::{Start, Stub};
use serde_json::json;

use super::{Lab, in_time, newest, options, saw, seen, up};

fn text(mut from: impl Read + Send + 'static) -> String {
    in_time(move || {
        let mut text = String::new();
        from.read_to_string(&mut text).unwrap();
        text
    })
}

fn piped() -> LaunchOptions {
    LaunchOptions { stdin: Stream::Piped, stdout: Stream::Piped, stderr: Stream::Piped, ..options() }
}

#[test]
fn output_and_errors_are_the_workloads_alone() {
    // From 1.16.0 on libkrun is told the streams, before that it takes those of its process.
    for (release, alone) in [("1.19.7", true), ("1.16.0", true), ("1.13.0", false)] {
        let own = "fprintf(stdout, \"libkrun's\\n\"); fflush(stdout); fprintf(stderr, \"libkrun's\\n\");";
        let stub = Stub::new(release).on("krun_set_exec", if alone { own } else { "" });
        let lab = Lab::new(&stub.prints("to stdout\n").prints_error("to stderr\n").start(up("exit 0\n")));
        let vm = launch(lab.prepare(json!({})), piped()).unwrap();
        assert_eq!(text(vm.take_stdout().unwrap()), "to stdout\n", "{release}");
        assert_eq!(text(vm.take_stderr().unwrap()), "to stderr\n", "{release}");
        assert_eq!(vm.wait().unwrap().status(), 0);
        let log = String::from_utf8(vm.log()).unwrap();
        assert_eq!(log.matches("libkrun's\n").count(), if alone { 2 } else { 0 }, "{release}: {log}");
    }
}

#[test]
fn what_the_caller_writes_is_the_workloads_input_and_its_end_is_heard() {
    let read = format!(
        "char b[256] = {{0}}; size_t n = 0; ssize_t m; \
         while ((m = read(281, b + n, sizeof b - 1 - n)) > 0) n += m; {}",
        saw("b")
    );
    let stub = newest().on("krun_add_virtio_console_default", "dup2(input_fd, 281);").on("krun_start_enter", &read);
    let lab = Lab::new(&stub.start(up("exit 0\n")));
    let vm = launch(lab.prepare(json!({})), piped()).unwrap();
    let mut stdin = vm.take_stdin().unwrap();
    stdin.write_all(b"first\n").unwrap();
    stdin.write_all(b"second\n").unwrap();
    drop(stdin);
    in_time(move || vm.wait().unwrap());
    assert_eq!(seen(&lab.stub), ["first\nsecond\n"]);
}

#[test]
fn streams_can_be_files_of_the_callers() {
    let lab = Lab::new(&newest().prints("to a file\n").start(up("exit 0\n")));
    let path = lab.root.path().join("output");
    let options = LaunchOptions { stdout: Stream::Fd(File::create(&path).unwrap().into()), ..options() };
    launch(lab.prepare(json!({})), options).unwrap().wait().unwrap();
    assert_eq!(fs::read_to_string(path).unwrap(), "to a file\n");
}

/// C statements that write this much to the log: lines of 64 bytes with their number.
fn chatter(lines: u32) -> String {
    format!(
        "for (int i = 0; i < {lines}; i++) {{ char line[65]; snprintf(line, 65, \"%059d\\033[0m\\n\", i); \
         while (write(280, line, 64) < 0) usleep(100); }}"
    )
}

fn chatty(lines: u32) -> Stub {
    newest().on("krun_init_log", "dup2(target_fd, 280);").on("krun_start_enter", &chatter(lines)).start(Start::Exit(1))
}

#[test]
fn a_log_without_end_is_kept_in_bounds_and_quoted_shorter() {
    let lines = 40_000;
    let vm = Lab::new(&chatty(lines)).launch().unwrap();
    let (error, log) = in_time(move || (vm.wait().unwrap_err(), vm.log()));
    assert!(log.len() < 200 << 10, "{} bytes", log.len());
    let log = String::from_utf8(log).unwrap();
    let line = |n: u32| format!("{n:059}\u{1b}[0m\n");
    assert!(log.starts_with(&line(0)) && log.ends_with(&line(lines - 1)) && log.contains("bytes left out"));
    let Error::NeverUp { words, .. } = error else { panic!("{error}") };
    assert!(words.as_str().len() < 5000 && words.as_str().ends_with(&format!("{:059}", lines - 1)));
    assert!(!words.as_str().contains('\u{1b}'));
}

#[test]
fn a_log_can_be_a_file_of_which_errors_quote_their_own_vms_part() {
    let lab = Lab::new(&chatty(3));
    let path = lab.root.path().join("log");
    fs::write(&path, "of an earlier VM\n").unwrap();
    let log = File::options().read(true).append(true).open(&path).unwrap();
    let options = LaunchOptions { log: LogTarget::File(log), ..options() };
    let error = launch(lab.prepare(json!({})), options).unwrap().wait().unwrap_err();
    let words = error.words().unwrap().as_str();
    assert_eq!(words, format!("{:059}\n{:059}\n{:059}", 0, 1, 2));
    assert_eq!(fs::read_to_string(&path).unwrap().len(), "of an earlier VM\n".len() + 3 * 64);
}
