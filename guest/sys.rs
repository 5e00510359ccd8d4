//! The few calls of the C library that the standard library has no words for.
//!
//! Every number below is the same on x86_64, aarch64 and riscv64, the architectures that libkrun runs on; open flags
//! that differ between them are not used.

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
compile_error!("the numbers in guest/sys.rs were not checked for this architecture");

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_short, c_uint, c_ulong, c_void};
use std::io::{Error, Result};
use std::net::Ipv4Addr;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::process::ExitStatus;
use std::time::Duration;

pub const SIGHUP: c_int = 1;
pub const SIGINT: c_int = 2;
pub const SIGQUIT: c_int = 3;
pub const SIGKILL: c_int = 9;
pub const SIGTERM: c_int = 15;
pub const SIGCHLD: c_int = 17;
pub const SIGCONT: c_int = 18;
pub const SIGTSTP: c_int = 20;
pub const SIGTTIN: c_int = 21;
pub const SIGTTOU: c_int = 22;

pub const ENOENT: i32 = 2;
pub const ENOEXEC: i32 = 8;
pub const EAGAIN: i32 = 11;
pub const EACCES: i32 = 13;
pub const ENODEV: i32 = 19;
pub const ENOTDIR: i32 = 20;
pub const EINVAL: i32 = 22;
pub const EROFS: i32 = 30;
pub const EAFNOSUPPORT: i32 = 97;
pub const ETIMEDOUT: i32 = 110;

/// For `OpenOptions::custom_flags`: a terminal that is opened does not become the controlling one.
pub const O_NOCTTY: c_int = 0o400;
/// For `OpenOptions::custom_flags`.
pub const O_NONBLOCK: c_int = 0o4000;

pub const POLLIN: c_short = 1;
pub const POLLOUT: c_short = 4;

/// Mount options that the kernel takes as flags: the name, what it sets, what it clears.
pub const MOUNT_FLAGS: &[(&str, u64, u64)] = &[
    ("defaults", 0, 0),
    ("rw", 0, 1),
    ("ro", 1, 0),
    ("suid", 0, 2),
    ("nosuid", 2, 0),
    ("dev", 0, 4),
    ("nodev", 4, 0),
    ("exec", 0, 8),
    ("noexec", 8, 0),
    ("async", 0, 16),
    ("sync", 16, 0),
    ("dirsync", 128, 0),
    ("atime", 0, 1024),
    ("noatime", 1024, 0),
    ("diratime", 0, 2048),
    ("nodiratime", 2048, 0),
    ("relatime", 1 << 21, 0),
    ("strictatime", 1 << 24, 0),
    ("lazytime", 1 << 25, 0),
];

const SIGNALS: c_int = 64;
const SIG_DFL: usize = 0;
const SIG_IGN: usize = 1;
const SIG_SETMASK: c_int = 2;
const WUNTRACED: c_int = 2;
const F_GETFD: c_int = 1;
const F_SETFL: c_int = 4;
pub const MS_RDONLY: u64 = 1;
const MS_REMOUNT: c_ulong = 32;
const MS_MOVE: c_ulong = 8192;
const MS_REC: c_ulong = 16384;
const MS_PRIVATE: c_ulong = 1 << 18;
const MS_SHARED: c_ulong = 1 << 20;
const CLONE_NEWNS: c_int = 0x0002_0000;
const MNT_DETACH: c_int = 2;
const TIOCSCTTY: c_ulong = 0x540e;
const TIOCSWINSZ: c_ulong = 0x5414;
const TIOCSPTLCK: c_ulong = 0x4004_5431;
const TIOCGPTPEER: c_ulong = 0x5441;
const O_RDWR: c_int = 2;
const O_CLOEXEC: c_int = 0o2000000;
const AF_VSOCK: c_int = 40;
const SOCK_STREAM: c_int = 1;
const SOCK_CLOEXEC: c_int = 0o2000000;
const SOCK_NONBLOCK: c_int = 0o4000;
const SHUT_WR: c_int = 1;
const VMADDR_CID_HOST: c_uint = 2;
const VMADDR_CID_ANY: c_uint = u32::MAX;
/// How many connections may wait to be accepted.
const BACKLOG: c_int = 16;
const SYS_CLOSE_RANGE: c_long = 436;
const SYS_PIDFD_OPEN: c_long = 434;
const AF_INET: c_int = 2;
const AF_PACKET: c_int = 17;
const SOCK_DGRAM: c_int = 2;
/// IPv4's number in an Ethernet frame, as it travels.
const ETH_P_IP: u16 = 0x0800_u16.to_be();
const SIOCADDRT: c_ulong = 0x890b;
const SIOCGIFFLAGS: c_ulong = 0x8913;
const SIOCSIFFLAGS: c_ulong = 0x8914;
const SIOCSIFADDR: c_ulong = 0x8916;
const SIOCSIFNETMASK: c_ulong = 0x891c;
const SIOCSIFMTU: c_ulong = 0x8922;
const SIOCGIFINDEX: c_ulong = 0x8933;
const IFF_UP: u16 = 1;
const RTF_UP: u16 = 1;
const RTF_GATEWAY: u16 = 2;
const RTF_HOST: u16 = 4;
const MS_BIND: c_ulong = 4096;
const O_RDONLY: c_int = 0;
const O_PATH: c_int = 0o10000000;
/// `O_NOFOLLOW`, which is not the same everywhere.
#[cfg(target_arch = "aarch64")]
const O_NOFOLLOW: c_int = 0o100000;
#[cfg(not(target_arch = "aarch64"))]
const O_NOFOLLOW: c_int = 0o400000;

