//! The Python package: its wheel from its sdist, and everything that is tested with it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::command::{output, with_retries};
use crate::guests::{self, Job};
use crate::package::{readme, third_party};
use crate::project::{self, run};
use crate::{Cache, Lab, busybox_root, debian, firmware, libkrun};

/// What builds and tests the package, pinned.
const REQUIREMENTS: &str = include_str!("../../python/requirements.txt");
/// The largest wheel that is still small, in bytes.
const LARGEST_WHEEL: u64 = 4 * 1024 * 1024;
/// The oldest CPython that the wheel is for, 3.10.
const OLDEST: u32 = 10;
/// The libkrun of the guests.
const RELEASE: &str = "1.19.7";

/// Builds the package and tests it; with `full` with every Python that is here, and what takes long. What takes guests is
/// left to be run.
///
/// # Errors
/// The first step that failed.
pub fn test(cache: &Cache, full: bool) -> Result<Vec<Job>> {
    let package = Package::build(cache)?;
    eprintln!("types");
    package.types()?;
    eprintln!("tests, with libraries that look like libkrun");
    package.tests(&package.python)?;
    eprintln!("installed in place (pip install -e)");
    package.editable()?;
    if full {
        package.others(cache)?;
    }
    let mut guests = vec![package.guests(cache, "not long", 900)?];
    // In a lab of its own, because one that fails is tried again from the beginning.
    if full {
        guests.push(package.guests(cache, "long", 2400)?);
    }
    Ok(guests)
}

/// The package, installed into an environment of its own.
pub struct Package {
    /// Where everything is made; stays, so that the next run finds it.
    pub(crate) dir: PathBuf,
    /// The tools' interpreter.
    tools: PathBuf,
    /// The interpreter that has the package, and the tools besides.
    pub python: PathBuf,
}

impl Package {
    /// Builds the sdist, from that the wheel, checks both and installs the wheel.
    ///
    /// # Errors
    /// What could not be fetched, built or installed; a wheel that is too large or not what its name says.
    pub fn build(cache: &Cache) -> Result<Package> {
        let tools = environment("tools", cache, REQUIREMENTS)?.join("bin/python");
        let dir = target()?.join("krundl-python");
        std::fs::create_dir_all(&dir).with_context(|| format!("could not create {}", dir.display()))?;
        let package = Package { python: dir.join("venv/bin/python"), dir, tools };
        let wheel = package.wheel()?;
        package.check(&wheel)?;
        package.install(&wheel)?;
        Ok(package)
    }

    /// Types what the README says into an environment that has nothing else, with the packages that go with krundl, and
    /// boots a guest with them where there is no libkrun and no libkrunfw.
    ///
    /// # Errors
    /// It cannot be installed, or the guest did not do what it was for.
    pub fn bundled(&self, cache: &Cache) -> Result<()> {
        let dir = self.dir.join("bundled");
        let venv = dir.join("venv");
        crate::cache::remove_dir(&dir)?;
        output(self.tool(&["-m", "venv"]).arg(&venv))?;
        let python = venv.join("bin/python");
        for command in [readme::PIP, readme::PIP_BUNDLED] {
            eprintln!("{command}");
            let mut shell = Command::new("sh");
            shell.args(["-c", command]).current_dir(project::root()).env("CARGO_TARGET_DIR", self.dir.join("target"));
            let path = std::env::var_os("PATH").unwrap_or_default();
            let places = std::iter::once(venv.join("bin")).chain(std::env::split_paths(&path));
            shell.env("PATH", std::env::join_paths(places)?).env("PIP_DISABLE_PIP_VERSION_CHECK", "1");
            // What builds the wheel is fetched.
            with_retries(command, || output(&mut shell))?;
        }
        let (root, shared) = (dir.join("root"), dir.join("shared"));
        busybox_root(cache, &root)?;
        std::fs::create_dir_all(&shared)?;
        std::fs::write(shared.join("from-the-host"), "written on the host\n")?;
        let script = project::root().join("packaging/wheels/guest.py");
        let lab = Lab::new(cache)
            .timeout(Duration::from_secs(400))
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .read(&dir)
            .write(&shared)
            .capture(true);
        let command = [&python, &script, &root, &shared].map(Into::into);
        guests::pass(&lab, &command, "the guest with what pip installed")
    }

