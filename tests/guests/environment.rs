//! What `cargo xtask test` says about the machine that the cases run on.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use semver::Version;

/// What the cases work with.
pub struct Environment {
    pub releases: Vec<Release>,
    /// The directory of libkrunfw.
    pub firmware: PathBuf,
    /// A kernel of our own.
    pub kernel: PathBuf,
    /// The root of guests; only read.
    pub root: PathBuf,
}

/// A libkrun.
#[derive(Clone)]
pub struct Release {
    pub version: Version,
    /// The directory of `libkrun.so.1`.
    pub directory: PathBuf,
}

impl Environment {
    /// Reads the variables. `None` when this is not the lab, or one of them is not set.
    ///
    /// # Errors
    /// What is wrong with a variable that is set.
    pub fn read(variable: impl Fn(&str) -> Option<OsString>) -> Result<Option<Environment>, String> {
        let path = |name: &str| variable(name).map(|value| (name.to_owned(), PathBuf::from(value)));
        let in_lab = variable("KRUNDL_LAB").is_some_and(|value| value == "1");
        let (Some(releases), Some(firmware), Some(kernel), Some(root), true) = (
            variable("KRUNDL_TEST_LIBKRUN"),
            path("KRUNDL_TEST_FIRMWARE"),
            path("KRUNDL_TEST_KERNEL"),
            path("KRUNDL_TEST_ROOT"),
            in_lab,
        ) else {
            return Ok(None);
        };
        let releases = releases.into_string().map_err(|text| format!("KRUNDL_TEST_LIBKRUN: {text:?} is not UTF-8"))?;
        Ok(Some(Environment {
            releases: releases.split(';').map(release).collect::<Result<_, _>>()?,
            firmware: with(firmware, "libkrunfw.so.5")?,
            kernel: with(kernel, "vmlinux")?.join("vmlinux"),
            root: with(root, "bin/busybox")?,
        }))
    }
}

fn release(text: &str) -> Result<Release, String> {
    let wrong = |why: &str| format!("KRUNDL_TEST_LIBKRUN: {text:?}: {why}");
    let (version, directory) = text.split_once('=').ok_or_else(|| wrong("not RELEASE=DIRECTORY"))?;
    let version = Version::parse(version).map_err(|error| wrong(&error.to_string()))?;
    let directory = with(("KRUNDL_TEST_LIBKRUN".to_owned(), directory.into()), "libkrun.so.1")?;
    Ok(Release { version, directory })
}

fn with((variable, directory): (String, PathBuf), file: impl AsRef<Path>) -> Result<PathBuf, String> {
    let file = directory.join(file);
    if file.exists() { Ok(directory) } else { Err(format!("{variable}: there is no {}", file.display())) }
}
