//! What is asked besides: a mount, a kernel, another release, only some checks, a boot.

use std::fs;

use krundl::doctor::{Report, Status};
use krundl::spec::Mount;
use krundl_test_support::stubs::{Start, Stub};

use super::{Made, check, status, validate};

fn with(release: &str) -> Made {
    let mut made = Made::new();
    let stub = Stub::new(release).build_in(&made.at("/usr/lib64"));
    made.named(&stub.link);
    made
}

fn mount(host: &std::path::Path, guest: &str, read_only: bool) -> Mount {
    serde_json::from_value(serde_json::json!({"host": host, "guest": guest, "read_only": read_only})).expect("a mount")
}

fn report(made: &Made) -> Report {
    let report = made.report();
    validate(&report);
    report
}

#[test]
fn a_mount_names_its_function_and_who_owns_what_is_written() {
    let mut made = with("1.19.7");
    made.options.mounts = vec![mount(made.path(), "/workspace", false)];
    let report = report(&made);
    let works = check(&report, "mount.works");
    assert_eq!(works.summary, "it would be made by krun_add_virtiofs, on ext4");
    let owner = check(&report, "mount.owner");
    assert!(owner.summary.starts_with("user 1000, who runs krundl"), "{owner:?}");
    assert_eq!(owner.evidence[0].by.name(), "observed");
    assert_eq!(status(&report, "mount.confinement"), Status::Pass);
    made.world.machine.user = 0;
    let as_root = self::report(&made);
    assert!(check(&as_root, "mount.owner").summary.contains("files of the host's root"));
    assert_eq!(status(&as_root, "mount.confinement"), Status::Warn);
}

#[test]
fn a_mount_tells_what_the_host_adds_to_it() {
    let mut made = with("1.19.7");
    made.options.mounts = vec![mount(made.path(), "/workspace", false)];
    let path = made.path().canonicalize().expect("a path");
    let table = format!(
        "21 1 8:1 / / ro,idmapped - xfs /dev/sda1 rw\n22 21 0:9 / {}/below rw - tmpfs none rw\n",
        path.display()
    );
    made.file("/proc/self/mountinfo", table);
    made.file("/proc/self/uid_map", "0 100000 65536\n");
    let report = report(&made);
    assert_eq!(status(&report, "mount.works"), Status::Warn, "the host's own file system is read-only");
    let owner = check(&report, "mount.owner");
    assert!(owner.status == Status::Warn && owner.summary.contains("idmapped"), "{owner:?}");
    assert!(owner.detail.as_deref().is_some_and(|detail| detail.contains("user namespace")), "{owner:?}");
    let confinement = check(&report, "mount.confinement").detail.clone().expect("details");
    assert!(confinement.contains("/below"), "{confinement}");
}

#[test]
fn read_only_rests_on_a_function_or_is_refused_with_its_release() {
    let mut made = with("1.18.0");
    made.options.mounts = vec![mount(made.path(), "/w", true)];
    let new = report(&made);
    assert_eq!(status(&new, "mount.read_only"), Status::Pass);
    assert_eq!(check(&new, "mount.works").summary, "it would be made by krun_add_virtiofs3, on ext4");
    let mut made = with("1.17.4");
    made.options.mounts = vec![mount(made.path(), "/w", true)];
    let old = report(&made);
    let works = check(&old, "mount.works");
    assert_eq!(works.status, Status::Fail);
    assert!(works.detail.as_deref().is_some_and(|detail| detail.contains("krun_add_virtiofs3")), "{works:?}");
    assert!(works.fix.as_deref().is_some_and(|fix| fix.contains("1.18.0")), "{works:?}");
}

#[test]
fn mounts_that_cannot_be_are_told_apart() {
    let mut made = with("1.19.7");
    let good = mount(made.path(), "/a", false);
    made.options.mounts =
        vec![good.clone(), mount(&made.at("/nowhere"), "/b", false), mount(made.path(), "/proc/x", false), good];
    let report = report(&made);
    let outcomes: Vec<Status> =
        report.checks.iter().filter(|check| check.id.name() == "mount.works").map(|check| check.status).collect();
    assert_eq!(
        outcomes,
        [Status::Pass, Status::Fail, Status::Fail, Status::Fail],
        "the last one goes where the first does"
    );
}

