//! Hosts and callers at their limits: no descriptors left, no standard input, full disks.

use std::fs::File;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;

use krundl::{Error, Exit, LaunchOptions, LogTarget, ProbeOptions, Stream, launch, probe_isolated};
use krundl_test_support::stubs::Fault;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use crate::alone::{alone, is_alone, skip, through};
use crate::bench::{Bench, HELPER, options};
use crate::leftovers::Inventory;

/// With one descriptor more each time, until there are enough.
#[test]
fn without_descriptors_everything_fails_in_good_order() {
    alone("hosts::without_descriptors_everything_fails_in_good_order", || {
        let bench = Bench::new("1.18.0");
        let limit = getrlimit(Resource::Nofile);
        let before = Inventory::take();
        let lowest = File::open("/").unwrap().as_raw_fd();
        let with = |more: u64| {
            let current = Some(u64::try_from(lowest).unwrap() + more);
            setrlimit(Resource::Nofile, Rlimit { current, ..limit }).unwrap();
        };
        let mut steps = 0;
        let exhausted = |step: &mut u64, error: Error| {
            assert!(error.to_string().contains("Too many open files"), "{step}: {error:?}");
            *step += 1;
            assert!(*step < 40, "{error}");
        };
        loop {
            // What it takes to prepare is not at issue here.
            setrlimit(Resource::Nofile, limit).unwrap();
            let prepared = bench.prepare(&json!({}));
            let held = u64::try_from(prepared.held.len()).unwrap();
            with(steps + held);
            let launched = launch(prepared, options());
            setrlimit(Resource::Nofile, limit).unwrap();
            match launched {
                Ok(vm) => break assert_eq!(vm.wait().unwrap(), Exit::Code(0)),
                Err(error) => exhausted(&mut steps, error),
            }
            before.expect(&steps);
        }
        assert!(steps > 5, "only {steps} steps");

        let probe = ProbeOptions {
            library: Some(bench.stub.path.clone()),
            helper: Some(HELPER.into()),
            ..ProbeOptions::default()
        };
        let mut steps = 0;
        loop {
            with(steps);
            let probed = probe_isolated(&probe);
            setrlimit(Resource::Nofile, limit).unwrap();
            match probed {
                Ok(_) => break,
                Err(error) => exhausted(&mut steps, error),
            }
            before.expect(&steps);
        }
        assert!(steps > 5, "only {steps} steps");
    });
}

/// Its numbers are given to descriptors of krundl's own then.
#[test]
fn a_caller_without_standard_streams_can_start_vms() {
    alone("hosts::a_caller_without_standard_streams_can_start_vms", || {
        for bench in ["1.19.7", "1.13.0"].map(Bench::new) {
            for closed in [&[0][..], &[0, 1], &[0, 1, 2]] {
                let kept: Vec<(i32, OwnedFd)> = closed
                    .iter()
                    .map(|fd| {
                        // SAFETY: our own standard stream is copied, and closed until the copy is put back below.
                        unsafe {
                            let copy = libc::fcntl(*fd, libc::F_DUPFD_CLOEXEC, 100);
                            assert!(copy >= 100 && libc::close(*fd) == 0);
                            (*fd, OwnedFd::from_raw_fd(copy))
                        }
                    })
                    .collect();
                let outcomes: Vec<_> = [true, false]
                    .into_iter()
                    .map(|inherit| {
                        let stream = || if inherit { Stream::Inherit } else { Stream::Piped };
                        let options =
                            LaunchOptions { stdin: stream(), stdout: stream(), stderr: stream(), ..options() };
                        launch(bench.prepare(&json!({})), options).and_then(|vm| vm.wait())
                    })
                    .collect();
                for (fd, copy) in kept {
                    // SAFETY: puts our own standard stream back where it was.
                    assert_eq!(unsafe { libc::dup2(copy.as_raw_fd(), fd) }, fd);
                }
                for outcome in outcomes {
                    assert_eq!(outcome.unwrap(), Exit::Code(0), "{} without {closed:?}", bench.release);
                }
            }
        }
    });
}

