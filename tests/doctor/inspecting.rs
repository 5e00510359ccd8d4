//! `krundl inspect`: any file, any architecture, an image's root.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use krundl::doctor::{inspect, inspect_root};
use krundl::library::{FeatureState, FileFormat};
use krundl::symbols::Function;
use krundl_test_support::stubs::Stub;
use serde_json::Value;

fn krundl(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_krundl")).arg("inspect").args(arguments).output().expect("krundl runs")
}

#[test]
fn a_library_is_described_without_being_opened() {
    let stub = Stub::new("1.18.0").constructor("abort();").with_extra(&["krun_vm_pause"]).build();
    let output = krundl(&["--json", &stub.path.display().to_string()]);
    assert!(output.status.success(), "{output:?}");
    let files: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let part = &files[0]["parts"][0];
    assert_eq!(part["architecture"], std::env::consts::ARCH);
    assert_eq!(part["soname"], "libkrun.so.1");
    assert_eq!(part["functions"]["krun_add_virtiofs3"], true);
    assert_eq!(part["functions"]["krun_add_virtiofs4"], false);
    assert_eq!(part["unknown_functions"][0], "krun_vm_pause");
    assert_eq!((part["format"].as_str(), part["flavour"].as_str()), (Some("elf"), Some("plain")));
    assert_eq!(part["version"]["range"], "=1.18.0");
    assert!(part["version"]["evidence"].as_array().is_some_and(|evidence| evidence.len() > 2), "{part}");
    assert_eq!(part["features"]["net"], true);
    assert_eq!(part["features"]["gpu"], Value::Null, "only the library itself could tell");
    let output = krundl(&[&stub.path.display().to_string()]);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("\n  libkrun       =1.18.0\n"), "{text}");
}

#[test]
fn a_file_that_is_opened_tells_the_same_release() {
    for release in ["1.6.0", "1.9.5", "1.13.0", "1.16.0", "1.17.4", "1.18.1", "1.19.2", "1.19.7"] {
        let stub = Stub::new(release).build();
        let part = inspect(std::slice::from_ref(&stub.path), None).remove(0).parts.remove(0);
        let options = krundl::ProbeOptions {
            library: Some(stub.path.clone()),
            helper: Some(env!("CARGO_BIN_EXE_krundl-vmm").into()),
            ..krundl::ProbeOptions::default()
        };
        let opened = krundl::probe_isolated(&options).expect("a libkrun").capabilities;
        assert_eq!(part.version.map(|version| version.range), Some(opened.version.range.to_string()), "{release}");
        for (feature, has) in part.features {
            let told = opened.feature(feature);
            let agrees = match told {
                FeatureState::Yes => has,
                FeatureState::No => !has,
                FeatureState::Unknown | FeatureState::Unasked => true,
            };
            assert!(agrees, "{release}: {feature} is {has} by its functions, and {told:?} as it says itself");
        }
    }
}

#[test]
fn what_is_no_libkrun_is_of_no_release() {
    let part = inspect(&[PathBuf::from("/bin/sh")], None).remove(0).parts.remove(0);
    assert_eq!((part.version, part.flavour), (None, None));
    assert!(part.features.is_empty());
}

#[test]
fn another_architecture_is_read_all_the_same() {
    let stub = Stub::new("1.19.7").build();
    let mut bytes = fs::read(&stub.path).expect("a stub");
    bytes[18] = if cfg!(target_arch = "aarch64") { 62 } else { 183 };
    let foreign = stub.dir.join("foreign.so");
    fs::write(&foreign, bytes).expect("a file");
    let inspected = inspect(&[foreign], None).remove(0);
    let expected = if cfg!(target_arch = "aarch64") { "x86_64" } else { "aarch64" };
    assert_eq!(inspected.parts[0].architecture, expected);
    assert!(inspected.parts[0].functions.as_ref().is_some_and(|functions| functions[&Function::krun_add_virtiofs4]));
}

