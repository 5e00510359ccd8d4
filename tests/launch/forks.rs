//! A fork of the process that has launched a VM.

use std::sync::Arc;
use std::time::Duration;

use krundl::error::Code;
use krundl::launch::Watch;
use krundl::{Exit, Vm};

use super::{Lab, exists, in_time, newest};
use krundl_test_support::stubs::{Start, Stub};

/// Does this in a fork, and tells whether it held. What it does must take no lock that another thread of the tests may
/// have held.
fn holds_in_a_fork(what: impl FnOnce() -> bool) -> bool {
    // SAFETY: the child runs `what` and nothing else of this process; it ends without its destructors.
    match unsafe { libc::fork() } {
        0 => {
            let held = std::panic::catch_unwind(std::panic::AssertUnwindSafe(what)).unwrap_or(false);
            // SAFETY: it ends this process.
            unsafe { libc::_exit(i32::from(!held)) }
        }
        child => {
            assert!(child > 0, "a fork");
            let mut status = -1;
            // SAFETY: the status is ours to be written to.
            assert_eq!(unsafe { libc::waitpid(child, &mut status, 0) }, child);
            status == 0
        }
    }
}

fn refused<T>(result: krundl::Result<T>) -> bool {
    result.is_err_and(|error| error.code() == Code::InvalidArgument && error.to_string().contains("belongs to process"))
}

fn every_method_is_refused(vm: &Vm) -> bool {
    let no_time = Duration::ZERO;
    refused(vm.kill())
        && refused(vm.terminate())
        && refused(vm.interrupt())
        && refused(vm.stop(no_time))
        && refused(vm.wait())
        && refused(vm.try_wait())
        && refused(vm.wait_ready(Some(no_time)))
        && refused(vm.is_entered())
        && vm.take_stdin().is_none()
        && vm.log().is_empty()
        && !vm.is_own()
        && vm.pid() > 0
}

#[test]
fn a_fork_can_neither_use_nor_harm_its_parents_vm() {
    in_time(|| {
        let lab = Lab::new(&newest().start(Start::guest("krundl-guest 1\nup\n")).then_hang());
        let vm = Arc::new(lab.launch().unwrap());
        vm.wait_ready(None).unwrap();
        let watch = Watch::new(vm.clone()).unwrap();
        let pid = vm.pid();
        let mut owned = Some((watch, vm));
        // The fork has the only references to its copy, so this drops the VM there.
        assert!(holds_in_a_fork(|| {
            let Some((watch, vm)) = owned.take() else { return false };
            let refused = every_method_is_refused(&vm) && watch.descriptors().is_err();
            drop(watch);
            refused && Arc::into_inner(vm).is_some()
        }));
        let (_watch, vm) = owned.unwrap();
        assert!(exists(pid) && vm.try_wait().unwrap().is_none(), "it runs on");
        vm.kill().unwrap();
        assert_eq!(vm.wait().unwrap(), Exit::Stopped(libc::SIGKILL));
        assert!(!exists(pid));
    });
}

#[test]
fn a_fork_that_lets_its_parents_vm_go_changes_nothing() {
    in_time(|| {
        let lab = Lab::new(&newest().start(Start::Hang));
        let mut vm = Some(lab.launch().unwrap());
        let pid = vm.as_ref().unwrap().pid();
        assert!(holds_in_a_fork(|| vm.take().is_some_and(|vm| vm.detach() == pid)));
        let vm = vm.unwrap();
        assert!(exists(pid));
        drop(vm);
        assert!(!exists(pid), "its own process still ends it");
    });
}

#[test]
fn a_fork_that_drops_a_vm_leaves_it_what_it_needs() {
    in_time(|| {
        // The bootstrap share is a directory until the guest is up.
        let lab = Lab::new(&Stub::new("1.18.0").start(Start::Hang));
        let mut vm = Some(lab.launch().unwrap());
        let pid = vm.as_ref().unwrap().pid();
        let shares = || {
            let open = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
            let targets = open.filter_map(|fd| std::fs::read_link(fd.ok()?.path()).ok());
            targets.filter(|target| target.is_dir() && target.starts_with(std::env::temp_dir())).collect::<Vec<_>>()
        };
        let before = shares();
        assert!(before.iter().any(|dir| dir.to_string_lossy().contains("krundl-share-")), "{before:?}");
        assert!(holds_in_a_fork(|| vm.take().is_some()));
        assert_eq!(shares(), before);
        drop(vm.unwrap());
    });
}
