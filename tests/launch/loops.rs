//! Waiting with an event loop: `start`, and a `Watch` that says when to look.

use std::os::fd::AsFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use krundl::error::Code;
use krundl::launch::{Watch, start};
use krundl::{Exit, Vm};
use krundl_test_support::stubs::Start;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::json;

use super::{Lab, in_time, newest, options, up};

/// A loop that waits for one thing.
fn until<T>(vm: &Arc<Vm>, look: impl Fn(&Vm) -> Option<T>) -> T {
    let watch = Watch::new(vm.clone()).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let descriptors = watch.descriptors().unwrap();
        if let Some(found) = look(vm) {
            return found;
        }
        let mut watched: Vec<_> =
            descriptors.iter().map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)).collect();
        let left = Timespec::try_from(deadline.saturating_duration_since(Instant::now())).unwrap();
        assert!(poll(&mut watched, Some(&left)).unwrap() > 0, "nothing says that there is news");
    }
}

#[test]
fn a_loop_sees_a_vm_entered_up_and_ended() {
    let lab = Lab::new(&newest().start(up("exit 7\n")).exit_status(7));
    let vm = Arc::new(start(lab.prepare(json!({})), options()).unwrap());
    until(&vm, |vm| vm.is_entered().unwrap().then_some(()));
    until(&vm, |vm| vm.wait_ready(Some(Duration::ZERO)).ok());
    assert_eq!(until(&vm, |vm| vm.try_wait().unwrap()), Exit::Code(7));
}

#[test]
fn start_does_not_wait_for_libkrun() {
    let lab = Lab::new(&newest().on("krun_set_exec", "for (;;) pause();"));
    let begin = Instant::now();
    let vm = start(lab.prepare(json!({})), options()).unwrap();
    assert!(!vm.is_entered().unwrap() && begin.elapsed() < Duration::from_secs(10));
    assert_eq!(vm.timed_out("entering libkrun", Duration::from_secs(1)).code(), Code::TimedOut);
}

#[test]
fn what_goes_wrong_before_libkrun_is_entered_is_told_by_the_look() {
    let refuses = newest().returns("krun_set_vm_config", -22);
    let dies = newest().on("krun_set_exec", "abort();");
    for (stub, code) in [(refuses, Code::Call), (dies, Code::Crashed)] {
        let lab = Lab::new(&stub);
        let vm = Arc::new(start(lab.prepare(json!({})), options()).unwrap());
        let error = until(&vm, |vm| vm.is_entered().map(|entered| assert!(!entered)).err());
        assert_eq!(error.code(), code, "{error}");
    }
}

#[test]
fn a_vm_that_ends_at_once_is_its_callers_to_reap_when_it_is_let_go() {
    for _ in 0..20 {
        let lab = Lab::new(&newest().start(Start::Exit(7)));
        let pid = i32::try_from(lab.launch().unwrap().detach()).unwrap();
        let mut status = 0;
        // SAFETY: the status is written to a variable of ours.
        assert_eq!(unsafe { libc::waitpid(pid, &mut status, 0) }, pid);
        assert_eq!(libc::WEXITSTATUS(status), 7);
    }
}

#[test]
fn a_loop_hears_what_a_thread_has_taken() {
    let lab = Lab::new(&newest().on("krun_start_enter", "usleep(100000);").start(up("")).then_hang());
    let vm = Arc::new(lab.launch().unwrap());
    let watch = Watch::new(vm.clone()).unwrap();
    let descriptors = watch.descriptors().unwrap();
    let thread = {
        let vm = vm.clone();
        std::thread::spawn(move || vm.wait_ready(None))
    };
    in_time(move || thread.join().unwrap().unwrap());
    // The thread has taken the guest's word; of all descriptors only the last can still tell of it.
    let mut watched = [PollFd::from_borrowed_fd(descriptors.last().unwrap().as_fd(), PollFlags::IN)];
    assert_eq!(poll(&mut watched, Some(&Timespec::default())).unwrap(), 1);
}

#[test]
fn a_loop_that_does_not_look_keeps_no_thread_from_its_time() {
    let lab = Lab::new(&newest().start(Start::Hang));
    let vm = Arc::new(lab.launch().unwrap());
    let _slow = Watch::new(vm.clone()).unwrap();
    vm.kill().unwrap();
    assert_eq!(in_time(move || vm.wait_timeout(Duration::from_secs(10)).unwrap()), Some(Exit::Stopped(libc::SIGKILL)));
}