/// A Mach-O dylib with one exported function and an install name.
fn dylib(cpu: u32, install_name: &str, function: &str) -> Vec<u8> {
    let word = |value: u32| value.to_le_bytes().to_vec();
    let mut name = install_name.as_bytes().to_vec();
    name.resize(name.len() / 8 * 8 + 8, 0);
    let id = [word(0xd), word(24 + name.len() as u32), word(24), word(1), word(0), word(0), name].concat();
    let segment_size = 72 + 80;
    let symtab_size = 24;
    let head = 32 + id.len() + segment_size + symtab_size;
    let mut strings = vec![0];
    strings.extend_from_slice(format!("_{function}\0").as_bytes());
    let padded = |text: &str| {
        let mut bytes = text.as_bytes().to_vec();
        bytes.resize(16, 0);
        bytes
    };
    let long = |value: u64| value.to_le_bytes().to_vec();
    let header =
        [word(0xfeed_facf), word(cpu), word(0), word(6), word(3), word((head - 32) as u32), word(0), word(0)].concat();
    let segment = [
        word(0x19),
        word(segment_size as u32),
        padded("__TEXT"),
        long(0),
        long(0x1000),
        long(0),
        long(head as u64),
        word(5),
        word(5),
        word(1),
        word(0),
    ]
    .concat();
    // A section of code, which the function lies in.
    let section = [
        padded("__text"),
        padded("__TEXT"),
        long(0),
        long(0),
        word(0),
        word(0),
        word(0),
        word(0),
        word(0x8000_0400),
        word(0),
        word(0),
        word(0),
    ]
    .concat();
    let symtab =
        [word(2), word(24), word(head as u32), word(1), word(head as u32 + 16), word(strings.len() as u32)].concat();
    // n_type: defined in section 1, external.
    let symbol = [word(1), vec![0x0f, 1, 0, 0], long(0)].concat();
    [header, id, segment, section, symtab, symbol, strings].concat()
}

/// A file with parts for both of Apple's architectures.
fn fat(parts: &[(u32, Vec<u8>)]) -> Vec<u8> {
    let word = |value: u32| value.to_be_bytes().to_vec();
    let mut head = [word(0xcafe_babe), word(parts.len() as u32)].concat();
    let mut body = Vec::new();
    for (cpu, bytes) in parts {
        let offset = 0x100 + body.len() as u32;
        head.extend([word(*cpu), word(0), word(offset), word(bytes.len() as u32), word(4)].concat());
        body.extend_from_slice(bytes);
        body.resize(body.len().next_multiple_of(16), 0);
    }
    head.resize(0x100, 0);
    [head, body].concat()
}

#[test]
fn a_dylib_with_two_architectures_is_read_on_linux() {
    const X86_64: u32 = 0x0100_0007;
    const ARM64: u32 = 0x0100_000c;
    let dir = tempfile::tempdir().expect("a directory");
    let name = "/opt/homebrew/lib/libkrun.1.dylib";
    let parts = [X86_64, ARM64].map(|cpu| (cpu, dylib(cpu, name, "krun_add_virtiofs3")));
    let file = dir.path().join("libkrun.1.dylib");
    fs::write(&file, fat(&parts)).expect("a file");
    let inspected = inspect(&[file], None).remove(0);
    assert_eq!(inspected.error, None);
    let seen: Vec<(&str, Option<&str>)> =
        inspected.parts.iter().map(|part| (part.architecture.as_str(), part.soname.as_deref())).collect();
    assert_eq!(seen, [("x86_64", Some("libkrun.1.dylib")), ("aarch64", Some("libkrun.1.dylib"))]);
    for part in &inspected.parts {
        assert!(part.functions.as_ref().is_some_and(|functions| functions[&Function::krun_add_virtiofs3]), "{part:?}");
        assert_eq!(part.format, FileFormat::MachO);
        assert_eq!(part.version.as_ref().map(|version| version.range.as_str()), Some("*"), "one function is a fork");
    }
}

#[test]
fn an_images_root_is_searched_and_its_links_do_not_lead_out() {
    let root = tempfile::tempdir().expect("a directory");
    let lib = root.path().join("usr/lib64");
    Stub::new("1.18.0").build_in(&lib);
    // As images have them: absolute, and meant in the image.
    fs::remove_file(lib.join("libkrun.so.1")).expect("the relative link removed");
    symlink("/usr/lib64/libkrun.so.1.18.0", lib.join("libkrun.so.1")).expect("a link");
    let found = inspect_root(root.path());
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].path, Path::new("/usr/lib64/libkrun.so.1"));
    assert_eq!(found[0].real_path.as_deref(), Some(Path::new("/usr/lib64/libkrun.so.1.18.0")));
    assert_eq!(found[0].error, None);
    let named = inspect(&[PathBuf::from("/usr/lib64/libkrun.so.1")], Some(root.path()));
    assert_eq!(named, found);
}

#[test]
fn what_is_no_library_is_said_and_is_status_1() {
    let output = krundl(&["/etc/hostname", "/nowhere.so"]);
    assert_eq!(output.status.code(), Some(1));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("/nowhere.so\n  no such file"), "{text}");
    assert_eq!(krundl(&[]).status.code(), Some(2), "used wrongly");
}
