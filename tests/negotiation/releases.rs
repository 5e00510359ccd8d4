//! Every release since 1.8.0, built with and without blk and net, against the tables in tests/data.

use krundl::capabilities::Generation;
use krundl::symbols::Function as F;
use krundl::{Capabilities, VmSpec};
use krundl_test_support::stubs::releases;
use semver::Version;
use serde_json::json;

use super::{built, function, mounts, refusals, since, spec};

const BUILDS: [&[&str]; 4] = [&[], &["blk"], &["net"], &["blk", "net"]];

fn version(release: &str) -> Version {
    release.parse().unwrap()
}

fn all_since_1_8() -> impl Iterator<Item = (String, &'static [&'static str], Capabilities)> {
    let recent = releases().into_iter().map(|release| release.version).skip_while(|version| version != "1.8.0");
    recent.flat_map(|release| {
        BUILDS.into_iter().map(move |features| (release.clone(), features, built(&release, features)))
    })
}

#[test]
fn every_release_is_recognised_by_its_functions() {
    let mut seen = 0;
    for (release, features, library) in all_since_1_8() {
        assert_eq!(library.generation, Generation::One, "{release} {features:?}");
        let range = &library.version.range;
        assert!(range.matches(&version(&release)), "{release} {features:?} is not in {range}");
        assert_eq!(library.version.conflicts, [""; 0], "{release} {features:?}");
        assert!(
            library.version.evidence.len() >= 2,
            "bounded from below, and from above or by what is gone: {release}"
        );
        seen += 1;
    }
    assert!(seen >= 4 * 27, "only {seen} builds");
}

/// The function that makes each level, and the feature without which a build does not have it.
const LEVELS: [(&str, &str, &[&str]); 7] = [
    ("virtiofs", "", &["krun_add_virtiofs", "krun_add_virtiofs2", "krun_add_virtiofs3", "krun_add_virtiofs4"]),
    ("disk", "blk", &["krun_add_disk", "krun_add_disk2", "krun_add_disk3"]),
    ("net", "net", &["krun_set_passt_fd", "krun_add_net_unixstream"]),
    ("vsock", "", &["krun_add_vsock_port", "krun_add_vsock_port2", "krun_add_vsock"]),
    (
        "console",
        "",
        &["krun_set_console_output", "krun_add_virtio_console_default", "krun_add_virtio_console_multiport"],
    ),
    ("kernel", "", &["krun_set_kernel", "krun_set_firmware"]),
    ("overlay", "", &["krun_fs_add_overlay_file"]),
];

#[test]
fn levels_are_those_of_the_release_and_build() {
    for (release, features, library) in all_since_1_8() {
        let told = library.levels.named();
        for ((name, feature, steps), (told_name, level, top)) in LEVELS.into_iter().zip(told) {
            assert_eq!((name, usize::from(top)), (told_name, steps.len()));
            let brought = steps.iter().filter(|step| version(&since(function(step))) <= version(&release)).count();
            let expected = if feature.is_empty() || features.contains(&feature) {
                brought
            } else if name == "net" && version(&release) < version("1.15.0") {
                // These builds export functions that refuse, and nothing tells that they do.
                assert!(library.doubts.iter().any(|doubt| doubt.group == "net"), "{release} {features:?}");
                1
            } else {
                0
            };
            assert_eq!(usize::from(level), expected, "{name} of {release} {features:?}");
        }
    }
}

#[test]
fn each_wish_is_granted_from_the_release_that_brought_its_function_on() {
    let mount = |wish: serde_json::Value| {
        let mut mount = json!({"host": "/srv/data"});
        mount.as_object_mut().unwrap().extend(wish.as_object().unwrap().clone());
        mounts(json!([mount]))
    };
    let wishes: [(VmSpec, &[(&str, F)]); 6] = [
        (mount(json!({})), &[("mounts[0].host", F::krun_add_virtiofs)]),
        (mount(json!({"dax_mib": 64})), &[("mounts[0].dax_mib", F::krun_add_virtiofs2)]),
        (mount(json!({"read_only": true})), &[("mounts[0].read_only", F::krun_add_virtiofs3)]),
        (mount(json!({"semantics": "simplified"})), &[("mounts[0].semantics", F::krun_add_virtiofs4)]),
        (spec(json!({"root": {"dir": "/srv/root", "read_only": true}})), &[("root.read_only", F::krun_add_virtiofs3)]),
        (
            spec(json!({"kernel": {"path": "/boot/vmlinux"}})),
            &[("kernel", F::krun_disable_implicit_vsock), ("kernel", F::krun_set_kernel)],
        ),
    ];
    let mut seen = [0, 0];
    for (release, features, library) in all_since_1_8() {
        for (spec, needed) in &wishes {
            let missing = needed.iter().filter(|(_, function)| version(&since(*function)) > version(&release));
            let expected: Vec<_> = missing.map(|(field, function)| (*field, *function, since(*function))).collect();
            let problems = refusals(spec, &library);
            let told: Vec<_> = problems
                .iter()
                .map(|problem| {
                    let needs = problem.needs.clone().expect("the function that is missing");
                    (problem.field.as_str(), needs.function, needs.since)
                })
                .collect();
            assert_eq!(told, expected, "{release} {features:?}");
            for problem in &problems {
                assert!(problem.reason.contains("this is libkrun"), "names what the library is: {problem}");
            }
            seen[usize::from(expected.is_empty())] += 1;
        }
    }
    assert!(seen.iter().all(|n| *n > 100), "refused and granted: {seen:?}");
}
