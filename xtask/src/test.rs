//! All tests: style, lints, unit and integration tests, the signatures of the real libkrun, real guests in the lab.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, bail};

use crate::guest_root::busybox;
use crate::guests::Job;
use crate::project::{self, cargo, run};
use crate::space::{self, Need};
use crate::{Cache, Lab, busybox_root, debian, firmware, install, kernel, libkrun};

/// The releases whose guests are booted in every run, the oldest first.
const RELEASES: &[&str] = &["1.18.0", "1.19.2", "1.19.7"];
/// The newest of them all, with which runs what is the same with every release.
const NEWEST: &str = "1.19.7";
/// The releases of the long run besides.
const FURTHER_RELEASES: &[&str] = &["1.18.1", "1.19.0", "1.19.3", "1.19.6"];
/// The lab runs in which the guests of one release are tested.
const PARTS: usize = 4;
/// Tests that may be skipped in CI, a name a line, and why.
const PERMITTED: &str = include_str!("../../tests/permitted-skips.txt");
/// Crates without which krundl must build.
const UNWANTED: &[&str] = &["bindgen", "clang-sys", "pkg-config", "krun-sys", "libkrun", "libkrun-sys"];

/// What all of it takes, and the Debian packages that bring it.
const PROGRAMS: [(&str, &str); 4] =
    [("cc", "gcc libc6-dev"), ("python3", "python3 python3-pip"), Lab::PROGRAM, ("qemu-img", "qemu-utils")];
/// What the tests of the faces and the packages take besides.
const FURTHER_PROGRAMS: [(&str, &str); 8] = [
    ("c++", "g++ libc6-dev"),
    ("clang", "clang"),
    ("pkg-config", "pkg-config"),
    ("dpkg-shlibdeps", "dpkg-dev"),
    ("go", "golang-go"),
    ("lintian", "lintian"),
    ("mmdebstrap", "mmdebstrap"),
    ("valgrind", "valgrind libc6-dbg"),
];

/// The room that all of it takes, as measured, and a quarter more. What cargo builds again more quickly, because it was
/// built before (`CARGO_INCREMENTAL`), is not counted.
const NEED: Need = Need { target: 6_000, cache: 4_000 };
/// What the long run takes.
const FULL_NEED: Need = Need { target: 12_000, cache: 8_000 };

/// What is run.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// What takes very long, too.
    pub full: bool,
    /// Only the guests in the lab, and of those only the ones with this in their names.
    pub guests: Option<String>,
    /// Only the Python package.
    pub python: bool,
    /// Only the C ABI: C, C++ and Go.
    pub ffi: bool,
    /// Only what is packed, and of that only the parts with this in their names.
    pub packaging: Option<String>,
    /// Only the kernels of our own, and of that only the parts with this in their names.
    pub kernels: Option<String>,
    /// Only that krundl compiles for macOS.
    pub macos: bool,
    /// Only SmolVM with krundl behind its libkrun backend.
    pub smolvm: bool,
}

/// Runs the tests.
///
/// # Errors
/// The first step that failed.
pub fn test(cache: &Cache, selection: &Selection) -> Result<()> {
    let started = Instant::now();
    if let Some(part) = one_part(cache, selection)? {
        crate::guests::judge()?;
        eprintln!("\n==> {part} passed in {} s", started.elapsed().as_secs());
        return Ok(());
    }
    let programs = [&PROGRAMS[..], if selection.guests.is_none() { &FURTHER_PROGRAMS } else { &[] }].concat();
    debian::require(&programs)?;
    if selection.guests.is_none() {
        space::require(cache, if selection.full { FULL_NEED } else { NEED })?;
    }
    let skips = Skips::new()?;
    let mut labs = Vec::new();
    if selection.guests.is_none() {
        without_guests(cache, &skips, selection.full)?;
        step("C, C++ and Go (2 minutes)");
        labs.push(crate::ffi::test(cache)?);
        step("the Python package (about 2 minutes, and 4 more the first time)");
        labs.extend(crate::python::test(cache, selection.full)?);
        packages(cache, "", selection.full)?;
        step("SmolVM (about a minute, and 5 more the first time, for the kernel)");
        labs.push(crate::smolvm::test(cache)?);
        real_libraries(cache, selection.full)?;
    }
    if selection.full && selection.guests.is_none() {
        kernels(cache, "")?;
        step("krundl for macOS, compiled only (about 2 minutes, and 2 more the first time)");
        crate::macos::test(cache)?;
    }
    step("real guests (two labs at a time, about 18 minutes)");
    labs.extend(guests(cache, selection, &skips)?);
    crate::guests::run(labs)?;
    skips.judge()?;
    crate::guests::judge()?;
    eprintln!("\n==> all tests passed in {} s", started.elapsed().as_secs());
    Ok(())
}