/// A kernel with a configuration in it.
fn kernel_with(config: &str) -> Vec<u8> {
    // Any ELF program of this machine has the format; this test's own.
    let mut image = fs::read(std::env::current_exe().expect("a path")).expect("it reads itself");
    image.truncate(image.len());
    let packed = miniz_oxide::deflate::compress_to_vec(config.as_bytes(), 1);
    image.extend_from_slice(&[b"IKCFG_ST\x1f\x8b\x08\0\0\0\0\0\0\x03", &packed[..], &[0; 8], b"IKCFG_ED"].concat());
    image
}

const GOOD: &str = "CONFIG_VIRTIO_MMIO=y\nCONFIG_DEVTMPFS=y\nCONFIG_FUSE_FS=y\nCONFIG_VIRTIO_FS=y\nCONFIG_VIRTIO_CONSOLE=y\n\
                    CONFIG_VSOCKETS=y\nCONFIG_VIRTIO_VSOCKETS=y\nCONFIG_VIRTIO_BLK=y\nCONFIG_INET=y\nCONFIG_VIRTIO_NET=y\nCONFIG_OVERLAY_FS=y\nCONFIG_TMPFS=y\nCONFIG_BLK_DEV_INITRD=y\nCONFIG_FUSE_DAX=y\nCONFIG_VIRTIO_MMIO_CMDLINE_DEVICES=y\n";

#[test]
fn a_kernel_is_judged_by_the_configuration_that_it_carries() {
    let mut made = with("1.19.7");
    for (config, expected, words) in [
        (GOOD.to_owned(), Status::Pass, ""),
        (GOOD.replace("CONFIG_FUSE_DAX=y", ""), Status::Warn, "DAX: CONFIG_FUSE_DAX is not set"),
        (
            GOOD.replace("CONFIG_VIRTIO_FS=y", "CONFIG_VIRTIO_FS=m"),
            Status::Fail,
            "mounts: CONFIG_VIRTIO_FS is a module",
        ),
    ] {
        made.options.kernel = Some(made.file("/boot/vmlinux", kernel_with(&config)));
        let report = report(&made);
        assert_eq!(status(&report, "kernel.format"), Status::Pass, "{:?}", check(&report, "kernel.format"));
        let check = check(&report, "kernel.config");
        assert_eq!(check.status, expected, "{check:?}");
        assert!(check.detail.as_deref().unwrap_or_default().contains(words), "{check:?}");
    }
}

#[test]
fn a_kernel_without_a_configuration_is_unknown_unless_one_lies_beside_it() {
    let mut made = with("1.19.7");
    let own = fs::read(std::env::current_exe().expect("a path")).expect("it reads itself");
    made.options.kernel = Some(made.file("/boot/vmlinux-6.1.0-18-amd64", own));
    let unknown = report(&made);
    assert_eq!(status(&unknown, "kernel.config"), Status::Warn);
    assert!(check(&unknown, "kernel.config").summary.starts_with("unknown"));
    made.file("/boot/config-6.1.0-18-amd64", GOOD);
    let beside = report(&made);
    let config = check(&beside, "kernel.config");
    assert_eq!((config.status, config.evidence[0].by.name()), (Status::Pass, "file_name"));
    made.options.kernel = Some(made.file("/boot/text", "not a kernel"));
    let none = report(&made);
    assert_eq!((status(&none, "kernel.format"), status(&none, "kernel.config")), (Status::Fail, Status::Skip));
}

