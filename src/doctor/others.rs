//! The libkruns beside the one in use: found by the same search, read and not opened.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::world::World;
use crate::error::{AttemptError, AttemptKind, Origin};
use crate::library::{Environment, FileReport, Options, Target, candidates, inspect, inspect_any};

/// A file that bears libkrun's name and is not the one in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Other {
    /// Its path, as it was found.
    pub path: PathBuf,
    /// The same without links.
    pub real_path: PathBuf,
    /// Why it would be tried.
    pub origin: Origin,
    /// The name that it gives itself.
    pub soname: Option<String>,
    /// How many of libkrun's functions its file exports; `None` if that cannot be told.
    pub functions: Option<usize>,
    /// The architecture that it is for.
    pub architecture: Option<String>,
    /// Why it could not be used.
    pub error: Option<AttemptError>,
}

impl Other {
    /// The major number that its name claims.
    pub(super) fn major(&self) -> Option<u32> {
        major(self.soname.as_deref().or(self.path.file_name()?.to_str())?)
    }
}

/// The first number in a library's name.
pub(super) fn major(name: &str) -> Option<u32> {
    let digits = match name.split_once(".so.") {
        Some((_, rest)) => rest,
        None => name.strip_suffix(".dylib")?.split_once('.')?.1,
    };
    digits.split('.').next()?.parse().ok()
}

/// The files beside `chosen`, each once. Those that were tried before it are among the attempts and not here.
pub(super) fn look(world: &World, chosen: Option<&Path>, tried: &[String]) -> Vec<Other> {
    // What the search would find if nobody had named one.
    let environment = Environment { library: None, library_dir: None, ..world.environment.clone() };
    let mut seen: Vec<PathBuf> = chosen.into_iter().map(Path::to_owned).collect();
    let mut others = Vec::new();
    for candidate in candidates(&Options { path: None, directory: None, environment, skip: Vec::new() }) {
        let Target::Path(path) = &candidate.target else { continue };
        // Mostly there is nothing, which one look tells.
        let Some(real_path) = path.exists().then(|| path.canonicalize().ok()).flatten() else { continue };
        if seen.contains(&real_path) || tried.contains(&candidate.name()) {
            continue;
        }
        seen.push(real_path.clone());
        others.push(describe(path.clone(), real_path, candidate.origin));
    }
    others
}

fn describe(path: PathBuf, real_path: PathBuf, origin: Origin) -> Other {
    let (report, error) = match inspect(&path) {
        Ok(report) => (Some(report), None),
        // What it is all the same, where it is for another processor.
        Err(error) => (inspect_any(&path).ok().and_then(|parts| parts.into_iter().next()), Some(error)),
    };
    let functions = |report: &FileReport| Some(report.exports.as_ref()?.iter().filter(|name| is_krun(name)).count());
    let is_none = error.is_none() && report.as_ref().and_then(functions) == Some(0);
    let error = error.or_else(|| {
        is_none.then(|| AttemptError {
            kind: AttemptKind::NotLibkrun,
            message: "a shared library that has none of libkrun's functions".to_owned(),
        })
    });
    Other {
        functions: report.as_ref().and_then(functions),
        architecture: report.as_ref().map(|report| report.architecture.clone()),
        soname: report.and_then(|report| report.soname),
        path,
        real_path,
        origin,
        error,
    }
}

fn is_krun(name: &str) -> bool {
    name.starts_with("krun_")
}

/// The libraries that a file needs and that are in none of the places that krundl knows. Its own run paths, the
/// loader's variable, the system's directories and those of ld.so.conf are looked through; the loader's cache is not.
pub(super) fn unresolved(world: &World, path: &Path) -> Vec<String> {
    let Ok(parts) = inspect_any(path) else { return Vec::new() };
    let Some(report) = parts.into_iter().next() else { return Vec::new() };
    let origin = path.parent().unwrap_or(Path::new("/")).display().to_string();
    let own = report.rpath.iter().chain(&report.runpath);
    let own = own.map(|dir| PathBuf::from(dir.replace("${ORIGIN}", &origin).replace("$ORIGIN", &origin)));
    let mut dirs: Vec<PathBuf> = own.chain(world.environment.loader_dirs()).collect();
    let multiarch = format!("{}-linux-gnu", report.architecture);
    for base in ["/lib", "/usr/lib", "/lib64", "/usr/lib64", "/usr/local/lib"] {
        dirs.push(world.at(base));
        dirs.push(world.at(Path::new(base).join(&multiarch)));
    }
    dirs.extend(configured(world).into_iter().map(|dir| world.at(dir)));
    let is_there = |name: &str| dirs.iter().any(|dir| dir.join(name).exists());
    report.needed.into_iter().filter(|name| !is_there(name.rsplit('/').next().unwrap_or(name))).collect()
}

/// The directories of /etc/ld.so.conf and of the files in ld.so.conf.d, which it includes everywhere.
fn configured(world: &World) -> Vec<String> {
    let mut texts: Vec<String> = world.read("/etc/ld.so.conf").into_iter().collect();
    if let Ok(entries) = std::fs::read_dir(world.at("/etc/ld.so.conf.d")) {
        texts.extend(entries.flatten().filter_map(|entry| std::fs::read_to_string(entry.path()).ok()));
    }
    let lines = texts.iter().flat_map(|text| text.lines()).map(str::trim);
    lines.filter(|line| line.starts_with('/')).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_name_tells_its_major() {
        let major = super::major;
        assert_eq!(
            [major("libkrun.so.1"), major("libkrun-sev.so.2.0.1"), major("libkrun.1.dylib")],
            [Some(1), Some(2), Some(1)]
        );
        assert_eq!([major("libkrun.so"), major("libkrun.dylib"), major("krun")], [None; 3]);
    }
}
