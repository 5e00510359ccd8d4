//! What krundl asks of each libkrun, and what it refuses to ask. Pure: nothing here opens or starts anything.

mod any;
mod calls;
mod laws;
mod properties;
mod releases;
mod rules;
mod subsets;

use krundl::error::Problem;
use krundl::library::Observation;
use krundl::plan::Plan;
use krundl::spec::{Findings, HostPath, KernelFinding, KernelFormat, MountFinding, MountPoint};
use krundl::symbols::{Function, Functions};
use krundl::{Capabilities, VmSpec, negotiate};
use krundl_test_support::stubs::{Stub, releases};
use serde_json::{Value, json};

/// The ordinary build of a release, judged by the functions that it has.
fn library(release: &str) -> Capabilities {
    built(release, &["blk", "net"])
}

fn built(release: &str, features: &[&str]) -> Capabilities {
    let names = Stub::new(release).features(features).exports();
    with_functions(names.iter().map(|name| function(name)))
}

/// On x86-64, wherever the test runs: elsewhere more devices fit.
fn with_functions(functions: impl IntoIterator<Item = Function>) -> Capabilities {
    Capabilities::judge(Observation {
        functions: functions.into_iter().collect(),
        architecture: "x86_64".to_owned(),
        ..Observation::of_table(&Functions::default())
    })
}

fn function(name: &str) -> Function {
    Function::from_name(name).unwrap_or_else(|| panic!("{name} is not in the table"))
}

/// The first release with the function, by the test's own data.
fn since(function: Function) -> String {
    let first = releases().into_iter().find(|release| release.new_functions.iter().any(|name| name == function.name()));
    first.unwrap_or_else(|| panic!("no release brought {function}")).version
}

/// A small VM with these fields besides, or instead.
fn spec(fields: Value) -> VmSpec {
    let mut spec = json!({
        "vcpus": 2, "memory_mib": 512,
        "root": {"dir": "/srv/root"},
        "exec": {"path": "/bin/ls", "args": ["-l"], "env": {"PATH": "/bin", "HOME": "/"}},
    });
    for (name, value) in fields.as_object().unwrap() {
        spec[name] = value.clone();
    }
    VmSpec::from_json(&spec.to_string()).unwrap()
}

fn mounts(mounts: Value) -> VmSpec {
    spec(json!({"mounts": mounts}))
}

/// A host on which everything is there: the directories, the mount points, a kernel, a shell that can mount.
fn host(spec: &VmSpec) -> Findings {
    let held = |path: &std::path::Path, n| HostPath { path: path.into(), held: Some(n) };
    let mount = |(n, mount): (usize, &krundl::spec::Mount)| MountFinding {
        host: held(&mount.host, u32::try_from(n).unwrap() + 1),
        point: MountPoint::Exists,
        within: None,
    };
    Findings {
        root: held(&spec.root.dir, 0),
        no_shell_mount: None,
        mounts: spec.mounts.iter().enumerate().map(mount).collect(),
        kernel: spec.kernel.as_ref().map(|kernel| KernelFinding {
            file: held(&kernel.path, 99),
            format: KernelFormat::Elf,
            initrd: None,
        }),
    }
}

fn plan(spec: &VmSpec, library: &Capabilities) -> Plan {
    negotiate(spec, &host(spec), library).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn refusals(spec: &VmSpec, library: &Capabilities) -> Vec<Problem> {
    negotiate(spec, &host(spec), library).err().unwrap_or_default()
}

/// `krun_set_vm_config ram_mib=512 vcpus=2`: one line for each call, arguments by name.
fn lines(plan: &Plan) -> Vec<String> {
    plan.calls.iter().map(|call| line(&serde_json::to_value(call).unwrap())).collect()
}

fn line(call: &Value) -> String {
    let mut args: Vec<String> =
        call["args"].as_object().unwrap().iter().map(|(name, value)| format!(" {name}={}", short(value))).collect();
    args.sort();
    call["function"].as_str().unwrap().to_owned() + &args.concat()
}

/// A thing of the host by its path.
fn short(value: &Value) -> String {
    match value {
        Value::Object(fields) if fields.contains_key("bootstrap") => "(bootstrap)".to_owned(),
        Value::Object(fields) => format!("{}#{}", fields["path"].as_str().unwrap(), fields["held"]),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The names of the functions that a plan calls.
fn names(plan: &Plan) -> Vec<&'static str> {
    plan.calls.iter().map(|call| call.function().name()).collect()
}
