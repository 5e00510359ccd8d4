//! Debian packages: programs that have to be installed, and files that only have to be unpacked.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;

use anyhow::{Context, Result, anyhow, bail};

use crate::cache::Cache;
use crate::command::{find_program, is_root, output, with_retries};

/// Whether the package lists were brought up to date by this process already.
static LISTS_UPDATED: Mutex<bool> = Mutex::new(false);

/// The place of `program`, after installing the Debian package `package` if it is missing.
pub fn program(program: &str, package: &str) -> Result<PathBuf> {
    if let Some(path) = find_program(program) {
        return Ok(path);
    }
    install(&[package])?;
    find_program(program).ok_or_else(|| {
        anyhow!("the Debian package {package} was installed, but it brought no program {program} in PATH")
    })
}

/// Everything that a task is going to need, a program and the Debian package that brings it: what is missing is installed
/// or named at once, before anything has been done.
pub fn require(programs: &[(&str, &str)]) -> Result<()> {
    let missing = missing(programs, |program| find_program(program).is_some());
    if missing.is_empty() { Ok(()) } else { install(&missing) }
}

/// The packages of the programs that are not there, each once.
fn missing<'a>(programs: &[(&str, &'a str)], is_there: impl Fn(&str) -> bool) -> Vec<&'a str> {
    let mut packages: Vec<&str> = Vec::new();
    for (program, package) in programs {
        for package in package.split(' ') {
            if !is_there(program) && !packages.contains(&package) {
                packages.push(package);
            }
        }
    }
    packages
}

/// Installs Debian packages. Needs root and apt-get; otherwise the error names the packages.
pub fn install(packages: &[&str]) -> Result<()> {
    let list = packages.join(" ");
    if find_program("apt-get").is_none() {
        bail!(
            "these Debian packages are needed and this system has no apt-get: install what they bring in its own way: {list}"
        );
    }
    if !is_root() {
        bail!("these Debian packages are needed and installing them needs root: run `apt-get install {list}` as root");
    }
    eprintln!("installing Debian packages: {list} ...");
    let install = || {
        with_current_lists(|| {
            output(apt_get().args(["install", "-y", "--no-install-recommends"]).args(packages)).map(drop)
        })
    };
    with_retries(&format!("installing the Debian packages {list}"), install)
}

/// A folder with the files of the Debian package `name`, unpacked and not installed.
///
/// For a package without files of its own, such as `linux-image-amd64`, `real_name` turns the text of its `Depends`
/// field into the name of the package that has them.
pub fn unpacked(cache: &Cache, name: &str, real_name: Option<fn(&str) -> Option<String>>) -> Result<PathBuf> {
    cache.entry(&format!("debian/{name}"), |dir| {
        let dpkg = dpkg(name)?;
        eprintln!("fetching the Debian package {name} (once) ...");
        with_retries(&format!("fetching the Debian package {name}"), || {
            with_current_lists(|| {
                let package = match real_name {
                    Some(real_name) => dependency(name, real_name)?,
                    None => name.to_owned(),
                };
                // Without this apt warns that its own user cannot write here.
                output(apt_get().args(["-o", "APT::Sandbox::User=root", "download", &package]).current_dir(dir))
            })
        })?;
        unpack(&dpkg, dir)
    })
}

/// The same from another release of Debian, such as `trixie`, with a later version, or with what this machine's release has
/// not got. Only for programs that need no later libc than this machine has.
pub fn unpacked_of(cache: &Cache, suite: &str, name: &str) -> Result<PathBuf> {
    cache.entry(&format!("debian/{suite}/{name}"), |dir| {
        let dpkg = dpkg(name)?;
        eprintln!("fetching {name} of Debian's {suite} (once) ...");
        // Lists and sources of its own: this machine's apt goes on knowing nothing of that release.
        let apt = dir.join("apt");
        std::fs::create_dir_all(apt.join("lists/partial"))?;
        std::fs::create_dir_all(apt.join("cache/archives/partial"))?;
        let sources = apt.join("one.sources");
        std::fs::write(&sources, with_current_lists(|| source(suite))?)?;
        let other = || {
            let mut command = apt_get();
            for (name, value) in [
                ("Dir::Etc::SourceList", sources.as_os_str()),
                ("Dir::Etc::SourceParts", "/dev/null".as_ref()),
                ("Dir::State::Lists", apt.join("lists").as_os_str()),
                ("Dir::Cache", apt.join("cache").as_os_str()),
                ("Acquire::Languages", "none".as_ref()),
                ("APT::Sandbox::User", "root".as_ref()),
            ] {
                let mut option = OsString::from(format!("{name}="));
                option.push(value);
                command.arg("-o").arg(option);
            }
            command
        };
        with_retries(&format!("fetching {name} of Debian's {suite}"), || {
            output(other().arg("update"))?;
            output(other().args(["download", name]).current_dir(dir))
        })?;
        unpack(&dpkg, dir)?;
        crate::cache::remove_dir(&apt)
    })
}

