//! Builds krundl's guest program, `guest/main.rs`, which the library carries in itself.
//!
//! It is compiled by calling rustc and not as a package of its own, because cargo leaves nested packages out of what
//! it publishes. Every build has to give the same bytes, whatever the place it is built in.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, exit};

/// Names a program that was built elsewhere, for hosts that cannot link a static Linux program.
const PREBUILT: &str = "KRUNDL_GUEST_PROGRAM";

/// The architectures that libkrun runs on, with their numbers in an ELF header.
const MACHINES: [(&str, u16); 3] = [("x86_64", 62), ("aarch64", 183), ("riscv64", 243)];

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=guest");
    println!("cargo::rerun-if-env-changed={PREBUILT}");
    let output = PathBuf::from(cargo("OUT_DIR")).join("krundl-guest");
    let arch = cargo("CARGO_CFG_TARGET_ARCH");
    let machine = MACHINES.iter().find(|(name, _)| *name == arch).map(|(_, machine)| *machine);
    let prebuilt = env::var_os(PREBUILT).filter(|path| !path.is_empty());
    match (prebuilt, machine) {
        (Some(path), Some(machine)) => copy(Path::new(&path), machine, &output),
        (None, Some(_)) if cargo("CARGO_CFG_TARGET_OS") == "linux" && env::var_os("DOCS_RS").is_none() => {
            compile(&output);
        }
        _ => {
            println!("cargo::warning=no guest program is built in: set {PREBUILT} to a static Linux program");
            write(&output, b"");
        }
    }
}

fn compile(output: &Path) {
    let root = cargo("CARGO_MANIFEST_DIR");
    let mut rustc = Command::new(cargo("RUSTC"));
    rustc.current_dir(&root).args(["--crate-name", "krundl_guest", "--crate-type", "bin", "--edition", "2024"]);
    rustc.args(["--target", &cargo("TARGET"), "-C", "target-feature=+crt-static", "-C", "relocation-model=static"]);
    rustc.args(["-C", "opt-level=z", "-C", "lto=fat", "-C", "codegen-units=1", "-C", "panic=abort"]);
    rustc.args(["-C", "strip=symbols", "--remap-path-prefix", &format!("{root}=krundl")]);
    if let Some(linker) = env::var_os("RUSTC_LINKER").and_then(|linker| linker.into_string().ok()) {
        rustc.args(["-C", &format!("linker={linker}")]);
    }
    rustc.arg("-o").arg(output).arg("guest/main.rs");
    let result = match rustc.output() {
        Ok(result) => result,
        Err(error) => fail(&format!("cannot run the compiler for the guest program: {error}\ncommand: {rustc:?}")),
    };
    if !result.status.success() {
        fail(&format!(
            "the guest program could not be built ({})\n\
             command: {rustc:?}\n\
             {}\n\
             It is linked statically, which needs the static C library (Debian: libc6-dev, Fedora: glibc-static).\n\
             Or set {PREBUILT} to a krundl-guest that was built elsewhere.",
            result.status,
            String::from_utf8_lossy(&result.stderr).trim_end(),
        ));
    }
}

/// Takes the program that the user named, if it can be one.
fn copy(path: &Path, machine: u16, output: &Path) {
    println!("cargo::rerun-if-changed={}", path.display());
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) => fail(&format!("{PREBUILT}: cannot read {}: {error}", path.display())),
    };
    match is_static_program(&bytes, machine) {
        Some(true) => write(output, &bytes),
        Some(false) => fail(&format!("{PREBUILT}: {} needs a dynamic loader; link it statically", path.display())),
        None => fail(&format!("{PREBUILT}: {} is no 64-bit ELF program of the target's architecture", path.display())),
    }
}

/// Whether an ELF program has no interpreter; nothing if it is not one for this machine.
fn is_static_program(bytes: &[u8], machine: u16) -> Option<bool> {
    let number = |at: usize, len: usize| -> Option<u64> {
        let mut wide = [0; 8];
        wide[..len].copy_from_slice(bytes.get(at..at.checked_add(len)?)?);
        Some(u64::from_le_bytes(wide))
    };
    let is_program = bytes.starts_with(b"\x7fELF\x02\x01") && matches!(number(16, 2)?, 2 | 3);
    if !is_program || number(18, 2)? != u64::from(machine) {
        return None;
    }
    let (table, size, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
    const INTERPRETER: u64 = 3;
    for index in 0..count {
        if number(usize::try_from(table.checked_add(index * size)?).ok()?, 4)? == INTERPRETER {
            return Some(false);
        }
    }
    Some(true)
}

fn write(output: &Path, bytes: &[u8]) {
    if let Err(error) = fs::write(output, bytes) {
        fail(&format!("cannot write {}: {error}", output.display()));
    }
}

fn cargo(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| fail(&format!("cargo did not set {name}: {error}")))
}

fn fail(message: &str) -> ! {
    eprintln!("krundl: {message}");
    exit(1)
}