#[repr(C)]
struct SockaddrVm {
    family: u16,
    reserved: u16,
    port: c_uint,
    cid: c_uint,
    flags: u8,
    zero: [u8; 3],
}

/// An IPv4 address, as the kernel takes it.
#[repr(C)]
#[derive(Clone, Copy)]
struct SockaddrIn {
    family: u16,
    port: u16,
    address: [u8; 4],
    zero: [u8; 8],
}

impl SockaddrIn {
    fn of(address: Ipv4Addr) -> SockaddrIn {
        SockaddrIn { family: AF_INET as u16, port: 0, address: address.octets(), zero: [0; 8] }
    }
}

/// `struct ifreq`: the name of an interface and something about it.
#[repr(C)]
struct Ifreq<T> {
    name: [u8; 16],
    value: T,
    rest: [u8; 8],
}

/// As long as the longest there is, which is 24 bytes.
#[repr(C)]
struct Short<T>(T, [u8; 12]);

/// `struct rtentry`.
#[repr(C)]
struct Rtentry {
    pad1: c_ulong,
    destination: SockaddrIn,
    gateway: SockaddrIn,
    mask: SockaddrIn,
    flags: u16,
    pad2: c_short,
    pad3: c_ulong,
    pad4: *const c_void,
    metric: c_short,
    device: *const c_char,
    mtu: c_ulong,
    window: c_ulong,
    irtt: u16,
}

#[repr(C)]
struct SockaddrLl {
    family: u16,
    protocol: u16,
    index: c_int,
    hardware: u16,
    kind: u8,
    length: u8,
    address: [u8; 8],
}

/// A descriptor and what is waited for on it.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct PollFd {
    fd: c_int,
    events: c_short,
    revents: c_short,
}

impl PollFd {
    /// Waits for `events`, and for errors and the other end's going. No descriptor, or no events, is never ready.
    pub fn new(fd: Option<BorrowedFd<'_>>, events: c_short) -> PollFd {
        let fd = fd.filter(|_| events != 0).map_or(-1, |fd| fd.as_raw_fd());
        PollFd { fd, events, revents: 0 }
    }

    /// Whether something was there.
    pub fn is_ready(&self) -> bool {
        self.revents != 0
    }
}

/// As large as the C library's: glibc and musl both have room for 1024 signals.
#[repr(C)]
struct SigSet([u64; 16]);

