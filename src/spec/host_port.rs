//! A port of this host, asked for before somebody else opens it.

use std::io;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::os::fd::OwnedFd;

use rustix::io::{FdFlags, fcntl_setfd};
use rustix::net::sockopt::set_socket_reuseaddr;
use rustix::net::{AddressFamily, SocketType, bind, getsockname, socket};

use super::model::Protocol;

/// Takes a port, or any that is free for 0, and returns its number. As long as the socket is open nobody else is given
/// that number for 0; whoever means it can still open it, where it is TCP.
pub(crate) fn reserve(protocol: Protocol, address: Ipv4Addr, port: u16) -> io::Result<(OwnedFd, u16)> {
    let kind = match protocol {
        Protocol::Tcp => SocketType::STREAM,
        Protocol::Udp => SocketType::DGRAM,
    };
    let socket = socket(AddressFamily::INET, kind, None)?;
    fcntl_setfd(&socket, FdFlags::CLOEXEC)?;
    if protocol == Protocol::Tcp {
        // As passt does: what lingers of closed connections is in nobody's way, and two sockets that do not listen are
        // not in each other's.
        set_socket_reuseaddr(&socket, true)?;
    }
    bind(&socket, &SocketAddrV4::new(address, port))?;
    let bound = SocketAddrV4::try_from(getsockname(&socket)?)?;
    Ok((socket, bound.port()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{TcpListener, UdpSocket};

    const HERE: Ipv4Addr = Ipv4Addr::LOCALHOST;

    #[test]
    fn a_port_in_use_is_not_had() {
        let tcp = TcpListener::bind((HERE, 0)).unwrap();
        let udp = UdpSocket::bind((HERE, 0)).unwrap();
        for (protocol, port) in
            [(Protocol::Tcp, tcp.local_addr().unwrap().port()), (Protocol::Udp, udp.local_addr().unwrap().port())]
        {
            for address in [HERE, Ipv4Addr::UNSPECIFIED] {
                let error = reserve(protocol, address, port).unwrap_err();
                assert_eq!(error.raw_os_error(), Some(libc::EADDRINUSE), "{protocol}");
            }
        }
    }

    #[test]
    fn a_chosen_port_stays_free_for_who_means_it_and_is_chosen_once() {
        let (held, port) = reserve(Protocol::Tcp, HERE, 0).unwrap();
        let others: Vec<u16> = (0..200).map(|_| reserve(Protocol::Tcp, HERE, 0).unwrap().1).collect();
        assert!(port != 0 && !others.contains(&port));
        // The standard library's listener says what passt says (SO_REUSEADDR).
        let listener = TcpListener::bind((HERE, port)).unwrap();
        drop(held);
        assert_eq!(listener.local_addr().unwrap().port(), port);
    }
}
