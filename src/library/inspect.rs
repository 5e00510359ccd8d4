//! Reads a library's file and runs nothing of it.
//!
//! Done before the loader is asked: its messages do not tell a text file from a truncated library, it hangs on a FIFO,
//! and a truncated library that it accepts kills the process with SIGBUS.

use std::fs::File;
use std::io::Read;
use std::ops::Range;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::Path;

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use super::report::{FileReport, Identity, Refusal};
use super::{elf, macho};
use crate::error::{AttemptError, AttemptKind};

/// The largest file that is read, in bytes: libkrun has some 6 MB, libkrunfw some 22, debugging information adds to it.
const MAX_SIZE: u64 = 512 << 20;

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
        let head = head(&file)?;
        let parts = if head.starts_with(b"\x7fELF") {
            vec![elf::read_any(&head, &file)?]
        } else {
            macho::read_any(&whole(&file)?)?.into_iter().map(|report| (report, Vec::new())).collect()
        };
        Ok(parts
            .into_iter()
            .map(|(report, literals)| with_firmware_names(&file, with_identity(report, &identity), literals))
            .collect())
    };
    read().map_err(|refusal| refusal.error)
}

/// [`inspect`], with what the loader may be asked after a refusal.
pub(super) fn look(path: &Path) -> Result<FileReport, Refusal> {
    let (file, report, literals) = read(path)?;
    Ok(with_firmware_names(&file, report, literals))
}

fn with_firmware_names(file: &File, mut report: FileReport, literals: Vec<Range<u64>>) -> FileReport {
    let is_libkrun = |exports: &Vec<String>| exports.iter().any(|name| name.starts_with("krun_"));
    if report.exports.as_ref().is_none_or(is_libkrun) {
        let size = report.identity.size;
        let literals = literals.into_iter().map(|part| part.start..part.end.min(size));
        let mut names = firmware_names(file, literals);
        if names.is_empty() {
            names = firmware_names(file, std::iter::once(0..size));
        }
        report.firmware_names = names;
    }
    report
}

/// Which file it is, which takes less to read.
pub(super) fn identify(path: &Path) -> Result<Identity, AttemptError> {
    read(path).map(|(_, report, _)| report.identity).map_err(|refusal| refusal.error)
}

/// Everything but the names of libkrunfw, and where those may stand.
fn read(path: &Path) -> Result<(File, FileReport, Vec<Range<u64>>), Refusal> {
    let (file, identity) = open(path)?;
    let (report, literals) = if cfg!(target_os = "macos") {
        (macho::read(&whole(&file)?)?, Vec::new())
    } else {
        elf::read(&head(&file)?, &file)?
    };
    Ok((file, with_identity(report, &identity), literals))
}

fn with_identity(mut report: FileReport, identity: &Identity) -> FileReport {
    let build_id = report.identity.build_id.take();
    report.identity = Identity { build_id, ..identity.clone() };
    report
}

/// The first bytes, by which every kind of file is told.
fn head(file: &File) -> Result<Vec<u8>, Refusal> {
    let mut head = vec![0; 64];
    let read = file.read_at(&mut head, 0).map_err(cannot_read)?;
    head.truncate(read);
    Ok(head)
}

fn whole(mut file: &File) -> Result<Vec<u8>, Refusal> {
    let mut bytes = Vec::new();
    // One byte more than allowed, in case it grew.
    let read = Read::by_ref(&mut file).take(MAX_SIZE + 1).read_to_end(&mut bytes).map_err(cannot_read)?;
    check_size(read as u64)?;
    Ok(bytes)
}

fn cannot_read(error: std::io::Error) -> Refusal {
    Refusal::new(AttemptKind::Unreadable, format!("it cannot be read: {error}"))
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
    let said = || crate::errno::describe(errno.raw_os_error());
    match errno {
        Errno::NOENT | Errno::NOTDIR => match std::fs::read_link(path) {
            Ok(to) => Refusal::new(AttemptKind::Missing, format!("a link to {}, which does not exist", to.display())),
            Err(_) => Refusal::new(AttemptKind::Missing, "no such file"),
        },
        Errno::ACCESS | Errno::PERM => {
            Refusal::new(AttemptKind::Unreadable, format!("it is there and may not be read: {}", said())).ask_loader()
        }
        _ => Refusal::new(AttemptKind::Unreadable, format!("it cannot be opened: {}", said())),
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

/// The names of libkrunfw in the last piece of these parts of a file that has any. A build mentions one; libkrun's own
/// literals come after the programs that it carries, so the end is the place to begin.
fn firmware_names(file: &File, parts: impl DoubleEndedIterator<Item = Range<u64>>) -> Vec<String> {
    const PIECE: u64 = 16 << 10;
    // Longer than any name, for one that stands across the border of two pieces.
    const OVERLAP: u64 = 64;
    let mut piece = Vec::with_capacity((PIECE + OVERLAP) as usize);
    for part in parts.rev() {
        let mut end = part.end;
        while end > part.start {
            let start = part.start.max(end.saturating_sub(PIECE));
            piece.clear();
            if rustix::io::pread(file, rustix::buffer::spare_capacity(&mut piece), start).is_err() {
                break;
            }
            piece.truncate((part.end - start) as usize);
            let names = names_in(&piece);
            if !names.is_empty() {
                return names;
            }
            end = start;
        }
    }
    Vec::new()
}

/// The names of libkrunfw in the bytes, `libkrunfw.so.5` or `libkrunfw-sev.so.5`, on macOS `libkrunfw.5.dylib`.
///
/// libkrun has the name as a literal, without an end mark and with other literals around it.
fn names_in(bytes: &[u8]) -> Vec<String> {
    const STEM: &[u8; 9] = b"libkrunfw";
    // By its rarest letter.
    const MARK: usize = 3;
    let ends = memchr::memchr_iter(STEM[MARK], bytes).filter_map(|at| {
        let (stem, tail) = bytes[at.checked_sub(MARK)?..].split_first_chunk()?;
        (stem == STEM).then_some(tail)
    });
    let suffixes = ends.filter_map(firmware_suffix);
    let mut names: Vec<String> = suffixes.map(|suffix| format!("libkrunfw{suffix}")).collect();
    names.sort();
    names.dedup();
    names
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
            b"\0libkrunlibkrunfw.so.5krunfw_get_kernel\0load libkrunfw-sev.so.4\nlibkrunfw.so.5libkrunfw.solibk";
        assert_eq!(names_in(bytes), ["libkrunfw-sev.so.4", "libkrunfw.so.5"]);
        assert!(names_in(b"").is_empty());
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