unsafe extern "C" {
    fn fork() -> c_int;
    fn execve(path: *const c_char, argv: *const *const c_char, envp: *const *const c_char) -> c_int;
    fn _exit(status: c_int) -> !;
    fn waitpid(pid: c_int, status: *mut c_int, options: c_int) -> c_int;
    fn kill(pid: c_int, signal: c_int) -> c_int;
    fn signal(signal: c_int, handler: usize) -> usize;
    fn sigprocmask(how: c_int, set: *const SigSet, old: *mut SigSet) -> c_int;
    fn setpgid(pid: c_int, group: c_int) -> c_int;
    fn setsid() -> c_int;
    fn tcgetpgrp(fd: c_int) -> c_int;
    fn tcsetpgrp(fd: c_int, group: c_int) -> c_int;
    fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
    fn fcntl(fd: c_int, command: c_int, ...) -> c_int;
    fn open(path: *const c_char, flags: c_int, ...) -> c_int;
    fn close(fd: c_int) -> c_int;
    fn dup2(from: c_int, to: c_int) -> c_int;
    fn read(fd: c_int, buffer: *mut c_void, size: usize) -> isize;
    fn listen(fd: c_int, backlog: c_int) -> c_int;
    fn accept4(fd: c_int, address: *mut c_void, len: *mut c_uint, flags: c_int) -> c_int;
    fn setgroups(count: usize, groups: *const c_uint) -> c_int;
    fn setgid(gid: c_uint) -> c_int;
    fn setuid(uid: c_uint) -> c_int;
    fn syscall(number: c_long, ...) -> c_long;
    fn mount(
        source: *const c_char,
        target: *const c_char,
        fstype: *const c_char,
        flags: c_ulong,
        data: *const c_void,
    ) -> c_int;
    fn unshare(flags: c_int) -> c_int;
    fn chdir(path: *const c_char) -> c_int;
    fn chroot(path: *const c_char) -> c_int;
    fn sync();
    fn umount2(target: *const c_char, flags: c_int) -> c_int;
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn connect(fd: c_int, address: *const SockaddrVm, len: c_uint) -> c_int;
    fn bind(fd: c_int, address: *const c_void, len: c_uint) -> c_int;
    fn sendto(
        fd: c_int,
        data: *const c_void,
        len: usize,
        flags: c_int,
        address: *const SockaddrLl,
        address_len: c_uint,
    ) -> isize;
    fn shutdown(fd: c_int, how: c_int) -> c_int;
    fn poll(fds: *mut PollFd, count: c_ulong, timeout: c_int) -> c_int;
}

fn check(result: c_int) -> Result<c_int> {
    if result < 0 { Err(Error::last_os_error()) } else { Ok(result) }
}

/// The bytes as a C string; a NUL inside, which no caller should have, is `EINVAL`.
pub fn c_string(bytes: &[u8]) -> Result<CString> {
    CString::new(bytes).map_err(|_| Error::from_raw_os_error(EINVAL))
}

/// Opens `/dev/null` where one of the descriptors 0, 1 and 2 is closed, so that no file of ours can get its number.
pub fn open_missing_stdio() {
    for fd in 0..3 {
        // SAFETY: neither call takes ownership of a descriptor; the path is a constant C string. The lowest free number
        // is `fd` itself, because the ones below it are open by now.
        unsafe {
            if fcntl(fd, F_GETFD) < 0 {
                open(c"/dev/null".as_ptr(), 2 /* O_RDWR */);
            }
        }
    }
}

/// Closes every descriptor from 3 on. Only for the very beginning, when the program has none of its own.
pub fn close_inherited() {
    // SAFETY: no part of this program owns a descriptor above 2 yet, so nothing is closed under anybody's feet.
    unsafe {
        if syscall(SYS_CLOSE_RANGE, 3 as c_long, c_long::from(u32::MAX), 0 as c_long) < 0 {
            // Linux before 5.9. Init opens a handful of files at most.
            for fd in 3..256 {
                close(fd);
            }
        }
    }
}

/// Makes descriptor `to` (0, 1 or 2) another name of `from`; it stays open across exec. Async-signal-safe.
pub fn replace_stdio(from: RawFd, to: RawFd) -> Result<()> {
    assert!((0..3).contains(&to));
    // SAFETY: `to` is a standard descriptor, which nothing here owns, and `from` is only read.
    check(unsafe { dup2(from, to) }).map(drop)
}

/// Switches a descriptor to non-blocking calls.
pub fn set_nonblocking(fd: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: an open descriptor; the command takes an integer.
    check(unsafe { fcntl(fd.as_raw_fd(), F_SETFL, O_NONBLOCK) }).map(drop)
}

