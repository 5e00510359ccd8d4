//! Whether a passt brings back what its guest answers over UDP.
//!
//! Those of 2023 do not, where the host's loopback is hidden from the guest: to the guest a client on the host's loopback
//! is the gateway, and what goes to the gateway is then kept from the loopback, answers included. So the port is tried
//! before there is a guest, with a datagram that is answered in its place.

use std::io::{self, Write};
use std::net::{Ipv4Addr, UdpSocket};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::frames::{framed, read_frame};
use crate::plan::OpenPort;

/// How long a datagram may take, which leaves no machine.
const PATIENCE: Duration = Duration::from_secs(1);

const IPV4: [u8; 2] = [8, 0];
const UDP: u8 = 17;
/// The fixed header, and where the IPv4 packet begins.
const ETHERNET: usize = 14;

/// Sends a datagram to the port, and answers it over the connection as the guest would.
///
/// # Errors
/// The other end of the connection is closed.
pub(super) fn comes_back(connection: &UnixStream, port: &OpenPort) -> io::Result<bool> {
    let address = if port.address.is_unspecified() { Ipv4Addr::LOCALHOST } else { port.address };
    let client = UdpSocket::bind((address, 0))?;
    client.connect((address, port.host))?;
    client.set_read_timeout(Some(PATIENCE))?;
    client.send(b"krundl")?;
    let deadline = Instant::now() + PATIENCE;
    let mut stream = connection;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let Some(mut frame) = (if left.is_zero() { None } else { read_frame(connection, left)? }) else {
            return Ok(false);
        };
        if turned_round(&mut frame, port.guest).is_some() {
            stream.write_all(&framed(&frame))?;
            return Ok(client.recv(&mut [0; 16]).is_ok());
        }
    }
}

/// Makes a frame for this port of the guest's one from there. The checksums stay right: they are sums, and what changes
/// places is added all the same.
fn turned_round(frame: &mut [u8], port: u16) -> Option<()> {
    let is_udp = frame.get(12..ETHERNET)? == IPV4 && *frame.get(ETHERNET + 9)? == UDP;
    let udp = ETHERNET + usize::from(frame[ETHERNET] & 15) * 4;
    if !is_udp || frame.get(udp + 2..udp + 4)? != port.to_be_bytes() {
        return None;
    }
    for (at, length) in [(0, 6), (ETHERNET + 12, 4), (udp, 2)] {
        frame[at..at + 2 * length].rotate_left(length);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_frame_is_turned_round_and_another_ones_is_not() {
        let ip = [0x45, 0, 0, 34, 0, 0, 0, 0, 64, 17, 1, 2, 10, 0, 2, 2, 10, 0, 2, 15];
        let udp = [0x9c, 0x40, 0, 53, 0, 14, 7, 8];
        let frame = [&[1; 6][..], &[2; 6], &IPV4, &ip, &udp, b"krundl"].concat();
        let mut back = frame.clone();
        turned_round(&mut back, 53).unwrap();
        assert_eq!(back[..14], [[2; 6].as_slice(), &[1; 6], &IPV4].concat());
        assert_eq!(back[14..26], ip[..12]);
        assert_eq!(back[26..34], [10, 0, 2, 15, 10, 0, 2, 2]);
        assert_eq!(back[34..], [&[0, 53, 0x9c, 0x40, 0, 14, 7, 8][..], b"krundl"].concat());
        assert_eq!(turned_round(&mut frame.clone(), 54), None);
        for cut in 0..38 {
            assert_eq!(turned_round(&mut frame[..cut].to_vec(), 53), None, "{cut}");
        }
    }
}
