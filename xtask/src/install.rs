//! Installs krundl: the shared and the static library, the header, pkg-config's file, the helper, and the command line
//! with its man pages and completions.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use krundl::capi::ABI_VERSION;

use crate::command::{find_program, output};
use crate::{debian, manual, project};

/// Where to, and how it is built.
#[derive(Clone, Debug)]
pub struct Installation {
    /// Where it is going to be, absolute.
    pub prefix: PathBuf,
    /// Put before all of that for now, as package builders want it.
    pub destdir: Option<PathBuf>,
    /// The libraries' directory below the prefix: `lib`, or `lib/x86_64-linux-gnu`.
    pub libdir: PathBuf,
    /// Without optimisation, which is quicker to build.
    pub debug: bool,
}

/// What was built.
struct Built {
    archive: PathBuf,
    /// What a program that is linked with the archive needs besides: `-lgcc_s -lm ...`.
    needs: Vec<String>,
    krundl: PathBuf,
    helper: PathBuf,
}

/// Builds everything and puts it in its place.
///
/// # Errors
/// What could not be built or written.
pub fn install(installation: &Installation) -> Result<()> {
    if !installation.prefix.is_absolute() || installation.libdir.is_absolute() {
        bail!("the prefix must be an absolute path, and the libraries' directory a relative one below it");
    }
    // Before cargo finds out in its own words.
    let _there = cc()?;
    let built = build(installation.debug)?;
    let version = env!("CARGO_PKG_VERSION");
    let lib = installation.place(&installation.libdir)?;
    let names = [
        format!("libkrundl.so.{ABI_VERSION}.{version}"),
        format!("libkrundl.so.{ABI_VERSION}"),
        "libkrundl.so".to_owned(),
    ];
    link_shared(&built, &names[1], &lib.join(&names[0]))?;
    for name in &names[1..] {
        let link = lib.join(name);
        let _absent = fs::remove_file(&link);
        symlink(&names[0], &link).with_context(|| format!("could not link {}", link.display()))?;
    }
    put(&built.archive, &lib.join("libkrundl.a"), 0o644)?;
    put(&project::root().join("include/krundl.h"), &installation.place("include".as_ref())?.join("krundl.h"), 0o644)?;
    put(&built.helper, &installation.place("libexec/krundl".as_ref())?.join("krundl-vmm"), 0o755)?;
    put(&built.krundl, &installation.place("bin".as_ref())?.join("krundl"), 0o755)?;
    let pc = installation.place(&installation.libdir.join("pkgconfig"))?.join("krundl.pc");
    write(&pc, &pkg_config(installation, &built.needs))?;
    manual::write(&installation.place("share".as_ref())?)?;
    eprintln!("installed krundl {version} in {}", installation.below(Path::new("")).display());
    Ok(())
}

impl Installation {
    /// A directory of the installation as it is on this machine now.
    fn below(&self, path: &Path) -> PathBuf {
        let place = self.prefix.join(path);
        match &self.destdir {
            Some(destdir) => destdir.join(place.strip_prefix("/").unwrap_or(&place)),
            None => place,
        }
    }

    fn place(&self, path: &Path) -> Result<PathBuf> {
        let place = self.below(path);
        fs::create_dir_all(&place).with_context(|| format!("could not create {}", place.display()))?;
        Ok(place)
    }
}

/// krundl.pc.
fn pkg_config(installation: &Installation, needs: &[String]) -> String {
    format!(
        "prefix={}\nlibdir=${{prefix}}/{}\nincludedir=${{prefix}}/include\n\n\
         Name: krundl\n\
         Description: {}\n\
         Version: {}\n\
         Libs: -L${{libdir}} -lkrundl\n\
         Libs.private: {}\n\
         Cflags: -I${{includedir}}\n",
        installation.prefix.display(),
        installation.libdir.display(),
        "Opens libkrun at run time, tells what it can do, and runs microVMs with it in a child process",
        env!("CARGO_PKG_VERSION"),
        needs.join(" "),
    )
}

fn build(debug: bool) -> Result<Built> {
    let profile: &[&str] = if debug { &[] } else { &["--release"] };
    let programs = project::executables(&[&["build", "--package", "krundl", "--bins"], profile].concat())?;
    let (archive, needs) = archive(profile)?;
    Ok(Built {
        archive,
        needs,
        krundl: project::executable(&programs, "krundl")?,
        helper: project::executable(&programs, "krundl-vmm")?,
    })
}

