//! libkrunfw, the library with the guest's kernel: which one a libkrun asks for, and where it is.
//!
//! Up to 1.10.1 libkrun is linked with it, and cannot be opened without it. From 1.11.0 on it opens it by bare soname
//! when the first context is made, keeps quiet if that fails, and fails when the VM is started. The loader looks for a
//! bare soname in libkrun's own `DT_RPATH`, `LD_LIBRARY_PATH`, libkrun's own `DT_RUNPATH`, its cache and the system's
//! directories, but not beside libkrun; a library with that soname that is loaded already satisfies it.
//!
//! So krundl looks itself, in the places that the loader prefers, then beside libkrun, then in the well-known places,
//! and loads what it finds by absolute path before libkrun asks. The loader's cache and the
//! program's own `DT_RPATH` are not read, and of the placeholders in libkrun's only `$ORIGIN` is understood: where
//! nothing is found, the loader's own answer counts, see [`Firmware::ask`].

use std::ffi::{c_char, c_int, c_void};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::inspect::inspect;
use super::loader::{self, Handle};
use super::name::{Flavour, Name};
use super::refuse;
use super::report::FileReport;
use super::search::Environment;
use crate::error::{Attempt, AttemptError, AttemptKind, Origin};

/// The libkrunfw of a libkrun.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Firmware {
    /// Its soname; `None` if it is not known which one libkrun asks for.
    pub wanted: Option<String>,
    /// How that is known.
    pub evidence: String,
    /// Whether libkrun is linked with it instead of opening it when a context is made.
    pub linked: bool,
    /// Its file. `None` if none was found; then [`Firmware::ask`] says whether the loader finds one.
    pub path: Option<PathBuf>,
    /// Whether `path` is to be loaded before libkrun asks for it, by [`Firmware::preload`].
    pub preload: bool,
    /// Where it was looked for; the last one without an error is `path`.
    pub attempts: Vec<Attempt>,
    /// The number of its interface, as it answers itself; `None` if it was not asked.
    pub abi: Option<i32>,
    /// The guest's kernel, as it answers itself; `None` if it was not asked, or has none.
    pub kernel: Option<FirmwareKernel>,
    /// Its release, from the name of its real file: `5.4.0`; `None` if the file is named otherwise.
    pub file_version: Option<String>,
}

/// The kernel in a libkrunfw. The guest's memory has to reach beyond `load_address + size`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct FirmwareKernel {
    /// Where it goes in the guest's memory.
    pub load_address: u64,
    /// Its size in bytes.
    pub size: u64,
    /// Its release, `6.12.87` for example, from its own banner; `None` if it has none or was not looked for.
    pub release: Option<String>,
}

impl Firmware {
    /// That of the libkrun in this file. Looks at files and loads nothing.
    pub(super) fn of(report: &FileReport, path: &Path, flavour: Flavour, environment: &Environment) -> Firmware {
        let mut firmware = wanted(report, flavour);
        if let Some(wanted) = firmware.wanted.clone() {
            firmware.look(&wanted, places(report, path, environment));
        }
        firmware
    }

    /// Takes the first file of that name that is one.
    fn look(&mut self, wanted: &str, places: impl Iterator<Item = Place>) {
        for place in places {
            let file = place.dir.join(wanted);
            let judged = judge(&file, wanted, place.of_loader);
            let error = judged.as_ref().err().cloned();
            self.attempts.push(Attempt { candidate: file.display().to_string(), origin: place.origin(), error });
            if let Ok(preload) = judged {
                self.file_version = version_of(&file);
                self.preload = preload;
                self.path = Some(file);
                return;
            }
        }
    }

    /// After libkrun was opened: if that loaded it, then where it is stands fixed, and whether krundl had to help.
    pub(super) fn settle(&mut self, preloaded: bool) {
        let Some(wanted) = self.wanted.as_deref().filter(|_| self.linked) else { return };
        self.preload = preloaded;
        if let Some(path) = Handle::already(wanted).and_then(Handle::path) {
            self.file_version = version_of(&path);
            self.path = Some(path);
        }
    }

