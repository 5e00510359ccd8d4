//! The doctor, on machines that are made up and with libraries of every kind.

mod commandline;
mod hostile;
mod inspecting;
mod machines;
mod matrix;
mod questions;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use krundl::ProbeOptions;
use krundl::doctor::{Check, Machine, Options, Report, Status, World, doctor_of};
use krundl::host::Kvm;
use krundl::library::Environment;
use krundl_test_support::stubs::Stub;
use tempfile::TempDir;

const HELPER: &str = env!("CARGO_BIN_EXE_krundl-vmm");

/// A machine with nothing wrong, on which nothing is installed: Debian, an Intel processor, an ordinary user.
struct Made {
    temp: TempDir,
    pub world: World,
    pub options: Options,
}

impl Made {
    fn new() -> Made {
        let temp = tempfile::tempdir().expect("a directory");
        let root = temp.path().canonicalize().expect("its path");
        let environment = Environment {
            root: Some(root.clone().into()),
            home: Some("/home/anna".into()),
            user: Some("anna".into()),
            ..Environment::default()
        };
        let kvm = Kvm {
            exists: true,
            accessible: true,
            api_version: Some(12),
            creates_vm: Some(true),
            max_vcpus: Some(1024),
            modules: vec!["kvm_intel".to_owned()],
            ..Kvm::default()
        };
        let machine = Machine {
            architecture: std::env::consts::ARCH.to_owned(),
            is_mac: false,
            kvm,
            kvm_group: Some(104),
            user: 1000,
            groups: vec![1000, 104],
            open_files: (Some(1024), Some(1_048_576)),
            landlock: Some(6),
            macos_version: None,
            hypervisor_framework: None,
        };
        let world = World { root: Some(root), environment, path: Some("/usr/bin".into()), machine };
        let probe = ProbeOptions {
            helper: Some(HELPER.into()),
            timeout: std::time::Duration::from_secs(5),
            ..ProbeOptions::default()
        };
        let made = Made { temp, world, options: Options { probe, ..Options::default() } };
        made.file("/etc/os-release", "NAME=Debian\nID=debian\nVERSION_ID=\"12\"\n");
        made.file("/etc/group", "root:x:0:\nkvm:x:104:\nanna:x:1000:\n");
        made.file("/proc/cpuinfo", "processor\t: 0\nflags\t\t: fpu vmx sse2\n");
        made.file("/proc/self/uid_map", "         0          0 4294967295\n");
        made.file("/proc/self/mountinfo", "21 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n");
        made
    }

    fn at(&self, path: &str) -> PathBuf {
        self.world.root.as_ref().expect("a root").join(path.trim_start_matches('/'))
    }

    fn file(&self, path: &str, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.at(path);
        fs::create_dir_all(path.parent().expect("a directory")).expect("directories");
        fs::write(&path, text).expect("a file");
        path
    }

    fn distribution(&self, os_release: &str) {
        self.file("/etc/os-release", os_release);
    }

    /// A stub of libkrun in a directory of the machine.
    fn install(&self, dir: &str, stub: &Stub) {
        stub.build_in(&self.at(dir));
    }

    /// A libkrunfw, with that number of its interface.
    fn install_firmware(&self, dir: &str, abi: u32) {
        let file = self.at(dir).join(format!("libkrunfw.so.{abi}"));
        let source = format!(
            "int krunfw_get_version(void) {{ return {abi}; }}\n\
             static char kernel[4096] = \"Linux version %s\\0Linux version 6.12.87 (a builder)\";\n\
             char *krunfw_get_kernel(unsigned long *load, unsigned long *entry, unsigned long *size)\n\
             {{ *load = 0x1000000; *entry = 0x1000000; *size = sizeof kernel; return kernel; }}\n"
        );
        compile(&file, &source, &[&format!("-Wl,-soname,libkrunfw.so.{abi}")]);
    }

    fn named(&mut self, library: &Path) {
        self.options.probe.library = Some(library.to_owned());
    }

    fn report(&self) -> Report {
        doctor_of(&self.world, &self.options, &mut |_| {}).unwrap_or_else(|reason| panic!("{reason}"))
    }

    /// The text with the paths as they are on that machine.
    fn without_root(&self, text: &str) -> String {
        let root = self.world.root.as_ref().expect("a root").display().to_string();
        text.replace(&root, "").replace(HELPER, "[krundl-vmm]")
    }

    fn path(&self) -> &Path {
        self.temp.path()
    }
}

/// A stub that mentions a libkrunfw, as libkrun since 1.11.0 does.
fn asks_for(stub: Stub, firmware: &str) -> Stub {
    stub.constructor(&format!("const char *volatile wanted = \"{firmware}\"; (void)wanted;"))
}

/// Compiles a shared library.
fn compile(library: &Path, source: &str, arguments: &[&str]) {
    let dir = library.parent().expect("a directory");
    fs::create_dir_all(dir).expect("directories");
    let file = library.with_extension("c");
    fs::write(&file, source).expect("a file");
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let mut command = Command::new(compiler);
    command.args(["-shared", "-fPIC", "-w", "-o"]).arg(library).arg(&file).args(arguments);
    assert!(command.status().expect("a compiler").success(), "{source}");
    fs::remove_file(file).expect("the source removed");
}

/// The only check of that name.
fn check<'a>(report: &'a Report, id: &str) -> &'a Check {
    let found: Vec<&Check> = report.checks.iter().filter(|check| check.id.name() == id).collect();
    assert_eq!(found.len(), 1, "{id}");
    found[0]
}

fn status(report: &Report, id: &str) -> Status {
    check(report, id).status
}

/// The checks that are in the way, by name.
fn in_the_way(report: &Report) -> BTreeMap<&'static str, Status> {
    let bad = report.checks.iter().filter(|check| check.status.is_bad());
    bad.map(|check| (check.id.name(), check.status)).collect()
}

/// Panics unless the report is as docs/doctor.schema.json says.
fn validate(report: &Report) {
    static SCHEMA: std::sync::LazyLock<jsonschema::Validator> = std::sync::LazyLock::new(|| {
        let schema = serde_json::from_str(include_str!("../../docs/doctor.schema.json")).expect("the schema is JSON");
        jsonschema::validator_for(&schema).expect("the schema is one")
    });
    let json = serde_json::to_value(report).expect("plain data");
    if let Err(error) = SCHEMA.validate(&json) {
        panic!("{}: {error}", error.instance_path());
    }
}