/// Builds the static library. rustc's own way to a shared one is not gone: with it a linker other than lld takes no
/// version script but rustc's.
fn archive(profile: &[&str]) -> Result<(PathBuf, Vec<String>)> {
    let mut command = project::cargo(["rustc", "--package", "krundl", "--lib", "--crate-type", "staticlib"]);
    command.args(["--no-default-features", "--features", "capi", "--message-format=json"]).args(profile);
    command.args(["--", "--print", "native-static-libs"]);
    let result = command.stderr(Stdio::inherit()).output().context("could not start cargo")?;
    let (mut archive, mut needs) = (None, None);
    for line in String::from_utf8_lossy(&result.stdout).lines() {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(line) else { continue };
        if let Some(text) = message["message"]["message"].as_str() {
            match text.strip_prefix("native-static-libs: ") {
                Some(list) => needs = Some(list.split_whitespace().map(str::to_owned).collect::<Vec<_>>()),
                None if message["message"]["level"] == "note" => {}
                None => eprint!("{}", message["message"]["rendered"].as_str().unwrap_or_default()),
            }
        }
        let mut files = message["filenames"].as_array().into_iter().flatten().filter_map(|name| name.as_str());
        let is_ours = message["target"]["name"] == "krundl";
        archive = archive.or_else(|| files.rfind(|name| is_ours && name.ends_with(".a")).map(PathBuf::from));
    }
    if !result.status.success() {
        bail!("{} failed: {}", project::shown(&command), result.status);
    }
    let archive = archive.context("cargo built no static library")?;
    Ok((archive, needs.context("rustc does not say what the static library needs")?))
}

/// Links the shared library: the exported functions and what they need of the static one.
fn link_shared(built: &Built, soname: &str, output_file: &Path) -> Result<()> {
    let script = project::root().join("include/krundl.map");
    let names = fs::read_to_string(&script).with_context(|| format!("could not read {}", script.display()))?;
    let names = names.lines().map(|line| line.trim().trim_end_matches(';')).filter(|name| name.starts_with("krundl_"));
    let _absent = fs::remove_file(output_file);
    let mut command = cc()?;
    command.arg("-shared").arg("-o").arg(output_file);
    command.arg(format!("-Wl,-soname,{soname}")).arg(format!("-Wl,--version-script={}", script.display()));
    command.args(["-Wl,--gc-sections", "-Wl,--no-undefined", "-Wl,--as-needed", "-Wl,-z,relro,-z,now,-z,nodelete"]);
    command.args(names.map(|name| format!("-Wl,-u,{name}")));
    command.arg(&built.archive).args(&built.needs);
    output(&mut command).map(drop)
}

/// The C compiler.
///
/// # Errors
/// There is none, and none can be installed.
pub fn cc() -> Result<Command> {
    let named = std::env::var_os("CC").filter(|name| !name.is_empty());
    let name = named.unwrap_or_else(|| "cc".into());
    if name == "cc" && find_program("cc").is_none() {
        debian::install(&["gcc", "libc6-dev"])?;
    }
    Ok(Command::new(name))
}

fn put(from: &Path, to: &Path, mode: u32) -> Result<()> {
    // A program that runs must not change under its feet.
    let _absent = fs::remove_file(to);
    fs::copy(from, to).with_context(|| format!("could not copy {} to {}", from.display(), to.display()))?;
    fs::set_permissions(to, fs::Permissions::from_mode(mode)).with_context(|| format!("could not set {}", to.display()))
}

fn write(path: &Path, text: &str) -> Result<()> {
    fs::write(path, text).with_context(|| format!("could not write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_destination_comes_before_the_prefix() {
        let mut installation = Installation {
            prefix: "/usr".into(),
            destdir: Some("/tmp/stage".into()),
            libdir: "lib64".into(),
            debug: true,
        };
        assert_eq!(installation.below(Path::new("bin")), Path::new("/tmp/stage/usr/bin"));
        let pc = pkg_config(&installation, &["-lm".to_owned()]);
        assert!(pc.starts_with("prefix=/usr\nlibdir=${prefix}/lib64\n") && !pc.contains("stage"), "{pc}");
        installation.destdir = None;
        assert_eq!(installation.below(Path::new("bin")), Path::new("/usr/bin"));
    }
}
