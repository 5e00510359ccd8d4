//! `krundl run`.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io::IsTerminal;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::Arc;
use std::time::Duration;

use krundl::control::Name;
use krundl::error::{Error, Problem, ProblemKind};
use krundl::launch::prepare_parsed;
use krundl::spec::{Control, Exec, Kernel, KernelFormat, Parsed, Text, VmSpec, parse};
use krundl::{Exit, LaunchOptions, LogTarget, launch, probe_isolated};

use super::args::{RunArgs, disk, mount};
use super::plan::read_spec;
use super::signals::Signals;

/// Exit status of krundl's own failures.
pub const FAILED: i32 = 125;

pub fn run(args: RunArgs) -> i32 {
    match try_run(args) {
        Ok(status) => status,
        Err(Failure::Told) => FAILED,
        Err(Failure::Words(message)) => {
            eprintln!("krundl: {message}");
            FAILED
        }
    }
}

enum Failure {
    /// The guest's program has said it on standard error already.
    Told,
    Words(String),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        match error {
            Error::GuestSetup { .. } => Failure::Told,
            error => Failure::Words(error.to_string()),
        }
    }
}

impl From<String> for Failure {
    fn from(message: String) -> Failure {
        Failure::Words(message)
    }
}

fn try_run(args: RunArgs) -> Result<i32, Failure> {
    let log = match &args.log {
        None => LogTarget::Captured,
        Some(path) => LogTarget::File(
            File::options()
                .create(true)
                .append(true)
                .read(true)
                .open(path)
                .map_err(|error| format!("the log {} cannot be opened: {error}", path.display()))?,
        ),
    };
    let probe = args.library.probe();
    let grace = args.stop_timeout;
    let name = args.name.clone();
    let mut parsed = spec(args)?;
    // Taken for as long as this process lives, and the VM does not live longer.
    let name = name.map(|name| Name::take(&name, (parsed.spec.uid, parsed.spec.gid))).transpose()?;
    if let Some(name) = &name {
        parsed.spec.control = Some(Control::Socket(name.socket()));
        parsed.problems.retain(|problem| !problem.field.starts_with("control"));
    }
    let probed = match probe_isolated(&probe) {
        // What the command line says wrong is wrong with any libkrun.
        Err(error) if !parsed.problems.is_empty() => {
            return Err(format!("{}\nBesides, {error}", Error::refused(parsed.problems)).into());
        }
        probed => probed?,
    };
    let prepared = prepare_parsed(&parsed, &probed.capabilities)?;
    let left_open: Vec<bool> =
        prepared.plan.networks.iter().flat_map(|network| &network.ports).map(|port| port.host == 0).collect();
    // Before the start, so that no signal falls between the VM's start and our readiness for it.
    let signals = Signals::catch().map_err(|error| format!("making a pipe: {error}"))?;
    let vm = launch(prepared, LaunchOptions { log, die_with_parent: true, ..LaunchOptions::default() })?;
    let vm = Arc::new(vm);
    for (port, _) in vm.ports().iter().zip(left_open).filter(|(_, left_open)| *left_open) {
        eprintln!("krundl: {}", super::network::opened(port));
    }
    let course = signals.act_on(Arc::clone(&vm), Duration::from_secs(grace));
    let ended = match vm.wait_ready(None) {
        Ok(()) | Err(Error::ReadinessUnknown { .. }) => {
            course.guest_is_up();
            vm.wait()
        }
        Err(error) => {
            // Until it is reaped the terminal is not as it was.
            let _ = vm.kill().and_then(|()| vm.wait());
            Err(error)
        }
    };
    match (ended, course.stopped_by()) {
        (Ok(exit @ Exit::Unproved(_)), _) => {
            eprintln!("krundl: {exit}");
            Ok(exit.status())
        }
        (Ok(exit), _) => Ok(exit.status()),
        (Err(_), Some(signal)) => Ok(128 + signal),
        (Err(error), None) => Err(error.into()),
    }
}

