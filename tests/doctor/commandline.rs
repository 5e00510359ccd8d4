//! `krundl doctor` as it is typed: exit status, forms, lists.

use std::process::{Command, Output};

use krundl::doctor::{CATALOG, Format};
use krundl_test_support::stubs::Stub;
use serde_json::Value;

use super::Made;

fn krundl(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_krundl")).arg("doctor").args(arguments).output().expect("krundl runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

#[test]
fn the_exit_status_is_0_1_or_2() {
    let stub = Stub::new("1.17.4").build();
    let library = stub.path.display().to_string();
    let with = |more: &[&str]| krundl(&[&["--library", &library], more].concat()).status.code();
    assert_eq!(with(&["--only", "mounts"]), Some(0));
    assert_eq!(with(&["--only", "mounts.read_only"]), Some(0), "a warning is no failure");
    assert_eq!(with(&["--only", "mounts.read_only", "--strict"]), Some(1));
    assert_eq!(krundl(&["--library", "/nowhere.so", "--only", "library"]).status.code(), Some(1));
    for wrong in [
        &["--only", "nothing"][..],
        &["--explain", "nothing"],
        &["--compare", "x"],
        &["--mount", ":/x"],
        &["--format", "xml"],
        &["--nonsense"],
    ] {
        let output = krundl(wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{wrong:?}");
    }
}

#[test]
fn json_has_the_paths_that_are_promised() {
    let stub = Stub::new("1.18.0").build();
    let output = krundl(&["--json", "--library", &stub.link.display().to_string()]);
    let json: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for path in [
        "/schema_version",
        "/library/path",
        "/library/real_path",
        "/library/flavour",
        "/library/generation",
        "/library/version/range",
        "/library/version/evidence/0",
        "/library/functions/krun_add_virtiofs3",
        "/library/features/blk",
        "/library/unknown_functions",
        "/levels/virtiofs",
        "/levels/disk",
        "/attempts/0/candidate",
        "/attempts/0/origin",
        "/attempts/0/error",
        "/checks/0/id",
        "/checks/0/status",
        "/checks/0/summary",
        "/checks/0/detail",
        "/checks/0/fix",
    ] {
        assert!(json.pointer(path).is_some(), "{path}");
    }
    assert_eq!(json["library"]["functions"]["krun_add_virtiofs4"], false);
    assert_eq!(json["library"]["features"]["blk"], "yes");
    assert_eq!(json["levels"]["virtiofs"], 3);
    let same = krundl(&["--format", "json", "--library", &stub.link.display().to_string()]);
    assert_eq!(same.stdout, output.stdout);
}

#[test]
fn text_that_goes_to_a_program_has_neither_colours_nor_progress() {
    let output = krundl(&["--library", "/nowhere.so"]);
    assert!(!stdout(&output).contains('\u{1b}') && output.stderr.is_empty(), "{output:?}");
    let text = stdout(&output);
    let (before, trouble) = text.split_once("\nIn the way\n").expect("what is in the way comes last");
    assert!(before.contains("FAIL  library.found") && trouble.contains("fix: "), "{text}");
    assert!(text.trim_end().ends_with("fail"), "{text}");
}

#[test]
fn every_check_is_listed_and_explained() {
    let list = stdout(&krundl(&["--list"]));
    for info in CATALOG {
        assert!(list.contains(&format!("  {} ", info.id)), "{} is not listed", info.id);
        let explained = stdout(&krundl(&["--explain", info.id.name()]));
        assert!(explained.contains(info.remedy) && explained.contains(info.means), "{explained}");
    }
}

#[test]
fn labels_are_legal_and_tell_read_only_mounts() {
    let mut made = Made::new();
    let stub = Stub::new("1.18.0").file_name("libkrun.so.1").build();
    made.named(&stub.path);
    let labels = made.report().render(Format::Nfd);
    let legal = |text: &str| {
        let ends = |c: char| c.is_ascii_alphanumeric();
        text.len() <= 63
            && text.starts_with(ends)
            && text.ends_with(ends)
            && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
    };
    for line in labels.lines().filter(|line| !line.starts_with('#')) {
        let (name, value) = line.split_once('=').expect("a label");
        assert!(legal(name) && legal(value), "{line}");
    }
    for line in ["krundl-mounts.read-only=true", "krundl-libkrun.at-least=1.18.0", "krundl-level.virtiofs=3"] {
        assert!(labels.lines().any(|one| one == line), "{line}: {labels}");
    }
    let mut none = Made::new();
    let has = |made: &Made, line: &str| made.report().render(Format::Nfd).lines().any(|one| one == line);
    assert!(has(&none, "krundl-libkrun=false") && has(&none, "krundl-kvm=true"));
    if cfg!(target_arch = "x86_64") {
        none.world.machine.kvm.modules = vec!["kvm_pvm".to_owned()];
        assert!(has(&none, "krundl-kvm=false"), "it answers, and runs no ordinary guests");
    }
}

#[test]
fn metrics_end_as_openmetrics_does_and_name_every_check() {
    let made = Made::new();
    let report = made.report();
    let metrics = report.render(Format::OpenMetrics);
    assert!(metrics.ends_with("# EOF\n"));
    for check in &report.checks {
        let line = format!("krundl_check{{id=\"{}\",status=\"{}\"}} 1", check.id, check.status);
        assert!(metrics.lines().any(|one| one == line), "{line}");
    }
    let mut families: Vec<&str> = metrics.lines().filter_map(|line| line.strip_prefix("# TYPE ")).collect();
    families.sort_unstable();
    let count = families.len();
    families.dedup();
    assert_eq!(families.len(), count, "each family is told once");
}

#[test]
fn a_redacted_report_names_nobody() {
    let output = Command::new(env!("CARGO_BIN_EXE_krundl"))
        .args(["doctor", "--redact", "--json", "--library", "/home/anna/lib/libkrun.so.1"])
        .env("HOME", "/home/anna")
        .env("USER", "anna")
        .output()
        .expect("krundl runs");
    let text = stdout(&output);
    assert!(!text.contains("anna") && text.contains("~/lib/libkrun.so.1"), "{text}");
    serde_json::from_str::<Value>(&text).expect("it is still JSON");
}