    /// Loads it by its absolute path, for good, if `preload` says so; libkrun gets this one then when it asks.
    ///
    /// # Errors
    ///
    /// The loader's refusal.
    ///
    /// # Safety
    ///
    /// Its constructors run in this process: the caller vouches for the file.
    pub unsafe fn preload(&self) -> Result<(), AttemptError> {
        match &self.path {
            // SAFETY: the caller vouches for the file.
            Some(path) if self.preload => unsafe { open(path) }.map(|_| ()),
            _ => Ok(()),
        }
    }

    /// Loads it for good, by the path that was found or else through the system's loader as libkrun does, and asks it
    /// for its interface and its kernel. The answers are put into `self`, a refusal is added to `attempts`.
    ///
    /// This is what libkrun does itself when a context is made, so it is best done in a child process. For the
    /// `kernel_release` all of the kernel, some 20 MB, is searched.
    ///
    /// # Safety
    ///
    /// Its constructors and its functions run in this process: the caller vouches for the file, or for what the loader
    /// finds.
    pub unsafe fn ask(&mut self, kernel_release: bool) {
        let (target, origin) = match (&self.path, &self.wanted) {
            (Some(path), _) => (path.clone(), Origin::WellKnown),
            (None, Some(wanted)) => (PathBuf::from(wanted), Origin::Loader),
            (None, None) => return,
        };
        // SAFETY: the caller vouches for the file.
        let opened = unsafe { open(&target) };
        let error = opened.as_ref().err().cloned();
        if error.is_some() || self.path.is_none() {
            self.attempts.push(Attempt { candidate: target.display().to_string(), origin, error });
        }
        let Ok(handle) = opened else { return };
        if self.path.is_none() {
            self.path = handle.path();
            self.file_version = self.path.as_deref().and_then(version_of);
        }
        // SAFETY: both are functions of the library that is called libkrunfw, which the caller vouches for.
        unsafe {
            self.abi = abi(handle);
            self.kernel = kernel(handle, kernel_release);
        }
    }
}

/// Opens it the way libkrun can find it afterwards.
///
/// # Safety
///
/// The caller vouches for the file's constructors.
unsafe fn open(target: &Path) -> Result<Handle, AttemptError> {
    // SAFETY: the caller vouches for the file's constructors.
    let opened = unsafe { Handle::open(target.as_os_str(), loader::FIRMWARE) };
    opened.map_err(|said| loader::explain(&said, &target.display().to_string()))
}

/// # Safety
///
/// The library must be libkrunfw.
unsafe fn abi(firmware: Handle) -> Option<c_int> {
    let address = firmware.find(c"krunfw_get_version");
    if address.is_null() {
        return None;
    }
    // SAFETY: libkrunfw's `int krunfw_get_version(void)`.
    Some(unsafe { std::mem::transmute::<*const c_void, unsafe extern "C" fn() -> c_int>(address)() })
}

/// # Safety
///
/// The library must be libkrunfw.
unsafe fn kernel(firmware: Handle, release: bool) -> Option<FirmwareKernel> {
    type GetKernel = unsafe extern "C" fn(load: *mut u64, entry: *mut u64, size: *mut usize) -> *mut c_char;
    let address = firmware.find(c"krunfw_get_kernel");
    if address.is_null() {
        return None;
    }
    let (mut load, mut entry, mut size) = (0, 0, 0);
    // SAFETY: libkrunfw's function of that signature, which libkrun calls the same way; it writes three numbers and
    // returns the address of bytes in the library.
    let bytes = unsafe { std::mem::transmute::<*const c_void, GetKernel>(address)(&mut load, &mut entry, &mut size) };
    if bytes.is_null() || size == 0 {
        return None;
    }
    // SAFETY: libkrunfw says that so many bytes lie there, which libkrun copies into the guest; nobody changes them.
    let image = unsafe { std::slice::from_raw_parts(bytes.cast::<u8>().cast_const(), size) };
    Some(FirmwareKernel {
        load_address: load,
        size: size as u64,
        release: release.then(|| kernel_release(image)).flatten(),
    })
}

/// The release in a kernel's banner, `Linux version 6.12.87 (builder) ...`.
pub(crate) fn kernel_release(image: &[u8]) -> Option<String> {
    const BANNER: &[u8] = b"Linux version ";
    let finder = memchr::memmem::Finder::new(BANNER);
    finder.find_iter(image).find_map(|at| {
        let rest = &image[at + BANNER.len()..];
        let end = rest.iter().take(64).position(|byte| !byte.is_ascii_graphic())?;
        // The format string of the same words is in there too.
        let release = std::str::from_utf8(&rest[..end]).ok()?;
        release.starts_with(|first: char| first.is_ascii_digit()).then(|| release.to_owned())
    })
}

