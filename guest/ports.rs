//! The virtio console ports that libkrun gives the guest, and the standard descriptors made from them.

use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, IsTerminal};
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

/// Waits until the host has taken what was last written to standard output and error, where they are ports. A write to a
/// port waits only for the one before it, and libkrun empties a port's queue at the end only if it has come to serving that
/// port at all, which a busy host can be late with.
pub fn drain(patience: Duration) {
    let deadline = Instant::now() + patience;
    let (stdout, stderr) = (io::stdout(), io::stderr());
    for fd in [stdout.as_fd(), stderr.as_fd()] {
        let target = fs::read_link(format!("/proc/self/fd/{}", fd.as_raw_fd()));
        if target.is_ok_and(|target| target.as_os_str().as_encoded_bytes().starts_with(b"/dev/vport")) {
            taken(fd, deadline);
        }
    }
}

/// Waits until there is room for the next write. False where there is none in time.
pub fn taken(port: BorrowedFd<'_>, deadline: Instant) -> bool {
    loop {
        match sys::wait_ready(port, sys::POLLOUT, deadline.saturating_duration_since(Instant::now())) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            ready => return ready.unwrap_or(false),
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    #[test]
    fn what_nobody_takes_is_given_up_and_what_is_taken_is_waited_for() {
        let (mut host, guest) = UnixStream::pair().unwrap();
        guest.set_nonblocking(true).unwrap();
        while (&guest).write(&[0; 65536]).is_ok() {}
        let begin = Instant::now();
        assert!(!taken(guest.as_fd(), begin + Duration::from_millis(100)));
        assert!(begin.elapsed() >= Duration::from_millis(90));
        let reader = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(100));
            let mut buffer = vec![0; 1 << 20];
            let _ = host.read(&mut buffer);
            (host, Instant::now())
        });
        assert!(taken(guest.as_fd(), begin + Duration::from_secs(20)));
        let (_host, read) = reader.join().unwrap();
        assert!(Instant::now() + Duration::from_millis(50) > read);
    }
}
