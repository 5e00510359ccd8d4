//! What krundl says of real libkruns, built from their published crates: 1.18.0 to 1.19.7, with and without features,
//! and the flavour for AMD SEV. What is expected comes from the data files (tests/data), not from the code under test.
//!
//! `cargo xtask test` builds them and names them in `KRUNDL_TEST_REAL`, one `RELEASE FEATURE,FEATURE DIRECTORY` a line.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use krundl_test_support::stubs::Stub;
use libtest_mimic::{Arguments, Trial};
use semver::{Version, VersionReq};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A real libkrun.
#[derive(Clone)]
struct Real {
    release: String,
    features: Vec<String>,
    dir: PathBuf,
}

type Case = (&'static str, fn(&Real));

const CASES: &[Case] = &[
    ("its_functions_are_those_of_its_release_and_features", its_functions_are_those_of_its_release_and_features),
    ("it_says_which_features_it_has", it_says_which_features_it_has),
    ("a_name_with_the_release_tells_it_exactly", a_name_with_the_release_tells_it_exactly),
    ("without_such_a_name_its_functions_tell_a_range", without_such_a_name_its_functions_tell_a_range),
    ("a_libkrun_pc_that_lies_is_a_contradiction", a_libkrun_pc_that_lies_is_a_contradiction),
    ("its_levels_are_those_of_its_functions", its_levels_are_those_of_its_functions),
    ("what_it_was_built_without_is_refused_by_name", what_it_was_built_without_is_refused_by_name),
    ("its_firmware_is_found_beside_it_or_missed", its_firmware_is_found_beside_it_or_missed),
    ("inspecting_its_file_agrees_with_opening_it", inspecting_its_file_agrees_with_opening_it),
];

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let Some(named) = std::env::var("KRUNDL_TEST_REAL").ok().filter(|named| !named.is_empty()) else {
        if !arguments.list {
            eprintln!("skipped: real: needs real libkruns (cargo xtask test)");
        }
        let skipped =
            |(name, _): &Case| Trial::test(*name, || Err("needs real libkruns".into())).with_ignored_flag(true);
        return libtest_mimic::run(&arguments, CASES.iter().map(skipped).collect()).exit_code();
    };
    let reals: Vec<Real> = named.lines().map(Real::parse).collect();
    let trials = reals.iter().flat_map(|real| {
        CASES.iter().map(move |(name, case)| {
            let real = real.clone();
            let shown = format!("{}[{}]::{name}", real.release, real.features.join(","));
            Trial::test(shown, move || {
                case(&real);
                Ok(())
            })
        })
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}

impl Real {
    fn parse(line: &str) -> Real {
        let mut words = line.splitn(3, ' ');
        let mut word = || words.next().expect("RELEASE FEATURES DIRECTORY").to_owned();
        let (release, features) = (word(), word());
        let features = features.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect();
        Real { release, features, dir: word().into() }
    }

    fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|name| name == feature)
            || (feature == "blk" && self.is_sev())
            || feature == "init-blob"
            || (feature == "tee" && self.is_sev())
    }

    fn is_sev(&self) -> bool {
        self.features.iter().any(|name| name == "amd-sev")
    }

    fn version(&self) -> Version {
        self.release.parse().expect("a release")
    }

    /// The functions that such a library has, by the data files.
    fn expected(&self) -> Vec<String> {
        let features: Vec<&str> = self.features.iter().map(String::as_str).chain(["init-blob"]).collect();
        let mut names = Stub::new(&self.release).features(&features).exports();
        names.sort_unstable();
        names
    }

    fn file(&self) -> PathBuf {
        self.dir.join(format!("libkrun.so.{}", self.release))
    }

    /// A directory with a copy of the library under that name.
    fn copy(&self, name: &str) -> (TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let copy = dir.path().join(name);
        fs::copy(self.file(), &copy).expect("a copy");
        (dir, copy)
    }
}

