//! Opens the first candidate that is a libkrun.

use std::path::{Path, PathBuf};

use once_cell::sync::OnceCell;
use serde::{Deserialize, Serialize};

use super::firmware::Firmware;
use super::inspect;
use super::loader::{self, Handle};
use super::name::{Flavour, Name};
use super::observe::{Observation, Opened};
use super::refuse;
use super::report::{FileFormat, FileReport, Refusal};
use super::search::{self, Candidate, Environment, Options, Target};
use crate::error::{Attempt, AttemptError, AttemptKind, Error, Origin};
use crate::symbols::Functions;

/// An opened libkrun: pointers to its functions, and what was measured about it.
///
/// It is never closed, so the pointers stay valid until the process ends. Several libraries can be open at once; each
/// keeps its own state. Sending and sharing is allowed, since all of it is addresses and facts; what libkrun's
/// functions allow is theirs to say.
#[derive(Clone, Debug)]
pub struct Library {
    functions: Functions,
    observation: Observation,
}

const _: () = {
    const fn may_be_shared<T: Send + Sync + 'static>() {}
    may_be_shared::<Library>();
};

impl Library {
    /// Opens the first libkrun of the search that [`search::candidates`] describes, in this process's environment.
    ///
    /// Prefer the probe in a child process wherever the library is not known to be sound: a broken one can abort or
    /// hang the process that opens it.
    ///
    /// # Errors
    ///
    /// [`Error::LibraryNotFound`] with every candidate and the loader's own words.
    ///
    /// # Safety
    ///
    /// As for [`open`].
    pub unsafe fn load() -> crate::error::Result<Library> {
        // SAFETY: the caller's promise is the same.
        unsafe { Library::load_with(&Options::default()) }
    }

    /// Opens this file and looks nowhere else. A relative path is taken from the current directory, a name without a
    /// slash too: neither goes to the system's loader as it is.
    ///
    /// Prefer the probe in a child process wherever the library is not known to be sound.
    ///
    /// # Errors
    ///
    /// [`Error::LibraryNotFound`] with what is wrong with the file.
    ///
    /// # Safety
    ///
    /// As for [`open`].
    pub unsafe fn load_from(path: impl Into<PathBuf>) -> crate::error::Result<Library> {
        // SAFETY: the caller's promise is the same.
        unsafe { Library::load_with(&Options { path: Some(path.into()), ..Options::default() }) }
    }

    unsafe fn load_with(options: &Options) -> crate::error::Result<Library> {
        // SAFETY: the caller's promise is the same.
        let opened = unsafe { open(options, &mut |_| {}) };
        opened.map(|(library, _)| library).map_err(|attempts| Error::LibraryNotFound { attempts })
    }

    /// The process-wide libkrun: that of [`Library::load`], searched for once. A failure is not kept, so a later call
    /// searches again.
    ///
    /// # Errors
    ///
    /// [`Error::LibraryNotFound`].
    ///
    /// # Safety
    ///
    /// As for [`open`].
    pub unsafe fn default() -> crate::error::Result<&'static Library> {
        static DEFAULT: OnceCell<Library> = OnceCell::new();
        // SAFETY: the caller's promise is the same.
        DEFAULT.get_or_try_init(|| unsafe { Library::load() })
    }

    /// A library that is no file: these functions, and whatever `observation` says about them. Neither opens anything
    /// nor calls a function. Start from [`Observation::of_table`]. For tests, and for programs that are linked with
    /// libkrun.
    pub fn from_table(functions: Functions, observation: Observation) -> Library {
        Library { functions, observation }
    }

    /// Its functions.
    pub fn functions(&self) -> &Functions {
        &self.functions
    }

    /// What was measured about it.
    pub fn observation(&self) -> &Observation {
        &self.observation
    }
}

