//! Entered, up, ended: how a VM's course is told. The guest's word counts, the status of the VM's process does not.

use std::time::{Duration, Instant};

use krundl::error::{Code, Ended};
use krundl::launch::Asked;
use krundl::{Error, Exit, launch};
use krundl_test_support::stubs::{Start, Stub};
use serde_json::json;

use super::{Lab, exists, in_time, newest, options, up};

fn course(start: Start, status: i32) -> (Result<(), Code>, Result<Exit, Error>) {
    let vm = Lab::new(&newest().start(start).exit_status(status)).launch().expect("libkrun is entered");
    in_time(move || (vm.wait_ready(None).map_err(|error| error.code()), vm.wait()))
}

#[test]
fn the_guests_word_says_how_the_workload_ended() {
    let failed = |errno: i32| format!("krundl-guest 1\nfailed-exec {errno} cannot run '/x'\n");
    let not_executed = |status| Exit::NotExecuted { status, reason: "cannot run '/x'".to_owned() };
    for (start, status, expected) in [
        (up("exit 42\n"), 42, Exit::Code(42)),
        (up("exit 0\n"), 0, Exit::Code(0)),
        (up("exit 3\n"), 0, Exit::Code(3)),
        (up("signal 9\n"), 137, Exit::Signal(9)),
        (Start::guest(failed(libc::ENOENT)), 127, not_executed(127)),
        (Start::guest(failed(libc::EACCES)), 126, not_executed(126)),
        (Start::guest("noise\nkrundl-guest 1\nup\nexit 256\nexit 7\nexit 8\n"), 1, Exit::Code(7)),
    ] {
        let (ready, ended) = course(start, status);
        assert_eq!(ready, Ok(()));
        assert_eq!(ended.unwrap(), expected);
    }
    assert!(Exit::Code(0).success() && !Exit::Code(1).success() && !Exit::Unproved(0).success());
    assert_eq!((Exit::Signal(9).status(), not_executed(127).status()), (137, 127));
}

#[test]
fn a_guest_that_could_not_be_prepared_names_its_reason() {
    let (ready, ended) = course(Start::guest("krundl-guest 1\nfailed 19 mount of data at /workspace\n"), 0);
    assert_eq!(ready, Err(Code::GuestSetup));
    let Err(Error::GuestSetup { message, .. }) = ended else { panic!("{ended:?}") };
    assert_eq!(message, "mount of data at /workspace");
}

#[test]
fn exit_status_0_of_a_vm_that_was_never_up_is_a_failure() {
    for (start, status) in [(Start::Exit(0), 0), (Start::guest("krundl-guest 1\n"), 0), (Start::guest("exit\n"), 7)] {
        let (ready, ended) = course(start, status);
        assert_eq!(ready, Err(Code::NeverUp));
        let Err(Error::NeverUp { ended, .. }) = ended else { panic!("{ended:?}") };
        assert_eq!(ended, Ended::Exit(status));
    }
}

#[test]
fn a_guest_that_was_up_and_vanished_is_lost() {
    let (ready, ended) = course(up(""), 0);
    assert_eq!(ready, Ok(()));
    assert!(matches!(ended, Err(Error::GuestLost { ended: Ended::Exit(0), .. })), "{ended:?}");
}

#[test]
fn a_library_without_a_channel_leaves_the_end_unproved() {
    let lab = Lab::new(&newest().without(&["krun_add_vsock_port"]).start(Start::Exit(4)));
    let vm = lab.launch().unwrap();
    let ready = vm.wait_ready(None).unwrap_err();
    assert_eq!(ready.code(), Code::ReadinessUnknown, "{ready}");
    assert_eq!(vm.wait().unwrap(), Exit::Unproved(4));
}

