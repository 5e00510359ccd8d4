//! A guest's kernel of our own, built by `kernel/build` from Debian's source package.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::cache::{Cache, fingerprint};
use crate::command::{find_program, output};
use crate::debian;
use crate::project;

/// What `kernel/build` needs: a program, and the Debian package that brings it.
const PROGRAMS: [(&str, &str); 10] = [
    ("cc", "gcc"),
    ("ld", "binutils"),
    ("make", "make"),
    ("flex", "flex"),
    ("bison", "bison"),
    ("bc", "bc"),
    ("perl", "perl"),
    ("tar", "tar"),
    ("xz", "xz-utils"),
    ("find", "findutils"),
];

/// A header, and the Debian package that brings it: the kernel's own tools read ELF files.
const HEADER: (&str, &str) = ("/usr/include/gelf.h", "libelf-dev");

/// The directory that holds `vmlinux`, `config` and `SHA256SUMS`, built if the cache lacks it.
pub fn kernel(cache: &Cache) -> Result<PathBuf> {
    of(cache, arch())
}

/// The same for a processor's architecture, as Linux names it: `x86_64` or `arm64`; for arm64 with `Image`. Another one's
/// takes a cross compiler.
pub fn of(cache: &Cache, arch: &str) -> Result<PathBuf> {
    // Before anything is fetched.
    install_what_is_missing()?;
    let source = Source::of_debian(cache)?;
    let inputs = fingerprint(source.inputs(&compiler(arch))?.iter().map(Vec::as_slice));
    let foreign = if arch == self::arch() { String::new() } else { format!("-{arch}") };
    cache.entry(&format!("kernel/{}{foreign}-{inputs}", source.release), |dir| source.build(arch, dir))
}

/// This machine's.
fn arch() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" }
}

/// What stands before the names of the compiler and its kin.
fn cross(arch: &str) -> &'static str {
    match arch {
        _ if arch == self::arch() => "",
        "arm64" => "aarch64-linux-gnu-",
        _ => "x86_64-linux-gnu-",
    }
}

fn compiler(arch: &str) -> String {
    let cross = cross(arch);
    if cross.is_empty() { "cc".to_owned() } else { format!("{cross}gcc") }
}

/// Builds the kernel again, elsewhere, and compares: the same inputs must come to the same bytes.
///
/// # Errors
/// A file differs, or the build fails.
pub fn same_again(cache: &Cache) -> Result<()> {
    let first = kernel(cache)?;
    let again = cache.root().join("kernel/again/at another place");
    crate::cache::remove_dir(&again)?;
    fs::create_dir_all(&again)?;
    Source::of_debian(cache)?.build(arch(), &again)?;
    let sums = |dir: &Path| {
        let file = dir.join("SHA256SUMS");
        fs::read_to_string(&file).with_context(|| format!("could not read {}", file.display()))
    };
    let (before, now) = (sums(&first)?, sums(&again)?);
    if before != now {
        bail!(
            "two builds of the kernel differ; they are in {} and {}:\n{before}{now}",
            first.display(),
            again.display()
        );
    }
    crate::cache::remove_dir(&again)
}

/// What a kernel is built from, for those who get it.
pub struct Origin {
    /// The archive's name.
    pub name: String,
    /// The version of Debian's package that has it.
    pub version: String,
    /// The archive's SHA-256, in hexadecimal.
    pub sha256: String,
}

/// The source of [`kernel()`].
///
/// # Errors
/// It cannot be had or read.
pub fn source(cache: &Cache) -> Result<Origin> {
    let source = Source::of_debian(cache)?;
    let word = |text: Vec<u8>, at: usize| {
        let text = String::from_utf8_lossy(&text).into_owned();
        text.split_whitespace().nth(at).map(str::to_owned).context("a command said nothing")
    };
    let sha256 = word(output(Command::new("sha256sum").arg(&source.tarball))?, 0)?;
    // `linux (6.1.172-1) bookworm-security; urgency=high`
    let version = word(output(Command::new("zcat").arg(&source.changelog))?, 1)?;
    let name = source.tarball.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Origin { name, version: version.trim_matches(['(', ')']).to_owned(), sha256 })
}

/// Linux's source, as Debian has it.
struct Source {
    tarball: PathBuf,
    /// `6.1`.
    release: String,
    /// Differs with every version of the package.
    changelog: PathBuf,
}