fn json_of(krundl: &mut Command) -> Value {
    let output = krundl.output().expect("krundl runs");
    serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// What the doctor says of the library at `path`.
fn doctor(path: &Path) -> Value {
    let mut krundl = Command::new(env!("CARGO_BIN_EXE_krundl"));
    json_of(krundl.args(["doctor", "--json", "--library"]).arg(path).env_remove("LD_LIBRARY_PATH"))
}

fn range(report: &Value) -> VersionReq {
    report["library"]["version"]["range"].as_str().expect("a range").parse().expect("a requirement")
}

fn status(report: &Value, id: &str) -> String {
    let checks = report["checks"].as_array().expect("checks");
    let check = checks.iter().find(|check| check["id"] == id).unwrap_or_else(|| panic!("no check {id}"));
    check["status"].as_str().expect("a status").to_owned()
}

fn its_functions_are_those_of_its_release_and_features(real: &Real) {
    let report = doctor(&real.file());
    let functions = report["library"]["functions"].as_object().expect("functions");
    let present: Vec<&String> =
        functions.iter().filter(|(_, there)| **there == json!(true)).map(|(name, _)| name).collect();
    assert_eq!(present, real.expected().iter().collect::<Vec<_>>());
    assert_eq!(report["library"]["unknown_functions"], json!([]));
    assert_eq!(report["library"]["generation"], "one");
}

fn it_says_which_features_it_has(real: &Real) {
    let report = doctor(&real.file());
    let knows_init_blob = real.version() >= Version::new(1, 19, 0);
    for (json_name, feature) in [
        ("blk", "blk"),
        ("net", "net"),
        ("tee", "tee"),
        ("amd_sev", "amd-sev"),
        ("gpu", "gpu"),
        ("init_blob", "init-blob"),
    ] {
        let expected = match feature {
            "init-blob" if !knows_init_blob => "unknown",
            feature if real.has(feature) => "yes",
            _ => "no",
        };
        assert_eq!(report["library"]["features"][json_name], expected, "{feature}");
    }
    let flavour = if real.is_sev() { "sev" } else { "plain" };
    assert_eq!(report["library"]["flavour"], flavour, "its soname says libkrun.so.1 in any case");
    assert_eq!(report["library"]["soname"], "libkrun.so.1");
}

fn a_name_with_the_release_tells_it_exactly(real: &Real) {
    // Found by the name that the loader looks for, which is a link.
    let report = doctor(&real.dir.join("libkrun.so.1"));
    assert_eq!(range(&report).to_string(), format!("={}", real.release));
    assert_eq!(report["library"]["version"]["conflicts"], json!([]));
}

fn without_such_a_name_its_functions_tell_a_range(real: &Real) {
    let (_dir, copy) = real.copy("libkrun.so.1");
    let report = doctor(&copy);
    assert!(range(&report).matches(&real.version()), "{}", range(&report));
    assert!(!range(&report).matches(&Version::new(1, 17, 4)), "{}", range(&report));
    let evidence = report["library"]["version"]["evidence"].as_array().expect("evidence");
    assert!(evidence.iter().all(|evidence| evidence["kind"] != "file_name"), "{evidence:#?}");
    assert_eq!(report["library"]["version"]["conflicts"], json!([]));
}

fn a_libkrun_pc_that_lies_is_a_contradiction(real: &Real) {
    let (dir, copy) = real.copy("libkrun.so.1");
    fs::create_dir(dir.path().join("pkgconfig")).expect("a directory");
    let pc = "Name: libkrun\nDescription: of an older installation\nVersion: 1.9.0\n";
    fs::write(dir.path().join("pkgconfig/libkrun.pc"), pc).expect("a file");
    let report = doctor(&copy);
    assert!(range(&report).matches(&real.version()), "the functions count: {}", range(&report));
    let conflicts = report["library"]["version"]["conflicts"].to_string();
    assert!(conflicts.contains("1.9.0"), "{conflicts}");
    assert_eq!(status(&report, "library.version"), "warn");
}

fn its_levels_are_those_of_its_functions(real: &Real) {
    let report = doctor(&real.file());
    let expected = real.expected();
    let count = |names: &[&str]| names.iter().filter(|name| expected.iter().any(|has| has == *name)).count();
    let virtiofs = count(&["krun_add_virtiofs", "krun_add_virtiofs2", "krun_add_virtiofs3", "krun_add_virtiofs4"]);
    assert_eq!(report["levels"]["virtiofs"], virtiofs);
    let disk = count(&["krun_add_disk", "krun_add_disk2", "krun_add_disk3"]);
    assert_eq!(report["levels"]["disk"], disk);
    assert_eq!(status(&report, "mounts.read_only") == "pass", virtiofs >= 3);
}

fn what_it_was_built_without_is_refused_by_name(real: &Real) {
    let (dir, image) = (tempfile::tempdir().expect("a temporary directory"), "disk.img");
    let image = dir.path().join(image);
    fs::write(&image, vec![0; 1 << 20]).expect("an image");
    for place in ["dev", "proc", "sys"] {
        fs::create_dir(dir.path().join(place)).expect("a directory");
    }
    let spec = json!({
        "vcpus": 1, "memory_mib": 1024, "root": {"dir": dir.path()}, "exec": {"path": "/bin/true"},
        "disks": [{"path": image, "format": "raw"}],
        "nics": [{"tap": "krundl-test0"}],
        "mounts": [{"host": dir.path(), "guest": "/tmp", "read_only": true}],
    });
    let file = dir.path().join("spec.json");
    fs::write(&file, spec.to_string()).expect("a file");
    let mut krundl = Command::new(env!("CARGO_BIN_EXE_krundl"));
    let output = krundl.args(["plan", "--library"]).arg(real.file()).arg(&file).output().expect("krundl runs");
    let said = String::from_utf8(output.stderr).expect("text");
    for (function, there) in [
        ("krun_add_disk", real.has("blk")),
        ("krun_add_net_tap", real.has("net")),
        ("krun_add_virtiofs3", !real.is_sev()),
    ] {
        let line = said.lines().find(|line| line.contains(&format!("needs {function} ")));
        assert_eq!(line.is_none(), there, "{function}: {said}");
        if let Some(line) = line {
            assert!(line.contains(&format!("libkrun ={}", real.release)) && line.contains("fix: "), "{line}");
        }
    }
}

fn its_firmware_is_found_beside_it_or_missed(real: &Real) {
    let wanted = if real.is_sev() { "libkrunfw-sev.so.5" } else { "libkrunfw.so.5" };
    let (_alone, copy) = real.copy("libkrun.so.1");
    let report = doctor(&copy);
    assert_eq!(report["firmware"]["wanted"], wanted);
    assert_eq!((report["firmware"]["path"].clone(), status(&report, "firmware.found").as_str()), (Value::Null, "fail"));
    if real.is_sev() {
        return; // Nobody publishes that one where it can be fetched from.
    }
    let firmware = PathBuf::from(std::env::var_os("KRUNDL_TEST_FIRMWARE").expect("KRUNDL_TEST_FIRMWARE"));
    let (dir, copy) = real.copy("libkrun.so.1");
    symlink(firmware.join(wanted), dir.path().join(wanted)).expect("a link");
    let report = doctor(&copy);
    assert_eq!(status(&report, "firmware.found"), "pass", "{:#}", report["firmware"]);
    assert_eq!(status(&report, "firmware.answers"), "pass");
    assert_eq!(report["firmware"]["abi"], 5);
    assert!(report["firmware"]["kernel"]["release"].as_str().is_some_and(|release| release.starts_with("6.")));
}

fn inspecting_its_file_agrees_with_opening_it(real: &Real) {
    let mut krundl = Command::new(env!("CARGO_BIN_EXE_krundl"));
    let report = json_of(krundl.args(["inspect", "--json"]).arg(real.file()));
    let text = report.to_string();
    let missing: Vec<String> =
        real.expected().into_iter().filter(|name| !text.contains(&format!("\"{name}\""))).collect();
    assert_eq!(missing, [""; 0], "{report:#}");
}
