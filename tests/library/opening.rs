//! What is observed about an opened library.

use std::fs;

use krundl::error::Origin;
use krundl::library::{FeatureState, FileReport, Flavour, Library, Observation, inspect};
use krundl::symbols::{Feature, Function, FunctionSet, Functions};
use krundl_test_support::stubs::Stub;

use super::{cc, only, opened, temp};

#[test]
fn everything_about_a_library_is_observed() {
    let stub = Stub::new("1.18.0")
        .pc_version("1.18.0")
        .features(&["net", "blk"])
        .with_extra(&["krun_set_egress_policy"])
        .build();
    let library = opened(&only(&stub.link));
    let seen = library.observation();
    assert_eq!((&seen.path, &seen.real_path), (&stub.link, &stub.path));
    assert_eq!((seen.candidate.as_str(), seen.origin), (stub.link.to_str().unwrap(), Origin::Explicit));
    assert_eq!((seen.soname.as_deref(), seen.soname_major), (Some("libkrun.so.1"), Some(1)));
    assert_eq!((seen.flavour, seen.architecture.as_str()), (Flavour::Plain, std::env::consts::ARCH));
    assert!(seen.needed.iter().any(|name| name.starts_with("libc.so")), "{:?}", seen.needed);
    assert_eq!(seen.exported_unknown, ["krun_set_egress_policy"]);
    assert!(seen.functions.contains(Function::krun_add_virtiofs3));
    assert!(!seen.functions.contains(Function::krun_add_virtiofs4));
    assert_eq!(seen.functions, library.functions().present());
    assert!(seen.missing_in_file.is_empty() && seen.missing_in_loader.is_empty());
    let pc = seen.pkg_config.as_ref().unwrap();
    assert_eq!((&pc.path, pc.version.as_str()), (&stub.dir.join("pkgconfig/libkrun.pc"), "1.18.0"));
    assert_eq!(seen.firmware.wanted, None);
    let report: FileReport = inspect(&stub.path).unwrap();
    assert_eq!(report.identity, seen.identity);
    let back: Observation = serde_json::from_str(&serde_json::to_string(seen).unwrap()).unwrap();
    assert_eq!(back, *seen);
}

#[test]
fn a_changed_file_is_told_by_its_identity() {
    let stub = Stub::new("1.18.0").build();
    let before = opened(&only(&stub.link)).observation().identity.clone();
    assert_eq!(before.difference(&inspect(&stub.link).unwrap().identity), None);
    let again = Stub::new("1.18.0").build_in(&stub.dir);
    assert!(before.difference(&inspect(&again.link).unwrap().identity).is_some());
}

#[test]
fn a_feature_has_four_states() {
    let state = |stub: &Stub, feature| opened(&only(&stub.build().link)).observation().features[&feature];
    let known = Stub::new("1.17.4").features(&["net"]);
    assert_eq!(state(&known, Feature::Net), FeatureState::Yes);
    assert_eq!(state(&known, Feature::Gpu), FeatureState::No);
    assert_eq!(state(&known, Feature::InitBlob), FeatureState::Unknown);
    assert_eq!(state(&Stub::new("1.16.0"), Feature::Net), FeatureState::Unasked);
    assert_eq!(state(&Stub::new("1.17.4").without(&["krun_start_enter"]), Feature::Net), FeatureState::Unasked);
}

#[test]
fn another_generation_is_opened_and_not_called() {
    for stub in [
        Stub::new("1.19.0").soname("libkrun.so.2").build(),
        Stub::new("1.19.0").no_soname().file_name("libkrun.so.2.0.0").build(),
    ] {
        let library = opened(&only(&stub.path));
        assert_eq!(library.observation().soname_major, Some(2));
        assert_eq!(library.observation().features[&Feature::Net], FeatureState::Unasked);
        assert!(stub.calls().is_empty());
    }
}