/// Mounts a virtio-fs share.
pub fn mount_virtiofs(tag: &[u8], target: &[u8], read_only: bool, options: &[u8]) -> Result<()> {
    let (tag, target, options) = (c_string(tag)?, c_string(target)?, c_string(options)?);
    let flags = if read_only { MS_RDONLY as c_ulong } else { 0 };
    let data = if options.is_empty() { std::ptr::null() } else { options.as_ptr().cast() };
    // SAFETY: all pointers are C strings that outlive the call; the data may be NULL.
    check(unsafe { mount(tag.as_ptr(), target.as_ptr(), c"virtiofs".as_ptr(), flags, data) }).map(drop)
}

/// Mounts an empty file system in memory.
pub fn mount_tmpfs(target: &[u8]) -> Result<()> {
    let target = c_string(target)?;
    // SAFETY: C strings that outlive the call.
    check(unsafe { mount(c"tmpfs".as_ptr(), target.as_ptr(), c"tmpfs".as_ptr(), 0, c"mode=0755".as_ptr().cast()) })
        .map(drop)
}

/// The directories in the target of [`mount_overlay`]: below, above, and the file system's own.
pub const OVERLAY_LAYERS: [&str; 3] = ["lower", "upper", "work"];

/// Mounts over `target` the layers that are in it. Leaves this process in `/`.
pub fn mount_overlay(source: &[u8], target: &[u8]) -> Result<()> {
    let (source, target) = (c_string(source)?, c_string(target)?);
    // Relative, because a comma or colon in the target would have a meaning here.
    let layers = c"lowerdir=lower,upperdir=upper,workdir=work";
    // SAFETY: C strings that outlive the calls; this program has one thread.
    unsafe {
        check(chdir(target.as_ptr()))?;
        let mounted = check(mount(source.as_ptr(), c".".as_ptr(), c"overlay".as_ptr(), 0, layers.as_ptr().cast()));
        check(chdir(c"/".as_ptr()))?;
        mounted.map(drop)
    }
}

/// Mounts a block device.
pub fn mount_disk(device: &[u8], target: &[u8], fstype: &[u8], flags: u64, data: &[u8]) -> Result<()> {
    let (device, target, fstype, data) = (c_string(device)?, c_string(target)?, c_string(fstype)?, c_string(data)?);
    // SAFETY: all pointers are C strings that outlive the call.
    check(unsafe { mount(device.as_ptr(), target.as_ptr(), fstype.as_ptr(), flags as c_ulong, data.as_ptr().cast()) })
        .map(drop)
}

/// Gives this process mounts of its own: what it does to them, nobody else sees.
pub fn own_mounts() -> Result<()> {
    // SAFETY: plain integers; this program has one thread.
    check(unsafe { unshare(CLONE_NEWNS) })?;
    propagate(MS_PRIVATE)
}

fn propagate(kind: c_ulong) -> Result<()> {
    let none = std::ptr::null();
    // SAFETY: a C string for the target; the kernel reads nothing else for a change of propagation.
    check(unsafe { mount(none, c"/".as_ptr(), none, MS_REC | kind, none.cast()) }).map(drop)
}

/// Moves a mount, with all that is mounted in it.
pub fn move_mount(from: &[u8], to: &[u8]) -> Result<()> {
    let (from, to) = (c_string(from)?, c_string(to)?);
    let none = std::ptr::null();
    // SAFETY: C strings that outlive the call; type and data are not read for a move.
    check(unsafe { mount(from.as_ptr(), to.as_ptr(), none, MS_MOVE, none.cast()) }).map(drop)
}

/// Makes a mount the root of this process.
pub fn move_into_root(path: &[u8]) -> Result<()> {
    let path = c_string(path)?;
    // SAFETY: C strings that outlive the calls.
    unsafe {
        check(chdir(path.as_ptr()))?;
        let none = std::ptr::null();
        check(mount(c".".as_ptr(), c"/".as_ptr(), none, MS_MOVE, none.cast()))?;
        check(chroot(c".".as_ptr()))?;
        check(chdir(c"/".as_ptr()))?;
    }
    // As libkrun's init leaves the root, for tools that make containers.
    propagate(MS_SHARED)
}

/// Writes out everything that is not yet on a disk.
pub fn sync_all() {
    // SAFETY: no arguments.
    unsafe { sync() };
}

/// Makes the root read-only.
pub fn remount_root_read_only() -> Result<()> {
    let none = std::ptr::null();
    // SAFETY: a C string for the target; the kernel reads neither source nor type for a remount.
    check(unsafe { mount(none, c"/".as_ptr(), none, MS_REMOUNT | MS_RDONLY as c_ulong, none.cast()) }).map(drop)
}

