//! `krundl doctor`. What it says of this machine's KVM is left open: the tests run anywhere.

use krundl_test_support::stubs::Stub;
use serde_json::{Value, json};

use super::{krundl, said, text};

fn check<'a>(report: &'a Value, id: &str) -> &'a Value {
    report["checks"].as_array().unwrap().iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("no {id}"))
}

#[test]
fn a_library_is_described_in_json_and_in_words() {
    let stub = Stub::new("1.18.0").features(&["blk"]).build();
    let told = said(&mut krundl(&["doctor", "--json", "--library", text(&stub.path)]));
    let report = told.json();
    assert_eq!(report["schema_version"], 1);
    let library = &report["library"];
    assert_eq!(library["real_path"], text(&stub.path));
    assert_eq!((&library["generation"], &library["origin"]), (&json!("one"), &json!("explicit")));
    assert_eq!(library["version"]["range"], "=1.18.0");
    assert_eq!(library["functions"]["krun_add_virtiofs3"], true);
    assert_eq!(library["functions"]["krun_add_virtiofs4"], false);
    assert_eq!((&library["features"]["blk"], &library["features"]["net"]), (&json!("yes"), &json!("no")));
    assert_eq!(
        report["levels"],
        json!({"virtiofs": 3, "disk": 3, "net": 0, "vsock": 3, "console": 3, "kernel": 2, "overlay": 0})
    );
    assert_eq!(report["attempts"].as_array().unwrap().len(), 1);
    for id in ["library.found", "library.version", "mounts", "mounts.read_only"] {
        assert_eq!(check(&report, id)["status"], "pass", "{id}");
    }
    check(&report, "kvm");
    let bad = |check: &Value| check["status"] == "fail" || check["status"] == "crash";
    let fails = report["checks"].as_array().unwrap().iter().any(bad);
    assert_eq!(told.status, i32::from(fails));

    let told = said(&mut krundl(&["doctor", "--library", text(&stub.path)]));
    for words in ["libkrun =1.18.0: ", "virtiofs 3/4", "net 0/2", "blk yes", "not there: ", "krun_add_virtiofs4"] {
        assert!(told.out.contains(words), "{words} in {}", told.out);
    }
    assert_eq!(told.status, i32::from(told.out.contains("  FAIL  ")));
    let all = said(&mut krundl(&["doctor", "-v", "--library", text(&stub.path)])).out;
    let line = |name: &str| all.lines().find(|line| line.trim_start().starts_with(name)).expect(name).to_owned();
    assert!(
        line("krun_add_virtiofs4 ").contains("no ") && line("krun_add_virtiofs4 ").contains("since 1.19.3"),
        "{all}"
    );
    assert!(line("krun_create_ctx ").contains("yes "), "{all}");
}

#[test]
fn an_older_library_is_told_what_it_lacks_and_since_when_that_is_there() {
    let stub = Stub::new("1.17.4").build();
    let report = said(&mut krundl(&["doctor", "--json", "--library", text(&stub.path)])).json();
    let read_only = check(&report, "mounts.read_only");
    assert_eq!(read_only["status"], "warn");
    assert!(read_only["fix"].as_str().unwrap().contains("1.18.0"), "{read_only}");
}

#[test]
fn nothing_found_fails_with_every_attempt() {
    let empty = tempfile::tempdir().unwrap();
    let told = said(krundl(&["doctor", "--json"]).env("KRUNDL_LIBRARY_DIR", empty.path()));
    let report = told.json();
    assert_eq!((told.status, &report["library"]), (1, &Value::Null));
    let library = check(&report, "library.found");
    assert_eq!(library["status"], "fail");
    assert!(library["fix"].as_str().unwrap().contains("install libkrun"), "{library}");
    let attempts = report["attempts"].as_array().unwrap();
    assert!(attempts.len() > 4);
    for attempt in attempts {
        assert!(attempt["candidate"].as_str().unwrap().starts_with(text(empty.path())));
        assert_eq!((&attempt["origin"], &attempt["error"]["kind"]), (&json!("env_directory"), &json!("missing")));
    }
    let told = said(krundl(&["doctor"]).env("KRUNDL_LIBRARY_DIR", empty.path()));
    assert_eq!(told.status, 1);
    assert!(told.out.contains("FAIL  library.found") && told.out.contains("(KRUNDL_LIBRARY_DIR): "), "{}", told.out);
}

#[test]
fn a_library_that_crashes_does_not_take_the_doctor_along() {
    let stub = Stub::new("1.18.0").constructor("fprintf(stderr, \"out of luck\\n\"); abort();").build();
    let told = said(krundl(&["doctor"]).env("KRUNDL_LIBRARY", &stub.path));
    assert_eq!(told.status, 1);
    for words in ["SIGABRT", "out of luck", text(&stub.path)] {
        assert!(told.out.contains(words), "{words} in {}", told.out);
    }
}

#[test]
fn another_generation_is_reported_and_fails() {
    let stub = Stub::new("1.19.7").file_name("libkrun.so.2.0.0").soname("libkrun.so.2").build();
    let told = said(&mut krundl(&["doctor", "--json", "--library", text(&stub.path)]));
    let report = told.json();
    assert_eq!((told.status, &report["library"]["generation"]), (1, &json!("unknown")));
    assert_eq!(check(&report, "library.generation")["status"], "fail");
    assert_eq!(stub.calls(), [], "not a single function of it was called");
}

#[test]
fn a_helper_that_cannot_be_had_is_said() {
    let stub = Stub::new("1.18.0").build();
    let told = said(krundl(&["doctor", "--library", text(&stub.path)]).env("KRUNDL_VMM", "/not/there"));
    assert_eq!(told.status, 1);
    assert!(told.out.contains("/not/there") && told.out.contains("KRUNDL_VMM"), "{}", told.out);
}
