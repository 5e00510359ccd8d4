//! The whole report of machines that are made up, as text and as JSON: tests/doctor/machines/*.
//!
//! `KRUNDL_UPDATE=1 cargo test --test doctor` writes them anew; what differs is then for the eye, in the diff.

#![cfg(target_arch = "x86_64")]

use std::fs;
use std::path::{Path, PathBuf};

use krundl::doctor::{Format, Style};
use krundl_test_support::stubs::Stub;
use serde_json::Value;

use super::{Made, asks_for, validate};

/// Compares with what is checked in.
fn assert_as_before(name: &str, made: &Made) {
    let report = made.report();
    validate(&report);
    compare(name, "txt", &made.without_root(&report.render(Format::Text(Style::default()))));
    let mut json = serde_json::to_value(&report).expect("plain data");
    settle(&mut json);
    compare(name, "json", &made.without_root(&format!("{json:#}\n")));
}

/// Leaves out what differs from one run to the next, and the long lists of what is not there.
fn settle(json: &mut Value) {
    for pointer in ["/attempts", "/firmware/attempts"] {
        if let Some(Value::Array(attempts)) = json.pointer_mut(pointer) {
            attempts.retain(|attempt| attempt["error"]["kind"] != "missing");
        }
    }
    let identity = json.pointer_mut("/library/identity");
    if let Some(identity) = identity {
        *identity = Value::String("[identity]".to_owned());
    }
    for pointer in ["/library/functions", "/library/support"] {
        if let Some(all) = json.pointer_mut(pointer) {
            let count = all.as_object().map_or(0, serde_json::Map::len);
            *all = Value::String(format!("[{count} functions]"));
        }
    }
}

fn compare(name: &str, extension: &str, now: &str) {
    let file: PathBuf =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/doctor/machines").join(name).with_extension(extension);
    if std::env::var_os("KRUNDL_UPDATE").is_some() {
        fs::create_dir_all(file.parent().expect("a directory")).expect("a directory");
        fs::write(&file, now).expect("a file");
        return;
    }
    let before = fs::read_to_string(&file).unwrap_or_default();
    if before != now {
        let changed = now.lines().zip(before.lines()).find(|(now, before)| now != before);
        panic!("{} differs, first in {changed:?}; KRUNDL_UPDATE=1 writes it anew\n{now}", file.display());
    }
}

#[test]
fn fresh_debian() {
    let mut made = Made::new();
    let kvm = &mut made.world.machine.kvm;
    *kvm = krundl::host::Kvm {
        error: Some("No such file or directory (os error 2)".to_owned()),
        ..krundl::host::Kvm::default()
    };
    assert_as_before("fresh-debian", &made);
}

#[test]
fn fedora_with_everything() {
    let made = Made::new();
    made.distribution("NAME=\"Fedora Linux\"\nID=fedora\n");
    made.install("/usr/lib64", &asks_for(Stub::new("1.19.7"), "libkrunfw.so.5"));
    made.install_firmware("/usr/lib64", 5);
    for name in ["passt", "gvproxy"] {
        use std::os::unix::fs::PermissionsExt;
        let file = made.file(&format!("/usr/bin/{name}"), "#!/bin/sh\n");
        fs::set_permissions(file, fs::Permissions::from_mode(0o755)).expect("a mode");
    }
    assert_as_before("fedora-with-everything", &made);
}

#[test]
fn with_everything_said() {
    let made = Made::new();
    made.install("/usr/lib64", &asks_for(Stub::new("1.18.1"), "libkrunfw.so.5"));
    let report = made.report();
    let text = report.render(Format::Text(Style { verbose: true, ..Style::default() }));
    compare("verbose", "txt", &made.without_root(&text));
    let narrow = report.render(Format::Text(Style { width: Some(60), colour: true, ..Style::default() }));
    compare("narrow", "txt", &made.without_root(&narrow));
}

#[test]
fn arch_without_the_group() {
    let mut made = Made::new();
    made.distribution("NAME=\"Arch Linux\"\nID=arch\n");
    made.install("/usr/lib", &asks_for(Stub::new("1.18.0"), "libkrunfw.so.5"));
    made.install_firmware("/usr/lib", 5);
    made.world.machine.groups = vec![1000];
    made.world.machine.kvm = krundl::host::Kvm {
        exists: true,
        error: Some("Permission denied (os error 13)".to_owned()),
        ..krundl::host::Kvm::default()
    };
    assert_as_before("arch-without-the-group", &made);
}

