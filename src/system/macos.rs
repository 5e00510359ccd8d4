//! macOS: the kernel tells a descriptor's path, sockets must have names, and queues of events tell of processes.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::event::kqueue::{Event, EventFilter, EventFlags, ProcessEvents, kevent, kqueue};
use rustix::io::{FdFlags, fcntl_setfd, ioctl_fionbio};
use rustix::net::{AddressFamily, SocketType, socket};
use rustix::process::Pid;

/// The socket's name in the directory that is made for it.
const NAME: &str = "s";

/// Where what is open lies now; a directory or a regular file.
pub(crate) fn path_of(descriptor: BorrowedFd<'_>) -> io::Result<PathBuf> {
    Ok(std::ffi::OsString::from_vec(rustix::fs::getpath(descriptor)?.into_bytes()).into())
}

/// Only tells whether the file is there: what cannot be opened cannot be held.
pub(crate) fn handle(path: &Path) -> io::Result<Option<File>> {
    std::fs::metadata(path).map(|_| None)
}

/// An unconnected socket for streams between processes, which no other program inherits and on which nothing waits. A
/// program that is started between the two calls inherits it all the same.
pub(crate) fn stream_socket() -> io::Result<OwnedFd> {
    let socket = socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    ioctl_fionbio(&socket, true)?;
    Ok(socket)
}

/// The directory that a private listener lies in; removed with this.
pub(crate) struct Place {
    _dir: tempfile::TempDir,
}

/// A listening socket and a descriptor with which a child finds it ([`private_path`]): that of a directory of its own,
/// which is there until `Place` is dropped. With `for_others` users of any name may connect who know it.
pub(crate) fn private_listener(for_others: bool) -> io::Result<(UnixListener, OwnedFd, Place)> {
    // The directory for temporary files has a long name here, and a socket's path has room for 103 bytes.
    let dir = tempfile::Builder::new().prefix("krundl-").tempdir()?;
    let path = dir.path().join(NAME);
    let listener = UnixListener::bind(&path)?;
    if for_others {
        std::fs::set_permissions(&path, Permissions::from_mode(0o666))?;
        std::fs::set_permissions(dir.path(), Permissions::from_mode(0o711))?;
    }
    let given = File::open(dir.path())?.into();
    Ok((listener, given, Place { _dir: dir }))
}

/// Where the child that was given this descriptor finds the private listener.
pub(crate) fn private_path(given: BorrowedFd<'_>) -> io::Result<PathBuf> {
    Ok(path_of(given)?.join(NAME))
}

/// A descriptor on which `poll` finds something to read once the process has ended.
pub(crate) fn end_of(process: Pid) -> io::Result<OwnedFd> {
    let queue = kqueue()?;
    fcntl_setfd(&queue, FdFlags::CLOEXEC)?;
    let filter = EventFilter::Proc { pid: process, flags: ProcessEvents::EXIT };
    let event = Event::new(filter, EventFlags::ADD | EventFlags::ONESHOT, std::ptr::null_mut());
    let mut none: [Event; 0] = [];
    // SAFETY: the event names a process and no descriptor, which would have to stay open.
    unsafe { kevent(&queue, &[event], &mut none[..], None) }?;
    Ok(queue)
}