/// What unpacks the package `name`, where there is what fetches it, too.
fn dpkg(name: &str) -> Result<PathBuf> {
    find_program("dpkg").filter(|_| find_program("apt-get").is_some()).with_context(|| {
        format!("the files of the Debian package {name} are needed and this system has no apt-get and dpkg")
    })
}

/// Puts the files of the one package in `dir` in its place.
fn unpack(dpkg: &Path, dir: &Path) -> Result<()> {
    let file = only_deb(dir)?;
    output(Command::new(dpkg).arg("-x").arg(&file).arg(dir))?;
    std::fs::remove_file(&file).with_context(|| format!("could not remove {}", file.display()))
}

/// A source for that release, from where this machine gets its own.
fn source(suite: &str) -> Result<String> {
    let format = "$(REPO_URI) $(LABEL) $(COMPONENT)";
    let known = output(Command::new("apt-get").args(["indextargets", "--format", format, "Created-By: Packages"]))?;
    let known = String::from_utf8_lossy(&known);
    let archive = known.lines().find_map(|line| line.strip_suffix(" Debian main"));
    let archive = archive.context("apt knows no archive of Debian's here")?;
    let mut source = format!("Types: deb\nURIs: {archive}\nSuites: {suite}\nComponents: main\n");
    const KEYS: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";
    if Path::new(KEYS).exists() {
        source.push_str(&format!("Signed-By: {KEYS}\n"));
    }
    Ok(source)
}

/// Runs `attempt`; if it fails and the package lists were not updated yet, updates them and runs it once more.
fn with_current_lists<T>(mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let first = attempt();
    let mut updated = LISTS_UPDATED.lock().expect("no thread panics while it updates the lists");
    if first.is_ok() || *updated || !is_root() {
        return first;
    }
    eprintln!("updating the Debian package lists ...");
    output(apt_get().arg("update"))?;
    *updated = true;
    attempt()
}

fn apt_get() -> Command {
    let mut command = Command::new("apt-get");
    command.arg("-q").env("DEBIAN_FRONTEND", "noninteractive").env("LC_ALL", "C");
    command
}

fn dependency(name: &str, real_name: fn(&str) -> Option<String>) -> Result<String> {
    let shown = output(Command::new("apt-cache").args(["show", "--no-all-versions", name]).env("LC_ALL", "C"))?;
    let shown = String::from_utf8_lossy(&shown);
    let depends = shown.lines().find_map(|line| line.strip_prefix("Depends:")).unwrap_or_default();
    real_name(depends).ok_or_else(|| {
        anyhow!("the Debian package {name} does not depend on a package of the expected name: {depends:?}")
    })
}

fn only_deb(dir: &Path) -> Result<PathBuf> {
    std::fs::read_dir(dir)
        .with_context(|| format!("could not read {}", dir.display()))?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "deb"))
        .ok_or_else(|| anyhow!("apt-get said that it downloaded a package, but there is none in {}", dir.display()))
}

/// The first package in a `Depends` field whose name begins with `prefix`.
pub fn depends_on(depends: &str, prefix: &str) -> Option<String> {
    depends
        .split([',', '|'])
        .filter_map(|one| one.split_whitespace().next())
        .find(|one| one.starts_with(prefix))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_named_at_once_and_once() {
        let wanted = [("cc", "gcc libc6-dev"), ("sh", "dash"), ("ld", "binutils"), ("c++", "g++ libc6-dev")];
        assert_eq!(missing(&wanted, |program| program == "sh"), ["gcc", "libc6-dev", "binutils", "g++"]);
        assert!(missing(&wanted, |_| true).is_empty());
    }

    #[test]
    fn the_package_behind_a_metapackage() {
        let depends = " dummy (>= 1), linux-image-6.1.0-56-amd64 (= 6.1.192-2) | other";
        assert_eq!(depends_on(depends, "linux-image-").as_deref(), Some("linux-image-6.1.0-56-amd64"));
        assert_eq!(depends_on(depends, "linux-headers-"), None);
    }
}