/// The numbers in the name of the file that a link leads to.
fn version_of(file: &Path) -> Option<String> {
    let real = file.canonicalize().ok()?;
    Name::parse("libkrunfw", real.file_name()?.to_str()?)?.version
}

/// Which one libkrun asks for.
fn wanted(report: &FileReport, flavour: Flavour) -> Firmware {
    if let Some(name) = report.needed.iter().find(|name| Name::parse("libkrunfw", name).is_some()) {
        let evidence = format!("libkrun is linked with {name}");
        return Firmware { wanted: Some(name.clone()), evidence, linked: true, ..Firmware::default() };
    }
    // A build mentions one. If it should ever mention several: the one of its own variant, then the newest.
    let of_flavour = |name: &Name| name.flavour == flavour;
    let names = report.firmware_names.iter().filter_map(|text| Some((text, Name::parse("libkrunfw", text)?)));
    let best = names.max_by_key(|(_, name)| (of_flavour(name), name.major));
    let evidence = match (&best, report.firmware_names.len()) {
        (None, _) => "libkrun's file mentions no libkrunfw".to_owned(),
        (Some((name, _)), 1) => format!("libkrun's file mentions {name}"),
        (Some((name, _)), _) => {
            format!("{name} fits best of what libkrun's file mentions: {}", report.firmware_names.join(", "))
        }
    };
    Firmware { wanted: best.map(|(name, _)| name.clone()), evidence, ..Firmware::default() }
}

/// A directory, and whether the loader looks there by itself, before all others.
struct Place {
    dir: PathBuf,
    of_loader: bool,
}

impl Place {
    fn origin(&self) -> Origin {
        if self.of_loader { Origin::Loader } else { Origin::WellKnown }
    }
}

/// Where it is looked for, in order, each directory once.
fn places(report: &FileReport, path: &Path, environment: &Environment) -> impl Iterator<Item = Place> {
    let real = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    // The loader takes $ORIGIN from the name by which the library was opened.
    let origin = path.parent().unwrap_or(Path::new("/"));
    let expand = |dirs: &[String]| -> Vec<PathBuf> {
        let dirs = dirs.iter().map(|dir| dir.replace("${ORIGIN}", "$ORIGIN"));
        let dirs = dirs.map(|dir| dir.replace("$ORIGIN", &origin.display().to_string()));
        dirs.map(PathBuf::from).filter(|dir| dir.is_absolute()).collect()
    };
    let of_loader = [expand(&report.rpath), environment.loader_dirs(), expand(&report.runpath)].concat();
    let beside: Vec<PathBuf> = [real.parent(), path.parent()].into_iter().flatten().map(Path::to_owned).collect();
    // Mostly it is beside libkrun, so the others are only made up when that is not so.
    let well_known = std::iter::once_with(|| environment.well_known_dirs()).flatten();
    let of_loader = of_loader.into_iter().map(|dir| Place { dir, of_loader: true });
    let others = beside.into_iter().chain(well_known).map(|dir| Place { dir, of_loader: false });
    let mut seen = Vec::new();
    of_loader.chain(others).filter(move |place| {
        let new = !seen.contains(&place.dir);
        seen.push(place.dir.clone());
        new
    })
}

/// Whether this file is it, and whether loading it by path satisfies libkrun's question: the loader compares sonames.
fn judge(file: &Path, wanted: &str, of_loader: bool) -> Result<bool, AttemptError> {
    let report = inspect(file)?;
    let kernel = |exports: &Vec<String>| exports.iter().any(|name| name == "krunfw_get_kernel");
    if report.exports.as_ref().is_some_and(|exports| !kernel(exports)) {
        return Err(refuse(AttemptKind::Refused, "it has no krunfw_get_kernel: not libkrunfw"));
    }
    let same = report.soname.as_deref() == Some(wanted);
    if !same && !of_loader {
        let soname = report.soname.as_deref().unwrap_or("none");
        let why = format!("its soname is {soname}: libkrun, which asks for {wanted}, would not be given it");
        return Err(refuse(AttemptKind::Refused, why));
    }
    Ok(same)
}
