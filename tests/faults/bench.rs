//! What the tests break: libraries that fail on demand, and plans that use everything that a plan can use.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::Duration;

use krundl::plan::Call;
use krundl::symbols::Function;
use krundl::{Capabilities, LaunchOptions, Prepared, ProbeOptions, Result, Stream, VmSpec, prepare, probe_isolated};
use krundl_test_support::guest_root;
use krundl_test_support::stubs::{Start, Stub, StubLibrary};
use serde_json::{Value, json};
use tempfile::TempDir;

pub const HELPER: &str = env!("CARGO_BIN_EXE_krundl-vmm");

/// Between them they have every way in which a plan is made.
pub const RELEASES: [&str; 6] = ["1.8.0", "1.13.0", "1.16.0", "1.17.4", "1.18.0", "1.19.7"];

/// A library of a release and what a VM needs besides.
pub struct Bench {
    pub release: &'static str,
    pub stub: StubLibrary,
    pub root: TempDir,
    pub capabilities: Capabilities,
    share: TempDir,
}

/// A call of a plan that can be made to fail.
#[derive(Clone, Debug)]
pub struct Case {
    /// The spec's fields from which the plan comes.
    pub fields: Value,
    pub index: usize,
    pub call: Call,
    /// How many calls of the same function the plan makes before.
    pub nth: usize,
}

impl Case {
    pub fn function(&self) -> Function {
        self.call.function()
    }

    pub fn starts(&self) -> bool {
        self.call == Call::StartEnter {}
    }
}

impl Bench {
    /// With a guest that comes up and exits with status 0, unless the library fails before.
    pub fn new(release: &'static str) -> Bench {
        let stub = Stub::new(release).faulty().start(Start::guest("krundl-guest 1\nup\nexit 0\n")).build();
        let options =
            ProbeOptions { library: Some(stub.path.clone()), helper: Some(HELPER.into()), ..ProbeOptions::default() };
        let capabilities = probe_isolated(&options).unwrap().capabilities;
        let share = tempfile::tempdir().unwrap();
        // Any ELF program of this machine passes for a kernel here.
        fs::copy("/bin/true", share.path().join("vmlinux")).unwrap();
        Bench { release, stub, root: guest_root(), capabilities, share }
    }

    /// Fields of specs which together make a plan use every call that there is. A new kind of call needs a new one:
    /// [`crate::calls::no_call_is_forgotten`] says so.
    pub fn kinds(&self) -> Vec<Value> {
        let (root, share) = (self.root.path(), self.share.path());
        let mount = |more: Value| {
            let mut mount = json!({"host": share});
            mount.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            json!({"mounts": [mount]})
        };
        vec![
            json!({}),
            mount(json!({"guest": "/new/deep"})),
            mount(json!({"read_only": true})),
            mount(json!({"dax_mib": 2})),
            mount(json!({"semantics": "simplified"})),
            json!({"root": {"dir": root, "read_only": true}}),
            json!({"root": {"dir": root, "dax_mib": 512}}),
            json!({"kernel": {"path": share.join("vmlinux")}}),
        ]
    }

    pub fn try_prepare(&self, fields: &Value) -> Result<Prepared> {
        let mut spec = json!({
            "vcpus": 2, "memory_mib": 512, "root": {"dir": self.root.path()}, "exec": {"path": "/bin/sh"},
        });
        spec.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        prepare(&VmSpec::from_json(&spec.to_string()).unwrap(), &self.capabilities)
    }

    pub fn prepare(&self, fields: &Value) -> Prepared {
        self.try_prepare(fields).unwrap_or_else(|error| panic!("{error}"))
    }

    /// The calls of one plan.
    pub fn cases_of(&self, fields: &Value) -> Vec<Case> {
        let mut made = BTreeMap::new();
        let cases = self.prepare(fields).plan.calls.into_iter().enumerate().map(|(index, call)| {
            let count = made.entry(call.function().name()).or_insert(0);
            *count += 1;
            Case { fields: fields.clone(), index, call, nth: *count - 1 }
        });
        cases.collect()
    }

    /// Every call of every kind of plan that this release can carry out; the same call once.
    pub fn cases(&self) -> Vec<Case> {
        let mut seen = BTreeSet::new();
        let possible = self.kinds().into_iter().filter(|fields| self.try_prepare(fields).is_ok());
        let all = possible.flat_map(|fields| self.cases_of(&fields));
        all.filter(|case| seen.insert(case.call.to_string())).collect()
    }

    /// Whether an error has libkrun's standard error: before 1.16.0 that is the workload's own.
    pub fn has_words(&self, at: &Case) -> bool {
        let plan = self.prepare(&at.fields).plan;
        plan.calls.iter().any(|call| matches!(call, Call::AddVirtioConsoleDefault { .. }))
            || plan.calls[..=at.index].iter().any(|call| matches!(call, Call::InitLog { .. }))
    }
}

pub fn options() -> LaunchOptions {
    LaunchOptions {
        helper: Some(HELPER.into()),
        stdin: Stream::Null,
        stdout: Stream::Null,
        stderr: Stream::Null,
        start_timeout: Duration::from_secs(30),
        ..LaunchOptions::default()
    }
}
