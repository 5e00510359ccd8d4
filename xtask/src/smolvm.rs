//! SmolVM with krundl behind its libkrun backend: SmolVM's own tests, ours of what is between the two, and real guests.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command::{output, with_retries};
use crate::guests::{self, Job};
use crate::project::{self, run};
use crate::python::{Package, environment};
use crate::{Cache, Lab, busybox_root, debian, kernel, libkrun};

/// SmolVM and what it takes, pinned.
const REQUIREMENTS: &str = include_str!("../../python/tests_smolvm/requirements.txt");
/// The version whose own tests are run.
const SMOLVM: &str = "smolvm==0.0.36";
/// The libkrun of the guests.
const RELEASE: &str = "1.19.7";
/// Those of SmolVM's tests that touch what is replaced, or the other backends beside it.
const SUITES: &[&str] = &[
    "tests/api",
    "tests/communication",
    "tests/host",
    "tests/runtime",
    "tests/storage",
    "tests/vm",
    "tests/windows/test_workspace.py",
];
/// Both try for 50 seconds to reach a guest that is not there before they come to what they assert, about Windows.
const SLOW: &[&str] = &[
    "tests/vm/test_facade.py::TestVMWindowsEnvDispatch::test_start_on_windows_vm_uses_windows_injector",
    "tests/vm/test_facade.py::TestVMUploadDownloadWindows::test_download_accepts_windows_path",
];
/// Which of them come out otherwise, a line each, and why.
const DIFFERS: &str = include_str!("../../python/tests_smolvm/differs.txt");

/// Runs all of it but what takes guests, which is left to be run.
///
/// # Errors
/// The first step that failed.
pub fn test(cache: &Cache) -> Result<Job> {
    let package = Package::build(cache)?;
    package.see(&environment("smolvm", cache, REQUIREMENTS)?)?;
    eprintln!("types, with SmolVM's own beside ours");
    types(&package)?;
    eprintln!("tests with SmolVM, with libraries that look like libkrun");
    let stubs = package.stubs()?;
    let mut command = pytest(&package, &["python/tests_smolvm", "--ignore=python/tests_smolvm/test_sandboxes.py"]);
    run(command.env("KRUNDL_TEST_STUBS", &stubs))?;
    eprintln!("SmolVM's own tests");
    suite(cache, &package)?;
    guests(cache, &package)
}

/// Ours, without SmolVM's plugin for asyncio: it has settings that are SmolVM's.
fn pytest(package: &Package, arguments: &[&str]) -> Command {
    let mut command = package.pytest(&["-p", "no:asyncio"]);
    command.args(arguments).env("PYTHONPATH", project::root().join("python/tests"));
    command
}

fn types(package: &Package) -> Result<()> {
    let mut command = Command::new(&package.python);
    command.args(["-m", "mypy", "--config-file", "../pyproject.toml", "krundl", "tests_smolvm"]);
    run(command.current_dir(project::root().join("python")).env("MYPYPATH", ".:tests:tests_smolvm"))
}

/// SmolVM's tests, with krundl installed all the while: all but those that are named must pass, and those must not.
fn suite(cache: &Cache, package: &Package) -> Result<()> {
    let source = source(cache, package)?;
    let (mut ours, mut theirs): (Vec<OsString>, Vec<&str>) = (Vec::new(), Vec::new());
    for line in DIFFERS.lines().filter(|line| !line.starts_with('#')) {
        let (test, _why) = line.split_once(' ').with_context(|| format!("no reason: {line}"))?;
        theirs.push(test);
        ours.extend(["--deselect".into(), test.into()]);
    }
    for test in SLOW {
        ours.extend(["--deselect".into(), test.into()]);
    }
    let pytest = || {
        let mut command = Command::new(&package.python);
        command.args(["-m", "pytest", "-q", "--no-header", "-rs", "-p", "no:cacheprovider", "-p", "with_krundl"]);
        // The plugin's own default, which it asks for in words.
        command.args(["-o", "asyncio_default_fixture_loop_scope=function"]);
        command.current_dir(&source).env("PYTHONDONTWRITEBYTECODE", "1");
        command.env("PYTHONPATH", project::root().join("python/tests_smolvm"));
        // Whether this machine has a libkrun is no matter: there it is not.
        command.env("KRUNDL_LIBRARY", "/nonexistent/libkrun.so.1");
        command
    };
    run(pytest().args(["-o", "addopts=--tb=short -m 'not e2e'"]).args(ours).args(SUITES))?;
    let differing = pytest().args(["-o", "addopts=", "--tb=no"]).args(&theirs).output()?;
    let said = String::from_utf8_lossy(&differing.stdout).into_owned();
    if !said.contains(&format!("{} failed in", theirs.len())) {
        bail!("of the tests in python/tests_smolvm/differs.txt some are as they are without krundl:\n{said}");
    }
    Ok(())
}