/// Takes a mount out of the tree; files in use stay usable.
pub fn detach(target: &[u8]) -> Result<()> {
    let target = c_string(target)?;
    // SAFETY: a C string that outlives the call.
    check(unsafe { umount2(target.as_ptr(), MNT_DETACH) }).map(drop)
}

/// A connection to a vsock port of the host.
pub fn connect_vsock(port: u32) -> Result<OwnedFd> {
    // SAFETY: plain integers; the descriptor returned is new and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(check(socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0))?) };
    let address =
        SockaddrVm { family: AF_VSOCK as u16, reserved: 0, port, cid: VMADDR_CID_HOST, flags: 0, zero: [0; 3] };
    // SAFETY: the address is a whole sockaddr_vm and outlives the call.
    check(unsafe { connect(socket.as_raw_fd(), &address, size_of::<SockaddrVm>() as c_uint) })?;
    Ok(socket)
}

/// A socket on which the host's connections to a vsock port arrive.
pub fn listen_vsock(port: u32) -> Result<OwnedFd> {
    // SAFETY: plain integers; the descriptor returned is new and nobody else's.
    let socket = unsafe { OwnedFd::from_raw_fd(check(socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0))?) };
    let address =
        SockaddrVm { family: AF_VSOCK as u16, reserved: 0, port, cid: VMADDR_CID_ANY, flags: 0, zero: [0; 3] };
    // SAFETY: the address is a whole sockaddr_vm and outlives the call.
    unsafe {
        check(bind(socket.as_raw_fd(), (&raw const address).cast(), size_of::<SockaddrVm>() as c_uint))?;
        check(listen(socket.as_raw_fd(), BACKLOG))?;
    }
    Ok(socket)
}

/// The next connection to a listening socket.
pub fn accept(socket: BorrowedFd<'_>) -> Result<OwnedFd> {
    let none = std::ptr::null_mut();
    // SAFETY: an open descriptor, and no place for an address, which is not wanted; what is returned is nobody else's.
    unsafe {
        Ok(OwnedFd::from_raw_fd(check(accept4(socket.as_raw_fd(), none, none.cast(), SOCK_CLOEXEC | SOCK_NONBLOCK))?))
    }
}

/// Tells the other end of a socket that nothing more will be written.
pub fn shutdown_write(fd: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: an open descriptor.
    check(unsafe { shutdown(fd.as_raw_fd(), SHUT_WR) }).map(drop)
}

/// Waits until the descriptor is ready for `events`, has an error, or has lost its other end. False after the timeout.
pub fn wait_ready(fd: BorrowedFd<'_>, events: c_short, timeout: Duration) -> Result<bool> {
    let mut poll_fd = PollFd { fd: fd.as_raw_fd(), events, revents: 0 };
    let timeout = c_int::try_from(timeout.as_millis()).unwrap_or(c_int::MAX);
    // SAFETY: one element, which outlives the call.
    check(unsafe { poll(&mut poll_fd, 1, timeout) }).map(|ready| ready > 0)
}

/// Waits until one of the descriptors is ready, for so many milliseconds at most, or for ever where that is negative.
pub fn wait_any(fds: &mut [PollFd], timeout: c_int) -> Result<bool> {
    // SAFETY: an array with its length, which outlives the call; the numbers are looked up by the kernel alone.
    check(unsafe { poll(fds.as_mut_ptr(), fds.len() as c_ulong, timeout) }).map(|ready| ready > 0)
}

/// A descriptor that becomes readable when the process ends.
pub fn open_process(pid: c_int) -> Result<OwnedFd> {
    // SAFETY: plain integers; what is returned is new and nobody else's.
    unsafe {
        let fd = syscall(SYS_PIDFD_OPEN, c_long::from(pid), 0 as c_long);
        Ok(OwnedFd::from_raw_fd(check(c_int::try_from(fd).unwrap_or(-1))?))
    }
}

/// The other end of a pseudoterminal, by its first end.
pub fn terminal_of(master: BorrowedFd<'_>) -> Result<OwnedFd> {
    let unlocked: c_int = 0;
    // SAFETY: an open descriptor; an integer that outlives the call; what is returned is new and nobody else's.
    unsafe {
        check(ioctl(master.as_raw_fd(), TIOCSPTLCK, &unlocked as *const c_int))?;
        let flags = O_RDWR | O_NOCTTY | O_CLOEXEC;
        Ok(OwnedFd::from_raw_fd(check(ioctl(master.as_raw_fd(), TIOCGPTPEER, flags))?))
    }
}

