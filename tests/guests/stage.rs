//! What one case works with: a libkrun, a root, and a directory of its own.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use krundl::spec::{Mount, VmSpec};
use krundl::{LaunchOptions, Prepared, ProbeOptions, Probed, Stream, Vm};
use semver::Version;
use serde_json::json;
use tempfile::TempDir;

use crate::environment::Release;
use crate::talk::{Limit, Talk};

pub struct Stage {
    pub version: Version,
    /// A kernel of our own.
    pub kernel: PathBuf,
    /// A root for guests that do not write to it.
    pub root: PathBuf,
    temp: TempDir,
}

impl Stage {
    pub fn new(release: Release, firmware: &Path, kernel: PathBuf, root: PathBuf) -> Stage {
        let temp = tempfile::tempdir().expect("a directory for the case");
        let stage = Stage { version: release.version, kernel, root, temp };
        let beside = stage.dir("lib");
        link(&release.directory.join("libkrun.so.1"), &beside.join("libkrun.so.1"));
        link(&firmware.join("libkrunfw.so.5"), &beside.join("libkrunfw.so.5"));
        stage
    }

    /// The libkrun, with libkrunfw beside it.
    pub fn library(&self) -> PathBuf {
        self.temp.path().join("lib/libkrun.so.1")
    }

    /// Takes libkrunfw away.
    pub fn remove_firmware(&self) {
        fs::remove_file(self.temp.path().join("lib/libkrunfw.so.5")).expect("it is there");
    }

    /// A new directory of the case's own.
    pub fn dir(&self, name: &str) -> PathBuf {
        let path = self.temp.path().join(name);
        fs::create_dir(&path).expect("a new directory");
        path
    }

    /// A new directory with one file `f` in it.
    pub fn dir_with(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.dir(name);
        fs::write(path.join("f"), content).expect("a file in a new directory");
        path
    }

    /// A copy of the root that may be written to.
    pub fn own_root(&self) -> PathBuf {
        self.own_root_named("root")
    }

    /// The same under a name.
    pub fn own_root_named(&self, name: &str) -> PathBuf {
        let copy = self.temp.path().join(name);
        let status = Command::new("cp").arg("-a").arg(&self.root).arg(&copy).status().expect("cp");
        assert!(status.success(), "the root cannot be copied");
        copy
    }

    /// From 1.19.0 on libkrun can lay files and directories over a root; before that krundl takes one share to get in.
    pub fn has_overlays(&self) -> bool {
        self.version >= Version::new(1, 19, 0)
    }

    /// `krundl run OPTIONS ROOT -- COMMAND`.
    pub fn krundl<W: AsRef<OsStr>>(&self, options: &[&str], root: &Path, command: &[W]) -> Command {
        let mut krundl = Command::new(env!("CARGO_BIN_EXE_krundl"));
        krundl.args(["run", "--memory", MEMORY, "--library"]).arg(self.library());
        krundl.args(options).arg(root).arg("--").args(command);
        krundl
    }

    /// `krundl run OPTIONS ROOT -- sh -c SCRIPT`, to speak with.
    pub fn sh(&self, options: &[&str], script: &str) -> Talk {
        Talk::with(self.krundl(options, &self.root, &["sh", "-c", script]))
    }

    /// A spec that runs a script.
    pub fn spec(&self, script: &str) -> VmSpec {
        let spec = json!({
            "vcpus": 1,
            "memory_mib": MEMORY.parse::<u32>().expect("a number"),
            "root": {"dir": self.root},
            "exec": {"path": "sh", "args": ["-c", script]},
        });
        VmSpec::from_json(&spec.to_string()).expect("a good spec")
    }

    pub fn probe(&self) -> Probed {
        let options = ProbeOptions { library: Some(self.library()), ..ProbeOptions::default() };
        krundl::probe_isolated(&options).unwrap_or_else(|error| panic!("{error}"))
    }

    /// What the spec comes to, with nothing in the way.
    pub fn prepare(&self, spec: &VmSpec) -> Prepared {
        krundl::prepare(spec, &self.probe().capabilities).unwrap_or_else(|error| panic!("{error}"))
    }

    /// What stands in the way of the spec, as `field: reason` each.
    pub fn problems(&self, spec: &VmSpec) -> Vec<String> {
        let error = krundl::prepare(spec, &self.probe().capabilities).expect_err("problems");
        error.problems().iter().map(ToString::to_string).collect()
    }

    /// A VM with a pipe at each standard stream.
    pub fn launch(&self, prepared: Prepared) -> Guest {
        let piped = LaunchOptions {
            stdin: Stream::Piped,
            stdout: Stream::Piped,
            stderr: Stream::Piped,
            ..LaunchOptions::default()
        };
        let vm = krundl::launch(prepared, piped).unwrap_or_else(|error| panic!("{error}"));
        Guest { _limit: Limit::of(vm.pid()), vm }
    }
}

/// The memory of each guest, in MiB.
const MEMORY: &str = "256";

/// A VM that is killed when it takes longer than anything here should.
pub struct Guest {
    pub vm: Vm,
    _limit: Limit,
}

/// `HOST:GUEST`, as `--mount` takes it.
pub fn mount_option(host: &Path, guest: &str) -> String {
    format!("{}:{guest}", host.display())
}

/// The same for a spec.
pub fn mount(host: &Path, guest: &str) -> Mount {
    let mount = json!({"host": host, "guest": guest});
    serde_json::from_value(mount).expect("a good mount")
}

fn link(target: &Path, name: &Path) {
    let target = target.canonicalize().expect("the environment was checked");
    symlink(target, name).expect("a link in a new directory");
}