#[test]
fn opensuse_container_without_the_device() {
    let mut made = Made::new();
    made.distribution("NAME=\"openSUSE Tumbleweed\"\nID=\"opensuse-tumbleweed\"\nID_LIKE=\"opensuse suse\"\n");
    made.file("/run/.containerenv", "");
    made.world.machine.kvm = krundl::host::Kvm {
        error: Some("No such file or directory (os error 2)".to_owned()),
        ..krundl::host::Kvm::default()
    };
    made.world.machine.user = 0;
    assert_as_before("opensuse-container", &made);
}

#[test]
fn alpine_with_an_old_libkrun_and_no_firmware() {
    let made = Made::new();
    made.distribution("NAME=\"Alpine Linux\"\nID=alpine\n");
    made.install("/usr/lib", &asks_for(Stub::new("1.16.0").features(&["init-blob"]), "libkrunfw.so.4"));
    // The one of a newer libkrun is not the one.
    made.install_firmware("/usr/lib", 5);
    assert_as_before("alpine-old", &made);
}

#[test]
fn ubuntu_whose_kvm_runs_no_guests() {
    let mut made = Made::new();
    made.distribution("NAME=Ubuntu\nID=ubuntu\nID_LIKE=debian\n");
    made.file("/proc/cpuinfo", "flags\t\t: fpu hypervisor\n");
    made.world.machine.kvm.modules = vec!["kvm_pvm".to_owned()];
    made.install("/usr/lib/x86_64-linux-gnu", &asks_for(Stub::new("1.19.2"), "libkrunfw.so.5"));
    made.install_firmware("/usr/lib/x86_64-linux-gnu", 5);
    assert_as_before("ubuntu-pvm", &made);
}

#[test]
fn nixos_with_amd_and_few_files() {
    let mut made = Made::new();
    made.distribution("NAME=NixOS\nID=nixos\n");
    made.file("/proc/cpuinfo", "flags\t\t: fpu svm\n");
    made.world.machine.kvm.modules = vec!["kvm_amd".to_owned()];
    made.world.machine.open_files = (Some(1024), Some(4096));
    made.world.machine.landlock = None;
    made.install("/run/current-system/sw/lib", &asks_for(Stub::new("1.17.4"), "libkrunfw.so.5"));
    assert_as_before("nixos-amd", &made);
}

#[test]
fn two_majors_and_an_unfinished_upgrade() {
    let made = Made::new();
    made.install("/usr/lib64", &Stub::new("1.18.1"));
    made.install("/usr/local/lib64", &Stub::new("1.19.7").soname("libkrun.so.2").file_name("libkrun.so.2.0.0"));
    made.install("/usr/local/lib", &Stub::new("1.17.0").file_name("libkrun.so.1"));
    assert_as_before("two-majors", &made);
}

#[test]
fn a_fork_under_a_false_name() {
    let made = Made::new();
    let fork = Stub::new("1.17.4").file_name("libkrun.so.1.9.0").pc_version("1.17.4");
    made.install("/usr/lib64", &fork.with_extra(&["krun_set_egress_policy", "krun_set_snapshot"]));
    assert_as_before("a-fork", &made);
}

#[test]
fn a_crash_before_one_that_works() {
    let made = Made::new();
    made.install("/usr/lib64", &Stub::new("1.18.0").constructor("fprintf(stderr, \"no luck\\n\"); abort();"));
    made.install("/usr/lib", &Stub::new("1.19.7"));
    assert_as_before("a-crash", &made);
}

#[test]
fn another_processors_library() {
    let made = Made::new();
    let mut bytes = fs::read(Stub::new("1.19.7").build().path).expect("a stub");
    bytes[18] = 183;
    made.file("/usr/lib64/libkrun.so.1", bytes);
    made.distribution("NAME=\"Void\"\nID=void\n");
    assert_as_before("another-processor", &made);
}

#[test]
fn a_library_of_the_next_generation_alone() {
    let made = Made::new();
    let next = Stub::new("1.19.7").soname("libkrun.so.2").file_name("libkrun.so.2.0.0");
    made.install("/usr/lib64", &next.without(&["krun_set_root"]).with_extra(&["krun_vm_pause"]));
    assert_as_before("next-generation", &made);
}

#[test]
fn confidential_guests_under_a_plain_name() {
    let made = Made::new();
    made.install("/usr/lib64", &Stub::new("1.19.7").features(&["amd-sev"]));
    assert_as_before("amd-sev", &made);
}

#[test]
fn a_mac_without_libkrun() {
    let mut made = Made::new();
    made.world.machine.is_mac = true;
    made.world.machine.macos_version = Some("15.5".to_owned());
    made.world.machine.hypervisor_framework = Some(true);
    made.world.machine.kvm = krundl::host::Kvm::default();
    assert_as_before("a-mac", &made);
}
