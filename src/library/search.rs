//! Where libkrun is looked for.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::name::{self, Flavour};
use super::refuse;
use crate::error::{AttemptError, AttemptKind, Origin};

/// The major numbers of libkrun's soname: 1 since 1.0.0, 2 is the announced next generation, 0 was the 0.2 line.
const MAJORS: [u32; 3] = [1, 2, 0];

/// What the search depends on, apart from the caller's wishes: a snapshot, so that it can be made up in tests.
///
/// The default is an environment in which nothing is set.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// `KRUNDL_LIBRARY`.
    pub library: Option<OsString>,
    /// `KRUNDL_LIBRARY_DIR`.
    pub library_dir: Option<OsString>,
    /// `LD_LIBRARY_PATH`, on macOS `DYLD_LIBRARY_PATH`; for libkrunfw only, the loader reads it by itself.
    pub loader_path: Option<OsString>,
    /// `HOME`.
    pub home: Option<OsString>,
    /// `USER`.
    pub user: Option<OsString>,
    /// The current directory.
    pub current_dir: Option<OsString>,
    /// Whether the process got its privileges from its program file (set-user-ID and the like). Then whoever started
    /// it must not choose what it loads: nothing of the above counts but the current directory, for the caller's own
    /// relative paths.
    pub privileged: bool,
    /// The directory of a package that brings a libkrun along; searched after everything else. Absolute.
    #[serde(default)]
    pub bundled: Option<OsString>,
    /// Put before every well-known place; `None` for the real ones. The system's loader, which looks in the real ones,
    /// is then not asked.
    pub root: Option<OsString>,
}

impl Environment {
    /// That of this process, now.
    pub fn current() -> Environment {
        let loader_path = if cfg!(target_os = "macos") { "DYLD_LIBRARY_PATH" } else { "LD_LIBRARY_PATH" };
        Environment {
            library: env::var_os("KRUNDL_LIBRARY"),
            library_dir: env::var_os("KRUNDL_LIBRARY_DIR"),
            loader_path: env::var_os(loader_path),
            home: env::var_os("HOME"),
            user: env::var_os("USER"),
            current_dir: env::current_dir().ok().map(PathBuf::into_os_string),
            privileged: privileged(),
            bundled: None,
            root: None,
        }
    }

    /// With the `krundl-libkrun` of the Python environment in whose `bin` a program lies, where there is one.
    #[must_use]
    pub fn with_bundled_of(mut self, program: &Path) -> Environment {
        let lib = program.parent().and_then(Path::parent).map(|prefix| prefix.join("lib"));
        let entries = lib.and_then(|lib| std::fs::read_dir(lib).ok()).into_iter().flatten();
        let is_python = |name: &std::ffi::OsStr| name.to_str().is_some_and(|name| name.starts_with("python3."));
        let pythons = entries.filter_map(|entry| entry.ok().filter(|entry| is_python(&entry.file_name())));
        let mut dirs = pythons.map(|python| python.path().join("site-packages/krundl_libkrun"));
        if program.parent().is_some_and(|bin| bin.ends_with("bin")) {
            self.bundled = dirs.find(|dir| dir.is_dir()).map(PathBuf::into_os_string);
        }
        self
    }

    /// A variable's value, if it counts.
    fn variable<'a>(&self, value: &'a Option<OsString>) -> Option<&'a Path> {
        value.as_deref().filter(|value| !value.is_empty() && !self.privileged).map(Path::new)
    }

    /// The absolute directories of [`Environment::loader_path`].
    pub(crate) fn loader_dirs(&self) -> Vec<PathBuf> {
        let Some(path) = self.variable(&self.loader_path) else { return Vec::new() };
        env::split_paths(path).filter(|dir| dir.is_absolute()).collect()
    }

    /// The file of that name to which a relative or empty part of [`Environment::loader_path`] would lead the loader:
    /// one in the current directory.
    pub(super) fn loader_would_take(&self, name: &str) -> Option<PathBuf> {
        let relative = env::split_paths(self.variable(&self.loader_path)?).filter(|dir| dir.is_relative());
        relative.map(|dir| Path::new(".").join(dir).join(name)).find(|file| file.exists())
    }

    /// The directories that distributions, Homebrew, Nix and libkrun's own Makefile install to.
    pub(crate) fn well_known_dirs(&self) -> Vec<PathBuf> {
        let mut dirs: Vec<PathBuf> = Vec::new();
        if cfg!(target_os = "macos") {
            dirs.extend(["/opt/homebrew/lib", "/opt/homebrew/opt/libkrun/lib"].map(PathBuf::from));
            dirs.extend(["/usr/local/lib", "/usr/local/opt/libkrun/lib"].map(PathBuf::from));
        } else {
            // Debian's name of this architecture's own directories.
            let multiarch = format!("{}-linux-gnu", env::consts::ARCH);
            dirs.push(Path::new("/usr/lib").join(&multiarch));
            dirs.extend(["/usr/lib64", "/usr/lib", "/usr/local/lib64", "/usr/local/lib"].map(PathBuf::from));
            dirs.push(Path::new("/usr/local/lib").join(&multiarch));
            dirs.push("/home/linuxbrew/.linuxbrew/lib".into());
        }
        dirs.push("/run/current-system/sw/lib".into());
        if let Some(home) = self.variable(&self.home).filter(|home| home.is_absolute()) {
            dirs.push(home.join(".nix-profile/lib"));
        }
        dirs.push("/nix/var/nix/profiles/default/lib".into());
        // One component only: a user name with slashes or dots would lead elsewhere.
        if let Some(user) = self.variable(&self.user).filter(|user| user.file_name() == Some(user.as_os_str())) {
            dirs.push(Path::new("/etc/profiles/per-user").join(user).join("lib"));
        }
        match &self.root {
            Some(root) => dirs.iter().map(|dir| Path::new(root).join(dir.strip_prefix("/").unwrap_or(dir))).collect(),
            None => dirs,
        }
    }
}

