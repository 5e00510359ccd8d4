//! Network interfaces, their addresses, and routes.

use std::ffi::{c_char, c_int, c_short, c_ulong, c_void};
use std::io::{Error, Result};
use std::net::Ipv4Addr;
use std::os::fd::AsRawFd;

use super::sockets::{AF_INET, any_socket};
use super::{EINVAL, check};

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

unsafe extern "C" {
    fn ioctl(fd: c_int, request: c_ulong, ...) -> c_int;
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
