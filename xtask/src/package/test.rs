//! The packages as their users get them: installed into a bare Debian, without cargo, libclang, libkrun or a network.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::{dir, empty, files, readme};
use crate::bare::{Bare, has, said};
use crate::command::output;
use crate::{Cache, debian, project};

/// Where the bare Debians have the packages: as in a checkout.
const CHECKOUT: &str = "/checkout";

/// The machine on which programs in C are built; rpm is there so that it is made once.
const WITH_COMPILER: &[&str] = &["gcc", "libc6-dev", "pkg-config", "rpm"];

/// Builds the packages and tests them; those for RPM only if they are asked for.
///
/// # Errors
/// The first step that failed.
pub fn test(cache: &Cache, with_rpm: bool) -> Result<()> {
    step("krundl in a prefix, and with cargo");
    prefix()?;
    step("Debian packages");
    readme::typed(readme::DEB, "")?;
    let debs = files(&dir().join("debs"))?;
    step("what lintian says");
    lintian(&debs)?;
    step("what is in the Debian packages");
    contents(&debs)?;
    step("a bare Debian with krundl");
    command_line(cache, &debs)?;
    step("a bare Debian with a C compiler and krundl's library");
    library(cache, &debs)?;
    if !with_rpm {
        return Ok(());
    }
    step("RPM packages");
    readme::typed(readme::RPM, "")?;
    let rpms = files(&dir().join("rpms"))?;
    rpm(cache, &rpms)
}

/// Without a package.
fn prefix() -> Result<()> {
    let (tree, with_cargo) = (empty("prefix")?, empty("cargo")?);
    readme::typed(readme::PREFIX, &format!("--destdir '{}'", tree.display()))?;
    let bin = tree.join("usr/local/bin");
    for file in ["lib/libkrundl.so.1", "include/krundl.h", "libexec/krundl/krundl-vmm", "share/man/man1/krundl.1"] {
        ensure!(tree.join("usr/local").join(file).exists(), "{} lacks {file}", readme::PREFIX);
    }
    readme::typed(readme::CARGO, &format!("--quiet --root '{}'", with_cargo.display()))?;
    ensure!(with_cargo.join("bin/krundl-vmm").is_file(), "cargo installs no krundl-vmm");
    for krundl in [bin.join("krundl"), with_cargo.join("bin/krundl")] {
        // It finds its krundl-vmm, whether there is a libkrun or not.
        let told = said(&Command::new(&krundl).args(["doctor", "--only", "library"]).output()?);
        ensure!(told.contains("libkrun") && !told.contains("was not found; tried"), "{}: {told}", krundl.display());
    }
    Ok(())
}

fn lintian(debs: &[PathBuf]) -> Result<()> {
    let program = debian::program("lintian", "lintian")?;
    // Not of a distribution yet, so there is no number of a bug that asked for it.
    let mut command = Command::new(program);
    command.args(["--fail-on", "error,warning", "--suppress-tags", "initial-upload-closes-no-bugs", "--info"]);
    command.args(debs).env("LC_ALL", "C.UTF-8");
    // It warns that root should not run it.
    output(command.arg("--allow-root")).map(drop)
}

