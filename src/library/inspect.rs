//! Reads a library's file and runs nothing of it.
//!
//! Done before the loader is asked: its messages do not tell a text file from a truncated library, it hangs on a FIFO,
//! and a truncated library that it accepts kills the process with SIGBUS.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{elf, macho, refuse};
use crate::error::{AttemptError, AttemptKind};

/// The largest file that is read, in bytes: libkrun has some 6 MB, libkrunfw some 22, debugging information adds to it.
const MAX_SIZE: u64 = 512 << 20;

/// What a library's file says about itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FileReport {
    /// Which file it is.
    pub identity: Identity,
    /// The architecture it is for; from [`inspect`] it is this process's, anything else is an error.
    pub architecture: String,
    /// The name that it gives itself (`DT_SONAME`, `LC_ID_DYLIB`).
    pub soname: Option<String>,
    /// The libraries that it is linked with.
    pub needed: Vec<String>,
    /// Where it has them looked for before `LD_LIBRARY_PATH` (`DT_RPATH`; nothing where there is a `DT_RUNPATH`).
    pub rpath: Vec<String>,
    /// Where it has them looked for after that (`DT_RUNPATH`, `LC_RPATH`).
    pub runpath: Vec<String>,
    /// The functions that it offers, sorted; `None` if the file has no section headers to find them by.
    pub exports: Option<Vec<String>>,
    /// The names of libkrunfw that its bytes mention, sorted. Only looked for in a file that offers a `krun_` function.
    pub firmware_names: Vec<String>,
}

impl FileReport {
    /// That of a file that says nothing about itself.
    pub(super) fn empty(identity: Identity) -> FileReport {
        FileReport {
            identity,
            architecture: std::env::consts::ARCH.to_owned(),
            soname: None,
            needed: Vec::new(),
            rpath: Vec::new(),
            runpath: Vec::new(),
            exports: None,
            firmware_names: Vec::new(),
        }
    }
}

/// What makes a file the one that it is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Identity {
    /// Device.
    pub dev: u64,
    /// Inode.
    pub ino: u64,
    /// Size in bytes.
    pub size: u64,
    /// Time of the last change of its bytes, in nanoseconds since 1970.
    pub modified_ns: i64,
    /// The mark that the linker left in it, in hexadecimal (GNU build id, Mach-O UUID); not every linker does.
    pub build_id: Option<String>,
}

impl Identity {
    /// The first mark that differs, in words; `None` if it is the same file with the same content.
    pub fn difference(&self, now: &Identity) -> Option<String> {
        let text = |id: &Option<String>| id.clone().unwrap_or_else(|| "none".to_owned());
        if self.build_id != now.build_id {
            return Some(format!("its build id was {} and is {}", text(&self.build_id), text(&now.build_id)));
        }
        if (self.dev, self.ino) != (now.dev, now.ino) {
            let (was, is) = (format!("{}:{}", self.dev, self.ino), format!("{}:{}", now.dev, now.ino));
            return Some(format!("its device and inode were {was} and are {is}"));
        }
        if self.size != now.size {
            return Some(format!("its size was {} bytes and is {}", self.size, now.size));
        }
        (self.modified_ns != now.modified_ns).then(|| "it was written to".to_owned())
    }
}

/// Why a file is not a library for this process.
pub(super) struct Refusal {
    /// What is told.
    pub(super) error: AttemptError,
    /// Whether the loader can be asked for its own words without harm: it looks at the first bytes and refuses. It
    /// waits for a FIFO's writer, and reads beyond the end of a truncated file.
    pub(super) loader_may_be_asked: bool,
}

impl Refusal {
    pub(super) fn new(kind: AttemptKind, message: impl Into<String>) -> Refusal {
        Refusal { error: refuse(kind, message), loader_may_be_asked: false }
    }

    pub(super) fn ask_loader(mut self) -> Refusal {
        self.loader_may_be_asked = true;
        self
    }
}

/// Reads the file of a library.
///
/// # Errors
///
/// [`AttemptKind::Missing`], [`AttemptKind::Unreadable`], [`AttemptKind::NotALibrary`],
/// [`AttemptKind::WrongArchitecture`], or [`AttemptKind::Refused`] for a file larger than 512 MiB.
pub fn inspect(path: &Path) -> Result<FileReport, AttemptError> {
    look(path).map_err(|refusal| refusal.error)
}

/// Reads a library of any system and architecture: one report for each part of the file (a Mach-O file can have
/// several).
///
/// # Errors
///
/// As [`inspect`], but for [`AttemptKind::WrongArchitecture`].
pub fn inspect_any(path: &Path) -> Result<Vec<FileReport>, AttemptError> {
    let read = || -> Result<Vec<FileReport>, Refusal> {
        let (file, identity) = open(path)?;
        let start = start(&file)?;
        let is_elf = start.starts_with(b"\x7fELF");
        let reports = if is_elf { vec![elf::read_any(&file, &start)?] } else { macho::read_any(&read_whole(&file)?)? };
        reports.into_iter().map(|report| complete(report, &identity, &file)).collect()
    };
    read().map_err(|refusal| refusal.error)
}

