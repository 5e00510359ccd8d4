//! Linux: descriptors have names in /proc, and processes have descriptors.

use std::fs::{File, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open};
use rustix::net::{AddressFamily, SocketFlags, SocketType, socket_with};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

/// A path that leads to what is open, by whatever name it goes and even if it has none any more. Only this process can use
/// it, and whom it has lent the descriptor to.
pub(crate) fn path_of(descriptor: BorrowedFd<'_>) -> io::Result<PathBuf> {
    Ok(Path::new("/proc/self/fd").join(descriptor.as_raw_fd().to_string()))
}

/// Takes hold of a file without opening it, which for a socket could not be done.
pub(crate) fn handle(path: &Path) -> io::Result<Option<File>> {
    Ok(Some(open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?.into()))
}

/// An unconnected socket for streams between processes, which no other program inherits and on which nothing waits.
pub(crate) fn stream_socket() -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    Ok(socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?)
}

/// What a private listener leaves in the file system: nothing.
pub(crate) struct Place;

/// A listening socket and a descriptor with which a child finds it ([`private_path`]). Its name is gone by then, so
/// nothing can be left behind and nobody else can find it. With `for_others` users of any name may connect.
pub(crate) fn private_listener(for_others: bool) -> io::Result<(UnixListener, OwnedFd, Place)> {
    let name = format!("krundl-{}-{:016x}", std::process::id(), u64::from_le_bytes(super::random()?));
    // A socket's path has room for about 100 bytes; through the directory's descriptor it is always short.
    let dir = open(std::env::temp_dir(), OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let path = path_of(dir.as_fd())?.join(name);
    let listener = UnixListener::bind(&path)?;
    if for_others {
        // Whoever connects is looked at anyway, and only the VM's own process is heard.
        std::fs::set_permissions(&path, Permissions::from_mode(0o666))?;
    }
    let socket = open(&path, OFlags::PATH | OFlags::CLOEXEC | OFlags::NOFOLLOW, Mode::empty());
    std::fs::remove_file(&path)?;
    Ok((listener, socket?, Place))
}

/// Where the child that was given this descriptor finds the private listener.
pub(crate) fn private_path(given: BorrowedFd<'_>) -> io::Result<PathBuf> {
    path_of(given)
}

/// A descriptor on which `poll` finds something to read once the process has ended.
pub(crate) fn end_of(process: Pid) -> io::Result<OwnedFd> {
    Ok(pidfd_open(process, PidfdFlags::empty())?)
}