/// What [`open`] is about to do, or has done: whoever reads it from a child process that dies knows what of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Progress {
    /// This candidate is looked at and then opened, which runs its constructors.
    Trying {
        /// The candidate, as [`Candidate::name`] has it.
        candidate: String,
        /// Why it is tried.
        origin: Origin,
    },
    /// This candidate is not it. Not every one that fails was tried before: some are refused unseen.
    Failed(Attempt),
    /// This candidate is a libkrun; its constructors have run. `krun_has_feature` is called next, if it may be.
    Opened {
        /// The candidate.
        candidate: String,
        /// Its file.
        path: PathBuf,
    },
}

/// Tries the candidates of [`search::candidates`] in order and opens the first that is a libkrun, with the attempts up
/// to and with that one; or all attempts, if none is.
///
/// The library is opened with its names kept local, and never closed. If it is linked with a libkrunfw that the loader
/// does not find (libkrun up to 1.10.1), that is looked for, loaded by its absolute path with its names made global,
/// and libkrun is tried once more; see [`Firmware::preload`].
///
/// # Safety
///
/// The constructors of the library, of the libraries that it is linked with, and `krun_has_feature` run in this
/// process. The caller vouches for whatever the search may find: that it is sound to run these at this moment, with the
/// threads that this process has, and that what is called libkrun has libkrun's interface.
pub unsafe fn open(
    options: &Options,
    progress: &mut dyn FnMut(&Progress),
) -> Result<(Library, Vec<Attempt>), Vec<Attempt>> {
    let mut attempts = Vec::new();
    for candidate in search::candidates(options) {
        let opened = match &candidate.refused {
            Some(error) => Err(error.clone()),
            None => {
                progress(&Progress::Trying { candidate: candidate.name(), origin: candidate.origin });
                // SAFETY: the caller vouches for what the search may find.
                unsafe { open_one(&candidate, &options.environment, progress) }
            }
        };
        let error = opened.as_ref().err().cloned();
        let attempt = Attempt { candidate: candidate.name(), origin: candidate.origin, error };
        attempts.push(attempt.clone());
        match opened {
            Ok(library) => return Ok((library, attempts)),
            Err(_) => progress(&Progress::Failed(attempt)),
        }
    }
    Err(attempts)
}

/// # Safety
///
/// As for [`open`].
unsafe fn open_one(
    candidate: &Candidate,
    environment: &Environment,
    progress: &mut dyn FnMut(&Progress),
) -> Result<Library, AttemptError> {
    // SAFETY: the caller vouches for the candidate.
    let (library, file) = unsafe {
        match &candidate.target {
            Target::Path(path) => open_file(path, environment)?,
            Target::Soname(soname) => open_soname(soname, environment)?,
        }
    };
    let functions = library.handle.functions();
    if functions.present().is_empty() {
        return Err(not_libkrun());
    }
    let real_path = file.path.canonicalize().unwrap_or_else(|_| file.path.clone());
    if [&file.path, &real_path].iter().any(|path| path.to_str().is_none()) {
        return Err(refuse(AttemptKind::Refused, "its path is not UTF-8, which reports cannot carry; fix: rename it"));
    }
    progress(&Progress::Opened { candidate: candidate.name(), path: file.path.clone() });
    let opened = Opened {
        candidate: candidate.name(),
        origin: candidate.origin,
        path: file.path,
        real_path,
        report: file.report,
        functions: &functions,
    };
    // SAFETY: the caller vouches that what is called libkrun has its interface.
    let mut observation = unsafe { Observation::take(opened, environment) };
    observation.firmware.settle(library.firmware_preloaded);
    Ok(Library { functions, observation })
}

fn not_libkrun() -> AttemptError {
    refuse(AttemptKind::NotLibkrun, "a shared library that has none of libkrun's functions")
}

/// A library that the loader has opened.
struct Loaded {
    handle: Handle,
    /// Whether it only opened once its libkrunfw was there.
    firmware_preloaded: bool,
}

/// Where it is, and what stands in its file.
struct LibraryFile {
    path: PathBuf,
    report: FileReport,
}

