//! Negotiation with API generation one: contexts and setters, libkrun 0.1 to 1.19.

mod bootstrap;
mod console;
mod count;
mod disks;
mod gadgets;
mod guest;
mod kernel;
mod machine;
mod net;
mod shares;
mod vsock;

use std::path::PathBuf;

use super::Plan;
use super::call::Call;
use super::guest::Guest;
use super::network::Network;
use crate::capabilities::{Capabilities, Support};
use crate::error::{Problem, ProblemKind};
use crate::spec::{Findings, VmSpec};
use crate::symbols::Function;

pub(super) fn negotiate(spec: &VmSpec, findings: &Findings, capabilities: &Capabilities) -> Result<Plan, Vec<Problem>> {
    let mut negotiation = Negotiation {
        spec,
        findings,
        capabilities,
        calls: Vec::new(),
        problems: Vec::new(),
        notes: Vec::new(),
        sockets: Vec::new(),
        networks: Vec::new(),
        lines: Vec::new(),
    };
    let guest = negotiation.run();
    let Negotiation { calls, problems, notes, sockets, networks, .. } = negotiation;
    if !problems.is_empty() {
        return Err(problems);
    }
    let observation = &capabilities.observation;
    let wants_firmware = (spec.kernel.is_none() && spec.firmware.is_none()) || observation.firmware.linked;
    Ok(Plan {
        library: observation.real_path.clone(),
        identity: observation.identity.clone(),
        firmware: observation.firmware.path.clone().filter(|_| wants_firmware && observation.firmware.preload),
        generation: capabilities.generation,
        networks,
        calls,
        guest,
        sockets,
        log_file: findings.log_file.as_ref().and_then(|file| file.held),
        notes,
    })
}

struct Negotiation<'a> {
    spec: &'a VmSpec,
    findings: &'a Findings,
    capabilities: &'a Capabilities,
    calls: Vec<Call>,
    problems: Vec<Problem>,
    notes: Vec<String>,
    sockets: Vec<PathBuf>,
    networks: Vec<Network>,
    /// Who takes an interrupt line, in order: the field that asks for it, nothing for what krundl needs itself.
    lines: Vec<Option<String>>,
}

impl Negotiation<'_> {
    fn has(&self, function: Function) -> bool {
        self.capabilities.has(function)
    }

    fn architecture(&self) -> &str {
        &self.capabilities.observation.architecture
    }

    /// Notes a refusal for want of a function.
    fn refuse(&mut self, field: impl Into<String>, reason: &str, function: Function) {
        let reason = format!("{reason}; this is {}", self.capabilities.describe());
        let fix = format!("install libkrun {} or later{}", function.since(), built_with(function));
        self.problems.push(Problem::new(ProblemKind::Unsupported, field, reason).needs(function).fix(fix));
    }

    /// Notes a refusal that no function would lift.
    fn unsupported(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.problems.push(Problem::new(ProblemKind::Unsupported, field, reason));
    }

    /// Whether the library has the function; a refusal where not.
    fn needs(&mut self, field: &str, reason: &str, function: Function) -> bool {
        let has = self.has(function);
        if !has {
            self.refuse(field, reason, function);
        }
        has
    }

    /// Whether the function is there and does what its name says; a refusal where not, and where nobody knows.
    fn means(&mut self, field: &str, what: &str, function: Function) -> bool {
        let reason = match self.capabilities.support(function) {
            Support::Yes => return true,
            Support::Absent => format!("{what} cannot be had"),
            Support::Refuses => format!("{what} cannot be had: this build has {function} and refuses it"),
            Support::NoEffect => {
                format!("{what} cannot be had: this build accepts {function} and does nothing")
            }
            Support::Unknown => format!(
                "whether {what} can be had is unknown: {function} is there in every build, and this one does not say what it was built with"
            ),
        };
        self.refuse(field, &reason, function);
        false
    }

    /// The calls in an order that holds for every release: the log before all, `krun_disable_implicit_*` before what
    /// replaces it, disks before the root that is on one, a share before what is laid over it.
    fn run(&mut self) -> Option<Guest> {
        self.log();
        self.calls.push(Call::CreateCtx {});
        self.machine();
        let consoles = self.calls.len();
        self.consoles();
        self.vsock();
        let channel = self.channel();
        // The one with the terminal must be the last: libkrun tells changes of its size to the last console alone.
        let ports = self.calls.len();
        self.console_ports(channel);
        let ports = self.calls.split_off(ports);
        self.calls.splice(consoles..consoles, ports);
        self.control();
        self.vsock_ports();
        self.nics();
        self.disks();
        self.kernel();
        self.gadgets();
        if self.spec.has_guest_program() {
            self.root();
            self.mounts();
            self.bootstrap();
        } else if self.spec.has_own_init() {
            self.root();
            self.mounts();
            self.mounted_by_the_guest();
        }
        self.device_count();
        self.calls.push(Call::StartEnter {});
        self.spec.has_guest_program().then(|| self.guest(channel)).flatten()
    }
}

/// What a build must have for a function, for the remedy.
fn built_with(function: Function) -> String {
    match function.symbol().built_with {
        // Every ordinary build is one.
        None => String::new(),
        Some(what) if what.starts_with("not ") => String::new(),
        Some(what) => format!(", built with {what}"),
    }
}