/// Gives a terminal its size.
pub fn resize_terminal(fd: BorrowedFd<'_>, rows: u16, columns: u16) -> Result<()> {
    let size: [u16; 4] = [rows, columns, 0, 0];
    // SAFETY: an open descriptor, and a whole winsize that outlives the call.
    check(unsafe { ioctl(fd.as_raw_fd(), TIOCSWINSZ, size.as_ptr()) }).map(drop)
}

/// Enters a directory. Async-signal-safe.
pub fn change_directory(path: &CStr) -> Result<()> {
    // SAFETY: a C string that outlives the call.
    check(unsafe { chdir(path.as_ptr()) }).map(drop)
}

/// Becomes another user, for good. Only for a process of one thread.
pub fn become_user(uid: Option<c_uint>, gid: Option<c_uint>) -> Result<()> {
    // SAFETY: plain integers, and an empty list.
    unsafe {
        if uid.is_some() || gid.is_some() {
            check(setgroups(0, std::ptr::null()))?;
        }
        if let Some(gid) = gid {
            check(setgid(gid))?;
        }
        if let Some(uid) = uid {
            check(setuid(uid))?;
        }
    }
    Ok(())
}

/// Leaves the session for a new one, without a controlling terminal.
pub fn new_session() -> Result<()> {
    // SAFETY: no arguments.
    check(unsafe { setsid() }).map(drop)
}

/// Makes a terminal that belongs to no session the controlling one of this process's session.
pub fn control_terminal(fd: BorrowedFd<'_>) -> Result<()> {
    // SAFETY: an open descriptor; the request takes an integer.
    check(unsafe { ioctl(fd.as_raw_fd(), TIOCSCTTY, 0 as c_int) }).map(drop)
}

/// Whether a terminal is the controlling one of this process.
pub fn is_control_terminal(fd: BorrowedFd<'_>) -> bool {
    // SAFETY: an open descriptor.
    unsafe { tcgetpgrp(fd.as_raw_fd()) >= 0 }
}

/// Puts the calling process into a group of its own.
pub fn new_group() -> Result<()> {
    // SAFETY: plain integers.
    check(unsafe { setpgid(0, 0) }).map(drop)
}

/// Makes a process group the one that the terminal's keys go to.
pub fn give_terminal(fd: BorrowedFd<'_>, group: c_int) -> Result<()> {
    // SAFETY: an open descriptor and an integer.
    check(unsafe { tcsetpgrp(fd.as_raw_fd(), group) }).map(drop)
}

/// Whether there is a signal of this number.
pub fn is_signal(number: c_int) -> bool {
    (1..=SIGNALS).contains(&number)
}

/// Ignores a signal.
pub fn ignore(number: c_int) {
    // SAFETY: SIG_IGN is a valid disposition for every signal.
    unsafe { signal(number, SIG_IGN) };
}

/// Calls a function on a signal; system calls that it interrupts go on.
pub fn on_signal(number: c_int, handler: extern "C" fn(c_int)) {
    // SAFETY: the handler has the signature that the kernel calls; each one here makes async-signal-safe calls only.
    unsafe { signal(number, handler as *const () as usize) };
}

/// Gives a signal its default disposition.
pub fn default_signal(number: c_int) {
    // SAFETY: SIG_DFL is a valid disposition; where none can be set the call fails without any effect.
    unsafe { signal(number, SIG_DFL) };
}

/// Gives every signal its default disposition.
pub fn default_signals() {
    (1..=SIGNALS).for_each(default_signal);
}

/// Blocks no signal.
pub fn unblock_signals() {
    let none = SigSet([0; 16]);
    // SAFETY: a whole signal set, and NULL for the old one, which is not wanted.
    unsafe { sigprocmask(SIG_SETMASK, &none, std::ptr::null_mut()) };
}

/// Sends a signal. Async-signal-safe.
pub fn send_signal(pid: c_int, number: c_int) {
    // SAFETY: plain integers.
    unsafe { kill(pid, number) };
}

