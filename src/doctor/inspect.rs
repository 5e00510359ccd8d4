//! Any file looked at without running anything of it: other architectures and systems, and the root of an image.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Component, Path, PathBuf};

use serde::Serialize;

use super::report::VersionReport;
use crate::capabilities::{features_of_functions, version_of_file};
use crate::error::AttemptError;
use crate::library::{
    Environment, FileFormat, FileReport, Flavour, Observation, Options, Target, candidates, inspect_any,
};
use crate::symbols::{Feature, Function};

/// What a file says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Inspected {
    /// The file, as it was named.
    pub path: PathBuf,
    /// The same without links.
    pub real_path: Option<PathBuf>,
    /// One for each architecture in it.
    pub parts: Vec<Part>,
    /// Why it cannot be read.
    pub error: Option<AttemptError>,
}

/// One architecture's part of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Part {
    /// The architecture.
    pub architecture: String,
    /// The kind of file.
    pub format: FileFormat,
    /// The name that it gives itself.
    pub soname: Option<String>,
    /// The variant, by its names. `None` if it is no libkrun, here and in what follows from its functions.
    pub flavour: Option<Flavour>,
    /// Which release it is, as far as its functions and names tell.
    pub version: Option<VersionReport>,
    /// What its functions prove that it was built with, or without; other features only it can tell, when it is opened.
    pub features: BTreeMap<Feature, bool>,
    /// The libraries that it is linked with.
    pub needed: Vec<String>,
    /// Where it has them looked for.
    pub run_paths: Vec<String>,
    /// The linker's mark.
    pub build_id: Option<String>,
    /// Every function of libkrun's: whether it exports it. `None` if its exports cannot be told.
    pub functions: Option<BTreeMap<Function, bool>>,
    /// Functions named krun_ that the table does not know.
    pub unknown_functions: Vec<String>,
    /// How many functions it exports in all.
    pub exports: Option<usize>,
    /// The libkrunfw that it mentions.
    pub firmware: Vec<String>,
}

/// Reads files; with a root, their paths are those in it, and links do not lead out of it.
pub fn inspect(files: &[PathBuf], root: Option<&Path>) -> Vec<Inspected> {
    files
        .iter()
        .map(|file| match root {
            None => read(file, file.canonicalize().ok()),
            Some(root) => {
                let real = resolve_in(root, file);
                let found = read(&root.join(&real), Some(root.join(&real)));
                Inspected { path: file.clone(), real_path: Some(Path::new("/").join(real)), ..found }
            }
        })
        .collect()
}

/// Reads what lies in the places of a root where libkrun is looked for.
pub fn inspect_root(root: &Path) -> Vec<Inspected> {
    let options = Options { path: None, directory: None, environment: Environment::default(), skip: Vec::new() };
    let mut seen = Vec::new();
    let mut found = Vec::new();
    for candidate in candidates(&options) {
        let Target::Path(path) = candidate.target else { continue };
        let real = resolve_in(root, &path);
        if !root.join(&real).exists() || seen.contains(&real) {
            continue;
        }
        seen.push(real);
        found.extend(inspect(&[path], Some(root)));
    }
    found
}

fn read(file: &Path, real_path: Option<PathBuf>) -> Inspected {
    let read = inspect_any(file);
    let error = read.as_ref().err().cloned();
    let parts = read.unwrap_or_default().into_iter();
    let parts = parts.map(|report| Part::new(report, file, real_path.as_deref().unwrap_or(file))).collect();
    Inspected { path: file.to_owned(), real_path, parts, error }
}

impl Part {
    fn new(report: FileReport, path: &Path, real_path: &Path) -> Part {
        let libkrun = Observation::of_file(&report, path, real_path);
        let exports = report.exports.as_ref();
        let has = |function: &Function| exports.is_some_and(|names| names.iter().any(|name| name == function.name()));
        let of_libkrun = exports.iter().flat_map(|names| names.iter()).filter(|name| name.starts_with("krun_"));
        let unknown = of_libkrun.filter(|name| Function::from_name(name).is_none()).cloned().collect();
        Part {
            functions: exports.map(|_| Function::ALL.iter().map(|function| (*function, has(function))).collect()),
            unknown_functions: unknown,
            exports: exports.map(Vec::len),
            run_paths: [report.rpath, report.runpath].concat(),
            flavour: libkrun.as_ref().map(|libkrun| libkrun.flavour),
            version: libkrun.as_ref().map(|libkrun| VersionReport::new(&version_of_file(libkrun, report.format))),
            features: libkrun.map(|libkrun| features_of_functions(libkrun.functions)).unwrap_or_default(),
            architecture: report.architecture,
            format: report.format,
            soname: report.soname,
            needed: report.needed,
            build_id: report.identity.build_id,
            firmware: report.firmware_names,
        }
    }
}

