//! What another release would add.

use semver::Version;
use serde::Serialize;

use crate::capabilities::Capabilities;
use crate::symbols::{Build, Function, FunctionSet};

/// What a release has and a library has not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Comparison {
    /// The release.
    pub release: String,
    /// What it would bring, in words: `read-only mounts` for example.
    pub brings: Vec<String>,
    /// Functions that it has and the library has not.
    pub gains: Vec<Gain>,
    /// Functions that the library has and the release has not.
    pub losses: Vec<Function>,
}

/// A function that would be there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Gain {
    /// The function.
    pub function: Function,
    /// Its first release.
    pub since: String,
    /// What the release has to be built with or for.
    pub built_with: Option<String>,
    /// What it does.
    pub meaning: String,
}

/// In words, what the functions are for that make a difference to a user of krundl.
const BRINGS: &[(Function, &str)] = &[
    (Function::krun_add_virtiofs, "mounts"),
    (Function::krun_add_virtiofs2, "DAX windows of a chosen size"),
    (Function::krun_add_virtiofs3, "read-only mounts"),
    (Function::krun_add_virtiofs4, "ownership semantics of mounts"),
    (Function::krun_fs_add_overlay_file, "init overlay (any root will do)"),
    (Function::krun_add_vsock_port, "a guest that says that it is up"),
    (Function::krun_add_virtio_console_default, "explicit standard streams"),
    (Function::krun_set_kernel, "kernels of your own"),
    (Function::krun_disable_implicit_vsock, "kernels of your own without tsi_hijack"),
    (Function::krun_add_disk, "disk images"),
    (Function::krun_add_disk2, "qcow2 images"),
    (Function::krun_add_net_unixstream, "several network cards"),
    (Function::krun_init_log, "a log of its own"),
    (Function::krun_has_feature, "the library's own word on its features"),
];

/// Compares with a release that the table covers.
///
/// # Errors
/// It is no release, or one that krundl does not know.
pub(super) fn compare(capabilities: Option<&Capabilities>, release: &str) -> Result<Comparison, String> {
    let version: Version =
        release.parse().map_err(|_| format!("{release:?} is no release; fix: give one such as {}", newest()))?;
    if version > newest() {
        return Err(format!("krundl knows libkrun's releases up to {}, not {version}", newest()));
    }
    let present = capabilities.map_or(FunctionSet::new(), |capabilities| capabilities.observation.functions);
    let of_release: FunctionSet = Function::ALL.iter().copied().filter(|f| is_in(*f, &version)).collect();
    // An ordinary build of the release is compared with: one for other machines has functions of its own.
    let ordinary = |function: &Function| {
        !matches!(function.symbol().build, Build::Tee | Build::AmdSev | Build::Nitro | Build::Platform)
    };
    let gained: FunctionSet = of_release.difference(present).iter().filter(ordinary).collect();
    let gain = |function: Function| {
        let symbol = function.symbol();
        Gain {
            function,
            since: symbol.since.to_owned(),
            built_with: symbol.built_with.map(str::to_owned),
            meaning: symbol.meaning.to_owned(),
        }
    };
    let brought = BRINGS.iter().filter(|(function, _)| gained.contains(*function));
    Ok(Comparison {
        release: version.to_string(),
        brings: brought.map(|(_, words)| (*words).to_owned()).collect(),
        gains: gained.iter().map(gain).collect(),
        losses: present.difference(of_release).iter().collect(),
    })
}

/// The newest release of the table.
pub fn newest() -> Version {
    // 1.19.7 added nothing to 1.19.6, which the table's newest function came with.
    Version::new(1, 19, 7)
}

fn is_in(function: Function, release: &Version) -> bool {
    let symbol = function.symbol();
    let last = if cfg!(target_os = "linux") { symbol.linux_until.or(symbol.until) } else { symbol.until };
    let last: Option<Version> = last.map(|last| last.parse().expect("the table's releases are versions"));
    function.since() <= *release && last.is_none_or(|last| *release <= last)
}

impl Comparison {
    pub(super) fn summary(&self) -> String {
        if self.gains.is_empty() {
            return format!("libkrun {} has nothing that this library has not", self.release);
        }
        let words = if self.brings.is_empty() {
            format!("{} more functions", self.gains.len())
        } else {
            self.brings.join(", ")
        };
        format!("libkrun {} would add: {words}", self.release)
    }

    pub(super) fn lines(&self) -> Vec<String> {
        let gained = self.gains.iter().map(|gain| {
            let built = gain.built_with.as_ref().map_or(String::new(), |what| format!(", built with: {what}"));
            format!("+ {} (since {}{built}): {}", gain.function, gain.since, gain.meaning)
        });
        let lost = self.losses.iter().map(|function| format!("- {function}, which that release has no more"));
        gained.chain(lost).collect()
    }
}