/// Splits the process in two; 0 in the child, which may make async-signal-safe calls only: other threads of the parent
/// may have held locks.
pub fn split() -> Result<c_int> {
    // SAFETY: the callers keep to it until they become another program.
    check(unsafe { fork() })
}

/// Waits until the child ends or stops.
pub fn wait_for(pid: c_int) -> Result<ExitStatus> {
    use std::os::unix::process::ExitStatusExt;
    let mut status = 0;
    loop {
        // SAFETY: the status outlives the call.
        match check(unsafe { waitpid(pid, &mut status, WUNTRACED) }) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            result => return result.map(|_| ExitStatus::from_raw(status)),
        }
    }
}

/// Strings as execve takes them: an array of pointers that ends with NULL.
pub struct Strings {
    /// What the pointers lead to.
    _strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Strings {
    /// These strings.
    pub fn new(strings: Vec<CString>) -> Strings {
        let pointers = strings.iter().map(|string| string.as_ptr()).chain([std::ptr::null()]).collect();
        Strings { _strings: strings, pointers }
    }
}

/// Becomes another program; returns only when that failed, with the error number. Async-signal-safe.
pub fn execute(path: &CStr, argv: &Strings, env: &Strings) -> i32 {
    // SAFETY: C strings, and arrays of C strings that end with NULL; all outlive the call.
    unsafe { execve(path.as_ptr(), argv.pointers.as_ptr(), env.pointers.as_ptr()) };
    Error::last_os_error().raw_os_error().unwrap_or(EINVAL)
}

/// The same, with `string` in the place of one of the arguments. Async-signal-safe.
pub fn execute_with(path: &CStr, argv: &mut Strings, place: usize, string: &CStr, env: &Strings) -> i32 {
    // The last one is the NULL.
    if place + 1 >= argv.pointers.len() {
        return EINVAL;
    }
    let before = std::mem::replace(&mut argv.pointers[place], string.as_ptr());
    let errno = execute(path, argv, env);
    argv.pointers[place] = before;
    errno
}

/// Whether a file begins so; no if it cannot be read. Async-signal-safe.
pub fn begins_with(path: &CStr, bytes: [u8; 4]) -> bool {
    let mut found = [0; 4];
    // SAFETY: a C string; a buffer of four bytes; a descriptor that is nobody else's.
    unsafe {
        let fd = open(path.as_ptr(), O_CLOEXEC);
        let count = read(fd, found.as_mut_ptr().cast(), found.len());
        close(fd);
        count == 4 && found == bytes
    }
}

/// Ends the process at once, without the C library's work at exit.
pub fn exit_now(status: c_int) -> ! {
    // SAFETY: plain integer; the call does not return.
    unsafe { _exit(status) }
}

fn interface_name(name: &[u8]) -> Result<[u8; 16]> {
    let mut padded = [0; 16];
    // The last byte stays 0.
    padded[..15].get_mut(..name.len()).ok_or_else(|| Error::from_raw_os_error(EINVAL))?.copy_from_slice(name);
    Ok(padded)
}

/// Asks or tells the kernel something about a network interface.
fn about_interface<T>(name: &[u8], request: c_ulong, value: T) -> Result<T> {
    const { assert!(size_of::<Ifreq<T>>() == 40) };
    let mut about = Ifreq { name: interface_name(name)?, value, rest: [0; 8] };
    let socket = any_socket()?;
    // SAFETY: the request reads or writes one ifreq, which outlives the call and is as long as the kernel's.
    check(unsafe { ioctl(socket.as_raw_fd(), request, &raw mut about) })?;
    Ok(about.value)
}

fn any_socket() -> Result<OwnedFd> {
    // SAFETY: plain integers; the descriptor returned is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(check(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0))?) })
}

/// Brings a network interface up.
pub fn interface_up(name: &[u8]) -> Result<()> {
    let Short(flags, rest) = about_interface(name, SIOCGIFFLAGS, Short([0u16, 0], [0; 12]))?;
    about_interface(name, SIOCSIFFLAGS, Short([flags[0] | IFF_UP, flags[1]], rest)).map(drop)
}

/// Gives a network interface its address.
pub fn set_address(name: &[u8], address: Ipv4Addr, mask: Ipv4Addr) -> Result<()> {
    about_interface(name, SIOCSIFADDR, SockaddrIn::of(address))?;
    if address.is_unspecified() {
        return Ok(());
    }
    about_interface(name, SIOCSIFNETMASK, SockaddrIn::of(mask)).map(drop)
}

/// Says how long a network interface's packets may be, in bytes.
pub fn set_mtu(name: &[u8], mtu: u16) -> Result<()> {
    about_interface(name, SIOCSIFMTU, Short(c_int::from(mtu), [0; 12])).map(drop)
}

/// The number of a network interface.
pub fn interface_index(name: &[u8]) -> Result<c_int> {
    about_interface(name, SIOCGIFINDEX, Short(0 as c_int, [0; 12])).map(|Short(index, _)| index)
}

/// A way out through an interface.
#[derive(Clone, Copy)]
pub enum Route {
    /// To this neighbour.
    Host(Ipv4Addr),
    /// To everywhere else, by this neighbour.
    Default(Ipv4Addr),
}

/// Adds a route.
pub fn add_route(interface: &[u8], route: Route) -> Result<()> {
    let none = SockaddrIn::of(Ipv4Addr::UNSPECIFIED);
    let (destination, gateway, flags) = match route {
        Route::Host(host) => (SockaddrIn::of(host), none, RTF_UP | RTF_HOST),
        Route::Default(gateway) => (none, SockaddrIn::of(gateway), RTF_UP | RTF_GATEWAY),
    };
    let device = interface_name(interface)?;
    let entry = Rtentry {
        pad1: 0,
        destination,
        gateway,
        mask: none,
        flags,
        pad2: 0,
        pad3: 0,
        pad4: std::ptr::null(),
        metric: 0,
        device: device.as_ptr().cast(),
        mtu: 0,
        window: 0,
        irtt: 0,
    };
    let socket = any_socket()?;
    // SAFETY: the request reads one rtentry, which outlives the call, and the name in it ends with 0.
    check(unsafe { ioctl(socket.as_raw_fd(), SIOCADDRT, &raw const entry) }).map(drop)
}

fn link(index: c_int) -> SockaddrLl {
    let address = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0];
    SockaddrLl { family: AF_PACKET as u16, protocol: ETH_P_IP, index, hardware: 0, kind: 0, length: 6, address }
}