/// Whether the kernel marked this process as one that must not trust its environment.
fn privileged() -> bool {
    #[cfg(target_os = "linux")]
    // SAFETY: getauxval reads a table that the kernel made, and has no preconditions.
    return unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    #[cfg(not(target_os = "linux"))]
    // SAFETY: issetugid has no preconditions.
    return unsafe { libc::issetugid() } != 0;
}

/// What to look for. It travels to the child process that probes; its paths need not be UTF-8 for that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The library, if the caller names one.
    #[serde(with = "lossless")]
    pub path: Option<PathBuf>,
    /// Its directory, if the caller names one.
    #[serde(with = "lossless")]
    pub directory: Option<PathBuf>,
    /// What else the search depends on.
    pub environment: Environment,
    /// Candidates that are not to be tried again.
    pub skip: Vec<SkippedCandidate>,
}

impl Default for Options {
    /// No wishes, in this process's environment.
    fn default() -> Options {
        Options { path: None, directory: None, environment: Environment::current(), skip: Vec::new() }
    }
}

/// A candidate that an earlier probe did not survive.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SkippedCandidate {
    /// The candidate, as [`Candidate::name`] has it.
    pub candidate: String,
    /// What is reported for it.
    pub error: AttemptError,
}

/// What is opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A file, by its absolute path.
    Path(PathBuf),
    /// A bare name, which the system's loader looks up.
    Soname(String),
}

/// Something that may be libkrun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// What to open.
    pub target: Target,
    /// Why.
    pub origin: Origin,
    /// Why not, where that is known without a look at the file.
    pub refused: Option<AttemptError>,
}

impl Candidate {
    /// Its path or soname as text.
    pub fn name(&self) -> String {
        match &self.target {
            Target::Path(path) => path.display().to_string(),
            Target::Soname(soname) => soname.clone(),
        }
    }

    fn file(path: PathBuf, origin: Origin) -> Candidate {
        let refused = path.to_str().is_none().then(|| {
            refuse(
                AttemptKind::Refused,
                "its path is not UTF-8, which reports cannot carry; fix: rename it or link to it",
            )
        });
        Candidate { target: Target::Path(path), origin, refused }
    }
}

/// The candidates in the order in which they are tried. Looks at no file.
///
/// 1. the path that the caller names;
/// 2. the path in `KRUNDL_LIBRARY`;
/// 3. the directory that the caller names, else the one in `KRUNDL_LIBRARY_DIR`;
/// 4. the plain soname, through the system's loader;
/// 5. well-known places;
/// 6. [`Environment::bundled`].
///
/// The first of 1 to 3 that is named rules all others out: whoever names a libkrun means that one, and a VM that
/// quietly runs on another one is worse than an error. An empty variable is as good as none.
///
/// The current directory is never searched. A relative path in a variable is refused, since it would depend on where
/// the process happens to stand; a relative path of the caller's is taken from [`Environment::current_dir`], as for
/// any path that is typed, and never goes to the loader as a bare name. If an empty or relative part of the loader's
/// own variable would lead it to a file in the current directory, [`super::open`] does not ask the loader.
pub fn candidates(options: &Options) -> Vec<Candidate> {
    let mut list = named_by_caller_or_variable(options).unwrap_or_else(|| everywhere(&options.environment));
    for candidate in &mut list {
        let name = candidate.name();
        if let Some(skip) = options.skip.iter().find(|skip| skip.candidate == name) {
            candidate.refused = Some(skip.error.clone());
        }
    }
    list
}