#[test]
fn a_comparison_says_what_a_release_would_add() {
    let mut made = with("1.17.4");
    made.options.compare = Some("1.19.7".to_owned());
    let report = report(&made);
    assert_eq!(
        check(&report, "compare").summary,
        "libkrun 1.19.7 would add: read-only mounts, ownership semantics of mounts, init overlay (any root will do)"
    );
    let comparison = report.compare.as_ref().expect("one");
    let lost: Vec<&str> = comparison.losses.iter().map(|function| function.name()).collect();
    assert_eq!(lost, ["krun_get_shutdown_eventfd"]);
    made.options.compare = Some("1.17.4".to_owned());
    let same = self::report(&made);
    assert_eq!(check(&same, "compare").summary, "libkrun 1.17.4 has nothing that this library has not");
    for nonsense in ["2.0.0", "latest"] {
        made.options.compare = Some(nonsense.to_owned());
        let refused = krundl::doctor::doctor_of(&made.world, &made.options, &mut |_| {}).expect_err(nonsense);
        assert!(refused.contains("1.19.7"), "it says what it knows: {refused}");
    }
}

#[test]
fn a_session_that_is_older_than_its_group_is_told_to_log_in_again() {
    let mut made = Made::new();
    made.world.machine.groups = vec![1000];
    made.world.machine.kvm = krundl::host::Kvm { exists: true, ..krundl::host::Kvm::default() };
    assert_eq!(check(&report(&made), "kvm").commands, ["sudo usermod -aG kvm $USER"]);
    made.file("/etc/group", "kvm:x:104:bob,anna\n");
    assert_eq!(check(&report(&made), "kvm").commands, ["newgrp kvm"]);
}

#[test]
fn only_some_checks_make_a_report_of_their_own() {
    let mut made = Made::new();
    made.options.only = vec!["host".to_owned(), "library.found".to_owned()];
    let report = report(&made);
    let names: Vec<&str> = report.checks.iter().map(|check| check.id.name()).collect();
    assert_eq!(names[..3], ["library.found", "kvm", "kvm.guests"]);
    assert!(!report.is_fine(false));
    made.options.only = vec!["kvm".to_owned()];
    assert!(self::report(&made).is_fine(true), "the library is not asked about");
    made.options.only = vec!["no.such.check".to_owned()];
    assert!(krundl::doctor::doctor_of(&made.world, &made.options, &mut |_| {}).is_err());
}

/// A boot with a stub in the place of libkrun.
fn booted(stub: Stub) -> Report {
    let mut made = Made::new();
    let stub = stub.build_in(&made.at("/usr/lib64"));
    made.named(&stub.link);
    made.options.boot = true;
    report(&made)
}

#[test]
fn a_boot_that_fails_says_why_in_libkruns_words() {
    let words = "Received KVM_EXIT_INTERNAL_ERROR signal";
    let stub = Stub::new("1.19.7").on("krun_start_enter", &format!("fprintf(stderr, \"{words}\\n\");"));
    let report = booted(stub.start(Start::Exit(1)));
    let boot = check(&report, "proof.boot");
    assert_eq!(boot.status, Status::Fail);
    assert!(boot.detail.as_deref().is_some_and(|detail| detail.contains(words)), "{boot:?}");
    for id in ["proof.read", "proof.write", "proof.read_only"] {
        assert_eq!(status(&report, id), Status::Skip, "{id}");
    }
    assert!(!report.is_fine(false));
}

#[test]
fn a_guest_that_only_says_that_all_went_well_proves_nothing() {
    let stub = Stub::new("1.19.7").start(Start::guest("krundl-guest 1\nup\nexit 0\n"));
    let report = booted(stub);
    assert_eq!(status(&report, "proof.boot"), Status::Pass);
    assert_eq!(status(&report, "proof.vsock"), Status::Pass);
    assert_eq!(status(&report, "proof.write"), Status::Fail, "the host sees no answer");
}

#[test]
fn without_a_library_there_is_nothing_to_boot() {
    let mut made = Made::new();
    made.options.boot = true;
    let report = report(&made);
    assert!(check(&report, "proof.boot").summary.contains("there is no libkrun"));
}