/// A socket for IPv4 packets of one interface, whatever its address is.
pub fn packet_socket(index: c_int) -> Result<OwnedFd> {
    // SAFETY: plain integers; the descriptor returned is new and nobody else's. With protocol 0 it hears nothing before
    // it is bound.
    let socket = unsafe { OwnedFd::from_raw_fd(check(socket(AF_PACKET, SOCK_DGRAM | SOCK_CLOEXEC, 0))?) };
    let address = link(index);
    // SAFETY: the address is a whole sockaddr_ll and outlives the call.
    check(unsafe { bind(socket.as_raw_fd(), (&raw const address).cast(), size_of::<SockaddrLl>() as c_uint) })?;
    Ok(socket)
}

/// Sends a packet to everybody.
pub fn broadcast(fd: BorrowedFd<'_>, index: c_int, packet: &[u8]) -> Result<()> {
    let (data, to) = (packet.as_ptr().cast(), link(index));
    // SAFETY: the packet and the address, a whole sockaddr_ll, outlive the call.
    let sent = unsafe { sendto(fd.as_raw_fd(), data, packet.len(), 0, &to, size_of::<SockaddrLl>() as c_uint) };
    if sent < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

/// What is at a path: the thing itself, a link not followed.
pub fn open_place(path: &[u8]) -> Result<OwnedFd> {
    let path = c_string(path)?;
    // SAFETY: a C string that outlives the call; the descriptor returned is new and nobody else's.
    unsafe { Ok(OwnedFd::from_raw_fd(check(open(path.as_ptr(), O_RDONLY | O_PATH | O_NOFOLLOW | O_CLOEXEC))?)) }
}

/// Lays a file over what a descriptor of [`open_place`] is.
pub fn lay_over(file: &[u8], place: BorrowedFd<'_>) -> Result<()> {
    let target = c_string(format!("/proc/self/fd/{}", place.as_raw_fd()).as_bytes())?;
    let (file, none) = (c_string(file)?, std::ptr::null());
    // SAFETY: C strings that outlive the call; type and data are not read for a bind mount.
    check(unsafe { mount(file.as_ptr(), target.as_ptr(), none, MS_BIND, none.cast()) }).map(drop)
}