/// Runs the part that was asked for alone, and tells its name. The guests are none: they take the whole run's preparations.
fn one_part(cache: &Cache, selection: &Selection) -> Result<Option<&'static str>> {
    Ok(Some(if selection.ffi {
        crate::guests::run(vec![crate::ffi::test(cache)?])?;
        "C, C++ and Go"
    } else if let Some(filter) = &selection.packaging {
        packages(cache, filter, selection.full)?;
        "the packages"
    } else if let Some(filter) = &selection.kernels {
        kernels(cache, filter)?;
        "the kernels"
    } else if selection.macos {
        crate::macos::test(cache)?;
        "compiling for macOS"
    } else if selection.python {
        crate::guests::run(crate::python::test(cache, selection.full)?)?;
        "the Python package"
    } else if selection.smolvm {
        crate::guests::run(vec![crate::smolvm::test(cache)?])?;
        "SmolVM"
    } else {
        return Ok(None);
    }))
}

/// What is the same for every release of libkrun, and takes long.
fn kernels(cache: &Cache, filter: &str) -> Result<()> {
    if "again".contains(filter) {
        step("the kernel again, from nothing (about 6 minutes)");
        kernel::same_again(cache)?;
    }
    if "arm64".contains(filter) {
        step("the kernel for arm64, and an emulated machine with it (about 8 minutes the first time)");
        crate::arm64::test(cache)?;
    }
    Ok(())
}

/// What is packed, as its users get it; of that only the parts with this in their names.
fn packages(cache: &Cache, filter: &str, full: bool) -> Result<()> {
    use crate::package::{cargo_c, crates, fresh, semver, test, wheels};
    let is_wanted = |name: &str| name.contains(filter);
    if is_wanted("crate") {
        step("the crate (2 minutes)");
        crates::test(cache, full)?;
    }
    if is_wanted("distributions") {
        step("packages for distributions (about 3 minutes, and 2 more the first time)");
        // What makes RPM packages takes two minutes to build.
        test::test(cache, full || !filter.is_empty())?;
    }
    if is_wanted("fresh") {
        step("a fresh machine, for somebody who may install nothing");
        fresh::test(cache)?;
    }
    if is_wanted("cargo-c") && (full || !filter.is_empty()) {
        step("cargo cinstall (3 minutes, and 12 more the first time)");
        cargo_c::test(cache)?;
    }
    if is_wanted("semver") && (full || !filter.is_empty()) {
        step("the API for Rust beside the one that is kept (about 10 minutes the first time, then seconds)");
        semver::test(cache)?;
    }
    if is_wanted("wheels") && (full || !filter.is_empty()) {
        step("wheels with libkrun and a kernel, and a guest with them (about 6 minutes)");
        wheels::test(cache)?;
    }
    Ok(())
}