/// Where a file system of 64 KiB is mounted, for this process alone.
const SMALL: &str = "/mnt";

/// Runs `body` with a small file system, where this user may have a mount namespace.
fn with_small_disk(name: &str, options: &str, body: impl FnOnce(&Path)) {
    let mount = format!("mount -t tmpfs -o size=64k{options} krundl-test {SMALL} && exec \"$@\"");
    let wrapper = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", &mount, "sh"];
    // As root without a user namespace, which containers often refuse.
    if is_alone() {
        return body(Path::new(SMALL));
    }
    let is_root = rustix::process::geteuid().is_root();
    let wrapper = if is_root { [&wrapper[..1], &wrapper[3..]].concat() } else { wrapper.to_vec() };
    let possible = std::process::Command::new(wrapper[0]).args(&wrapper[1..]).arg("true").output();
    match possible {
        Ok(output) if output.status.success() => through(name, &wrapper, || body(Path::new(SMALL))),
        Ok(output) => skip(name, String::from_utf8_lossy(&output.stderr).trim()),
        Err(error) => skip(name, &format!("unshare: {error}")),
    }
}

#[test]
fn a_full_disk_under_the_log_stops_no_vm() {
    with_small_disk("hosts::a_full_disk_under_the_log_stops_no_vm", "", |disk| {
        let bench = Bench::new("1.19.7");
        let before = Inventory::take();
        let log = |name: &str| {
            let file = File::options().create(true).append(true).read(true).open(disk.join(name)).unwrap();
            LaunchOptions { log: LogTarget::File(file), ..options() }
        };
        bench.stub.fault("krun_set_exec", 0, &[Fault::Say(1 << 20)]);
        let vm = launch(bench.prepare(&json!({})), log("log")).unwrap();
        assert_eq!(vm.wait().unwrap(), Exit::Code(0));
        drop(vm);
        assert_eq!(disk.join("log").metadata().unwrap().len(), 64 << 10, "the disk is full");

        // What was written before is quoted, what did not fit any more is missing.
        bench.stub.fault("krun_set_exec", 0, &[Fault::Say(1), Fault::Return(-libc::EINVAL)]);
        let error = launch(bench.prepare(&json!({})), log("log")).unwrap_err();
        let Error::Call { errno: libc::EINVAL, words, .. } = &error else { panic!("{error}") };
        assert_eq!(words.as_str(), "", "of the earlier VM, or from nowhere");
        before.expect(&"a full disk");
    });
}

/// Starts a VM with this directory for temporary files, in which there is no room.
fn start_in(disk: &Path, release: &'static str) -> Error {
    let bench = Bench::new(release);
    // SAFETY: no other thread of this process looks at its environment.
    unsafe { std::env::set_var("TMPDIR", disk) };
    let before = Inventory::take();
    let error = launch(bench.prepare(&json!({})), options()).unwrap_err();
    assert!(error.to_string().contains("No space left on device"), "{error}");
    before.expect(&error);
    assert_eq!(std::fs::read_dir(disk).unwrap().count(), 0);
    error
}

#[test]
fn a_full_disk_under_the_bootstrap_share_is_named() {
    with_small_disk("hosts::a_full_disk_under_the_bootstrap_share_is_named", "", |disk| {
        let error = start_in(disk, "1.18.0");
        assert!(matches!(error, Error::HelperFailed { .. }), "{error:?}");
        assert!(error.to_string().contains(SMALL), "{error}");
    });
}

#[test]
fn a_disk_without_room_for_another_name_is_named() {
    with_small_disk("hosts::a_disk_without_room_for_another_name_is_named", ",nr_inodes=1", |disk| {
        let error = start_in(disk, "1.19.7");
        assert!(matches!(error, Error::Os { .. }), "{error:?}");
        assert!(error.to_string().contains("the guest's channel"), "{error}");
    });
}