#[test]
fn what_the_caller_stopped_is_stopped() {
    for signal in [libc::SIGTERM, libc::SIGKILL] {
        for start in [Start::Hang, Start::guest("krundl-guest 1\n")] {
            let lab = Lab::new(&newest().start(start).then_hang());
            let vm = lab.launch().unwrap();
            assert_eq!(vm.try_wait().unwrap(), None);
            if signal == libc::SIGTERM {
                assert_eq!(vm.terminate().unwrap(), Asked::Process, "nothing is up that could be asked");
            } else {
                vm.kill().unwrap();
            }
            let vm = in_time(move || {
                assert_eq!(vm.wait().unwrap(), Exit::Stopped(signal));
                vm
            });
            assert_eq!(vm.try_wait().unwrap(), Some(Exit::Stopped(signal)), "it stays so");
            vm.kill().expect("a VM that has ended is no error");
            assert!(!exists(vm.pid()));
        }
    }
}

#[test]
fn a_workload_that_is_up_is_asked_and_its_own_end_counts() {
    let own_kernel = json!({"kernel": {"path": "/proc/self/exe"}});
    for fields in [json!({}), own_kernel] {
        let lab = Lab::new(&newest().start(up("")).then_obey());
        let vm = launch(lab.prepare(fields), options()).unwrap();
        vm.wait_ready(None).unwrap();
        assert_eq!(vm.terminate().unwrap(), Asked::Workload);
        assert_eq!(in_time(move || vm.wait()).unwrap(), Exit::Signal(libc::SIGTERM));
    }
}

#[test]
fn a_workload_that_ended_before_the_stop_keeps_its_status() {
    let lab = Lab::new(&newest().start(up("exit 5\n")).then_hang());
    let vm = lab.launch().unwrap();
    vm.wait_ready(None).unwrap();
    vm.kill().unwrap();
    assert_eq!(vm.wait().unwrap(), Exit::Code(5));
}

#[test]
fn waiting_ends_when_its_time_is_over() {
    let vm = Lab::new(&newest().start(Start::Hang)).launch().unwrap();
    let started = Instant::now();
    assert_eq!(vm.wait_timeout(Duration::from_millis(50)).unwrap(), None);
    let error = vm.wait_ready(Some(Duration::from_millis(50))).unwrap_err();
    assert!(started.elapsed() >= Duration::from_millis(100));
    assert!(matches!(error, Error::TimedOut { after, .. } if after == Duration::from_millis(50)), "{error}");
    assert_eq!(vm.try_wait().unwrap(), None, "a time that is over changes nothing");
}

#[test]
fn the_pidfd_tells_event_loops_of_the_end() {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let vm = Lab::new(&newest().start(up("")).then_hang()).launch().unwrap();
    let readable = |vm: &krundl::Vm, ms: i64| {
        let mut watched = [PollFd::from_borrowed_fd(vm.pidfd().unwrap(), PollFlags::IN)];
        poll(&mut watched, Some(&Timespec { tv_sec: 0, tv_nsec: ms * 1_000_000 })).unwrap() == 1
    };
    assert!(!readable(&vm, 0));
    vm.kill().unwrap();
    assert!(readable(&vm, 999));
}

#[test]
fn another_processs_words_are_not_the_guests() {
    // The VM's process forks, and the child speaks for the guest.
    let speak = "if (fork() == 0) { guest_says(\"krundl-guest 1\\nup\\nexit 0\\n\", 26); _exit(0); } wait(0);";
    let lab = Lab::new(&newest().on("krun_start_enter", speak).start(Start::Exit(0)));
    let error = launch(lab.prepare(json!({})), options()).unwrap().wait().unwrap_err();
    assert_eq!(error.code(), Code::NeverUp, "{error}");
}

#[test]
fn older_libraries_end_in_the_same_ways() {
    for release in ["1.8.0", "1.13.0", "1.17.4", "1.18.0"] {
        let vm = Lab::new(&Stub::new(release).start(up("exit 42\n")).exit_status(42)).launch().unwrap();
        vm.wait_ready(None).unwrap();
        assert_eq!(vm.wait().unwrap(), Exit::Code(42), "{release}");
    }
}