fn without_guests(cache: &Cache, skips: &Skips, full: bool) -> Result<()> {
    step("style");
    run(&mut cargo(["fmt", "--all", "--check"]))?;
    step("lints");
    for features in [&["--no-default-features"][..], &[], &["--all-features"]] {
        let mut command = cargo(["clippy", "--quiet", "--package", "krundl", "--all-targets"]);
        run(command.args(features).args(["--", "-D", "warnings"]))?;
    }
    let mut command =
        cargo(["clippy", "--quiet", "--workspace", "--exclude", "krundl", "--all-targets", "--", "-D", "warnings"]);
    run(&mut command)?;
    step("what krundl is built from");
    dependencies()?;
    step("unit, integration and documentation tests");
    let mut command = cargo(["test", "--workspace", "--exclude", "krundl-test-signatures"]);
    if full {
        // Properties are tried on what no run has tried before; elsewhere on the same each time.
        let seed = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs();
        eprintln!("KRUNDL_TEST_SEED={seed}");
        command.env("KRUNDL_TEST_SEED", seed.to_string());
    }
    run(command.env(Skips::VARIABLE, &skips.file).env(GVPROXY, gvproxy(cache)?))?;
    step("signatures of the real libkrun (builds all of it, about 2 minutes the first time)");
    run(&mut cargo(["test", "--package", "krundl-test-signatures"]))?;
    step("documentation");
    run(cargo(["doc", "--quiet", "--package", "krundl", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}

/// The default build needs neither libkrun nor libclang nor pkg-config.
fn dependencies() -> Result<()> {
    let tree = cargo(["tree", "--package", "krundl", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"])
        .output()?;
    let tree = String::from_utf8_lossy(&tree.stdout).into_owned();
    let crates: BTreeSet<&str> = tree.lines().filter_map(|line| line.split(' ').next()).collect();
    if let Some(unwanted) = UNWANTED.iter().find(|unwanted| crates.contains(*unwanted)) {
        bail!("krundl's build depends on {unwanted}");
    }
    eprintln!("{} crates in the default build", crates.len().saturating_sub(1));
    Ok(())
}

/// What krundl says of real libraries, with and without features; they are not run.
fn real_libraries(cache: &Cache, full: bool) -> Result<()> {
    step("real libraries (builds seven, about 2 minutes the first time)");
    let further = if full { FURTHER_RELEASES } else { &[] };
    let builds = RELEASES.iter().chain(further).flat_map(|release| [(*release, &[][..]), (*release, &["blk", "net"])]);
    let mut named = String::new();
    for (release, features) in builds.chain([(NEWEST, &["amd-sev", "net"][..])]) {
        let dir = libkrun(cache, release, features)?;
        writeln!(named, "{release} {} {}", features.join(","), dir.display())?;
    }
    let mut command = cargo(["test", "--package", "krundl", "--test", "real"]);
    run(command.env("KRUNDL_TEST_REAL", named.trim_end()).env("KRUNDL_TEST_FIRMWARE", firmware(cache)?))
}

/// Real guests of each release, in labs of their own.
fn guests(cache: &Cache, selection: &Selection, skips: &Skips) -> Result<Vec<Job>> {
    let built = project::executables(&["test", "--no-run", "--package", "krundl", "--test", "guests"])?;
    let tests = project::executable(&built, "guests")?;
    let further = if selection.full { FURTHER_RELEASES } else { &[] };
    let root = guests_root(cache)?;
    let firmware = firmware(cache)?;
    let kernel = kernel(cache)?;
    // Makes a disk image of another format.
    debian::program("qemu-img", "qemu-utils")?;
    // Serves networks of guests.
    debian::program("passt", "passt")?;
    debian::program("dnsmasq", "dnsmasq-base")?;
    let gvproxy = gvproxy(cache)?;
    let skips_dir = skips.file.parent().context("the file of skipped tests lies nowhere")?;
    // A lab that hangs is tried once more, so it had better not hold everything; with a filter there is little to hold.
    let parts = if selection.guests.as_ref().is_some_and(|filter| !filter.is_empty()) { 1 } else { PARTS };
    let mut jobs = Vec::new();
    // The longest, with the newest release, first.
    for release in RELEASES.iter().chain(further).rev() {
        let library = libkrun(cache, release, &["blk", "net"])?;
        let mut command: Vec<OsString> = vec![tests.clone().into(), "--test-threads=1".into()];
        if selection.full {
            command.push("--include-ignored".into());
        }
        command.extend(selection.guests.iter().map(OsString::from));
        let is_between = !selection.full && selection.guests.is_none() && ![RELEASES[0], NEWEST].contains(release);
        for part in 0..parts {
            let mut lab = Lab::new(cache)
                .timeout(Duration::from_secs(1200))
                .env("KRUNDL_TEST_PART", format!("{part}/{parts}"))
                .env("KRUNDL_TEST_LIBKRUN", format!("{release}={}", library.display()))
                .env("KRUNDL_TEST_NEWEST", NEWEST)
                .env("KRUNDL_TEST_FIRMWARE", &firmware)
                .env("KRUNDL_TEST_KERNEL", &kernel)
                .env("KRUNDL_TEST_ROOT", &root)
                .env(GVPROXY, &gvproxy)
                .env(Skips::VARIABLE, &skips.file)
                .write(skips_dir)
                .capture(true);
            if is_between {
                lab = lab.env("KRUNDL_TEST_BETWEEN", "1");
            }
            let (command, tests) =
                (command.clone(), format!("guests with libkrun {release}, part {} of {parts}", part + 1));
            jobs.push(Box::new(move || crate::guests::pass(&lab, &command, &tests)) as Job);
        }
    }
    Ok(jobs)
}

/// Where the tests find gvproxy.
const GVPROXY: &str = "KRUNDL_TEST_GVPROXY";

/// gvproxy, of the first Debian that has a package of it where this machine has none; it runs on older ones as well.
fn gvproxy(cache: &Cache) -> Result<PathBuf> {
    if let Some(installed) = crate::command::find_program("gvproxy") {
        return Ok(installed);
    }
    Ok(debian::unpacked_of(cache, "trixie", "gvproxy")?.join("usr/bin/gvproxy"))
}

/// The root that the guests share. In the cache, because a lab throws away what is written there: no run meets what an
/// earlier one has left.
fn guests_root(cache: &Cache) -> Result<PathBuf> {
    let source = project::root().join("tests/guests/udp.c");
    let read = |part: &Path| std::fs::read(part).with_context(|| format!("could not read {}", part.display()));
    let parts = [read(&busybox(cache)?)?, read(&source)?];
    let key = format!("guests-root/{}", crate::cache::fingerprint(parts.iter().map(Vec::as_slice)));
    cache.entry(&key, |root| {
        busybox_root(cache, root)?;
        run(install::cc()?.args(["-O2", "-Wall", "-static", "-o"]).arg(root.join("bin/udp")).arg(&source))
    })
}

/// The tests that said `skipped`, and why.
struct Skips {
    file: PathBuf,
}

impl Skips {
    /// Where tests write them, a line each: the test's name, a colon, the reason.
    const VARIABLE: &str = "KRUNDL_SKIPS";

    fn new() -> Result<Skips> {
        let dir = project::root().join("target/krundl-skips");
        std::fs::create_dir_all(&dir)?;
        let file = dir.join("skips.txt");
        std::fs::write(&file, "")?;
        Ok(Skips { file })
    }

    /// In CI only those of the checked-in list may be skipped.
    fn judge(&self) -> Result<()> {
        let text = std::fs::read_to_string(&self.file)?;
        let skipped: BTreeSet<&str> = text.lines().filter(|line| !line.is_empty()).collect();
        for line in &skipped {
            eprintln!("skipped: {line}");
        }
        let forbidden: Vec<&str> = skipped.into_iter().filter(|line| !permitted(line)).collect();
        if std::env::var_os("CI").is_some() && !forbidden.is_empty() {
            bail!("skipped without being in tests/permitted-skips.txt:\n  {}", forbidden.join("\n  "));
        }
        Ok(())
    }
}

fn permitted(skipped: &str) -> bool {
    let name = skipped.split(':').next().unwrap_or(skipped);
    PERMITTED.lines().filter(|line| !line.starts_with('#')).any(|line| line.split(':').next() == Some(name))
}

fn step(what: &str) {
    eprintln!("\n==> {what}");
}

#[cfg(test)]
mod tests {
    #[test]
    fn comments_and_reasons_are_no_names() {
        assert!(!super::permitted("# Tests"));
        assert!(!super::permitted("some_test: no permission"));
        assert!(super::permitted("guests: needs the lab"));
    }
}