#[test]
fn a_variant_is_told_by_file_name_or_soname() {
    let flavour = |stub: &Stub| opened(&only(&stub.build().path)).observation().flavour;
    assert_eq!(flavour(&Stub::new("1.18.0").file_name("libkrun-sev.so.1.18.0")), Flavour::Sev);
    assert_eq!(flavour(&Stub::new("1.18.0").file_name("my.so").soname("libkrun-awsnitro.so.1")), Flavour::AwsNitro);
    assert_eq!(flavour(&Stub::new("1.18.0").file_name("my.so").no_soname()), Flavour::Plain);
}

#[test]
fn functions_of_another_libkrun_do_not_count() {
    let whole = Stub::new("1.18.0").no_soname().build();
    let (_temp, dir) = temp();
    let part = dir.join("libkrun.so.1");
    let source = "int krun_create_ctx(void) { return 77; }";
    cc(&part, source, &["-Wl,--no-as-needed", whole.path.to_str().unwrap()]);
    let library = opened(&only(&part));
    assert_eq!(library.observation().functions, FunctionSet::from_iter([Function::krun_create_ctx]));
    // SAFETY: the function above.
    assert_eq!(unsafe { library.functions().krun_create_ctx.unwrap()() }, 77);
}

#[test]
fn what_the_file_offers_and_the_loader_does_not_find_is_listed() {
    // The name is changed in the file's table of strings; the loader looks for it by its hash.
    let stub = Stub::new("1.18.0").without(&["krun_free_ctx"]).with_extra(&["krun_fake_ctx"]).build();
    let bytes = fs::read(&stub.path).unwrap();
    let text: Vec<u8> = bytes.clone();
    let at = text.windows(14).position(|name| name == b"krun_fake_ctx\0").unwrap();
    let mut changed = bytes;
    changed[at..at + 13].copy_from_slice(b"krun_free_ctx");
    let path = stub.dir.join("changed.so");
    fs::write(&path, changed).unwrap();
    let library = opened(&only(&path));
    let seen = library.observation();
    assert_eq!(seen.missing_in_loader, FunctionSet::from_iter([Function::krun_free_ctx]));
    assert!(!seen.functions.contains(Function::krun_free_ctx) && seen.exported_unknown.is_empty());
}

#[test]
fn a_library_without_section_headers_opens() {
    let stub = Stub::new("1.18.0").build();
    let mut bytes = fs::read(&stub.path).unwrap();
    // e_shoff, and e_shnum with e_shstrndx.
    bytes[0x28..0x30].fill(0);
    bytes[0x3c..0x40].fill(0);
    let path = stub.dir.join("bare.so");
    fs::write(&path, bytes).unwrap();
    let report = inspect(&path).unwrap();
    assert_eq!((report.soname.as_deref(), report.exports), (Some("libkrun.so.1"), None));
    let library = opened(&only(&path));
    assert!(library.observation().functions.contains(Function::krun_add_virtiofs3));
    assert!(library.observation().missing_in_file.is_empty());
}

#[test]
fn two_libkruns_live_in_one_process() {
    let (old, new) = (Stub::new("1.9.5").build(), Stub::new("1.19.3").build());
    let (first, second) = (opened(&only(&old.link)), opened(&only(&new.link)));
    let create = |library: &Library| library.functions().krun_create_ctx.unwrap();
    // SAFETY: functions of stubs.
    unsafe {
        assert!(create(&second)() >= 0 && create(&second)() >= 0 && create(&first)() >= 0);
    }
    assert_eq!((old.calls_of("krun_create_ctx").len(), new.calls_of("krun_create_ctx").len()), (1, 2));
    assert!(first.functions().krun_add_virtiofs4.is_none() && second.functions().krun_add_virtiofs4.is_some());
}

#[test]
fn a_table_needs_no_file() {
    unsafe extern "C" fn create() -> i32 {
        5
    }
    let mut functions = Functions::default();
    functions.krun_create_ctx = Some(create);
    let library = Library::from_table(functions, Observation::of_table(&functions));
    assert_eq!(library.observation().functions, FunctionSet::from_iter([Function::krun_create_ctx]));
    assert_eq!(library.observation().features[&Feature::Net], FeatureState::Unasked);
    // SAFETY: the function above.
    assert_eq!(unsafe { library.functions().krun_create_ctx.unwrap()() }, 5);
}
