//! Compiling, once for each source.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where compiled stubs are kept: in the target directory that the running test is in.
fn cache() -> PathBuf {
    let exe = std::env::current_exe().unwrap_or_default();
    let target = exe.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file()).map(Path::to_owned);
    let target = target.or_else(|| std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from));
    target.unwrap_or_else(|| std::env::temp_dir().join("krundl-target")).join("stubs")
}

fn fnv1a(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// The compiled library of this source. With `needs_missing` it needs a library of that soname, which there is not.
///
/// Tests run in parallel, in threads and in processes: each compiles into a directory of its own, and the first one
/// that is ready gives the cache its directory.
pub(super) fn library(source: &str, soname: Option<&str>, needs_missing: Option<&str>) -> PathBuf {
    compiled(&format!("{soname:?} {needs_missing:?}"), source, |cc, work| link(cc, work, soname, needs_missing))
}

/// The compiled program of this source.
pub(crate) fn program(source: &str) -> PathBuf {
    compiled("a program", source, |cc, work| {
        let mut command = Command::new(cc);
        run(command.args(["-O0", "-w", "-o"]).arg(work.join("library")).arg(work.join("library.c")));
    })
}

fn compiled(how: &str, source: &str, compile: impl FnOnce(&OsStr, &Path)) -> PathBuf {
    let cc = std::env::var_os("CC").unwrap_or_else(|| OsString::from("cc"));
    let key = format!("{cc:?} {how}\n{source}");
    let cache = cache();
    let dir = cache.join(format!("{:016x}", fnv1a(key.as_bytes())));
    let library = dir.join("library");
    if library.is_file() {
        return library;
    }
    fs::create_dir_all(&cache).unwrap_or_else(|error| panic!("{}: {error}", cache.display()));
    let work = tempfile::Builder::new().prefix("new").tempdir_in(&cache).expect("a directory to compile in");
    fs::write(work.path().join("library.c"), source).expect("the source written");
    compile(&cc, work.path());
    if let Err(error) = fs::rename(work.path(), &dir) {
        assert!(library.is_file(), "{}: {error}", dir.display());
    }
    library
}

fn link(cc: &OsStr, work: &Path, soname: Option<&str>, needs_missing: Option<&str>) {
    let path = |name: &str| work.join(name);
    let mut command = Command::new(cc);
    command.args(["-shared", "-fPIC", "-O0", "-w", "-fvisibility=hidden", "-o"]).arg(path("library"));
    command.arg(path("library.c"));
    if let Some(soname) = soname {
        command.arg(format!("-Wl,-soname,{soname}"));
    }
    if let Some(missing) = needs_missing {
        fs::write(path("missing.c"), "int missing;\n").expect("the source written");
        let mut empty = Command::new(cc);
        empty.args(["-shared", "-fPIC", "-o"]).arg(path("missing.so")).arg(path("missing.c"));
        run(empty.arg(format!("-Wl,-soname,{missing}")));
        command.arg("-Wl,--no-as-needed").arg(path("missing.so"));
    }
    run(command.arg("-ldl"));
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("cannot run {command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}\n{}", output.status, String::from_utf8_lossy(&output.stderr));
}