fn contents(debs: &[PathBuf]) -> Result<()> {
    let list = |deb: &Path| -> Result<Vec<String>> {
        let listed = output(Command::new("dpkg-deb").arg("-c").arg(deb))?;
        let listed = String::from_utf8_lossy(&listed).into_owned();
        Ok(listed.lines().filter_map(|line| line.split(" ./").nth(1)).map(str::to_owned).collect())
    };
    let tuple = format!("{}-linux-gnu", std::env::consts::ARCH);
    let version = env!("CARGO_PKG_VERSION");
    let expected = [
        ("krundl", "usr/bin/krundl"),
        ("krundl", "usr/libexec/krundl/krundl-vmm"),
        ("krundl", "usr/share/man/man1/krundl.1.gz"),
        ("krundl", "usr/share/man/man1/krundl-run.1.gz"),
        ("krundl", "usr/share/bash-completion/completions/krundl"),
        ("krundl", "usr/share/zsh/vendor-completions/_krundl"),
        ("krundl", "usr/share/fish/vendor_completions.d/krundl.fish"),
        ("krundl", "usr/share/doc/krundl/changelog.Debian.gz"),
        ("krundl", "usr/share/doc/krundl/copyright"),
        ("krundl", "usr/share/doc/krundl/third-party.txt.gz"),
        ("libkrundl1", "usr/share/doc/libkrundl1/third-party.txt.gz"),
        ("libkrundl1", &format!("usr/lib/{tuple}/libkrundl.so.1.{version}")),
        ("libkrundl1", &format!("usr/lib/{tuple}/libkrundl.so.1 -> libkrundl.so.1.{version}")),
        ("libkrundl-dev", &format!("usr/lib/{tuple}/libkrundl.so -> libkrundl.so.1.{version}")),
        ("libkrundl-dev", &format!("usr/lib/{tuple}/pkgconfig/krundl.pc")),
        ("libkrundl-dev", "usr/include/krundl.h"),
    ];
    for (package, file) in expected {
        let listed = list(find(debs, package)?)?;
        ensure!(listed.iter().any(|one| one == file), "{package} lacks {file}; it has {listed:#?}");
    }
    let field = |package: &str, field: &str| -> Result<String> {
        let value = output(Command::new("dpkg-deb").arg("-f").arg(find(debs, package)?).arg(field))?;
        Ok(String::from_utf8_lossy(&value).trim().to_owned())
    };
    for package in ["krundl", "libkrundl1"] {
        let depends = field(package, "Depends")?;
        ensure!(depends.contains("libc6 (>= 2.") && !depends.contains("libkrun "), "{package} depends on {depends}");
    }
    let shlibs = output(Command::new("dpkg-deb").arg("-I").arg(find(debs, "libkrundl1")?).arg("shlibs"))?;
    ensure!(
        shlibs.starts_with(b"libkrundl 1 libkrundl1 "),
        "the library's shlibs: {}",
        String::from_utf8_lossy(&shlibs)
    );
    ensure!(field("krundl", "Recommends")?.contains("libkrunfw"), "krundl recommends no libkrunfw");
    Ok(())
}

fn command_line(cache: &Cache, debs: &[PathBuf]) -> Result<()> {
    let bare = Bare::new(cache, &[], &dir().join("bare"))?;
    for missing in ["cargo", "rustc", "cc", "python3", "krundl"] {
        ensure!(!has(&bare, missing)?, "the bare Debian is not bare: it has {missing}");
    }
    bare.put_all(debs, &format!("{CHECKOUT}/target/package/debs"))?;
    // There is no network, from which what is recommended would come.
    bare.succeed(&format!("cd {CHECKOUT} && {} --no-install-recommends", readme::APT))?;
    ensure!(!bare.run("test -e /usr/include/krundl.h")?.status.success(), "the library came along");
    ensure!(bare.succeed("krundl --version")?.contains(env!("CARGO_PKG_VERSION")));
    for user in [&bare, &bare.as_nobody()] {
        let result = user.run("krundl doctor")?;
        let told = said(&result);
        ensure!(result.status.code() == Some(1), "the doctor is content without libkrun: {told}");
        for words in ["libkrun.so.1", "fix: "] {
            ensure!(told.contains(words), "the doctor does not say {words:?}: {told}");
        }
        ensure!(!told.contains("krundl-vmm, the program that runs libkrun, was not found"), "{told}");
        let result = user.run("krundl run / -- true")?;
        ensure!(result.status.code() == Some(125) && said(&result).contains("libkrun"), "{}", said(&result));
    }
    // The shells find what was brought for them.
    bare.succeed("bash -c '. /usr/share/bash-completion/completions/krundl; complete -p krundl'")?;
    bare.succeed("dpkg --verify krundl")?;
    bare.succeed("apt-get purge -y krundl")?;
    let left = bare.succeed("find / -xdev -name '*krundl*' -not -path '/proc/*' -not -path '/checkout/*'")?;
    ensure!(left.trim().is_empty(), "after its removal there is still {left}");
    Ok(())
}

