//! A VM belongs to no thread: one may wait while others look, wait as well, or end it.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use krundl::{Exit, Vm};
use krundl_test_support::stubs::Start;

use super::{Lab, in_time, newest, up};

static_assertions::assert_impl_all!(Vm: Send, Sync);

fn hanging() -> Arc<Vm> {
    Arc::new(Lab::new(&newest().start(up("")).then_hang()).launch().unwrap())
}

#[test]
fn one_thread_waits_while_another_kills() {
    let vm = hanging();
    let waiting = Arc::clone(&vm);
    let waiter = std::thread::spawn(move || waiting.wait());
    vm.kill().unwrap();
    assert_eq!(in_time(move || waiter.join().unwrap()).unwrap(), Exit::Stopped(libc::SIGKILL));
}

#[test]
fn news_that_one_thread_takes_wakes_all_who_wait() {
    for _ in 0..20 {
        let vm = hanging();
        let wait = |vm: &Arc<Vm>| {
            let vm = Arc::clone(vm);
            std::thread::spawn(move || (vm.wait_ready(None), vm.wait()))
        };
        let waiters: Vec<_> = (0..4).map(|_| wait(&vm)).collect();
        // Takes the guest's words away from under them.
        while vm.wait_ready(Some(Duration::ZERO)).is_err() {}
        vm.kill().unwrap();
        for waiter in waiters {
            let (ready, ended) = in_time(move || waiter.join().unwrap());
            ready.unwrap();
            assert_eq!(ended.unwrap(), Exit::Stopped(libc::SIGKILL));
        }
    }
}

#[test]
fn the_log_can_be_read_while_another_thread_waits() {
    let vm = Arc::new(
        Lab::new(&newest().on("krun_init_log", "dprintf(target_fd, \"a word\\n\");").start(Start::Hang))
            .launch()
            .unwrap(),
    );
    let waiting = Arc::clone(&vm);
    let waiter = std::thread::spawn(move || waiting.wait());
    in_time(move || {
        while !String::from_utf8_lossy(&vm.log()).contains("a word") {}
        vm.kill().unwrap();
    });
    waiter.join().unwrap().unwrap();
}

#[test]
fn stopping_ends_what_does_not_end_when_asked() {
    let obedient = newest().start(up("")).then_obey();
    let vm = Lab::new(&obedient).launch().unwrap();
    vm.wait_ready(None).unwrap();
    assert_eq!(in_time(move || vm.stop(Duration::from_secs(10))).unwrap(), Exit::Signal(libc::SIGTERM));
    let vm = hanging();
    vm.wait_ready(None).unwrap();
    let stopped = in_time(move || vm.stop(Duration::from_millis(50))).unwrap();
    assert_eq!(stopped, Exit::Stopped(libc::SIGKILL));
}

#[test]
fn a_signals_handler_may_end_the_waiting() {
    static HANDLED: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn handle(_: libc::c_int) {
        HANDLED.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the handler only counts.
    unsafe { libc::signal(libc::SIGUSR1, handle as *const () as libc::sighandler_t) };
    let vm = hanging();
    let waiting = Arc::clone(&vm);
    let (tell, told) = std::sync::mpsc::channel();
    let waiter = std::thread::spawn(move || {
        // SAFETY: always the calling thread's own.
        tell.send(unsafe { libc::pthread_self() }).unwrap();
        let mut interruptions = 0;
        let exit = waiting.wait_with(None, &mut || {
            interruptions += 1;
            if interruptions < 3 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
        });
        (exit, interruptions)
    });
    let thread = told.recv().unwrap();
    while !waiter.is_finished() {
        // SAFETY: the thread was not joined yet.
        unsafe { libc::pthread_kill(thread, libc::SIGUSR1) };
    }
    let (exit, interruptions) = waiter.join().unwrap();
    assert_eq!((exit.unwrap(), interruptions), (None, 3));
    assert!(HANDLED.load(Ordering::Relaxed) >= 3);
    assert_eq!(vm.try_wait().unwrap(), None, "it still runs");
}