impl Source {
    fn of_debian(cache: &Cache) -> Result<Source> {
        let package = debian::unpacked(cache, "linux-source", Some(|text| debian::depends_on(text, "linux-source-")))?;
        let sources = package.join("usr/src");
        let entries = fs::read_dir(&sources).with_context(|| format!("could not read {}", sources.display()))?;
        for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
            let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
            let release = name.strip_prefix("linux-source-").and_then(|name| name.strip_suffix(".tar.xz"));
            if let Some(release) = release {
                let release = release.to_owned();
                let changelog = package.join(format!("usr/share/doc/linux-source-{release}/changelog.Debian.gz"));
                return Ok(Source { tarball: path, release, changelog });
            }
        }
        bail!("there is no source of Linux in {}", sources.display());
    }

    /// Everything that the result depends on.
    fn inputs(&self, compiler: &str) -> Result<Vec<Vec<u8>>> {
        let read = |path: &Path| fs::read(path).with_context(|| format!("could not read {}", path.display()));
        let mut inputs = vec![read(&self.changelog)?, read(&script())?];
        for fragment in fragments()? {
            inputs.push(read(&fragment)?);
        }
        install_what_is_missing()?;
        inputs.push(output(Command::new(compiler).arg("--version"))?);
        Ok(inputs)
    }

    fn build(&self, arch: &str, dir: &Path) -> Result<()> {
        install_what_is_missing()?;
        eprintln!("building Linux {} for guests on {arch} (about 6 minutes, once) ...", self.release);
        let started = Instant::now();
        let mut build = Command::new("nice");
        build.arg(script()).args(["--arch", arch, "--debian"]).arg(&self.tarball).arg(dir);
        if !cross(arch).is_empty() {
            build.env("CROSS_COMPILE", cross(arch));
        }
        output(&mut build)?;
        eprintln!("built in {} s", started.elapsed().as_secs());
        Ok(())
    }
}

fn script() -> PathBuf {
    project::root().join("kernel/build")
}

/// The fragments, in the order of their names.
fn fragments() -> Result<Vec<PathBuf>> {
    let dir = project::root().join("kernel");
    let entries = fs::read_dir(&dir).with_context(|| format!("could not read {}", dir.display()))?;
    let is_fragment = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "fragment");
    let mut found: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_fragment).collect();
    found.sort();
    Ok(found)
}

fn install_what_is_missing() -> Result<()> {
    let missing = PROGRAMS.iter().filter(|(program, _)| find_program(program).is_none());
    let mut packages: Vec<&str> = missing.map(|(_, package)| *package).collect();
    let (header, package) = HEADER;
    let multiarch = format!("/usr/include/{}-linux-gnu/gelf.h", std::env::consts::ARCH);
    if !Path::new(header).exists() && !Path::new(&multiarch).exists() {
        packages.push(package);
    }
    if packages.is_empty() { Ok(()) } else { debian::install(&packages) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_fragments_stands_below_its_reason_and_stands_once() {
        let mut seen = std::collections::BTreeMap::new();
        let fragments = fragments().unwrap();
        assert_eq!(fragments.len(), 5);
        for fragment in fragments {
            let name = fragment.file_name().unwrap().to_str().unwrap().to_owned();
            let text = fs::read_to_string(&fragment).unwrap();
            let mut reason = false;
            for line in text.lines() {
                let option = line.trim_start_matches("# ").strip_prefix("CONFIG_");
                match option {
                    _ if line.is_empty() => reason = false,
                    None => {
                        assert!(line.starts_with("# "), "{name}: {line}");
                        reason = true;
                    }
                    Some(option) => {
                        assert!(reason, "{name}: {line} has no reason above it");
                        let option = option.split(['=', ' ']).next().unwrap().to_owned();
                        let other = seen.insert(option.clone(), name.clone());
                        assert_eq!(other, None, "CONFIG_{option} stands in {name} as well");
                    }
                }
            }
        }
        assert!(seen.len() > 90, "{} options", seen.len());
    }

    #[test]
    fn a_source_that_is_not_the_pinned_one_is_refused() {
        let dir = std::env::temp_dir().join(format!("krundl-kernel-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let tarball = dir.join("linux.tar.xz");
        fs::write(&tarball, "not the kernel").unwrap();
        let run = |args: &[&str]| {
            let result = Command::new(script()).args(args).arg(dir.join("out")).output().unwrap();
            (result.status.success(), String::from_utf8(result.stderr).unwrap())
        };
        let tarball = tarball.to_str().unwrap();
        let (good, said) = run(&["--tarball", tarball, "--sha256", &"0".repeat(64)]);
        assert!(!good && said.contains("has the SHA-256"), "{said}");
        let (good, said) = run(&["--tarball", tarball]);
        assert!(!good && said.contains("--sha256"), "{said}");
        let (good, said) = run(&["--arch", "mips", "--debian", tarball]);
        assert!(!good && said.contains("no fragment for mips"), "{said}");
        assert!(!dir.join("out").exists());
        fs::remove_dir_all(&dir).unwrap();
    }
}