/// The spec of the file, where there is one, with what the command line says on top.
fn spec(args: RunArgs) -> Result<Parsed, Failure> {
    let mut parsed = match &args.spec {
        Some(path) => parse(&read_spec(path)?)?,
        None => Parsed { spec: VmSpec { vcpus: 1, memory_mib: 512, ..VmSpec::default() }, problems: Vec::new() },
    };
    let Parsed { spec, problems } = &mut parsed;
    // What the command line says replaces what the file got wrong.
    let mut replaced = |field: &str| problems.retain(|problem| problem.field != field);
    if let Some(cpus) = args.cpus {
        spec.vcpus = cpus;
        replaced("vcpus");
    }
    if let Some(memory) = args.memory {
        spec.memory_mib = memory;
        replaced("memory_mib");
    }
    if let Some(dir) = args.root {
        let root = spec.root.get_or_insert_default();
        root.dir = Some(dir);
        root.disk = None;
        problems.retain(|problem| !problem.field.starts_with("root.d") && problem.field != "root");
    }
    if args.read_only {
        spec.root.get_or_insert_default().read_only = true;
    }
    if let Some(path) = args.kernel {
        spec.kernel = Some(Kernel { path, format: KernelFormat::Auto, initrd: args.initrd, cmdline: args.cmdline });
    }
    let mut wrong = |option: &str, text: &OsString, reason: String, usage: &str| {
        let field = format!("--{option} {}", text.display());
        problems.push(Problem::new(ProblemKind::Invalid, field, reason).fix(format!("--{option} {usage}")));
    };
    for text in &args.mounts {
        match mount(text) {
            Ok(mount) => spec.mounts.push(mount),
            Err(reason) => wrong("mount", text, reason, "HOST[:GUEST][:ro|:overlay]"),
        }
    }
    for text in &args.disks {
        match disk(text) {
            Ok(disk) => spec.disks.push(disk),
            Err(reason) => wrong("disk", text, reason, "PATH[:FORMAT][:ro]"),
        }
    }
    super::network::apply(spec, problems, &args.nets, args.ports);
    if let Some(path) = args.control {
        spec.control = Some(Control::Socket(path));
        problems.retain(|problem| !problem.field.starts_with("control"));
    }
    if let Some(level) = args.log_level {
        spec.log_level = level.into();
    }
    // Nothing said of a workload leaves it to the spec whether there is one.
    if spec.exec.is_none() && args.command.is_empty() && args.workdir.is_none() && args.env.is_empty() {
        return Ok(parsed);
    }
    let exec = spec.exec.get_or_insert_with(|| Exec {
        path: "".into(),
        args: Vec::new(),
        env: BTreeMap::new(),
        workdir: "/".into(),
    });
    if let Some(workdir) = args.workdir {
        exec.workdir = workdir.into();
    }
    let mut command = args.command.into_iter();
    if let Some(program) = command.next() {
        exec.path = program.into();
        exec.args = command.map(Text::from).collect();
        let replaced =
            |field: &str| field == "exec" || field.starts_with("exec.path") || field.starts_with("exec.args");
        problems.retain(|problem| !replaced(&problem.field));
    }
    for text in args.env {
        if let Some((name, value)) = variable(text)? {
            exec.env.insert(name, value);
        }
    }
    if std::io::stdin().is_terminal()
        && let Some(term) = std::env::var_os("TERM")
    {
        exec.env.entry("TERM".to_owned()).or_insert_with(|| term.into());
    }
    Ok(parsed)
}

/// `K=V`, or `K` for the caller's value; nothing when the caller has none.
pub fn variable(text: OsString) -> Result<Option<(String, Text)>, String> {
    let bytes = text.as_bytes();
    let (name, value) = match bytes.iter().position(|b| *b == b'=') {
        Some(at) => (&bytes[..at], Some(OsString::from_vec(bytes[at + 1..].to_vec()))),
        None => (bytes, std::env::var_os(&text)),
    };
    let name = std::str::from_utf8(name).map_err(|_| format!("--env {}: the name must be UTF-8", text.display()))?;
    Ok(value.map(|value| (name.to_owned(), value.into())))
}
