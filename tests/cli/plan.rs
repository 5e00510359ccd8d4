//! `krundl plan`.

use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};

use krundl_test_support::guest_root;
use krundl_test_support::stubs::{Stub, StubLibrary};
use serde_json::{Value, json};
use tempfile::{NamedTempFile, TempDir};

use super::{Said, krundl, said, text};

fn plan(stub: &StubLibrary, spec: &str, json: bool) -> Said {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(spec.as_bytes()).unwrap();
    let mut command = krundl(&["plan", "--library", text(&stub.path), text(file.path())]);
    said(if json { command.arg("--json") } else { &mut command })
}

fn small(root: &TempDir) -> Value {
    json!({"vcpus": 1, "memory_mib": 256, "root": {"dir": root.path()}, "exec": {"path": "/bin/ls", "args": ["a b"]}})
}

#[test]
fn a_plan_is_shown_as_calls_with_their_arguments() {
    let (stub, root, share) = (Stub::new("1.19.0").build(), guest_root(), tempfile::tempdir().unwrap());
    let mut spec = small(&root);
    spec["mounts"] = json!([{"host": share.path(), "read_only": true}]);
    let told = plan(&stub, &spec.to_string(), true);
    assert_eq!((told.status, told.err.as_str()), (0, ""));
    let calls = told.json()["calls"].as_array().unwrap().clone();
    assert!(
        calls.iter().all(|call| call["function"].as_str().unwrap().starts_with("krun_") && call["args"].is_object())
    );
    let of = |function: &str| &calls.iter().find(|call| call["function"] == function).unwrap()["args"];
    assert_eq!(*of("krun_set_vm_config"), json!({"vcpus": 1, "ram_mib": 256}));
    let shared = of("krun_add_virtiofs3");
    assert_eq!(
        (&shared["tag"], &shared["read_only"], &shared["shm_size"]),
        (&json!("mount0"), &json!(true), &json!(0))
    );
    assert_eq!(shared["dir"]["path"], text(&share.path().canonicalize().unwrap()));
    assert_eq!(calls.last().unwrap()["function"], "krun_start_enter");

    let told = plan(&stub, &spec.to_string(), false);
    assert_eq!(told.status, 0);
    for words in ["  1. krun_init_log(", "krun_start_enter()", "mount0 /workspace", "exec \"/bin/ls\" \"a b\""] {
        assert!(told.out.contains(words), "{words} in {}", told.out);
    }
    assert!(stub.calls().iter().all(|call| call.function == "krun_has_feature"), "nothing is started");
}

#[test]
fn five_mistakes_are_five_problems_in_one_answer_each_with_its_field() {
    let (stub, root, share) = (Stub::new("1.17.4").build(), guest_root(), tempfile::tempdir().unwrap());
    let mut spec = small(&root);
    spec["vcpus"] = json!("two");
    spec["snapshot"] = json!([]);
    spec["mounts"] = json!([
        {"host": "/not/there", "guest": "/a"},
        {"host": share.path(), "guest": "relative"},
        {"host": share.path(), "guest": "/workspace", "read_only": true},
    ]);
    let told = plan(&stub, &spec.to_string(), true);
    assert_eq!(told.status, 1);
    let answer = told.json();
    let problems = answer["problems"].as_array().unwrap();
    let mut fields: Vec<&str> = problems.iter().map(|problem| problem["field"].as_str().unwrap()).collect();
    fields.sort_unstable();
    assert_eq!(fields, ["mounts[0].host", "mounts[1].guest", "mounts[2].read_only", "snapshot", "vcpus"]);
    let of = |field: &str| problems.iter().find(|problem| problem["field"] == field).unwrap();
    assert_eq!(of("mounts[2].read_only")["needs"]["function"], "krun_add_virtiofs3");
    assert_eq!(of("mounts[2].read_only")["needs"]["since"], "1.18.0");
    assert_eq!(of("snapshot")["kind"], "not_offered");
    assert!(of("mounts[0].host")["reason"].as_str().unwrap().contains("/not/there does not exist"));
    assert_eq!((&answer["error"]["code"], &answer["error"]["name"]), (&json!(200), &json!("invalid_spec")));

    let told = plan(&stub, &spec.to_string(), false);
    assert_eq!((told.status, told.out.as_str()), (1, ""));
    assert!(fields.iter().all(|field| told.err.contains(&format!("\n  {field}: "))), "{}", told.err);
}

#[test]
fn what_only_the_library_cannot_do_has_a_code_of_its_own() {
    let (stub, root) = (Stub::new("1.10.0").build(), guest_root());
    let mut spec = small(&root);
    spec["root"]["read_only"] = json!(true);
    let answer = plan(&stub, &spec.to_string(), true).json();
    assert_eq!(answer["error"]["name"], "unsupported");
    assert_eq!(answer["problems"][0]["field"], "root.read_only");
}

#[test]
fn what_no_libkrun_has_and_what_this_one_lacks_is_never_ignored() {
    let (stub, root) = (Stub::new("1.19.7").features(&[]).build(), guest_root());
    let image = root.path().join("disk.img");
    std::fs::write(&image, [0; 512]).unwrap();
    for (field, value, kind) in [
        ("snapshot", json!({}), "not_offered"),
        ("pause", json!(true), "not_offered"),
        ("networks", json!([]), "invalid"),
        ("disks", json!([{"path": image}]), "unsupported"),
        ("gpu", json!({}), "unsupported"),
        ("sound", json!(true), "unsupported"),
        ("smbios_oem_strings", json!(["a"]), "unsupported"),
    ] {
        let mut spec = small(&root);
        spec[field] = value;
        let answer = plan(&stub, &spec.to_string(), true).json();
        let problems = answer["problems"].as_array().unwrap_or_else(|| panic!("{field} is ignored"));
        assert_eq!(problems.len(), 1, "{answer}");
        assert!(problems[0]["field"].as_str().unwrap().starts_with(field), "{answer}");
        assert_eq!(problems[0]["kind"], kind, "{answer}");
    }
}

#[test]
fn a_spec_comes_from_standard_input_too_and_one_that_cannot_be_read_is_wrong_use() {
    let (stub, root) = (Stub::new("1.19.7").build(), guest_root());
    let mut command: Command = krundl(&["plan", "--json", "--library", text(&stub.path), "-"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(small(&root).to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && String::from_utf8(output.stdout).unwrap().contains("krun_start_enter"));

    let missing = root.path().join("missing.json");
    let told = said(&mut krundl(&["plan", "--library", text(&stub.path), text(&missing)]));
    assert_eq!(told.status, 2);
    assert!(told.err.contains(text(&missing)), "{}", told.err);

    let told = plan(&stub, "{\"vcpus\": ", true);
    assert_eq!((told.status, &told.json()["problems"][0]["field"]), (1, &json!("(the whole spec)")));
}

#[test]
fn without_a_library_the_answer_has_the_attempts() {
    let (empty, root) = (tempfile::tempdir().unwrap(), guest_root());
    let spec = root.path().join("spec.json");
    fs::write(&spec, small(&root).to_string()).unwrap();
    let told = said(krundl(&["plan", "--json", text(&spec)]).env("KRUNDL_LIBRARY_DIR", empty.path()));
    let answer = told.json();
    assert_eq!((told.status, &answer["error"]["name"]), (1, &json!("library_not_found")));
    assert!(!answer["attempts"].as_array().unwrap().is_empty());
    assert_eq!(answer["problems"], json!([]));
}
