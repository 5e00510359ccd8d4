//! Starts passt for a network card. It is given one end of a connection, and libkrun the other.

use std::io::{self, Write};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use super::frames::{framed, read_frame};
use super::program::{Failure, PATIENCE, Serving, apart, choose_ports, command, end};
use super::udp;
use crate::plan::{Network, OpenPort};
use crate::spec::Protocol;

/// How long it may be silent before it is asked again.
const PAUSE: Duration = Duration::from_millis(500);

pub(super) fn try_start(network: &Network, log: BorrowedFd<'_>) -> Result<Serving, Failure> {
    let os = |what| move |error| Failure::Os(what, error);
    let (ours, theirs) = UnixStream::pair().map_err(os("making a connection"))?;
    let (ports, _reserved) = choose_ports(network).map_err(os("choosing a port"))?;
    let mut command = command(network, log).map_err(os("keeping the log"))?;
    for OpenPort { protocol, address, host, guest, .. } in &ports {
        command.arg(format!("--{protocol}-ports")).arg(format!("{address}/{host}:{guest}"));
    }
    command.arg("--fd").arg(theirs.as_raw_fd().to_string());
    apart(&mut command, Some(theirs.as_raw_fd()));
    let mut child = command.spawn().map_err(os("starting it"))?;
    drop(theirs);
    match fault(&ours, &network.mac, &ports) {
        Ok(None) => Ok(Serving { connection: ours.into(), pid: child.id(), ports }),
        Ok(Some(failure)) => {
            let _ = child.kill();
            let _ = child.wait();
            Err(failure)
        }
        // It has closed its end.
        Err(_) => {
            drop(ours);
            end(&mut child)
                .map_or_else(|error| Err(Failure::Os("waiting for it", error)), |status| Err(Failure::Ended(status)))
        }
    }
}

/// What it does not do of what it must, if there is anything. An error when the other end is closed.
fn fault(connection: &UnixStream, mac: &str, ports: &[OpenPort]) -> io::Result<Option<Failure>> {
    if !answers(connection, mac)? {
        return Ok(Some(Failure::Silent));
    }
    match ports.iter().find(|port| port.protocol == Protocol::Udp) {
        Some(port) if !udp::comes_back(connection, port)? => Ok(Some(Failure::OneWay)),
        _ => Ok(None),
    }
}

/// Asks until there is an answer: then it has read its arguments, opened its ports and serves. `false` when there is
/// none in time, an error when the other end is closed.
fn answers(connection: &UnixStream, mac: &str) -> io::Result<bool> {
    let mac = crate::child::mac::hardware_address(mac)?;
    let deadline = Instant::now() + PATIENCE;
    let mut questions = [arp(mac), neighbour(mac)].into_iter().cycle();
    while Instant::now() < deadline {
        let question = questions.next().expect("there is no last one");
        let mut stream = connection;
        stream.write_all(&framed(&question))?;
        if read_frame(connection, PAUSE)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Who has 192.0.2.1? Asked as one who has no address yet (RFC 5227), so that nobody takes the card's for known; the
/// address is nobody's (RFC 5737), and passt answers for all.
fn arp(mac: [u8; 6]) -> Vec<u8> {
    const ETHERNET_IPV4_REQUEST: [u8; 8] = [0, 1, 8, 0, 6, 4, 0, 1];
    let header = [&[0xff; 6][..], &mac, &[8, 6]].concat();
    [&header[..], &ETHERNET_IPV4_REQUEST, &mac, &[0; 4], &[0; 6], &[192, 0, 2, 1]].concat()
}

/// The same in IPv6 (RFC 4861), where a host has no IPv4: who has fe80::1?
fn neighbour(mac: [u8; 6]) -> Vec<u8> {
    let link_local = |last: [u8; 8]| [&[0xfe, 0x80, 0, 0, 0, 0, 0, 0], &last[..]].concat();
    let [a, b, c, d, e, f] = mac;
    let source = link_local([a ^ 2, b, c, 0xff, 0xfe, d, e, f]);
    let target = link_local([0, 0, 0, 0, 0, 0, 0, 1]);
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, 0, 0, 1];
    let mut solicitation = [&[135, 0, 0, 0, 0, 0, 0, 0], &target[..], &[1, 1], &mac].concat();
    let length = u16::try_from(solicitation.len()).expect("it is short");
    let pseudo = [&source[..], &group, &u32::from(length).to_be_bytes(), &[0, 0, 0, 58]].concat();
    let words =
        pseudo.chunks(2).chain(solicitation.chunks(2)).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum = words.sum::<u32>();
    let sum = (sum & 0xffff) + (sum >> 16);
    let checksum = !u16::try_from((sum & 0xffff) + (sum >> 16)).expect("the carry is in");
    solicitation[2..4].copy_from_slice(&checksum.to_be_bytes());
    let ethernet = [&[0x33, 0x33, 0xff, 0, 0, 1], &mac[..], &[0x86, 0xdd]].concat();
    let ip = [&[0x60, 0, 0, 0], &length.to_be_bytes()[..], &[58, 255], &source, &group].concat();
    [ethernet, ip, solicitation].concat()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    const MAC: [u8; 6] = [0x5a, 0x94, 0xef, 0xe4, 0x0c, 0xee];

    #[test]
    fn the_questions_are_what_the_standards_say() {
        let arp = arp(MAC);
        assert_eq!(arp.len(), 14 + 28);
        assert_eq!(arp[12..22], [8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        let solicitation = neighbour(MAC);
        assert_eq!(solicitation.len(), 14 + 40 + 32);
        // With its checksum in, the sum over everything is all ones.
        let pseudo = [&solicitation[22..54], &[0, 0, 0, 32, 0, 0, 0, 58]].concat();
        let words = pseudo.chunks(2).chain(solicitation[54..].chunks(2));
        let sum: u32 = words.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
        assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff);
    }

    #[test]
    fn an_answer_is_taken_out_whole_and_nothing_more() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        theirs.write_all(&[framed(b"an answer"), framed(b"the next")].concat()).unwrap();
        assert!(answers(&ours, "5a:94:ef:e4:0c:ee").unwrap());
        let mut asked = [0; 4 + 42];
        theirs.read_exact(&mut asked).unwrap();
        assert_eq!(asked[..], framed(&arp(MAC)));
        let mut rest = [0; 12];
        (&ours).read_exact(&mut rest).unwrap();
        assert_eq!(rest[..], framed(b"the next"));
    }

    #[test]
    fn a_closed_end_is_told_at_once() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        drop(theirs);
        assert!(answers(&ours, "5a:94:ef:e4:0c:ee").is_err());
    }
}
