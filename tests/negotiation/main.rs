//! What krundl asks of each libkrun, and what it refuses to ask. Pure: nothing here opens or starts anything.

mod any;
mod breadth;
mod calls;
mod laws;
mod properties;
mod releases;
mod rules;
mod subsets;

use krundl::error::Problem;
use krundl::library::Observation;
use krundl::plan::Plan;
use krundl::spec::{
    Console, Control, DiskFormat, Ends, Findings, HostPath, HostSocket, KernelFinding, KernelFormat, MountFinding,
    MountPoint,
};
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

/// As [`spec`], without these fields.
fn spec_without(names: &[&str], fields: Value) -> VmSpec {
    let whole: Value = serde_json::from_str(&spec(json!({})).to_json()).unwrap();
    let mut whole = whole.as_object().unwrap().clone();
    names.iter().for_each(|name| drop(whole.remove(*name)));
    whole.extend(fields.as_object().unwrap().clone());
    VmSpec::from_json(&Value::Object(whole).to_string()).unwrap()
}

/// A host on which everything is there: the directories, the mount points, a kernel, a shell that can mount.
fn host(spec: &VmSpec) -> Findings {
    let held = |path: &std::path::Path, n| HostPath { path: path.into(), held: Some(n) };
    let mount = |(n, mount): (usize, &krundl::spec::Mount)| MountFinding {
        host: held(&mount.host, u32::try_from(n).unwrap() + 1),
        point: MountPoint::Exists,
        within: None,
    };
    let file = |path: &Option<std::path::PathBuf>, n| path.as_ref().map(|path| held(path, n));
    let number = |n: usize| u32::try_from(n).unwrap();
    let socket = |port: &krundl::spec::VsockPort| HostSocket {
        dir: held(port.path.parent().unwrap(), 60),
        name: port.path.file_name().unwrap().to_owned().into(),
    };
    let disk = |(n, disk): (usize, &krundl::spec::Disk)| HostPath {
        held: (disk.format == DiskFormat::Raw).then(|| 40 + number(n)),
        path: disk.path.clone().into(),
    };
    let console = match &spec.console {
        Console::File(path) => Some(held(path, 70)),
        _ => None,
    };
    let ends = |port: &krundl::spec::ConsolePort| Ends {
        input: file(&port.input, 74).or(file(&port.tty, 76)),
        output: file(&port.output, 75),
    };
    Findings {
        root: spec.root.as_ref().and_then(|root| file(&root.dir, 0)).unwrap_or_default(),
        no_shell_mount: None,
        mounts: spec.mounts.iter().enumerate().map(mount).collect(),
        kernel: spec.kernel.as_ref().map(|kernel| KernelFinding {
            file: held(&kernel.path, 99),
            format: KernelFormat::Elf,
            initrd: file(&kernel.initrd, 98),
        }),
        firmware: file(&spec.firmware, 97),
        overlay_files: spec.overlay.files.iter().map(|file| Some(held(file.from.as_ref()?, 30))).collect(),
        disks: spec.disks.iter().enumerate().map(disk).collect(),
        nics: spec
            .nics
            .iter()
            .map(|nic| match (&nic.passt, &nic.gvproxy) {
                (Some(_), _) => HostPath { path: "/usr/bin/passt".into(), held: None },
                (None, Some(_)) => HostPath { path: "/usr/libexec/podman/gvproxy".into(), held: None },
                (None, None) => file(&nic.unixstream, 50).or(file(&nic.unixgram, 51)).unwrap_or_default(),
            })
            .collect(),
        resolv_conf: Some(true),
        resolvers: vec!["192.0.2.53".parse().unwrap()],
        vsock: spec.vsock.ports.iter().map(socket).collect(),
        control: match &spec.control {
            Some(Control::Socket(path)) => Some(HostSocket {
                dir: held(path.parent().unwrap(), 65),
                name: path.file_name().unwrap().to_owned().into(),
            }),
            _ => None,
        },
        console,
        serial: spec.serial.as_ref().map_or(Ends::default(), |serial| Ends {
            input: file(&serial.input, 72),
            output: Some(held(&serial.output, 73)),
        }),
        console_ports: spec.console_ports.iter().map(ends).collect(),
        edids: spec.displays.iter().map(|display| file(&display.edid, 80)).collect(),
        inputs: spec.inputs.iter().map(|path| held(path, 81)).collect(),
        tee: spec.tee.as_ref().map(|tee| held(&tee.config, 90)),
        log_file: file(&spec.log_file, 91),
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
        Value::Object(fields) if fields.contains_key("nothing") => "(nothing)".to_owned(),
        Value::Object(fields) if fields.contains_key("dir") => {
            format!("{}/{}", short(&fields["dir"]), fields["name"].as_str().unwrap())
        }
        Value::Object(fields) if !fields.contains_key("path") => value.to_string(),
        Value::Object(fields) if !fields.contains_key("held") => fields["path"].as_str().unwrap().to_owned(),
        Value::Object(fields) => format!("{}#{}", fields["path"].as_str().unwrap(), fields["held"]),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// The names of the functions that a plan calls.
fn names(plan: &Plan) -> Vec<&'static str> {
    plan.calls.iter().map(|call| call.function().name()).collect()
}
