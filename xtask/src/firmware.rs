//! libkrunfw, the guest kernel as a library, out of a wheel that carries it.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::cache::Cache;
use crate::command::{output, with_retries};
use crate::debian;
use crate::elf::Elf;

/// The version of libkrunfw that the wheel carries.
pub const VERSION: &str = "5.6.1";

/// The wheel and what it must be: pip refuses anything else.
const REQUIREMENT: &str =
    "microsandbox==0.7.11 --hash=sha256:65f1e4bbf8d721c9f7f557329fb6c8cf41f554c1c6942eac8b941198fa283fe0\n";

/// Takes the one file named by the second argument out of the wheel named by the first.
const UNPACK: &str = "\
import shutil, sys, zipfile
with zipfile.ZipFile(sys.argv[1]) as wheel, wheel.open(sys.argv[2]) as source, open(sys.argv[3], 'wb') as target:
    shutil.copyfileobj(source, target)
";

/// The directory that holds `libkrunfw.so.5.6.1` and the symlink `libkrunfw.so.5`, fetched if the cache lacks it.
///
/// It is an LGPL-2.1 library around a GPL-2.0 kernel, for x86-64.
pub fn firmware(cache: &Cache) -> Result<PathBuf> {
    if cfg!(not(target_arch = "x86_64")) {
        bail!("libkrunfw {VERSION} is fetched for x86-64 only; this machine has another processor");
    }
    let key = format!("libkrunfw/{VERSION}-{}", crate::cache::fingerprint([REQUIREMENT.as_bytes()]));
    cache.entry(&key, |dir| {
        eprintln!("fetching libkrunfw {VERSION} (48 MB, once) ...");
        let requirements = dir.join("requirements.txt");
        fs::write(&requirements, REQUIREMENT).with_context(|| format!("could not write {}", requirements.display()))?;
        let python = debian::program("python3", "python3")?;
        ensure_pip(&python)?;
        with_retries("fetching the wheel that carries libkrunfw", || {
            let pip = ["-m", "pip", "download", "--quiet", "--no-deps", "--only-binary=:all:", "--require-hashes"];
            output(Command::new(&python).args(pip).arg("-d").arg(dir).arg("-r").arg(&requirements))
        })?;
        let library = dir.join(format!("libkrunfw.so.{VERSION}"));
        let member = format!("microsandbox/_bundled/lib/libkrunfw.so.{VERSION}");
        let wheel = only_wheel(dir)?;
        output(Command::new(&python).args(["-c", UNPACK]).arg(&wheel).arg(member).arg(&library))?;
        for file in [wheel, requirements] {
            fs::remove_file(&file).with_context(|| format!("could not remove {}", file.display()))?;
        }
        check(&library)?;
        symlink(format!("libkrunfw.so.{VERSION}"), dir.join("libkrunfw.so.5")).context("could not link libkrunfw.so.5")
    })
}

fn ensure_pip(python: &Path) -> Result<()> {
    match output(Command::new(python).args(["-m", "pip", "--version"])) {
        Ok(_) => Ok(()),
        Err(_) => debian::install(&["python3-pip"]),
    }
}

fn only_wheel(dir: &Path) -> Result<PathBuf> {
    let mut wheels = fs::read_dir(dir)?.filter_map(|entry| Some(entry.ok()?.path()));
    wheels
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .with_context(|| format!("pip said that it downloaded a wheel, but there is none in {}", dir.display()))
}

fn check(library: &Path) -> Result<()> {
    let bytes = fs::read(library).with_context(|| format!("could not read {}", library.display()))?;
    let elf = Elf::parse(&bytes).with_context(|| format!("{} is damaged", library.display()))?;
    if !elf.exported_functions()?.contains(&"krunfw_get_kernel") {
        bail!("{} exports no krunfw_get_kernel, so it is not a libkrunfw", library.display());
    }
    Ok(())
}