/// SmolVM's sdist, which has its tests, unpacked.
fn source(cache: &Cache, package: &Package) -> Result<PathBuf> {
    let dir = cache.entry(&format!("smolvm/{}", SMOLVM.replace("==", "-")), |dir| {
        eprintln!("fetching the source of {SMOLVM} (once) ...");
        with_retries("fetching SmolVM's source", || {
            let pip = ["-m", "pip", "download", "--quiet", "--no-deps", "--no-binary=:all:", "-d"];
            output(package.tool(&pip).arg(dir).arg(SMOLVM))
        })?;
        let script = "import sys, tarfile, glob\n\
                      tarfile.open(glob.glob(sys.argv[1] + '/*.tar.gz')[0]).extractall(sys.argv[1])\n";
        output(package.tool(&["-c", script]).arg(dir)).map(drop)
    })?;
    let mut entries = std::fs::read_dir(&dir)?.filter_map(|entry| Some(entry.ok()?.path()));
    entries.find(|path| path.join("tests").is_dir()).context("SmolVM's source has no tests")
}

fn guests(cache: &Cache, package: &Package) -> Result<Job> {
    let images = images(cache, package)?;
    let lib = package.dir.join("lib");
    project::install_libkrun(cache, RELEASE, &lib)?;
    for (program, of) in [("passt", "passt"), ("ssh-keygen", "openssh-client"), ("ip", "iproute2")] {
        debian::program(program, of)?;
    }
    // One test may take minutes here.
    let long = ["-v", "--durations=0", "-o", "faulthandler_timeout=600"];
    let mut command = pytest(package, &long);
    command.arg("python/tests_smolvm/test_sandboxes.py");
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).map(Into::into).collect();
    let bin = package.python.parent().context("the interpreter lies nowhere")?;
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::iter::once(bin.to_owned()).chain(std::env::split_paths(&path));
    let lab = Lab::new(cache)
        .timeout(Duration::from_secs(1200))
        .env("KRUNDL_LIBRARY", lib.join("libkrun.so.1"))
        .env("KRUNDL_TEST_IMAGES", &images)
        .env("PATH", std::env::join_paths(places)?)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .read(&package.dir)
        .read(&images)
        .read(libkrun(cache, RELEASE, &["blk", "net"])?)
        .capture(true);
    Ok(Box::new(move || guests::pass(&lab, &words, "SmolVM's sandboxes")))
}

/// SmolVM's directory of images, with the one that its command makes where nothing is asked for.
fn images(cache: &Cache, package: &Package) -> Result<PathBuf> {
    let dropbear = debian::program("dropbear", "dropbear-bin")?;
    debian::program("mkfs.ext4", "e2fsprogs")?;
    let kernel = kernel(cache)?.join("vmlinux");
    let root = package.dir.join("root");
    busybox_root(cache, &root)?;
    let images = package.dir.join("smolvm-images");
    let script = project::root().join("python/tests_smolvm/image.py");
    let mut command = Command::new(&package.python);
    output(command.arg(script).args([&root, &dropbear, &kernel]).arg(&images))?;
    Ok(images)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    #[test]
    fn every_difference_has_its_reason() {
        for line in super::DIFFERS.lines().filter(|line| !line.starts_with('#')) {
            let (test, why) = line.split_once(' ').expect("a test, a blank, why");
            assert!(test.starts_with("tests/") && test.contains("::") && why.len() > 10, "{line}");
        }
    }

    #[test]
    fn the_version_is_the_same_everywhere() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let pyproject = std::fs::read_to_string(root.join("pyproject.toml")).unwrap();
        assert!(pyproject.contains(&format!("\"{};", super::SMOLVM)));
        assert!(super::REQUIREMENTS.lines().any(|line| line == super::SMOLVM));
    }
}
