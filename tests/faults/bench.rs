//! What the tests break: libraries that fail on demand, and plans that use everything that a plan can use.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::PathBuf;
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
pub const RELEASES: [&str; 7] = ["1.8.0", "1.13.0", "1.15.0", "1.16.0", "1.17.4", "1.18.0", "1.19.7"];

/// What the libraries are built with: everything that can be in one library.
const BUILT: &[&str] = &["blk", "net", "gpu", "snd", "input", "init-blob"];

/// A library of a release and what a VM needs besides.
pub struct Bench {
    pub release: &'static str,
    pub stub: StubLibrary,
    pub root: TempDir,
    pub capabilities: Capabilities,
    share: TempDir,
    /// Network back ends that listen, as a card's socket must.
    _servers: (UnixListener, UnixDatagram),
    /// A terminal for a console port.
    terminal: PathBuf,
    _terminal: [OwnedFd; 2],
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
        let stub =
            Stub::new(release).features(BUILT).faulty().start(Start::guest("krundl-guest 1\nup\nexit 0\n")).build();
        let options =
            ProbeOptions { library: Some(stub.path.clone()), helper: Some(HELPER.into()), ..ProbeOptions::default() };
        let capabilities = probe_isolated(&options).unwrap().capabilities;
        let share = tempfile::tempdir().unwrap();
        // Any ELF program of this machine passes for a kernel here.
        fs::copy("/bin/true", share.path().join("vmlinux")).unwrap();
        let path = |name: &str| share.path().join(name);
        fs::write(path("raw"), [0; 512]).unwrap();
        fs::write(path("qcow2"), [b"QFI\xfb\0\0\0\x03".as_slice(), &[0; 504]].concat()).unwrap();
        fs::write(path("edid"), [0; 128]).unwrap();
        let servers = (UnixListener::bind(path("passt")).unwrap(), UnixDatagram::bind(path("gvproxy")).unwrap());
        let (terminal, held) = terminal();
        Bench { release, stub, root: guest_root(), capabilities, share, _servers: servers, terminal, _terminal: held }
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
            json!({"disks": [{"path": share.join("raw")}]}),
            json!({"disks": [{"path": share.join("qcow2"), "format": "qcow2"}]}),
            json!({"disks": [{"path": share.join("raw"), "direct_io": true}]}),
            json!({"root": {"disk": {"device": "/dev/vda"}}, "disks": [{"path": share.join("raw")}]}),
            json!({"nics": [{"unixstream": share.join("passt"), "mac": "02:00:00:00:00:01"}]}),
            json!({"nics": [{"unixgram": share.join("gvproxy"), "vfkit": true}]}),
            json!({"nics": [{"tap": "krundl-none"}]}),
            json!({"vsock": {"ports": [{"port": 7, "path": share.join("listen"), "listen": true}]}}),
            json!({"tsi": {"ports": [{"host": 8080, "guest": 80}]}}),
            json!({"console": {"file": share.join("console")}}),
            json!({"console_ports": [{"name": "port", "output": share.join("port")}]}),
            json!({"console_ports": [{"name": "tty", "tty": self.terminal}]}),
            json!({"kernel": {"path": share.join("vmlinux")}, "serial": {"output": share.join("serial")}}),
            json!({"kernel_console": "hvc0"}),
            json!({"firmware": share.join("raw"), "root": null, "exec": null}),
            json!({"rlimits": {"NOFILE": {"soft": 64, "hard": 128}}}),
            json!({"uid": 0, "gid": 0, "nested_virt": true}),
            json!({"split_irqchip": true}),
            json!({"smbios_oem_strings": ["one"]}),
            json!({"gpu": {"virgl_flags": 1}, "sound": true, "inputs": ["/dev/zero"]}),
            json!({"gpu": {"virgl_flags": 1, "shm_mib": 2}, "displays": [{
                "width": 800, "height": 600, "refresh_rate": 60, "dpi": 96, "physical_size_mm": [300, 200],
            }, {"width": 800, "height": 600, "edid": share.join("edid")}]}),
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
        plan.calls
            .iter()
            .any(|call| matches!(call, Call::AddVirtioConsoleDefault { .. } | Call::SetConsoleOutput { .. }))
            || plan.calls[..=at.index].iter().any(|call| matches!(call, Call::InitLog { .. }))
    }
}

/// A terminal's name, and the two ends that keep it there.
fn terminal() -> (PathBuf, [OwnedFd; 2]) {
    let (mut user, mut device, none) = (-1, -1, std::ptr::null_mut::<libc::c_char>());
    // SAFETY: openpty fills in the two numbers; without a name, modes and a size it writes nothing else.
    assert_eq!(unsafe { libc::openpty(&mut user, &mut device, none, none.cast(), none.cast()) }, 0);
    let name = fs::read_link(format!("/proc/self/fd/{device}")).unwrap();
    // SAFETY: both were just opened, and nobody else knows them.
    (name, [user, device].map(|fd| unsafe { std::os::fd::FromRawFd::from_raw_fd(fd) }))
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
