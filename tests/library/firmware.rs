//! Which libkrunfw a libkrun asks for, and where it is found.

use std::fs;
use std::os::unix::fs::symlink;

use krundl::error::{AttemptKind, Origin};
use krundl::library::{Environment, Options};
use krundl_test_support::stubs::Stub;

use super::{cc, make_firmware, mentions_firmware, only, opened, refusal, rooted, temp};

#[test]
fn it_is_found_beside_libkrun_and_answers() {
    let stub = mentions_firmware("1.18.0", "libkrunfw.so.5").build();
    make_firmware(&stub.dir.join("libkrunfw.so.5.4.0"), 5);
    symlink("libkrunfw.so.5.4.0", stub.dir.join("libkrunfw.so.5")).unwrap();
    let mut found = opened(&only(&stub.link)).observation().firmware.clone();
    assert_eq!(found.wanted.as_deref(), Some("libkrunfw.so.5"), "{}", found.evidence);
    assert_eq!(found.path, Some(stub.dir.join("libkrunfw.so.5")));
    assert_eq!((found.linked, found.preload, found.abi), (false, true, None));
    assert_eq!(found.file_version.as_deref(), Some("5.4.0"));
    // SAFETY: a library of ours.
    unsafe { found.ask(true) };
    assert_eq!(found.abi, Some(5));
    let kernel = found.kernel.unwrap();
    assert_eq!((kernel.load_address, kernel.size), (0x100_0000, 4096));
}

#[test]
fn the_loaders_places_come_first_and_impostors_are_passed_over() {
    let stub = mentions_firmware("1.18.0", "libkrunfw.so.5").build();
    let (_temp, root) = temp();
    fs::write(stub.dir.join("libkrunfw.so.5"), "text").unwrap();
    cc(&root.join("usr/lib64/libkrunfw.so.5"), "int other(void) { return 0; }", &["-Wl,-soname,libkrunfw.so.5"]);
    make_firmware(&root.join("usr/lib/libkrunfw.so.5"), 4);
    make_firmware(&root.join("usr/local/lib/libkrunfw.so.5"), 5);
    let found = opened(&Options { environment: rooted(&root), ..only(&stub.link) }).observation().firmware.clone();
    assert_eq!(found.path, Some(root.join("usr/local/lib/libkrunfw.so.5")));
    let why: Vec<String> =
        found.attempts.iter().filter_map(|attempt| Some(attempt.error.as_ref()?.message.clone())).collect();
    for words in ["a text file", "no krunfw_get_kernel", "its soname is libkrunfw.so.4"] {
        assert!(why.iter().any(|why| why.contains(words)), "{words} in {why:?}");
    }
    make_firmware(&root.join("loader/libkrunfw.so.5"), 5);
    let loader_path = Some(format!("relative:{}", root.join("loader").display()).into());
    let environment = Environment { loader_path, ..rooted(&root) };
    let found = opened(&Options { environment, ..only(&stub.link) }).observation().firmware.clone();
    assert_eq!(found.path, Some(root.join("loader/libkrunfw.so.5")));
    assert_eq!(found.attempts.last().unwrap().origin, Origin::Loader);
}

#[test]
fn one_that_is_nowhere_is_asked_for_at_the_loader() {
    let stub = mentions_firmware("1.18.0", "libkrunfw.so.77").build();
    let mut found = opened(&only(&stub.link)).observation().firmware.clone();
    assert_eq!((found.path.clone(), found.preload), (None, false));
    // SAFETY: there is none.
    unsafe { found.ask(true) };
    let last = found.attempts.last().unwrap();
    assert_eq!((last.candidate.as_str(), last.origin), ("libkrunfw.so.77", Origin::Loader));
    assert_eq!(last.error.as_ref().unwrap().kind, AttemptKind::Missing);
}

#[test]
fn an_old_libkrun_that_is_linked_with_it_is_helped() {
    let stub = Stub::new("1.9.5").needs_missing("libkrunfw.so.4").build();
    let error = refusal(&only(&stub.link));
    assert_eq!(error.kind, AttemptKind::MissingDependency);
    let beside = stub.dir.join("libkrunfw.so.4");
    assert!(error.message.contains(&format!("nor is it any of {}", beside.display())), "{}", error.message);
    make_firmware(&beside, 4);
    let found = opened(&only(&stub.link)).observation().firmware.clone();
    assert_eq!((found.wanted.as_deref(), found.linked, found.preload), (Some("libkrunfw.so.4"), true, true));
    assert_eq!(found.path, Some(beside));
}

#[test]
fn one_that_was_loaded_by_path_is_what_libkrun_is_given() {
    let stub = mentions_firmware("1.18.0", "libkrunfw.so.66").build();
    let beside = stub.dir.join("libkrunfw.so.66");
    make_firmware(&beside, 66);
    let by_soname = || {
        // SAFETY: a library of ours, opened the way libkrun does it.
        let handle = unsafe { libc::dlopen(c"libkrunfw.so.66".as_ptr(), libc::RTLD_LAZY) };
        !handle.is_null()
    };
    let found = opened(&only(&stub.link)).observation().firmware.clone();
    assert!(found.preload && !by_soname());
    // SAFETY: a library of ours.
    unsafe { found.preload() }.unwrap();
    assert!(by_soname());
}

#[test]
fn run_paths_of_libkrun_count_as_the_loaders() {
    let (_temp, root) = temp();
    let library = root.join("lib/libkrun.so.1");
    let source = "int krun_create_ctx(void) { return 0; } const char *wanted = \"libkrunfw-sev.so.5\";";
    cc(&library, source, &["-Wl,--enable-new-dtags,-rpath,$ORIGIN/fw:/nowhere", "-Wl,-soname,libkrun-sev.so.1"]);
    let beside = root.join("lib/libkrunfw-sev.so.5");
    make_firmware(&beside, 5);
    fs::create_dir(root.join("lib/fw")).unwrap();
    fs::rename(&beside, root.join("lib/fw/libkrunfw-sev.so.5")).unwrap();
    let found = opened(&only(&library)).observation().firmware.clone();
    assert_eq!(found.path, Some(root.join("lib/fw/libkrunfw-sev.so.5")));
    // Its soname is another, so loading it early would be of no use; the loader takes it by itself.
    assert_eq!((found.preload, found.attempts[0].origin), (false, Origin::Loader));
}