    /// The wheel of the sdist, or the one that is there if nothing has changed.
    fn wheel(&self) -> Result<PathBuf> {
        let (sdist, wheels) = (self.dir.join("sdist"), self.dir.join("wheel"));
        crate::cache::remove_dir(&sdist)?;
        std::fs::create_dir_all(&sdist).with_context(|| format!("could not create {}", sdist.display()))?;
        let script = "import sys; sys.path.insert(0, 'python/build'); import krundl_build; \
                      krundl_build.build_sdist(sys.argv[1])";
        output(self.tool(&["-c", script]).arg(&sdist))?;
        let archive = only(&sdist, "gz")?;
        let rustc = output(Command::new("rustc").arg("-vV"))?;
        let key = crate::cache::fingerprint([&std::fs::read(&archive)?[..], &rustc]);
        let made_of = self.dir.join("wheel.key");
        if std::fs::read_to_string(&made_of).is_ok_and(|old| old == key)
            && let Ok(wheel) = only(&wheels, "whl")
        {
            return Ok(wheel);
        }
        eprintln!("building the wheel from the sdist (about 3 minutes) ...");
        let _ = std::fs::remove_file(&made_of);
        crate::cache::remove_dir(&wheels)?;
        let source = self.unpack(&archive)?;
        let pip = ["-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "--no-index", "-w"];
        let mut command = self.tool(&pip);
        // Not in the sdist's own directory, which is new each time.
        command.env("CARGO_TARGET_DIR", self.dir.join("target"));
        output(command.arg(&wheels).arg(source))?;
        std::fs::write(&made_of, key)?;
        only(&wheels, "whl")
    }

    /// Unpacks the sdist. All of its files have the same old date, by which cargo would take them for unchanged.
    fn unpack(&self, archive: &Path) -> Result<PathBuf> {
        let source = self.dir.join("source");
        crate::cache::remove_dir(&source)?;
        let script = "import os, sys, tarfile\n\
                      with tarfile.open(sys.argv[1]) as archive:\n    archive.extractall(sys.argv[2])\n\
                      for place, _, files in os.walk(sys.argv[2]):\n    \
                      [os.utime(os.path.join(place, file)) for file in files]\n";
        output(self.tool(&["-c", script]).arg(archive).arg(&source))?;
        let mut entries = std::fs::read_dir(&source)?.filter_map(|entry| Some(entry.ok()?.path()));
        entries.find(|path| path.is_dir()).context("the sdist holds nothing")
    }

    /// Its size, whether it runs where its name says, and the licences of what it holds.
    fn check(&self, wheel: &Path) -> Result<()> {
        let size = std::fs::metadata(wheel)?.len();
        eprintln!("{}: {size} bytes", wheel.file_name().unwrap_or_default().display());
        if size > LARGEST_WHEEL {
            bail!("the wheel has {size} bytes, more than {LARGEST_WHEEL}");
        }
        let shown = output(self.tool(&["-m", "auditwheel", "show"]).arg(wheel))?;
        let shown = String::from_utf8_lossy(&shown);
        let tag = shown.split('"').nth(1).context("auditwheel names no platform tag")?;
        let named = wheel.file_stem().and_then(|name| name.to_str()).is_some_and(|name| name.ends_with(tag));
        if !tag.starts_with("manylinux_2_") || !named {
            bail!("{} is not what auditwheel makes of it: {shown}", wheel.display());
        }
        let script = "import sys, zipfile; wheel = zipfile.ZipFile(sys.argv[1])\n\
                      for file in wheel.namelist():\n    \
                      if file.endswith('.dist-info/licenses/python/third-party.txt'):\n        \
                      sys.stdout.buffer.write(wheel.read(file))\n";
        let found = output(self.tool(&["-c", script]).arg(wheel))?;
        let wanted = third_party::notice("krundl's module and programs hold", &third_party::crates("default,python")?)?;
        if found != wanted.as_bytes() {
            let found = String::from_utf8_lossy(&found);
            let other = wanted.lines().zip(found.lines()).find(|(wanted, found)| wanted != found);
            bail!("the wheel's third-party.txt is not what is linked; the first difference: {other:?}");
        }
        Ok(())
    }

    fn install(&self, wheel: &Path) -> Result<()> {
        let python = self.venv("venv", &self.tools)?;
        let pip = ["-m", "pip", "--quiet", "--python"];
        output(self.tool(&pip).arg(python).args(["install", "--no-deps", "--no-index"]).arg(wheel)).map(drop)
    }

    /// A new environment's interpreter. The tools are not installed in it but seen.
    fn venv(&self, name: &str, tools: &Path) -> Result<PathBuf> {
        let venv = self.dir.join(name);
        crate::cache::remove_dir(&venv)?;
        output(Command::new(tools).args(["-m", "venv", "--without-pip"]).arg(&venv))?;
        let python = venv.join("bin/python");
        see(&python, tools.parent().and_then(Path::parent).context("the tools' interpreter lies nowhere")?)?;
        Ok(python)
    }

    /// Lets the interpreter see the packages of another environment, until the next build.
    ///
    /// # Errors
    /// An interpreter that does not tell its places.
    pub(crate) fn see(&self, environment: &Path) -> Result<()> {
        see(&self.python, environment)
    }

    /// In place: the sources as they are, the module and the programs built beside them and found.
    fn editable(&self) -> Result<()> {
        let source = self.unpack(&only(&self.dir.join("sdist"), "gz")?)?;
        let python = self.venv("editable", &self.tools)?;
        let pip = ["-m", "pip", "--quiet", "--python"];
        let mut command = self.tool(&pip);
        command.arg(&python).args(["install", "--no-build-isolation", "--no-deps", "--no-index", "-e"]).arg(&source);
        output(command.env("CARGO_TARGET_DIR", self.dir.join("target")))?;
        let library = self.dir.join("stubs/libraries/1.19.7/libkrun.so.1.19.7");
        let script = "import krundl, pathlib, sys\n\
                      source, library = map(pathlib.Path, sys.argv[1:])\n\
                      assert pathlib.Path(krundl.__file__).is_relative_to(source), krundl.__file__\n\
                      assert krundl.probe(library).library.version.range == '=1.19.7'\n";
        let mut command = Command::new(&python);
        command.args(["-W", "error", "-c", script]).arg(&source).arg(library).current_dir(&self.dir);
        run(command.env_remove("KRUNDL_VMM"))?;
        run(Command::new(python.with_file_name("krundl")).arg("--version"))
    }

    /// The same wheel and the same tests with every other CPython that it is for and that is here.
    fn others(&self, cache: &Cache) -> Result<()> {
        let own = version(&self.tools)?;
        let others: Vec<(String, PathBuf)> =
            pythons().into_iter().filter(|(found, _)| *found != own && minor(found) >= OLDEST).collect();
        if others.is_empty() {
            eprintln!("skipped: there is no other CPython from 3.{OLDEST} on, on PATH or among pyenv's");
        }
        for (found, interpreter) in others {
            eprintln!("tests with CPython {found}");
            let tools = environment_of(&interpreter, "tools", cache, REQUIREMENTS)?.join("bin/python");
            let python = self.venv(&format!("venv-{found}"), &tools)?;
            let wheel = only(&self.dir.join("wheel"), "whl")?;
            let pip = ["-m", "pip", "--quiet", "--python"];
            output(self.tool(&pip).arg(&python).args(["install", "--no-deps", "--no-index"]).arg(wheel))?;
            self.tests(&python)?;
        }
        Ok(())
    }

    /// The tools' interpreter, in the repository.
    pub(crate) fn tool(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.tools);
        command.args(arguments).current_dir(project::root());
        // maturin is called by its name.
        let path = std::env::var_os("PATH").unwrap_or_default();
        let own = self.tools.parent().map(Path::to_owned);
        let places = own.into_iter().chain(std::env::split_paths(&path));
        command.env("PATH", std::env::join_paths(places).expect("they were joined before"));
        // pip would otherwise say that it is old.
        command.env("PIP_DISABLE_PIP_VERSION_CHECK", "1").env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    fn types(&self) -> Result<()> {
        let mypy = ["-m", "mypy", "--config-file", "../pyproject.toml", "krundl", "tests", "build"];
        let mut command = self.tool(&mypy);
        run(command.current_dir(project::root().join("python")).env("MYPYPATH", ".:tests"))?;
        // The module as it is installed, against its stubs.
        let mut command = Command::new(&self.python);
        run(command.args(["-m", "mypy.stubtest", "--concise", "krundl._krundl"]).current_dir(&self.dir))
    }

    fn tests(&self, python: &Path) -> Result<()> {
        let stubs = self.stubs()?;
        let mut command = self.pytest_of(python, &["--doctest-modules", "--pyargs", "krundl"]);
        run(command.env("KRUNDL_TEST_STUBS", &stubs))?;
        let mut command = self.pytest_of(python, &["python/tests", "--ignore=python/tests/test_guests.py"]);
        run(command.env("KRUNDL_TEST_STUBS", &stubs))
    }

    /// The place with the libraries that look like libkrun.
    pub(crate) fn stubs(&self) -> Result<PathBuf> {
        let built = project::executables(&["build", "--package", "krundl-test-support", "--bins"])?;
        let stubs = self.dir.join("stubs");
        output(Command::new(project::executable(&built, "krundl-test-stubs")?).arg(&stubs))?;
        Ok(stubs)
    }

    pub(crate) fn pytest(&self, arguments: &[&str]) -> Command {
        self.pytest_of(&self.python, arguments)
    }

    fn pytest_of(&self, python: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(python);
        command.args(["-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", "pyproject.toml"]).args(arguments);
        command.current_dir(project::root()).env("PYTHONDONTWRITEBYTECODE", "1").env("PYTHONWARNINGS", "error");
        command
    }

    /// Those tests, in as many seconds at most.
    fn guests(&self, cache: &Cache, wanted: &str, patience: u64) -> Result<Job> {
        let root = self.dir.join("root");
        busybox_root(cache, &root)?;
        let lib = self.dir.join("lib");
        project::install_libkrun(cache, RELEASE, &lib)?;
        // A test that hangs ends before the lab does. Eight guests at once take minutes on a machine that is busy.
        let hangs = format!("faulthandler_timeout={}", patience * 2 / 3);
        let mut command = self.pytest(&["-v", "--durations=0", "-m", wanted, "-o", &hangs]);
        // SmolVM's packages may be seen by then, and among them is a plugin with settings that are SmolVM's.
        command.args(["-p", "no:asyncio", "python/tests/test_guests.py"]);
        let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).map(Into::into).collect();
        let mut lab = Lab::new(cache)
            .timeout(Duration::from_secs(patience))
            .env("KRUNDL_TEST_LIBRARY", lib.join("libkrun.so.1"))
            .env("KRUNDL_TEST_ROOT", &root)
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .read(&self.dir)
            .capture(true);
        for dir in [firmware(cache)?, libkrun(cache, RELEASE, &["blk", "net"])?] {
            lab = lab.read(dir);
        }
        let tests = format!("the Python package's guests ({wanted})");
        Ok(Box::new(move || guests::pass(&lab, &words, &tests)))
    }
}