fn library(cache: &Cache, debs: &[PathBuf]) -> Result<()> {
    let bare = Bare::new(cache, WITH_COMPILER, &dir().join("bare-cc"))?;
    for missing in ["cargo", "clang", "krundl"] {
        ensure!(!has(&bare, missing)?, "the bare Debian is not bare: it has {missing}");
    }
    bare.put_all(debs, &format!("{CHECKOUT}/target/package/debs"))?;
    bare.succeed(&format!("cd {CHECKOUT} && {} --no-install-recommends", readme::APT_ALL))?;
    // The line of docs/packaging.md.
    let note = bare.succeed("readelf --string-dump=.note.dlopen /usr/bin/krundl")?;
    ensure!(note.contains("libkrun.so.1") && note.contains("libkrunfw.so.5"), "the note says {note}");
    bare.put(&project::root().join("ffi-tests/c/doctor.c"), "/tmp/doctor.c")?;
    bare.succeed("cd /tmp && cc -Wall -Werror doctor.c $(pkg-config --cflags --libs krundl) -o doctor")?;
    let result = bare.run("/tmp/doctor")?;
    let told = said(&result);
    ensure!(told.contains("tried libkrun.so.1: "), "the program in C does not say what was tried: {told}");
    // Static, with what pkg-config names besides.
    bare.succeed(
        "cd /tmp && cc doctor.c $(pkg-config --cflags krundl) -Wl,-Bstatic -lkrundl -Wl,-Bdynamic \
         $(pkg-config --static --libs-only-l krundl | sed 's/-lkrundl//') -o doctor-static && ! ldd doctor-static | grep krundl",
    )?;
    ensure!(said(&bare.run("/tmp/doctor-static")?).contains("tried libkrun.so.1: "));
    Ok(())
}

fn rpm(cache: &Cache, rpms: &[PathBuf]) -> Result<()> {
    let program = debian::program("rpm", "rpm")?;
    let query = |arguments: &[&str], name: &str| -> Result<Vec<String>> {
        let told = output(Command::new(&program).args(arguments).arg(find(rpms, name)?))?;
        Ok(String::from_utf8_lossy(&told).lines().map(str::to_owned).collect())
    };
    let expected = [
        ("krundl", "/usr/bin/krundl"),
        ("krundl", "/usr/libexec/krundl/krundl-vmm"),
        ("krundl", "/usr/share/man/man1/krundl-doctor.1.gz"),
        ("krundl", "/usr/share/licenses/krundl/LICENSE-MIT"),
        ("krundl", "/usr/share/licenses/krundl/third-party.txt"),
        ("krundl-libs", "/usr/lib64/libkrundl.so.1"),
        ("krundl-devel", "/usr/include/krundl.h"),
        ("krundl-devel", "/usr/lib64/pkgconfig/krundl.pc"),
    ];
    for (name, file) in expected {
        let listed = query(&["-qlp"], name)?;
        ensure!(listed.iter().any(|one| one == file), "{name} lacks {file}; it has {listed:#?}");
    }
    let recommended = query(&["-qp", "--recommends"], "krundl")?;
    ensure!(["libkrun", "libkrunfw"].iter().all(|name| recommended.iter().any(|one| one == name)), "{recommended:?}");
    let needed = query(&["-qp", "--requires"], "krundl-libs")?;
    ensure!(needed.iter().any(|one| one.starts_with("libc.so.6(GLIBC_2.")), "krundl-libs requires {needed:?}");
    ensure!(needed.iter().any(|one| one.starts_with("krundl = ")), "krundl-libs requires {needed:?}");
    let provided = query(&["-qp", "--provides"], "krundl-libs")?;
    ensure!(provided.iter().any(|one| one == "libkrundl.so.1()(64bit)"), "krundl-libs provides {provided:?}");

    // In a Debian, whose libc is not rpm's: that alone is not asked for.
    let bare = Bare::new(cache, WITH_COMPILER, &dir().join("bare-rpm"))?;
    bare.put_all(rpms, &format!("{CHECKOUT}/target/package/rpms"))?;
    bare.succeed(&format!("rpm --initdb && cd {CHECKOUT} && {} --nodeps", readme::RPM_ALL))?;
    bare.succeed("rpm -V --nodeps krundl krundl-libs krundl-devel")?;
    let result = bare.run("krundl doctor")?;
    ensure!(result.status.code() == Some(1) && said(&result).contains("fix: "), "{}", said(&result));
    Ok(())
}

/// The file of a package.
fn find<'a>(files: &'a [PathBuf], package: &str) -> Result<&'a Path> {
    let is = |file: &&PathBuf| {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let rest = name.strip_prefix(package).and_then(|rest| rest.strip_prefix(['_', '-']));
        rest.is_some_and(|rest| rest.starts_with(|first: char| first.is_ascii_digit()))
    };
    files.iter().find(is).map(PathBuf::as_path).with_context(|| format!("there is no package {package}"))
}

fn step(what: &str) {
    eprintln!("--> {what}");
}