/// The candidates of the first rule that names something, which are all there are then.
fn named_by_caller_or_variable(options: &Options) -> Option<Vec<Candidate>> {
    let environment = &options.environment;
    if let Some(path) = &options.path {
        let path = from_caller(path, environment, Origin::Explicit);
        return Some(vec![path.map_or_else(|refused| refused, |path| Candidate::file(path, Origin::Explicit))]);
    }
    if let Some(path) = environment.variable(&environment.library) {
        let path = from_variable(path, "KRUNDL_LIBRARY", Origin::EnvLibrary);
        return Some(vec![path.map_or_else(|refused| refused, |path| Candidate::file(path, Origin::EnvLibrary))]);
    }
    let (directory, origin) = match (&options.directory, environment.variable(&environment.library_dir)) {
        (Some(directory), _) => (from_caller(directory, environment, Origin::Directory), Origin::Directory),
        (None, Some(directory)) => {
            (from_variable(directory, "KRUNDL_LIBRARY_DIR", Origin::EnvDirectory), Origin::EnvDirectory)
        }
        (None, None) => return None,
    };
    Some(match directory {
        Ok(directory) => {
            // A directory of cargo's has only the name without a number.
            let names = numbered_names().chain(Flavour::here().map(|flavour| name::libkrun(flavour, None)));
            names.map(|name| Candidate::file(directory.join(name), origin)).collect()
        }
        Err(refused) => vec![refused],
    })
}

/// The loader's own, then each name in each well-known place, then what a package brought along: whoever installs a
/// libkrun into the system means that one.
fn everywhere(environment: &Environment) -> Vec<Candidate> {
    let soname = Target::Soname(name::libkrun(Flavour::Plain, Some(MAJORS[0])));
    let elsewhere = "the loader looks in this machine's own directories, not below another root";
    let refused = environment.root.as_ref().map(|_| refuse(AttemptKind::Missing, elsewhere));
    let mut list = vec![Candidate { target: soname, origin: Origin::Loader, refused }];
    let dirs = environment.well_known_dirs();
    for name in numbered_names() {
        list.extend(dirs.iter().map(|dir| Candidate::file(dir.join(&name), Origin::WellKnown)));
    }
    if let Some(dir) = environment.bundled.as_deref().map(Path::new).filter(|dir| dir.is_absolute()) {
        list.push(Candidate::file(dir.join(name::libkrun(Flavour::Plain, Some(MAJORS[0]))), Origin::Bundled));
    }
    list
}

/// The names with a number: the number that counts most first, within it the plain variant first. The variants came
/// with 1.0.0, so there are none of the 0.2 line, and the next generation announced none.
fn numbered_names() -> impl Iterator<Item = String> {
    MAJORS.into_iter().flat_map(|major| {
        let flavours = Flavour::here().filter(move |flavour| major == 1 || *flavour == Flavour::Plain);
        flavours.map(move |flavour| name::libkrun(flavour, Some(major)))
    })
}

fn from_caller(path: &Path, environment: &Environment, origin: Origin) -> Result<PathBuf, Candidate> {
    let refused = |why: &str| {
        let refused = Some(refuse(AttemptKind::Refused, why));
        Candidate { target: Target::Path(path.to_owned()), origin, refused }
    };
    if path.as_os_str().is_empty() {
        return Err(refused("the path is empty"));
    }
    match &environment.current_dir {
        // An absolute path replaces the directory.
        Some(current_dir) => Ok(Path::new(current_dir).join(path)),
        None if path.is_absolute() => Ok(path.to_owned()),
        None => {
            Err(refused("the path is relative, and the current directory is not known; fix: give an absolute path"))
        }
    }
}

fn from_variable(path: &Path, variable: &str, origin: Origin) -> Result<PathBuf, Candidate> {
    if path.is_absolute() {
        return Ok(path.to_owned());
    }
    let why = format!("{variable} must be an absolute path: the current directory is never searched");
    Err(Candidate { target: Target::Path(path.to_owned()), origin, refused: Some(refuse(AttemptKind::Refused, why)) })
}

/// Paths in serde as the operating system's strings, which keep what is not UTF-8.
mod lossless {
    use super::{OsString, PathBuf};
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(path: &Option<PathBuf>, serializer: S) -> Result<S::Ok, S::Error> {
        path.as_ref().map(|path| path.as_os_str()).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<PathBuf>, D::Error> {
        Ok(Option::<OsString>::deserialize(deserializer)?.map(PathBuf::from))
    }
}