/// The path in the root, relative, with every link followed as a process in that root would.
fn resolve_in(root: &Path, path: &Path) -> PathBuf {
    // As many as Linux follows.
    const MAX_LINKS: usize = 40;
    let mut links = 0;
    let mut left: Vec<PathBuf> = parts(path);
    let mut done = PathBuf::new();
    while let Some(part) = left.pop() {
        if part == Path::new("..") {
            done.pop();
            continue;
        }
        let next = done.join(&part);
        match root.join(&next).read_link() {
            Ok(to) if links < MAX_LINKS => {
                links += 1;
                if to.is_absolute() {
                    done = PathBuf::new();
                }
                left.extend(parts(&to));
            }
            _ => done = next,
        }
    }
    done
}

/// The components in reverse, without the root and dots.
fn parts(path: &Path) -> Vec<PathBuf> {
    let component = |component: Component<'_>| match component {
        Component::Normal(name) => Some(PathBuf::from(name)),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().rev().filter_map(component).collect()
}

/// For people.
pub fn text(files: &[Inspected], verbose: bool) -> String {
    let mut text = String::new();
    for file in files {
        let real = file.real_path.as_ref().filter(|real| **real != file.path);
        let real = real.map_or(String::new(), |real| format!(" ({})", real.display()));
        let _ = writeln!(text, "{}{real}", file.path.display());
        if let Some(error) = &file.error {
            let _ = writeln!(text, "  {}", error.message);
        }
        file.parts.iter().for_each(|part| describe(part, verbose, &mut text));
    }
    text
}

fn describe(part: &Part, verbose: bool, text: &mut String) {
    let mut field = |name: &str, value: String| {
        if !value.is_empty() {
            let _ = writeln!(text, "  {name:<13} {value}");
        }
    };
    field("architecture", part.architecture.clone());
    field("soname", part.soname.clone().unwrap_or_else(|| "none".to_owned()));
    if let Some(version) = &part.version {
        field("libkrun", version.range.clone());
        let evidence = version.evidence.iter().filter(|_| verbose);
        evidence.for_each(|witness| field("", format!("{}: {}", witness.says, witness.because)));
        version.conflicts.iter().for_each(|conflict| field("", format!("but {conflict}")));
    }
    let built = |with: bool| part.features.iter().filter(move |(_, has)| **has == with).map(|(name, _)| name.name());
    field("built with", built(true).collect::<Vec<_>>().join(", "));
    if verbose {
        field("built without", built(false).collect::<Vec<_>>().join(", "));
    }
    field("needs", part.needed.join(", "));
    field("run paths", part.run_paths.join(", "));
    field("build id", part.build_id.clone().unwrap_or_default());
    let Some(functions) = &part.functions else {
        field("functions", "unknown: it has no section headers".to_owned());
        return;
    };
    let (there, missing): (Vec<_>, Vec<_>) = functions.iter().partition(|(_, there)| **there);
    let names = |list: Vec<(&Function, &bool)>| list.iter().map(|(f, _)| f.name()).collect::<Vec<_>>().join(", ");
    if there.is_empty() {
        field("functions", format!("none of libkrun's, {} in all", part.exports.unwrap_or(0)));
    } else {
        let newest = there.iter().map(|(function, _)| function.since()).max();
        let newest = newest.map_or(String::new(), |newest| format!("; the newest came with {newest}"));
        field("functions", format!("{} of {} of libkrun's{newest}", there.len(), functions.len()));
        field("not there", names(missing));
        if verbose {
            field("there", names(there));
        }
    }
    field("unknown", part.unknown_functions.join(", "));
    field("asks for", part.firmware.join(", "));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_are_followed_as_in_that_root() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("usr/lib")).unwrap();
        symlink("/usr/lib", dir.path().join("lib")).unwrap();
        symlink("../../../../../etc/passwd", dir.path().join("usr/lib/out")).unwrap();
        symlink("loop", dir.path().join("loop")).unwrap();
        let resolved = |path: &str| resolve_in(dir.path(), Path::new(path));
        assert_eq!(resolved("/lib/libkrun.so.1"), Path::new("usr/lib/libkrun.so.1"));
        assert_eq!(resolved("lib/out"), Path::new("etc/passwd"), "it stays below the root");
        assert_eq!(resolved("/loop/x"), Path::new("loop/x"), "and comes to an end");
    }
}
