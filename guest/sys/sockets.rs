//! Sockets: connections over vsock, and packets of a network interface.

use std::ffi::{c_int, c_uint, c_void};
use std::io::{Error, Result};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use super::check;

pub(super) const AF_INET: c_int = 2;
const AF_PACKET: c_int = 17;
const AF_VSOCK: c_int = 40;
const SOCK_STREAM: c_int = 1;
const SOCK_DGRAM: c_int = 2;
const SOCK_CLOEXEC: c_int = 0o2000000;
const SOCK_NONBLOCK: c_int = 0o4000;
const SHUT_WR: c_int = 1;
const VMADDR_CID_HOST: c_uint = 2;
const VMADDR_CID_ANY: c_uint = u32::MAX;
/// How many connections may wait to be accepted.
const BACKLOG: c_int = 16;
/// IPv4's number in an Ethernet frame, as it travels.
const ETH_P_IP: u16 = 0x0800_u16.to_be();

#[repr(C)]
struct SockaddrVm {
    family: u16,
    reserved: u16,
    port: c_uint,
    cid: c_uint,
    flags: u8,
    zero: [u8; 3],
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

unsafe extern "C" {
    fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int;
    fn connect(fd: c_int, address: *const SockaddrVm, len: c_uint) -> c_int;
    fn bind(fd: c_int, address: *const c_void, len: c_uint) -> c_int;
    fn listen(fd: c_int, backlog: c_int) -> c_int;
    fn accept4(fd: c_int, address: *mut c_void, len: *mut c_uint, flags: c_int) -> c_int;
    fn sendto(
        fd: c_int,
        data: *const c_void,
        len: usize,
        flags: c_int,
        address: *const SockaddrLl,
        address_len: c_uint,
    ) -> isize;
    fn shutdown(fd: c_int, how: c_int) -> c_int;
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

/// For requests that are about interfaces.
pub(super) fn any_socket() -> Result<OwnedFd> {
    // SAFETY: plain integers; the descriptor returned is new and nobody else's.
    Ok(unsafe { OwnedFd::from_raw_fd(check(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0))?) })
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
