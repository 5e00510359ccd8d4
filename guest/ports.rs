//! The virtio console ports that libkrun gives the guest, and the standard descriptors made from them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::str;
use std::time::{Duration, Instant};

use super::sys;

/// The console that ^C and the window size of the host's terminal arrive on.
pub const CONSOLE: &str = "/dev/hvc0";

/// The device of the port with this name.
pub fn named(name: &[u8]) -> Option<PathBuf> {
    fs::read_dir("/sys/class/virtio-ports").ok()?.flatten().find_map(|port| {
        let found = fs::read(port.path().join("name")).ok()?;
        (found.strip_suffix(b"\n").unwrap_or(&found) == name).then(|| Path::new("/dev").join(port.file_name()))
    })
}

/// How long a port that is to come is waited for.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(2);

/// The device of the port with this name, which may be a while in coming: the kernel finds the ports, and asks the host
/// for their names, while this program is being started already.
pub fn awaited(name: &[u8]) -> Option<PathBuf> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        match named(name) {
            None if Instant::now() < deadline => std::thread::sleep(PAUSE),
            found => return found,
        }
    }
}

/// Takes the standard descriptors from libkrun's ports, or from the console where there is no port and nothing else.
/// `expected` has bit n set where there will be a port for descriptor n.
///
/// With a kernel that starts process 1 without descriptors, libkrun's init opens the ports and then closes some of
/// them again by mistake, or leaves them under another number, or looks for them before they are there.
pub fn reopen_stdio(expected: u32) {
    for (fd, name) in [(0, "krun-stdin"), (1, "krun-stdout"), (2, "krun-stderr")] {
        let port = if expected & 1 << fd != 0 { awaited(name.as_bytes()) } else { named(name.as_bytes()) };
        if port.is_some_and(|port| take(&port, fd).is_ok()) || !is_null(fd) {
            continue;
        }
        take_console(fd);
    }
}

/// Gives the terminal its name where a standard descriptor is one: the kernel opened it before there was a `/dev`, so that
/// `tty` and whoever else looks for its name there finds none.
pub fn name_terminal() {
    for fd in 0..3 {
        let is_terminal = match fd {
            0 => io::stdin().is_terminal(),
            1 => io::stdout().is_terminal(),
            _ => io::stderr().is_terminal(),
        };
        if is_terminal {
            take_console(fd);
        }
    }
}

fn take_console(fd: RawFd) {
    if let Ok(console) = OpenOptions::new().read(true).write(true).custom_flags(sys::O_NOCTTY).open(CONSOLE) {
        let _ = sys::replace_stdio(console.as_raw_fd(), fd);
    }
}

/// Makes `fd` the port's device. A port can be open only once, so one that init left open must be found, not opened.
fn take(port: &Path, fd: RawFd) -> io::Result<()> {
    let open = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten().filter_map(|entry| {
        let is_port = fs::read_link(entry.path()).is_ok_and(|target| target == port);
        is_port.then(|| str::from_utf8(entry.file_name().as_encoded_bytes()).ok()?.parse::<RawFd>().ok()).flatten()
    });
    let open: Vec<RawFd> = open.collect();
    if open.contains(&fd) {
        return Ok(());
    }
    if let Some(&elsewhere) = open.first() {
        sys::replace_stdio(elsewhere, fd)?;
        if elsewhere < 3 {
            let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
            sys::replace_stdio(null.as_raw_fd(), elsewhere)?;
        }
        return Ok(());
    }
    let file = OpenOptions::new().read(fd == 0).write(fd != 0).open(port)?;
    sys::replace_stdio(file.as_raw_fd(), fd)
}

/// Whether a standard descriptor is `/dev/null`, as it is after it was found closed.
fn is_null(fd: RawFd) -> bool {
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    let fd: BorrowedFd<'_> = match fd {
        0 => stdin.as_fd(),
        1 => stdout.as_fd(),
        _ => stderr.as_fd(),
    };
    let null = fs::metadata("/dev/null").map(|null| null.rdev());
    let this = fd.try_clone_to_owned().and_then(|fd| File::from(fd).metadata()).map(|this| this.rdev());
    matches!((this, null), (Ok(this), Ok(null)) if this == null)
}
