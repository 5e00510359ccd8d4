//! Every release since 1.8.0, in every build: what is said of it is what the data of libkrun's releases says.

use std::collections::BTreeSet;
use std::sync::Mutex;

use krundl::capabilities::Support;
use krundl::doctor::Status;
use krundl_test_support::stubs::{Stub, releases};
use semver::{Version, VersionReq};

use super::{Made, check, validate};

/// The builds, by the features that they are made with.
const BUILDS: &[&[&str]] = &[
    &["init-blob"],
    &["blk", "init-blob"],
    &["net", "init-blob"],
    &["blk", "net", "init-blob"],
    &["amd-sev"],
    &["aws-nitro"],
];

/// The steps of each level, by name: what docs call level 1, 2, 3 ...
const LEVELS: &[(&str, &[&str])] = &[
    ("virtiofs", &["krun_add_virtiofs", "krun_add_virtiofs2", "krun_add_virtiofs3", "krun_add_virtiofs4"]),
    ("disk", &["krun_add_disk", "krun_add_disk2", "krun_add_disk3"]),
    ("vsock", &["krun_add_vsock_port", "krun_add_vsock_port2", "krun_add_vsock"]),
    ("console", &["krun_set_console_output", "krun_add_virtio_console_default", "krun_add_virtio_console_multiport"]),
    ("overlay", &["krun_fs_add_overlay_file"]),
];

/// Checks that rest on one function each.
const ABILITIES: &[(&str, &str)] = &[
    ("mounts", "krun_add_virtiofs"),
    ("mounts.read_only", "krun_add_virtiofs3"),
    ("mounts.ownership", "krun_add_virtiofs4"),
    ("mounts.overlay", "krun_fs_add_overlay_file"),
    ("readiness", "krun_add_vsock_port"),
    ("control", "krun_add_vsock_port2"),
    ("console", "krun_add_virtio_console_default"),
    ("disks", "krun_add_disk"),
    ("network", "krun_add_net_unixstream"),
];

/// A release and build as the data has it.
struct Case {
    version: Version,
    features: &'static [&'static str],
    stub: Stub,
    exports: BTreeSet<String>,
}

impl Case {
    /// Whether anything that can be seen tells the two releases apart, in the same build.
    fn looks_like(&self, other: &Case) -> bool {
        // The one number that krun_has_feature learned after it came.
        let knows_init_blob =
            |case: &Case| case.exports.contains("krun_has_feature") && case.version >= Version::new(1, 19, 0);
        self.exports == other.exports && knows_init_blob(self) == knows_init_blob(other)
    }

    /// Builds for confidential guests and enclaves lack most of what tells releases apart.
    fn is_ordinary(&self) -> bool {
        self.features.contains(&"init-blob")
    }
}

fn cases() -> Vec<Case> {
    let first = Version::new(1, 8, 0);
    let versions = releases().into_iter().map(|release| release.version.parse::<Version>().expect("a version"));
    let versions: Vec<Version> = versions.filter(|version| *version >= first).collect();
    let of = |version: &Version, features: &'static [&'static str]| {
        // A name that does not carry the release: what is told is told by the functions.
        let stub = Stub::new(&version.to_string()).features(features).file_name("libkrun.so.1");
        Case { version: version.clone(), features, exports: stub.exports().into_iter().collect(), stub }
    };
    versions.iter().flat_map(|version| BUILDS.iter().map(|features| of(version, features))).collect()
}

#[test]
fn each_release_and_build_is_described_as_the_data_says() {
    let all = cases();
    assert!(all.len() > 150, "{} cases", all.len());
    // Releases with the same functions are one stub, so they are one case; the others are told apart by it.
    let mut distinct: Vec<&Case> = Vec::new();
    for case in &all {
        if !distinct.iter().any(|known| known.features == case.features && known.looks_like(case)) {
            distinct.push(case);
        }
    }
    let queue = Mutex::new(distinct.into_iter());
    let next = || queue.lock().expect("no panic while it is held").next();
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(|| {
                while let Some(case) = next() {
                    judge(case, &all);
                }
            });
        }
    });
}

fn judge(case: &Case, all: &[Case]) {
    let what = format!("{} {:?}", case.version, case.features);
    let mut made = Made::new();
    let library = case.stub.build_in(&made.at("/opt"));
    made.named(&library.path);
    let report = made.report();
    validate(&report);
    let library = report.library.as_ref().unwrap_or_else(|| panic!("{what}: {:?}", report.attempts));

    let there: BTreeSet<String> =
        library.functions.iter().filter(|(_, there)| **there).map(|(function, _)| function.to_string()).collect();
    assert_eq!(there, case.exports, "{what}");

    let levels = report.levels.as_ref().expect("levels").named();
    let refusing: BTreeSet<String> = case.stub.refusing().into_iter().collect();
    for (name, steps) in LEVELS {
        let expected = steps.iter().rposition(|step| case.exports.contains(*step)).map_or(0, |at| at + 1);
        let level = levels.iter().find(|(level, ..)| level == name).expect("a level").1;
        assert_eq!(usize::from(level), expected, "{what}: {name}");
    }
    for (id, function) in ABILITIES {
        let is_there = case.exports.contains(*function);
        assert_eq!(check(&report, id).status == Status::Pass, is_there, "{what}: {id}");
        let fix = check(&report, id).fix.as_deref();
        assert!(is_there || fix.is_some_and(|fix| fix.contains("libkrun")), "{what}: {id}: {fix:?}");
    }
    for (function, support) in &library.support {
        let refuses = refusing.contains(function.name());
        let expected: &[Support] = if refuses {
            &[Support::Refuses, Support::NoEffect, Support::Unknown]
        } else {
            &[Support::Yes, Support::Unknown]
        };
        assert!(expected.contains(support), "{what}: {function} is {support:?}");
        let can_be_asked = case.exports.contains("krun_has_feature");
        assert!(!can_be_asked || *support != Support::Unknown, "{what}: {function} can be told");
    }

    let range: VersionReq = library.version.range.parse().expect("a requirement");
    assert_eq!(library.version.conflicts, [""; 0], "{what}");
    for other in all.iter().filter(|other| other.features == case.features) {
        let same = other.looks_like(case);
        let matches = range.matches(&other.version);
        assert!(matches || !same, "{what}: {range} leaves out {}", other.version);
        assert!(!matches || same || !case.is_ordinary(), "{what}: {range} takes {} in", other.version);
    }
}

#[test]
fn a_file_name_that_carries_the_release_narrows_it_to_that() {
    let mut made = Made::new();
    let stub = Stub::new("1.18.1").build_in(&made.at("/usr/lib64"));
    made.named(&stub.link);
    let report = made.report();
    assert_eq!(report.library.as_ref().expect("it opens").version.range, "=1.18.1");
    let evidence = &check(&report, "library.version").evidence;
    assert!(evidence.iter().any(|known| known.by.name() == "file_name"), "{evidence:?}");
}

#[test]
fn a_pkg_config_file_that_lies_is_a_contradiction_and_counts_for_nothing() {
    let mut made = Made::new();
    let stub = Stub::new("1.18.0").file_name("libkrun.so.1").pc_version("1.19.0").build_in(&made.at("/usr/lib64"));
    made.named(&stub.path);
    let report = made.report();
    assert_eq!(report.library.as_ref().expect("it opens").version.range, ">=1.18.0, <1.19.0");
    let check = check(&report, "library.version");
    assert_eq!(check.status, Status::Warn);
    assert!(check.detail.as_deref().is_some_and(|detail| detail.contains("libkrun.pc says 1.19.0")), "{check:?}");
}