/// Which file it is, which takes less to read.
pub(super) fn identify(path: &Path) -> Result<Identity, AttemptError> {
    let read = || {
        let (file, identity) = open(path)?;
        let report = one(&file)?;
        Ok(Identity { build_id: report.identity.build_id, ..identity })
    };
    read().map_err(|refusal: Refusal| refusal.error)
}

/// A library for this process, without what stands outside the headers.
fn one(file: &File) -> Result<FileReport, Refusal> {
    if cfg!(target_os = "macos") { macho::read(&read_whole(file)?) } else { elf::read(file, &start(file)?) }
}

/// [`inspect`], with what the loader may be asked after a refusal.
pub(super) fn look(path: &Path) -> Result<FileReport, Refusal> {
    let (file, identity) = open(path)?;
    complete(one(&file)?, &identity, &file)
}

/// The first bytes, by which every kind of file is told.
fn start(file: &File) -> Result<Vec<u8>, Refusal> {
    let mut bytes = vec![0; 64];
    let read = read_piece(file, &mut bytes, 0).map_err(unreadable)?;
    bytes.truncate(read);
    Ok(bytes)
}

fn read_whole(mut file: &File) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    // One byte more than allowed, in case it grew.
    file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let read = file.take(MAX_SIZE + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    check_size(read as u64)?;
    Ok(bytes)
}

fn unreadable(error: std::io::Error) -> Refusal {
    Refusal::new(AttemptKind::Unreadable, format!("it cannot be read: {error}"))
}

