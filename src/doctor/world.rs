//! The machine as the doctor sees it, so that another one can be made up: a root for every file that is read, the
//! variables, and what the kernel answers.

use std::ffi::OsString;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::distro::Distribution;
use crate::host::{self, Kvm};
use crate::library::Environment;

/// A machine.
#[derive(Clone, Debug)]
pub struct World {
    /// Put before every path of the system that is looked at; `None` for the real ones.
    pub root: Option<PathBuf>,
    /// What the search for libkrun depends on. Its root should be the same.
    pub environment: Environment,
    /// `PATH`.
    pub path: Option<OsString>,
    /// What the kernel answers.
    pub machine: Machine,
}

/// What the kernel answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// The processor's architecture, as [`std::env::consts::ARCH`] has it.
    pub architecture: String,
    /// Whether it is a Mac.
    pub is_mac: bool,
    /// /dev/kvm.
    pub kvm: Kvm,
    /// The group of /dev/kvm.
    pub kvm_group: Option<u32>,
    /// The effective user.
    pub user: u32,
    /// The effective group and the further ones.
    pub groups: Vec<u32>,
    /// The soft and the hard limit of open files; `None` for no limit.
    pub open_files: (Option<u64>, Option<u64>),
    /// The version of Landlock's interface.
    pub landlock: Option<u32>,
    /// macOS: its version.
    pub macos_version: Option<String>,
    /// macOS: whether there is a hypervisor.
    pub hypervisor_framework: Option<bool>,
}

impl Machine {
    /// Asks this one.
    pub fn current() -> Machine {
        use rustix::process::{Resource, getegid, geteuid, getgroups, getrlimit};
        let limit = getrlimit(Resource::Nofile);
        let groups = getgroups().unwrap_or_default().into_iter().chain([getegid()]);
        Machine {
            architecture: std::env::consts::ARCH.to_owned(),
            is_mac: cfg!(target_os = "macos"),
            kvm: Kvm::probe(),
            kvm_group: std::fs::metadata("/dev/kvm").ok().map(|device| device.gid()),
            user: geteuid().as_raw(),
            groups: groups.map(|group| group.as_raw()).collect(),
            open_files: (limit.current, limit.maximum),
            landlock: host::landlock_abi(),
            macos_version: host::macos_version(),
            hypervisor_framework: host::hypervisor_framework(),
        }
    }
}

impl World {
    /// This machine.
    pub fn current() -> World {
        World {
            root: None,
            environment: Environment::current(),
            path: std::env::var_os("PATH"),
            machine: Machine::current(),
        }
    }

    /// A path of the system, below the root.
    pub(super) fn at(&self, path: impl AsRef<Path>) -> PathBuf {
        let path = path.as_ref();
        match &self.root {
            Some(root) => root.join(path.strip_prefix("/").unwrap_or(path)),
            None => path.to_owned(),
        }
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.at(path).exists()
    }

    /// A small text file of the system.
    pub(super) fn read(&self, path: &str) -> Option<String> {
        let file = File::open(self.at(path)).ok()?;
        let mut bytes = Vec::new();
        file.take(1 << 20).read_to_end(&mut bytes).ok()?;
        Some(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A program for network cards, where a launch would find it.
    pub(super) fn program(&self, name: &str) -> Option<PathBuf> {
        let dirs = crate::spec::directories(name, self.path.as_deref()).into_iter();
        let is_program = |file: &PathBuf| file.metadata().is_ok_and(|meta| meta.is_file() && meta.mode() & 0o111 != 0);
        dirs.map(|dir| self.at(dir).join(name)).find(is_program)
    }

    pub(super) fn distribution(&self) -> Distribution {
        if self.machine.is_mac {
            return Distribution::MacOs;
        }
        let text = self.read("/etc/os-release").or_else(|| self.read("/usr/lib/os-release"));
        text.map_or(Distribution::Other(String::new()), |text| Distribution::of(&text))
    }

    pub(super) fn is_root(&self) -> bool {
        self.machine.user == 0
    }

    /// The flags of the first processor.
    pub(super) fn processor_flags(&self) -> Vec<String> {
        // Only as far as the first one: the kernel takes its time over each.
        let Ok(file) = File::open(self.at("/proc/cpuinfo")) else { return Vec::new() };
        let mut lines = BufReader::new(file).lines().map_while(Result::ok);
        let line = lines.find(|line| line.starts_with("flags") || line.starts_with("Features"));
        let flags = line.as_deref().and_then(|line| line.split_once(':')).map_or("", |(_, flags)| flags);
        flags.split_whitespace().map(str::to_owned).collect()
    }

    /// The name of a group, and whether the user is in it by /etc/group.
    pub(super) fn group(&self, number: u32) -> Option<(String, Vec<String>)> {
        self.read("/etc/group")?.lines().find_map(|line| {
            let mut fields = line.split(':');
            let (name, id, members) = (fields.next()?, fields.nth(1)?, fields.next().unwrap_or(""));
            (id.parse() == Ok(number)).then(|| (name.to_owned(), members.split(',').map(str::to_owned).collect()))
        })
    }

    /// The container engine whose marks are here.
    pub(super) fn container(&self) -> Option<&'static str> {
        [
            ("/run/.containerenv", "Podman"),
            ("/.dockerenv", "Docker"),
            ("/run/systemd/container", "a container engine"),
            ("/var/run/secrets/kubernetes.io", "Kubernetes"),
        ]
        .into_iter()
        .find(|(mark, _)| self.exists(mark))
        .map(|(_, engine)| engine)
    }
}
