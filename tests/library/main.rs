//! Searching, reading and opening libkrun, with stub libraries.

mod environment;
mod firmware;
mod opening;
mod refusing;
mod searching;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use krundl::Error;
use krundl::error::AttemptError;
use krundl::library::{Environment, Library, Options, open};
use krundl_test_support::stubs::Stub;
use tempfile::TempDir;

/// Only this file, in an empty environment.
fn only(path: impl Into<PathBuf>) -> Options {
    Options { path: Some(path.into()), ..in_environment(Environment::default()) }
}

fn in_environment(environment: Environment) -> Options {
    Options { path: None, directory: None, environment, skip: Vec::new() }
}

/// An environment whose well-known places are in a directory of the test's.
fn rooted(root: &Path) -> Environment {
    Environment { root: Some(root.into()), ..Environment::default() }
}

fn opened(options: &Options) -> Library {
    // SAFETY: stubs of ours.
    let result = unsafe { open(options, &mut |_| {}) };
    result.map(|(library, _)| library).unwrap_or_else(|attempts| panic!("{}", Error::LibraryNotFound { attempts }))
}

/// Why the only candidate was refused.
fn refusal(options: &Options) -> AttemptError {
    // SAFETY: stubs of ours, and files that are refused.
    let attempts = unsafe { open(options, &mut |_| {}) }.map(|_| ()).unwrap_err();
    assert_eq!(attempts.len(), 1, "{attempts:?}");
    attempts[0].error.clone().unwrap()
}

fn temp() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().canonicalize().unwrap();
    (dir, path)
}

/// Compiles a shared library.
fn cc(library: &Path, source: &str, arguments: &[&str]) {
    let dir = library.parent().unwrap();
    fs::create_dir_all(dir).unwrap();
    let file = dir.join("source.c");
    fs::write(&file, source).unwrap();
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let mut command = Command::new(compiler);
    command.args(["-shared", "-fPIC", "-w", "-Wl,--build-id", "-o"]).arg(library).arg(file).args(arguments);
    assert!(command.status().unwrap().success());
}

/// A libkrunfw whose interface has this number.
fn make_firmware(library: &Path, abi: u32) {
    let source = format!(
        "int krunfw_get_version(void) {{ return {abi}; }}\n\
         static char kernel[4096];\n\
         char *krunfw_get_kernel(unsigned long *load, unsigned long *entry, unsigned long *size)\n\
         {{ *load = 0x1000000; *entry = 0x1000000; *size = sizeof kernel; return kernel; }}\n"
    );
    cc(library, &source, &[&format!("-Wl,-soname,libkrunfw.so.{abi}")]);
}

/// A stub that mentions a libkrunfw, as libkrun since 1.11.0 does.
fn mentions_firmware(release: &str, name: &str) -> Stub {
    Stub::new(release).constructor(&format!("const char *volatile wanted = \"{name}\"; (void)wanted;"))
}
