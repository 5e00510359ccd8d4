//! What the file of a libkrun proves that was read and not opened.

use std::collections::BTreeMap;

use super::version::{self, Version};
use crate::library::{FileFormat, Observation};
use crate::symbols::{Build, Feature, Function, FunctionSet, Without};

/// Which release it is, of a file made for any system.
pub fn version_of_file(observation: &Observation, format: FileFormat) -> Version {
    version::judge_for(observation, format == FileFormat::Elf)
}

/// What these functions prove that their library was built with, or without. A feature that they do not prove is not
/// there: only `krun_has_feature` knows, and that takes opening it.
pub fn features_of_functions(functions: FunctionSet) -> BTreeMap<Feature, bool> {
    let newest = functions.iter().map(Function::since).max();
    let proved = |feature: Feature, build: Build| {
        // Only of these there is never a stub.
        let telling = || {
            let of_build = Function::ALL.iter().copied().filter(move |function| function.symbol().build == build);
            of_build.filter(|function| function.symbol().without == Without::Absent)
        };
        if telling().any(|function| functions.contains(function)) {
            return Some((feature, true));
        }
        let since = telling().map(Function::since).min()?;
        newest.as_ref().is_some_and(|newest| *newest >= since).then_some((feature, false))
    };
    [
        (Feature::Net, Build::Net),
        (Feature::Blk, Build::Blk),
        (Feature::Tee, Build::Tee),
        (Feature::AmdSev, Build::AmdSev),
        (Feature::AwsNitro, Build::Nitro),
    ]
    .into_iter()
    .filter_map(|(feature, build)| proved(feature, build))
    .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(functions: &[Function]) -> BTreeMap<Feature, bool> {
        features_of_functions(functions.iter().copied().collect())
    }

    #[test]
    fn a_function_that_no_other_build_has_is_proof() {
        let features = of(&[Function::krun_create_ctx, Function::krun_add_disk, Function::krun_add_net_tap]);
        assert!(features[&Feature::Blk]);
        assert!(features[&Feature::Net]);
        assert!(!features[&Feature::Tee], "a build of that age for such guests has krun_set_tee_config_file");
    }

    #[test]
    fn absence_is_proof_only_where_the_release_is_new_enough() {
        assert!(!of(&[Function::krun_add_virtiofs3])[&Feature::Net]);
        // 1.13.0 has the functions of network cards in every build, as stubs that refuse.
        assert_eq!(of(&[Function::krun_init_log, Function::krun_set_passt_fd]).get(&Feature::Net), None);
        assert_eq!(of(&[Function::krun_create_ctx]).get(&Feature::Blk), None);
        assert!(!of(&[Function::krun_add_virtiofs3]).contains_key(&Feature::Gpu), "its functions are always there");
    }
}
