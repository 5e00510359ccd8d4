//! Any spec, any library: what holds of every plan.

use std::cell::Cell;

use krundl::library::{FeatureState, Observation};
use krundl::plan::Plan;
use krundl::spec::{Findings, MountPoint};
use krundl::symbols::{Feature, Function as F, FunctionSet, Functions};
use krundl::{Capabilities, VmSpec, negotiate};
use krundl_test_support::stubs::{Stub, releases};
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::test_runner::{Config, RngSeed, TestRunner};

use super::any::{self, Taste};
use super::laws;
use super::{function, host};

/// A library that no release need ever have been.
#[derive(Clone, Debug)]
struct Library {
    functions: FunctionSet,
    features: Vec<(Feature, FeatureState)>,
    architecture: &'static str,
}

impl Library {
    fn capabilities(&self) -> Capabilities {
        Capabilities::judge(Observation {
            functions: self.functions,
            features: self.features.iter().copied().collect(),
            architecture: self.architecture.to_owned(),
            ..Observation::of_table(&Functions::default())
        })
    }
}

fn some_functions(most: usize) -> impl Strategy<Value = FunctionSet> {
    vec(select(F::ALL), 0..most).prop_map(FromIterator::from_iter)
}

/// A release and a build, a few functions taken away and a few put in.
fn library() -> impl Strategy<Value = Library> {
    let releases: Vec<String> = releases().into_iter().map(|release| release.version).collect();
    let first = releases.iter().position(|release| release == "1.8.0").unwrap();
    // The newest as often as all the others.
    let release = prop_oneof![select(releases[first..].to_vec()), Just("1.19.7".to_owned())];
    let built = subsequence(vec!["blk", "net", "gpu", "snd", "input", "init-blob", "tee"], 0..=6);
    let answers = btree_map(select(Feature::ALL), select(FeatureState::ALL), 0..Feature::ALL.len());
    let architecture = prop_oneof![4 => Just("x86_64"), 1 => Just("aarch64")];
    (release, built, some_functions(8), some_functions(4), answers, architecture).prop_map(
        |(release, built, less, more, answers, architecture)| Library {
            functions: Stub::new(&release)
                .features(&built)
                .exports()
                .iter()
                .map(|name| function(name))
                .collect::<FunctionSet>()
                .difference(less)
                .union(more),
            features: answers.into_iter().collect(),
            architecture,
        },
    )
}

/// A host that has what the spec names, with any mount points.
fn findings(spec: &VmSpec, points: &[MountPoint], shell: bool) -> Findings {
    let mut findings = host(spec);
    findings.no_shell_mount = (!shell).then(|| "there is no shell".to_owned());
    for (n, mount) in findings.mounts.iter_mut().enumerate() {
        mount.point = points[n % points.len()];
        mount.within = (n > 0 && n % 2 == 0).then(|| n - 1);
    }
    findings
}

/// A spec and what its host says.
fn wish() -> impl Strategy<Value = (VmSpec, Findings)> {
    let point = select(vec![MountPoint::Exists, MountPoint::MissingTop, MountPoint::MissingBelow, MountPoint::Device]);
    // Rich ones, and such as are granted more often.
    let spec = prop_oneof![any::spec(0.04), any::spec(0.15), any::spec(0.5)];
    (spec, vec(point, 1..4), prop::bool::weighted(0.8)).prop_map(|(spec, points, shell)| {
        let findings = findings(&spec, &points, shell);
        (spec, findings)
    })
}

fn check<S: Strategy>(cases: u32, strategy: &S, property: impl Fn(S::Value) -> Result<(), TestCaseError>) {
    // The same specs and libraries in every run, but for KRUNDL_TEST_SEED: what is new is looked for on purpose.
    let seed = std::env::var("KRUNDL_TEST_SEED").map_or(1, |seed| seed.parse().expect("KRUNDL_TEST_SEED is a number"));
    let config = Config { cases, failure_persistence: None, rng_seed: RngSeed::Fixed(seed), ..Config::default() };
    TestRunner::new(config).run(strategy, property).unwrap_or_else(|error| panic!("{error}"));
}

#[test]
fn a_plan_keeps_the_laws_and_calls_only_what_is_there_and_works() {
    let granted = Cell::new(0);
    check(1000, &(wish(), library()), |((spec, findings), library)| {
        let capabilities = library.capabilities();
        match negotiate(&spec, &findings, &capabilities) {
            Ok(plan) => {
                granted.set(granted.get() + 1);
                well_made(&plan, &capabilities)?;
            }
            Err(problems) => {
                prop_assert!(!problems.is_empty());
                let fields = any::fields();
                for problem in problems {
                    let known = fields.iter().any(|field| problem.field.starts_with(field.as_str()));
                    prop_assert!(known || problem.field == "(the library)", "{problem:?}");
                    prop_assert!(!problem.reason.is_empty());
                }
            }
        }
        Ok(())
    });
    assert!((100..900).contains(&granted.get()), "{} of 1000 were granted", granted.get());
}

fn well_made(plan: &Plan, capabilities: &Capabilities) -> Result<(), TestCaseError> {
    use krundl::capabilities::Support;
    let functions: Vec<F> = plan.calls.iter().map(krundl::plan::Call::function).collect();
    let broken = laws::broken(&functions);
    prop_assert!(broken.is_empty(), "{broken:?} in {functions:?}");
    for function in functions {
        let support = capabilities.support(function);
        prop_assert!(matches!(support, Support::Yes | Support::Unknown), "{function}: {support:?}");
    }
    let json = serde_json::to_string(plan).unwrap();
    prop_assert_eq!(&serde_json::from_str::<Plan>(&json).unwrap(), plan);
    Ok(())
}

/// Functions by which a build is told: they are answers, not means.
const TELLING: [F; 1] = [F::krun_set_tee_config_file];

#[test]
fn more_functions_never_refuse_more() {
    let won = Cell::new(0);
    check(1000, &(wish(), library(), some_functions(30)), |((spec, findings), library, more)| {
        let more = more.difference(FunctionSet::from_iter(TELLING));
        // What keeps ports closed is a release before 1.17.0, and any later function proves a later one.
        if spec.tsi.as_ref().is_some_and(|tsi| tsi.only_ports) {
            return Ok(());
        }
        let richer = Library { functions: library.functions.union(more), ..library.clone() };
        let [before, after] = [&library, &richer].map(|library| negotiate(&spec, &findings, &library.capabilities()));
        match (before, after) {
            (Ok(_), Err(problems)) => {
                let new = richer.functions.difference(library.functions);
                return Err(TestCaseError::fail(format!("{new:?} made it refuse {problems:#?}")));
            }
            (Err(_), Ok(_)) => won.set(won.get() + 1),
            _ => {}
        }
        Ok(())
    });
    assert!(won.get() > 20, "only {} wishes came true by more functions", won.get());
}

#[test]
fn a_spec_survives_json_both_ways() {
    check(500, &any::spec_json(Taste { wild: true, density: 0.5 }), |json| {
        let spec: VmSpec = serde_json::from_value(json.clone())
            .map_err(|error| TestCaseError::fail(format!("what the schema allows is not read: {error}")))?;
        let again = VmSpec::from_json(&spec.to_json()).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(&again, &spec);
        prop_assert_eq!(VmSpec::from_json(&json.to_string()).unwrap(), spec);
        Ok(())
    });
}