/// An environment with these packages, in the cache.
///
/// # Errors
/// What could not be fetched.
pub fn environment(name: &str, cache: &Cache, requirements: &str) -> Result<PathBuf> {
    environment_of(&debian::program("python3", "python3")?, name, cache, requirements)
}

fn environment_of(python: &Path, name: &str, cache: &Cache, requirements: &str) -> Result<PathBuf> {
    let version = output(Command::new(python).args(["-c", "import sys; print(sys.version, sys.base_prefix)"]))?;
    let key = format!("python/{name}-{}", crate::cache::fingerprint([requirements.as_bytes(), &version]));
    cache.entry(&key, |dir| {
        eprintln!("fetching Python packages for {name} (once) ...");
        let venv = || output(Command::new(python).args(["-m", "venv", "--clear"]).arg(dir));
        // Debian has what it takes in a package of its own.
        if venv().is_err() {
            debian::install(&["python3-venv"])?;
            venv()?;
        }
        let list = dir.join("requirements.txt");
        std::fs::write(&list, requirements).with_context(|| format!("could not write {}", list.display()))?;
        with_retries("fetching Python packages", || {
            let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:", "-r"];
            output(Command::new(dir.join("bin/python")).args(pip).arg(&list))
        })
        .map(drop)
    })
}