/// # Safety
///
/// As for [`open`].
unsafe fn open_file(path: &Path, environment: &Environment) -> Result<(Loaded, LibraryFile), AttemptError> {
    // SAFETY: the loader is only asked about files that it refuses by their first bytes.
    let report = inspect::look(path).map_err(|refusal| unsafe { with_words_of_loader(path, refusal) })?;
    // Known without a look from the loader, so that a library of somebody else's never runs.
    if report.exports.as_ref().is_some_and(|exports| !exports.iter().any(|name| name.starts_with("krun_"))) {
        return Err(not_libkrun());
    }
    let firmware = |_: &str| Firmware::of(&report, path, Flavour::Plain, environment);
    // SAFETY: the caller vouches for the candidate.
    let loaded = unsafe { open_with_firmware(path, firmware)? };
    Ok((loaded, LibraryFile { path: path.to_owned(), report }))
}

/// # Safety
///
/// As for [`open`].
unsafe fn open_soname(soname: &str, environment: &Environment) -> Result<(Loaded, LibraryFile), AttemptError> {
    if let Some(file) = environment.loader_would_take(soname) {
        let why = "a relative part of its search path leads the loader there; the current directory is never searched";
        return Err(refuse(AttemptKind::Refused, format!("{}: {why}", file.display())));
    }
    let firmware = |missing: &str| {
        // The loader does not say where the libkrun is that it found.
        let report = FileReport { needed: vec![missing.to_owned()], ..FileReport::empty(FileFormat::Elf) };
        Firmware::of(&report, Path::new(""), Flavour::Plain, environment)
    };
    // SAFETY: the caller vouches for what the loader finds.
    let loaded = unsafe { open_with_firmware(Path::new(soname), firmware)? };
    let path = loaded.handle.path().unwrap_or_else(|| soname.into());
    let report = inspect::inspect(&path)?;
    Ok((loaded, LibraryFile { path, report }))
}

/// Opens a libkrun; if its libkrunfw is what the loader misses, loads what `find` finds and tries once more.
///
/// # Safety
///
/// As for [`open`].
unsafe fn open_with_firmware(target: &Path, find: impl FnOnce(&str) -> Firmware) -> Result<Loaded, AttemptError> {
    let name = target.display().to_string();
    // SAFETY: the caller vouches for the candidate.
    let said = match unsafe { Handle::open(target.as_os_str(), loader::LAZY) } {
        Ok(handle) => return Ok(Loaded { handle, firmware_preloaded: false }),
        Err(said) => said,
    };
    let missing = loader::missing_dependency(&said, &name);
    let Some(missing) = missing.filter(|name| Name::parse("libkrunfw", name).is_some()) else {
        return Err(loader::explain(&said, &name));
    };
    let firmware = find(&missing);
    let Some(path) = firmware.path.as_ref().filter(|_| firmware.preload) else {
        let places: Vec<&str> = firmware.attempts.iter().map(|attempt| attempt.candidate.as_str()).collect();
        let AttemptError { kind, message } = loader::explain(&said, &name);
        return Err(refuse(kind, format!("{message}; nor is it any of {}", places.join(", "))));
    };
    // SAFETY: the caller vouches for what libkrun is linked with.
    if let Err(error) = unsafe { firmware.preload() } {
        let message = format!("it needs {missing}, and {} does not load: {}", path.display(), error.message);
        return Err(refuse(AttemptKind::MissingDependency, message));
    }
    // SAFETY: the caller vouches for the candidate.
    match unsafe { Handle::open(target.as_os_str(), loader::LAZY) } {
        Ok(handle) => Ok(Loaded { handle, firmware_preloaded: true }),
        Err(said) => Err(loader::explain(&said, &name)),
    }
}

/// Adds what the loader says about a file that is no library for this process, where asking is harmless.
///
/// # Safety
///
/// The file must be one that the loader refuses, or one whose constructors the caller vouches for.
unsafe fn with_words_of_loader(path: &Path, refusal: Refusal) -> AttemptError {
    let AttemptError { kind, message } = refusal.error;
    if !refusal.loader_may_be_asked {
        return refuse(kind, message);
    }
    // SAFETY: the caller says so.
    match unsafe { Handle::open(path.as_os_str(), loader::LAZY) } {
        Ok(_) => refuse(kind, message),
        Err(said) => refuse(kind, format!("{message}; the loader: {}", said.trim())),
    }
}