/// Fills the piece from there on; less only at the end of the file.
fn read_piece(file: &File, piece: &mut [u8], offset: u64) -> std::io::Result<usize> {
    let mut filled = 0;
    while filled < piece.len() {
        match file.read_at(&mut piece[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// Adds what stands outside the headers.
fn complete(mut report: FileReport, identity: &Identity, file: &File) -> Result<FileReport, Refusal> {
    let build_id = report.identity.build_id.take();
    report.identity = Identity { build_id, ..identity.clone() };
    let is_libkrun = |exports: &Vec<String>| exports.iter().any(|name| name.starts_with("krun_"));
    if report.exports.as_ref().is_none_or(is_libkrun) {
        report.firmware_names = firmware_names_in(file, 1 << 18).map_err(unreadable)?;
    }
    Ok(report)
}

/// Opens a regular file and nothing else: opening a FIFO waits and opening a device may do something, so neither is
/// opened, nor waited for if one takes the file's place in between.
fn open(path: &Path) -> Result<(File, Identity), Refusal> {
    let kind = rustix::fs::stat(path).map_err(|errno| cannot_open(path, errno))?.st_mode;
    check_kind(FileType::from_raw_mode(kind))?;
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).map_err(|errno| cannot_open(path, errno))?);
    let meta = file.metadata().map_err(|error| Refusal::new(AttemptKind::Unreadable, error.to_string()))?;
    check_kind(FileType::from_raw_mode(meta.mode() as _))?;
    check_size(meta.len())?;
    let modified_ns = meta.mtime().saturating_mul(1_000_000_000).saturating_add(meta.mtime_nsec());
    Ok((file, Identity { dev: meta.dev(), ino: meta.ino(), size: meta.len(), modified_ns, build_id: None }))
}

fn cannot_open(path: &Path, errno: Errno) -> Refusal {
    let said = crate::errno::describe(errno.raw_os_error());
    match errno {
        Errno::NOENT | Errno::NOTDIR => match std::fs::read_link(path) {
            Ok(to) => Refusal::new(AttemptKind::Missing, format!("a link to {}, which does not exist", to.display())),
            Err(_) => Refusal::new(AttemptKind::Missing, "no such file"),
        },
        Errno::ACCESS | Errno::PERM => {
            Refusal::new(AttemptKind::Unreadable, format!("it is there and may not be read: {said}")).ask_loader()
        }
        _ => Refusal::new(AttemptKind::Unreadable, format!("it cannot be opened: {said}")),
    }
}

fn check_kind(kind: FileType) -> Result<(), Refusal> {
    let what = match kind {
        FileType::RegularFile => return Ok(()),
        FileType::Directory => "a directory",
        FileType::Fifo => "a FIFO",
        FileType::Socket => "a socket",
        FileType::CharacterDevice | FileType::BlockDevice => "a device",
        _ => "no regular file",
    };
    let refusal = Refusal::new(AttemptKind::NotALibrary, format!("{what}, not a shared library"));
    Err(if kind == FileType::Directory { refusal.ask_loader() } else { refusal })
}

fn check_size(size: u64) -> Result<(), Refusal> {
    match size {
        0 => Err(Refusal::new(AttemptKind::NotALibrary, "an empty file, not a shared library").ask_loader()),
        size if size > MAX_SIZE => {
            Err(Refusal::new(AttemptKind::Refused, format!("larger than {} MiB: not read", MAX_SIZE >> 20)))
        }
        _ => Ok(()),
    }
}

/// A refusal for bytes that are no library of any kind, with what they look like.
pub(super) fn no_library(bytes: &[u8], expected: &str) -> Refusal {
    let start = &bytes[..bytes.len().min(64)];
    let what = if start.iter().all(|byte| byte.is_ascii_graphic() || byte.is_ascii_whitespace()) {
        "a text file"
    } else if start.starts_with(b"!<arch>\n") {
        "an archive for linking (.a)"
    } else {
        "a file of another kind"
    };
    Refusal::new(AttemptKind::NotALibrary, format!("{what}, not a shared library ({expected})")).ask_loader()
}

/// What every name of libkrunfw begins with.
const STEM: &[u8] = b"libkrunfw";

/// The names of libkrunfw in a file, `libkrunfw.so.5` or `libkrunfw-sev.so.5`, for macOS `libkrunfw.5.dylib`.
///
/// libkrun has the name as a literal, without an end mark and with other literals around it. The file is read in pieces
/// of that size.
fn firmware_names_in(file: &File, size: usize) -> std::io::Result<Vec<String>> {
    /// More than the longest name.
    const OVERLAP: usize = 64;
    let mut piece = vec![0; size];
    let mut names = Vec::new();
    let mut offset = 0;
    loop {
        let filled = read_piece(file, &mut piece, offset)?;
        // A name that begins near the end may go on in the next piece, where it is whole.
        let is_last = filled < size;
        let until = if is_last { filled } else { size - OVERLAP };
        names.extend(firmware_names(&piece[..filled], until));
        if is_last {
            break;
        }
        offset += until as u64;
    }
    names.sort();
    names.dedup();
    Ok(names)
}

/// Those that begin before `until`.
fn firmware_names(bytes: &[u8], until: usize) -> impl Iterator<Item = String> {
    let starts = memchr::memmem::find_iter(bytes, STEM).take_while(move |at| *at < until);
    starts.filter_map(|at| Some(format!("libkrunfw{}", firmware_suffix(&bytes[at + STEM.len()..])?)))
}

/// What stands after `libkrunfw`, up to and with the number.
fn firmware_suffix(tail: &[u8]) -> Option<String> {
    let infix = ["-sev", "-tdx"].into_iter().find(|infix| tail.starts_with(infix.as_bytes())).unwrap_or("");
    let tail = &tail[infix.len()..];
    // A file of the other system mentions the other system's name.
    let (before, after) = if tail.starts_with(b".so.") { (".so.", "") } else { (".", ".dylib") };
    let tail = tail.strip_prefix(before.as_bytes())?;
    let digits = tail.iter().take_while(|byte| byte.is_ascii_digit()).count();
    // Only the beginning of a number can be told from digits of the literal that follows.
    if digits == 0 || !tail[digits..].starts_with(after.as_bytes()) {
        return None;
    }
    let number = std::str::from_utf8(&tail[..digits]).ok()?;
    Some(format!("{infix}{before}{number}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[cfg(not(target_os = "macos"))]
    #[test]
    fn names_of_libkrunfw_are_found_among_other_literals() {
        let bytes =
            b"\0libkrunlibkrunfw.so.5krunfw_get_kernel\0load libkrunfw-sev.so.14\nlibkrunfw.so.5libkrunfw.solibk";
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, bytes).unwrap();
        // In one piece, and in pieces that end within a name and within its number.
        for size in [4096, 65, 66, 67, 68, 69, 70, 71, 72, 73, 74, 75, 76, 77, 78, 79, 80] {
            assert_eq!(firmware_names_in(&file, size).unwrap(), ["libkrunfw-sev.so.14", "libkrunfw.so.5"], "{size}");
        }
        assert!(firmware_names_in(&tempfile::tempfile().unwrap(), 4096).unwrap().is_empty());
    }

    #[test]
    fn the_mark_that_differs_is_named() {
        let was = Identity { dev: 1, ino: 2, size: 3, modified_ns: 4, build_id: Some("ab".to_owned()) };
        assert_eq!(was.difference(&was.clone()), None);
        let differs = |now: Identity| was.difference(&now).unwrap();
        assert!(differs(Identity { build_id: None, ..was.clone() }).contains("build id was ab and is none"));
        assert!(differs(Identity { ino: 9, ..was.clone() }).contains("inode were 1:2 and are 1:9"));
        assert!(differs(Identity { size: 9, ..was.clone() }).contains("size was 3 bytes and is 9"));
        assert!(differs(Identity { modified_ns: 9, ..was.clone() }).contains("written"));
    }
}
