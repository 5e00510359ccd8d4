//! Libraries that no release ever was: every subset of the functions that the negotiation chooses between.

use krundl::plan::{Call, Plan};
use krundl::symbols::{Function as F, FunctionSet};
use krundl::{Capabilities, VmSpec, negotiate};
use serde_json::json;

use super::{host, library, mounts, spec, with_functions};

const CHOICES: [F; 12] = [
    F::krun_set_root,
    F::krun_add_virtiofs,
    F::krun_add_virtiofs2,
    F::krun_add_virtiofs3,
    F::krun_add_virtiofs4,
    F::krun_fs_add_overlay_dir,
    F::krun_fs_add_overlay_file,
    F::krun_init_log,
    F::krun_disable_implicit_vsock,
    F::krun_add_vsock,
    F::krun_disable_implicit_console,
    F::krun_add_virtio_console_multiport,
];

/// A release with exactly these of the choices.
fn subset(release: FunctionSet, bits: usize) -> Capabilities {
    let chosen = |f: &F| CHOICES.iter().position(|choice| choice == f).is_none_or(|n| bits & 1 << n != 0);
    with_functions(release.iter().filter(chosen))
}

fn wishes() -> [VmSpec; 6] {
    [
        spec(json!({})),
        spec(json!({"root": {"dir": "/srv/root", "dax_mib": 512}})),
        spec(json!({"root": {"dir": "/srv/root", "read_only": true}})),
        spec(json!({"kernel": {"path": "/boot/vmlinux"}})),
        mounts(json!([{"host": "/a", "guest": "/a"}, {"host": "/b", "guest": "/b", "dax_mib": 4}])),
        mounts(json!([{"host": "/a", "read_only": true, "semantics": "simplified"}])),
    ]
}

/// What holds of every plan, whatever the library.
fn check(plan: &Plan, there: FunctionSet) {
    let used: FunctionSet = plan.calls.iter().map(Call::function).collect();
    assert!(used.is_subset(there), "calls what is not there: {:?}", used.difference(there));
    let count = |function: F| plan.calls.iter().filter(|call| call.function() == function).count();
    assert_eq!(count(F::krun_init_log) + count(F::krun_set_log_level), 1, "both together abort");
    assert_eq!((count(F::krun_create_ctx), count(F::krun_set_exec), count(F::krun_start_enter)), (1, 1, 1));
    assert_eq!(plan.calls.last(), Some(&Call::StartEnter {}));
    assert!(count(F::krun_add_vsock) <= count(F::krun_disable_implicit_vsock), "EEXIST otherwise");
    assert!(count(F::krun_add_virtio_console_default) <= count(F::krun_disable_implicit_console));
    let virtiofs = FunctionSet::from_iter([F::krun_add_virtiofs2, F::krun_add_virtiofs3, F::krun_add_virtiofs4]);
    assert!(count(F::krun_set_root) == 0 || there.intersection(virtiofs).is_empty(), "something else carries it");
}

#[test]
fn no_plan_uses_what_is_not_there_and_more_functions_never_mean_less() {
    let newest = library("1.19.7").observation.functions;
    let libraries: Vec<Capabilities> = (0..1 << CHOICES.len()).map(|bits| subset(newest, bits)).collect();
    for wish in wishes() {
        let findings = host(&wish);
        let granted: Vec<bool> = libraries
            .iter()
            .map(|library| match negotiate(&wish, &findings, library) {
                Ok(plan) => {
                    check(&plan, library.observation.functions);
                    true
                }
                Err(problems) => {
                    assert!(!problems.is_empty());
                    false
                }
            })
            .collect();
        assert!(granted.contains(&true) && granted.contains(&false), "a wish that shows nothing: {wish:?}");
        for (bits, _) in granted.iter().enumerate().filter(|(_, granted)| **granted) {
            for n in 0..CHOICES.len() {
                assert!(granted[bits | 1 << n], "{wish:?}: refused because {} is there as well", CHOICES[n]);
            }
        }
    }
}