/// Lets an interpreter see the packages of another environment.
fn see(python: &Path, environment: &Path) -> Result<()> {
    let places = "import sysconfig; print(sysconfig.get_path('purelib'))";
    let of = |python: &Path| -> Result<PathBuf> {
        Ok(String::from_utf8(output(Command::new(python).args(["-c", places]))?)?.trim().into())
    };
    let name = environment.file_name().context("an environment has a name")?;
    let file = of(python)?.join(name).with_extension("pth");
    std::fs::write(file, format!("{}\n", of(&environment.join("bin/python"))?.display())).map_err(Into::into)
}

/// Every CPython of the machine, with its version, one of each minor version.
fn pythons() -> Vec<(String, PathBuf)> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let pyenv = std::env::var_os("PYENV_ROOT").map_or(home.join(".pyenv"), PathBuf::from).join("versions");
    let of_pyenv =
        std::fs::read_dir(pyenv).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path().join("bin")));
    let mut found: Vec<(String, PathBuf)> = Vec::new();
    for dir in std::env::split_paths(&path).chain(of_pyenv) {
        // Newer ones than there are, for machines that are newer than this.
        for minor_version in OLDEST..30 {
            let python = dir.join(format!("python3.{minor_version}"));
            // pyenv has a program of that name that runs another one.
            let Ok(version) = version(&python) else { continue };
            if minor(&version) == minor_version && !found.iter().any(|(known, _)| minor(known) == minor_version) {
                found.push((version, python));
            }
        }
    }
    found
}

/// A CPython's version, such as `3.13.0`.
fn version(python: &Path) -> Result<String> {
    let script = "import sys; assert sys.implementation.name == 'cpython'; print(sys.version.split()[0])";
    Ok(String::from_utf8(output(Command::new(python).args(["-c", script]))?)?.trim().to_owned())
}

fn minor(version: &str) -> u32 {
    version.split('.').nth(1).and_then(|minor| minor.parse().ok()).unwrap_or(0)
}

/// Where cargo builds.
fn target() -> Result<PathBuf> {
    let metadata =
        output(project::cargo(["metadata", "--format-version=1", "--no-deps"]).current_dir(project::root()))?;
    let metadata: serde_json::Value = serde_json::from_slice(&metadata)?;
    metadata["target_directory"].as_str().map(PathBuf::from).context("cargo names no target directory")
}

/// The file with that extension in a directory that has one.
fn only(dir: &Path, extension: &str) -> Result<PathBuf> {
    let mut files = std::fs::read_dir(dir)?.filter_map(|entry| Some(entry.ok()?.path()));
    let found = files.find(|path| path.extension().is_some_and(|found| found == extension));
    found.with_context(|| format!("{} holds no .{extension}", dir.display()))
}
