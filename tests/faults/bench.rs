//! What the tests break: libraries that fail on demand, and plans that use everything that a plan can use.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;
use std::time::Duration;

use krundl::error::Problem;
use krundl::plan::{Call, Channel};
use krundl::spec::{Checked, check};
use krundl::symbols::Function;
use krundl::{Capabilities, LaunchOptions, Prepared, ProbeOptions, Stream, VmSpec, negotiate, probe_isolated};
use krundl_test_support::guest_root;
use krundl_test_support::stubs::{Start, Stub, StubLibrary};
use serde_json::{Value, json};
use tempfile::TempDir;

pub const HELPER: &str = env!("CARGO_BIN_EXE_krundl-vmm");

/// Between them they have every way in which a plan is made. What follows a plus is what a library was built with.
pub const RELEASES: [&str; 7] = ["1.8.0", "1.13.0", "1.16.0", "1.17.4", "1.18.0", "1.19.7", "1.19.7+amd-sev"];

/// A library of a release and what a VM needs besides.
pub struct Bench {
    pub release: &'static str,
    pub stub: StubLibrary,
    pub root: TempDir,
    pub capabilities: Capabilities,
    things: Things,
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
    /// Whether the guest has a way to say how it ended.
    pub has_channel: bool,
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
        let (version, build) = release.split_once('+').unwrap_or((release, "net init-blob gpu snd input"));
        let build: Vec<&str> = ["blk"].into_iter().chain(build.split(' ')).collect();
        let stub = Stub::new(version).features(&build).faulty();
        let stub = stub.start(Start::guest("krundl-guest 1\nup\nexit 0\n")).build();
        let options =
            ProbeOptions { library: Some(stub.path.clone()), helper: Some(HELPER.into()), ..ProbeOptions::default() };
        let capabilities = probe_isolated(&options).unwrap().capabilities;
        Bench { release, stub, root: guest_root(), capabilities, things: Things::new() }
    }

    /// Fields of specs which together make a plan use every call that there is. A new kind of call needs a new one:
    /// [`crate::calls::no_call_is_forgotten`] says so.
    pub fn kinds(&self) -> Vec<Value> {
        let root = self.root.path();
        let at = |name: &str| self.things.dir.path().join(name);
        let mount = |more: Value| json!({"mounts": [with(json!({"host": at("")}), more)]});
        let disk = |more: Value| json!({"disks": [with(json!({"path": at("disk")}), more)]});
        let nic = |nic: Value| json!({"nics": [nic]});
        vec![
            json!({}),
            mount(json!({"guest": "/new/deep"})),
            mount(json!({"read_only": true})),
            mount(json!({"dax_mib": 2})),
            mount(json!({"semantics": "simplified"})),
            json!({"root": {"dir": root, "read_only": true}}),
            json!({"root": {"dir": root, "dax_mib": 512}}),
            json!({"kernel": {"path": at("vmlinux")}}),
            with(json!({"root": {"disk": {}}}), disk(json!({}))),
            disk(json!({"read_only": true})),
            disk(json!({"path": at("qcow2"), "format": "qcow2"})),
            disk(json!({"direct_io": true})),
            json!({"root": null, "exec": null, "firmware": at("file")}),
            json!({"root": null, "exec": null, "firmware": at("file"), "serial": {"output": at("file")}}),
            with(json!({"root": null, "exec": null, "tee": {"config": at("tee")}}), disk(json!({}))),
            nic(json!({"unixstream": at("socket"), "mac": "02:00:00:00:00:09"})),
            nic(json!({"unixgram": at("datagrams"), "vfkit": true})),
            nic(json!({"tap": "krundl-test"})),
            json!({"tsi": {"ports": [{"host": 8080, "guest": 80}]}}),
            json!({"tsi": {"unix": true}}),
            json!({"vsock": {"ports": [{"port": 7, "path": at("socket")}]}}),
            json!({"vsock": {"ports": [{"port": 7, "path": at("absent"), "listen": true}]}}),
            json!({"console": {"file": at("file")}, "kernel_console": "hvc0"}),
            json!({"console_ports": [{"name": "log", "output": at("file")}, {"name": "tty", "tty": self.things.terminal()}]}),
            json!({"serial": {"input": at("disk"), "output": at("file")}, "log_file": at("log")}),
            json!({"rlimits": {"NOFILE": {"soft": 64}}, "uid": 12345, "gid": 12346}),
            json!({"nested_virt": true}),
            json!({"split_irqchip": true}),
            json!({"smbios_oem_strings": ["a=b"]}),
            json!({"overlay": {"files": [{"path": "/motd", "text": "hello"}], "dirs": [{"path": "/made"}]}}),
            json!({"gpu": {"shm_mib": 2}, "sound": true, "inputs": ["/dev/zero"], "displays": [
                {"width": 8, "height": 6, "refresh_rate": 60, "dpi": 96, "physical_size_mm": [300, 200]},
                {"width": 8, "height": 6, "edid": at("edid")},
            ]}),
            json!({"gpu": {}}),
        ]
    }

    /// What the machine that the tests run on cannot do is no matter here: its stub of a library can.
    pub fn try_prepare(&self, fields: &Value) -> Result<Prepared, Vec<Problem>> {
        self.things.accept_all();
        let spec = with(
            json!({"vcpus": 2, "memory_mib": 512, "root": {"dir": self.root.path()}, "exec": {"path": "/bin/sh"}}),
            fields.clone(),
        );
        let spec = VmSpec::from_json(&spec.to_string()).unwrap();
        let Checked { findings, held, mut problems } = check(&spec);
        problems.retain(|problem| !["KVM", "/dev/kvm", "/dev/net/tun"].iter().any(|it| problem.reason.contains(it)));
        let mut capabilities = self.capabilities.clone();
        if !spec.smbios_oem_strings.is_empty() {
            capabilities.observation.architecture = "aarch64".to_owned();
        }
        match negotiate(&spec, &findings, &capabilities) {
            Ok(plan) if problems.is_empty() => Ok(Prepared { plan, held }),
            Ok(_) => Err(problems),
            Err(refusals) => {
                problems.extend(refusals);
                Err(problems)
            }
        }
    }

    pub fn prepare(&self, fields: &Value) -> Prepared {
        self.try_prepare(fields).unwrap_or_else(|problems| panic!("{problems:?}"))
    }

    /// The calls of one plan.
    pub fn cases_of(&self, fields: &Value) -> Vec<Case> {
        let mut made = BTreeMap::new();
        let plan = self.prepare(fields).plan;
        let has_channel = plan.channel() != Channel::None;
        let cases = plan.calls.into_iter().enumerate().map(|(index, call)| {
            let count = made.entry(call.function().name()).or_insert(0);
            *count += 1;
            Case { fields: fields.clone(), index, call, nth: *count - 1, has_channel }
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

/// An object with these fields besides, or instead.
fn with(object: Value, more: Value) -> Value {
    let (Value::Object(mut object), Value::Object(more)) = (object, more) else { panic!("two objects") };
    object.extend(more);
    Value::Object(object)
}

/// Things of the host that a spec can name.
struct Things {
    dir: TempDir,
    /// Behind `socket`.
    listener: UnixListener,
    _datagrams: UnixDatagram,
    _user: OwnedFd,
    device: OwnedFd,
}

impl Things {
    fn new() -> Things {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        // Any ELF program of this machine passes for a kernel here.
        fs::copy("/bin/true", at("vmlinux")).unwrap();
        fs::write(at("disk"), [0; 512]).unwrap();
        fs::write(at("qcow2"), b"QFI\xfb").unwrap();
        fs::write(at("edid"), [7; 128]).unwrap();
        fs::write(at("file"), "content").unwrap();
        fs::write(at("log"), "of another VM\n").unwrap();
        fs::write(at("tee"), "{}").unwrap();
        let listener = UnixListener::bind(at("socket")).unwrap();
        listener.set_nonblocking(true).unwrap();
        let _datagrams = UnixDatagram::bind(at("datagrams")).unwrap();
        let (_user, device) = terminal();
        // For another user, too.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o777)).unwrap();
        Things { dir, listener, _datagrams, _user, device }
    }

    /// Takes the connections that were made, so that there is room for further ones.
    fn accept_all(&self) {
        while self.listener.accept().is_ok() {}
    }

    fn terminal(&self) -> PathBuf {
        fs::read_link(format!("/proc/self/fd/{}", self.device.as_raw_fd())).unwrap()
    }
}

/// A terminal: the user's side and the programs' side.
pub fn terminal() -> (OwnedFd, OwnedFd) {
    let (mut user, mut device) = (-1, -1);
    let none = std::ptr::null_mut();
    // SAFETY: openpty fills in the two numbers; without a name, modes and a size it writes nothing else.
    assert_eq!(unsafe { libc::openpty(&mut user, &mut device, none, none.cast(), none.cast()) }, 0);
    // SAFETY: both were just made for this caller.
    unsafe { (OwnedFd::from_raw_fd(user), OwnedFd::from_raw_fd(device)) }
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
