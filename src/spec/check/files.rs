//! Opening what a spec names, and keeping it.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use rustix::fs::{Access, AtFlags};

use super::Checker;
use crate::spec::findings::HostPath;
use crate::spec::text::Text;
use crate::system::path_of;

/// What the VM's process does with a file.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    Read,
    /// It is made where there is none, and added to.
    Append,
    /// It is made where there is none; libkrun truncates it.
    Write,
    /// As `Append`, and read again.
    Log,
    /// A terminal, for both directions.
    Terminal,
}

impl Checker {
    /// Opens a directory for reading; what is read later is this very directory.
    pub(super) fn directory(&mut self, field: &str, path: &Path) -> (HostPath, Option<File>) {
        let opened =
            refuse_nul(path).and_then(|()| File::options().read(true).custom_flags(libc::O_DIRECTORY).open(path));
        match opened {
            Ok(dir) => match usable_directory(dir.as_fd()) {
                Ok(()) => {
                    let copy = dir.try_clone().ok();
                    self.allowed(field, || dir.metadata(), path, Access::READ_OK | Access::EXEC_OK);
                    (self.hold(dir, path), copy)
                }
                Err(error) => {
                    self.host(field, format!("{} cannot be used: {error}", path.display()));
                    (HostPath::default(), None)
                }
            },
            Err(error) => {
                let reason = match error.raw_os_error() {
                    Some(libc::ENOENT) if path.as_os_str().is_empty() => "is empty".to_owned(),
                    Some(libc::ENOENT) => format!("{} does not exist", path.display()),
                    Some(libc::ENOTDIR) => format!("{} is not a directory", path.display()),
                    _ => format!("{} cannot be opened: {}", path.display(), plain(&error)),
                };
                self.host(field, reason);
                (HostPath::default(), None)
            }
        }
    }

    /// Keeps a file open.
    pub(super) fn hold(&mut self, file: File, path: &Path) -> HostPath {
        // The name of what was opened, not the name that was asked for.
        let by_fd = path_of(file.as_fd()).unwrap_or_default();
        let named = std::fs::read_link(&by_fd);
        let held = named.is_ok() && std::fs::metadata(&by_fd).is_ok();
        let path = named.or_else(|_| path.canonicalize()).unwrap_or_else(|_| path.to_owned());
        if !held {
            // Without /proc there is only the name; the window between check and use is then open.
            return HostPath { path: path.into(), held: None };
        }
        let slot = u32::try_from(self.held.len()).expect("a spec has fewer than 2^32 paths");
        self.held.push(file.into());
        HostPath { path: path.into(), held: Some(slot) }
    }

    /// Opens a regular file for reading.
    pub(super) fn file(&mut self, field: &str, path: &Path) -> Option<File> {
        // Non-blocking, so that a FIFO is seen instead of waited for.
        let opened =
            refuse_nul(path).and_then(|()| File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path));
        match opened.and_then(|file| Ok((file.metadata()?.is_file(), file))) {
            Ok((true, file)) => {
                self.allowed(field, || file.metadata(), path, Access::READ_OK);
                Some(file)
            }
            Ok((false, _)) => {
                self.host(field, format!("{} is not a regular file", path.display()));
                None
            }
            Err(error) => {
                self.host(field, format!("{} cannot be read: {}", path.display(), plain(&error)));
                None
            }
        }
    }

    /// Opens a regular file for reading and keeps it open.
    pub(super) fn readable(&mut self, field: &str, path: &Path) -> Option<HostPath> {
        let file = self.file(field, path)?;
        Some(self.hold(file, path))
    }

    /// Opens the host's end of a stream and keeps it open.
    pub(super) fn stream(&mut self, field: &str, path: &Path, purpose: Use) -> Option<HostPath> {
        match refuse_nul(path).and_then(|()| open_stream(path, purpose)) {
            Ok(file) => {
                if purpose == Use::Write {
                    // libkrun opens it once more, after it has become another user.
                    self.allowed(field, || file.metadata(), path, Access::WRITE_OK);
                }
                Some(self.hold(file, path))
            }
            Err(error) => {
                let what = match purpose {
                    Use::Read => "read",
                    Use::Append | Use::Write | Use::Log => "written to",
                    Use::Terminal => "used as a terminal",
                };
                self.host(field, format!("{} cannot be {what}: {}", path.display(), plain(&error)));
                None
            }
        }
    }
}

fn open_stream(path: &Path, purpose: Use) -> io::Result<File> {
    let mut options = File::options();
    let is_fifo = std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo());
    if is_fifo {
        // Both ways, so that nobody waits for the other end to be opened, and its closing is no end of the stream.
        options.read(true).write(true);
    } else {
        match purpose {
            Use::Read => options.read(true),
            Use::Append => options.append(true).create(true),
            Use::Write => options.write(true).create(true).truncate(false),
            Use::Log => options.read(true).append(true).create(true),
            Use::Terminal => options.read(true).write(true),
        };
    }
    let file = options.custom_flags(libc::O_NOCTTY).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_dir() {
        return Err(io::Error::from_raw_os_error(libc::EISDIR));
    }
    if purpose == Use::Terminal && !rustix::termios::isatty(&file) {
        return Err(io::Error::from_raw_os_error(libc::ENOTTY));
    }
    Ok(file)
}

/// The guest needs to list it and to go through it.
fn usable_directory(dir: BorrowedFd<'_>) -> io::Result<()> {
    rustix::fs::accessat(dir, ".", Access::READ_OK | Access::EXEC_OK, AtFlags::EACCESS).map_err(io::Error::from)
}

pub(super) fn refuse_nul(path: &Path) -> io::Result<()> {
    if Text::from(path).has_nul() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path holds a NUL"));
    }
    Ok(())
}

pub(super) fn plain(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), crate::errno::describe)
}

pub(super) fn shell_quote(path: &Path) -> String {
    let text = path.display().to_string();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+".contains(&b)) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}
