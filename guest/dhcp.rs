//! DHCP (RFC 2131, 2132): what a client says, and what is made of the answers. Nothing here sends or waits.
//!
//! Answers come from a network that is not trusted: any bytes may be given.

use std::net::Ipv4Addr;

/// Ports of client and server.
pub const CLIENT: u16 = 68;
pub const SERVER: u16 = 67;

const REQUEST: u8 = 1;
const REPLY: u8 = 2;
const ETHERNET: [u8; 2] = [1, 6];
/// The server answers to everybody: some send to an address that nobody has yet otherwise.
const BROADCAST: [u8; 2] = [0x80, 0];
const COOKIE: [u8; 4] = [99, 130, 83, 99];
/// Where the options begin: behind the fixed fields and the cookie.
const OPTIONS: usize = 240;
/// The shortest message that old relays pass on.
const SHORTEST: usize = 300;

const MASK: u8 = 1;
const ROUTER: u8 = 3;
const DNS: u8 = 6;
const MTU: u8 = 26;
const WISHED_ADDRESS: u8 = 50;
const LEASE: u8 = 51;
const OVERLOAD: u8 = 52;
const TYPE: u8 = 53;
const SERVER_ID: u8 = 54;
const WISHED_OPTIONS: u8 = 55;
const REASON: u8 = 56;
const RENEW: u8 = 58;
const REBIND: u8 = 59;
const CLIENT_ID: u8 = 61;
const END: u8 = 255;

/// What a client says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Say {
    /// Who gives addresses?
    Discover,
    /// This server has offered that address, which is taken.
    Take { address: Ipv4Addr, server: Ipv4Addr },
    /// The address is still in use. Said to the server that gave it, or to everybody.
    Keep { address: Ipv4Addr, server: Option<Ipv4Addr> },
}

/// A client's message.
pub fn message(say: Say, xid: u32, mac: [u8; 6]) -> Vec<u8> {
    let mut out = vec![REQUEST];
    out.extend(ETHERNET);
    out.push(0); // hops
    out.extend(xid.to_be_bytes());
    out.extend([0, 0]); // seconds
    out.extend(BROADCAST);
    let own = if let Say::Keep { address, .. } = say { address } else { Ipv4Addr::UNSPECIFIED };
    out.extend(own.octets());
    out.extend([0; 12]); // yours, server's, relay's
    out.extend(mac);
    out.resize(OPTIONS - COOKIE.len(), 0);
    out.extend(COOKIE);
    let kind = if say == Say::Discover { 1 } else { 3 };
    out.extend([TYPE, 1, kind]);
    out.extend([CLIENT_ID, 7, ETHERNET[0]]);
    out.extend(mac);
    out.extend([WISHED_OPTIONS, 6, MASK, ROUTER, DNS, MTU, RENEW, REBIND]);
    if let Say::Take { address, server } = say {
        out.extend([WISHED_ADDRESS, 4]);
        out.extend(address.octets());
        out.extend([SERVER_ID, 4]);
        out.extend(server.octets());
    }
    out.push(END);
    out.resize(out.len().max(SHORTEST), 0);
    out
}

/// What a server says to this client about this exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// An address is to be had.
    Offer(Lease),
    /// It is this client's.
    Ack(Lease),
    /// It is not.
    Nak {
        /// Why, in the server's words.
        reason: Vec<u8>,
    },
}

/// An address and what goes with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    pub address: Ipv4Addr,
    pub prefix: u8,
    pub router: Option<Ipv4Addr>,
    pub dns: Vec<Ipv4Addr>,
    pub mtu: Option<u16>,
    pub server: Ipv4Addr,
    /// For how many seconds; `None`: for ever.
    pub seconds: Option<u32>,
    /// After how many it is renewed, and by whoever answers, where the server says so.
    pub renew: Option<u32>,
    pub rebind: Option<u32>,
}

/// What is due when, in seconds from when a lease was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Times {
    /// Its server is asked to renew it.
    pub renew: u32,
    /// Everybody is asked.
    pub rebind: u32,
    /// It is over.
    pub end: u32,
}

impl Lease {
    /// Nothing where it is for ever. The server's own times, where they come one after the other; else the standard's.
    pub fn times(&self) -> Option<Times> {
        let end = self.seconds?;
        let rebind = self.rebind.filter(|rebind| (1..end).contains(rebind)).unwrap_or(end - end / 8);
        let renew = self.renew.filter(|renew| (1..rebind).contains(renew)).unwrap_or((end / 2).min(rebind));
        Some(Times { renew, rebind, end })
    }
}

/// Reads an answer; nothing where the bytes are none, or not for this client and this exchange.
pub fn read(bytes: &[u8], xid: u32, mac: [u8; 6]) -> Option<Answer> {
    let fits = bytes.len() >= OPTIONS
        && bytes[0] == REPLY
        && bytes[1..3] == ETHERNET
        && bytes[4..8] == xid.to_be_bytes()
        && bytes[28..34] == mac
        && bytes[OPTIONS - COOKIE.len()..OPTIONS] == COOKIE;
    if !fits {
        return None;
    }
    let option = Options::of(bytes);
    let [kind] = option.get(TYPE)[..] else { return None };
    let address = |code| -> Option<Ipv4Addr> { option.get(code).first_chunk::<4>().map(|four| (*four).into()) };
    let lease = || -> Option<Lease> {
        let yours = Ipv4Addr::new(bytes[16], bytes[17], bytes[18], bytes[19]);
        let usable = !yours.is_unspecified() && !yours.is_loopback() && !yours.is_multicast() && !yours.is_broadcast();
        let mask = address(MASK).unwrap_or(Ipv4Addr::new(255, 255, 255, 0)).to_bits();
        // Ones, then zeros.
        let whole = mask.leading_ones() + mask.trailing_zeros() >= 32;
        let seconds = |code| option.get(code).first_chunk::<4>().map(|four| u32::from_be_bytes(*four));
        let dns = option.get(DNS);
        let dns = dns.chunks_exact(4).map(|four| Ipv4Addr::new(four[0], four[1], four[2], four[3]));
        Some(Lease {
            address: Some(yours).filter(|_| usable)?,
            prefix: u8::try_from(mask.leading_ones()).ok().filter(|prefix| *prefix > 0 && whole)?,
            router: address(ROUTER).filter(|router| !router.is_unspecified()),
            dns: dns.filter(|server| !server.is_unspecified()).take(3).collect(),
            mtu: option.get(MTU).first_chunk::<2>().map(|two| u16::from_be_bytes(*two)).filter(|mtu| *mtu >= 576),
            server: address(SERVER_ID)?,
            seconds: seconds(LEASE).filter(|seconds| *seconds != u32::MAX),
            renew: seconds(RENEW),
            rebind: seconds(REBIND),
        })
    };
    match kind {
        2 => lease().map(Answer::Offer),
        5 => lease().map(Answer::Ack),
        6 => Some(Answer::Nak { reason: option.get(REASON) }),
        _ => None,
    }
}

/// The options of a message, those that lie in the fields for names included.
struct Options<'a> {
    parts: Vec<&'a [u8]>,
}

impl<'a> Options<'a> {
    fn of(bytes: &'a [u8]) -> Options<'a> {
        let mut options = Options { parts: vec![&bytes[OPTIONS..]] };
        let (file, name) = (&bytes[108..236], &bytes[44..108]);
        match options.get(OVERLOAD)[..] {
            [1] => options.parts.push(file),
            [2] => options.parts.push(name),
            [3] => options.parts.extend([file, name]),
            _ => {}
        }
        options
    }

    /// An option's value, put together where it comes in pieces (RFC 3396); empty where there is none.
    fn get(&self, code: u8) -> Vec<u8> {
        let mut value = Vec::new();
        for part in &self.parts {
            let mut rest = *part;
            while let [first, after @ ..] = rest {
                match *first {
                    0 => rest = after,
                    END => break,
                    found => {
                        let [length, after @ ..] = after else { break };
                        let Some((data, after)) = after.split_at_checked(usize::from(*length)) else { break };
                        if found == code {
                            value.extend_from_slice(data);
                        }
                        rest = after;
                    }
                }
            }
        }
        value
    }
}

/// An IPv4 packet with a client's message.
pub fn packet(message: &[u8]) -> Vec<u8> {
    let udp_length = u16::try_from(8 + message.len()).expect("a message is short");
    let mut packet = vec![0x45, 0];
    packet.extend((20 + udp_length).to_be_bytes());
    packet.extend([0, 0, 0, 0, 64, 17, 0, 0]);
    packet.extend(Ipv4Addr::UNSPECIFIED.octets());
    packet.extend(Ipv4Addr::BROADCAST.octets());
    let sum = checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend(CLIENT.to_be_bytes());
    packet.extend(SERVER.to_be_bytes());
    packet.extend(udp_length.to_be_bytes());
    // No checksum of the contents, which IPv4 allows.
    packet.extend([0, 0]);
    packet.extend_from_slice(message);
    packet
}

/// The message in an IPv4 packet to a client; nothing where the packet is another. Checksums are not looked at: between
/// virtual machines they are often left to a card that is none.
pub fn payload(packet: &[u8]) -> Option<&[u8]> {
    let (version, words) = (packet.first()? >> 4, packet.first()? & 15);
    let total = usize::from(u16::from_be_bytes([*packet.get(2)?, *packet.get(3)?]));
    let fragment = u16::from_be_bytes([*packet.get(6)?, *packet.get(7)?]) & 0x3fff;
    let udp = packet.get(..total)?.get(usize::from(words) * 4..)?;
    if version != 4 || words < 5 || *packet.get(9)? != 17 || fragment != 0 {
        return None;
    }
    let to = u16::from_be_bytes([*udp.get(2)?, *udp.get(3)?]);
    let length = usize::from(u16::from_be_bytes([*udp.get(4)?, *udp.get(5)?]));
    udp.get(8..length).filter(|_| to == CLIENT)
}

fn checksum(bytes: &[u8]) -> u16 {
    let sum: u32 = bytes.chunks(2).map(|word| u32::from(u16::from_be_bytes([word[0], word[1]]))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    !((sum & 0xffff) + (sum >> 16)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;

    const MAC: [u8; 6] = [0x5a, 0x94, 0xef, 0xe4, 0x0c, 0xee];
    const XID: u32 = 0x1234_5678;

    /// A server's message with these options.
    fn answer(kind: u8, options: &[u8]) -> Vec<u8> {
        let mut bytes = message(Say::Discover, XID, MAC);
        bytes[0] = REPLY;
        bytes[16..20].copy_from_slice(&[10, 0, 2, 15]);
        bytes.truncate(OPTIONS);
        bytes.extend([TYPE, 1, kind]);
        bytes.extend(options);
        bytes.push(END);
        bytes
    }

    #[test]
    fn a_client_says_what_the_standard_says() {
        let discover = message(Say::Discover, XID, MAC);
        assert_eq!(discover[..12], [1, 1, 6, 0, 0x12, 0x34, 0x56, 0x78, 0, 0, 0x80, 0]);
        assert_eq!((discover.len(), &discover[236..243]), (300, &[99, 130, 83, 99, 53, 1, 1][..]));
        let take =
            message(Say::Take { address: Ipv4Addr::new(10, 0, 2, 15), server: Ipv4Addr::new(10, 0, 2, 2) }, XID, MAC);
        assert!(take.windows(6).any(|part| part == [50, 4, 10, 0, 2, 15]));
        assert!(take.windows(6).any(|part| part == [54, 4, 10, 0, 2, 2]));
        assert_eq!(take[12..16], [0; 4]);
        let server = Some(Ipv4Addr::new(10, 0, 2, 2));
        let keep = message(Say::Keep { address: Ipv4Addr::new(10, 0, 2, 15), server }, XID, MAC);
        assert_eq!((keep[242], &keep[12..16]), (3, &[10, 0, 2, 15][..]));
        assert!(!keep.windows(2).any(|part| part == [54, 4]), "whoever has it may answer");
    }

    #[test]
    fn an_answer_is_read_with_everything_that_goes_with_the_address() {
        let options = [
            &[MASK, 4, 255, 255, 255, 192, ROUTER, 8, 10, 0, 2, 2, 10, 0, 2, 3, 0, 0][..],
            &[DNS, 4, 1, 1, 1, 1, DNS, 4, 8, 8, 8, 8, MTU, 2, 0x05, 0xdc, LEASE, 4, 0, 0, 14, 16],
            &[SERVER_ID, 4, 10, 0, 2, 2, RENEW, 4, 0, 0, 0, 60, REBIND, 4, 0, 0, 1, 0],
        ]
        .concat();
        let lease = Lease {
            address: Ipv4Addr::new(10, 0, 2, 15),
            prefix: 26,
            router: Some(Ipv4Addr::new(10, 0, 2, 2)),
            dns: vec![Ipv4Addr::new(1, 1, 1, 1), Ipv4Addr::new(8, 8, 8, 8)],
            mtu: Some(1500),
            server: Ipv4Addr::new(10, 0, 2, 2),
            seconds: Some(3600),
            renew: Some(60),
            rebind: Some(256),
        };
        assert_eq!(read(&answer(2, &options), XID, MAC), Some(Answer::Offer(lease.clone())));
        assert_eq!(read(&answer(5, &options), XID, MAC), Some(Answer::Ack(lease)));
    }

    #[test]
    fn what_is_not_for_this_client_is_no_answer() {
        let good = answer(5, &[SERVER_ID, 4, 10, 0, 2, 2]);
        assert!(read(&good, XID, MAC).is_some());
        assert_eq!(read(&good, XID + 1, MAC), None);
        assert_eq!(read(&good, XID, [0; 6]), None);
        assert_eq!(read(&good[..OPTIONS - 1], XID, MAC), None);
        for (at, value) in [(0, REQUEST), (1, 6), (16, 0x7f), (16, 0xe0), (236, 0)] {
            let mut other = good.clone();
            other[at] = value;
            assert_eq!(read(&other, XID, MAC), None, "byte {at}");
        }
        assert_eq!(read(&answer(5, &[]), XID, MAC), None, "no server");
        let broken = [MASK, 4, 255, 0, 255, 0, SERVER_ID, 4, 10, 0, 2, 2];
        assert_eq!(read(&answer(5, &broken), XID, MAC), None, "no mask");
        let nak = answer(6, &[REASON, 2, b'n', b'o']);
        assert_eq!(read(&nak, XID, MAC), Some(Answer::Nak { reason: b"no".to_vec() }));
    }

    #[test]
    fn the_servers_times_count_where_they_make_sense() {
        let none = Lease {
            address: Ipv4Addr::new(10, 0, 2, 15),
            prefix: 24,
            router: None,
            dns: Vec::new(),
            mtu: None,
            server: Ipv4Addr::new(10, 0, 2, 2),
            seconds: None,
            renew: Some(1),
            rebind: Some(2),
        };
        assert_eq!(none.times(), None, "it is for ever");
        for (renew, rebind, expected) in [
            (None, None, (60, 105)),
            (Some(12), None, (12, 105)),
            (Some(12), Some(30), (12, 30)),
            (None, Some(30), (30, 30)),
            (Some(0), Some(0), (60, 105)),
            (Some(0), Some(120), (60, 105)),
            (Some(110), None, (60, 105)),
            (Some(30), Some(30), (30, 30)),
            (Some(u32::MAX), Some(u32::MAX), (60, 105)),
        ] {
            let times = Lease { seconds: Some(120), renew, rebind, ..none.clone() }.times().unwrap();
            assert_eq!((times.renew, times.rebind, times.end), (expected.0, expected.1, 120), "{renew:?} {rebind:?}");
        }
    }

    #[test]
    fn options_may_lie_in_the_fields_for_names() {
        let mut bytes = answer(5, &[OVERLOAD, 1, 3]);
        bytes[108..114].copy_from_slice(&[SERVER_ID, 4, 10, 0, 2, 9]);
        bytes[44..51].copy_from_slice(&[0, MASK, 4, 255, 0, 0, 0]);
        let Some(Answer::Ack(lease)) = read(&bytes, XID, MAC) else { panic!("no answer") };
        assert_eq!((lease.server, lease.prefix), (Ipv4Addr::new(10, 0, 2, 9), 8));
    }

    #[test]
    fn a_packet_is_taken_out_as_it_was_put_in() {
        let sent = packet(b"message");
        assert_eq!(checksum(&sent[..20]), 0, "with its checksum in, the sum is all ones");
        assert_eq!(payload(&sent), None, "it is for a server");
        let mut back = sent;
        back[22..24].copy_from_slice(&CLIENT.to_be_bytes());
        assert_eq!(payload(&back), Some(&b"message"[..]));
        assert_eq!(payload(&[&back[..], &[0; 9]].concat()), Some(&b"message"[..]), "frames are padded");
        back[6] = 0x20;
        assert_eq!(payload(&back), None, "a fragment");
    }

    proptest! {
        #[test]
        fn any_bytes_are_an_answer_or_not(
            bytes in vec(any::<u8>(), 0..700),
            options in vec(
                prop_oneof![any::<u8>(), 0..8u8, LEASE..=TYPE, Just(SERVER_ID), RENEW..=REBIND], 0..120
            ),
            kind in 1..8u8,
        ) {
            let _ = read(&bytes, XID, MAC);
            let _ = payload(&bytes);
            if let Some(Answer::Offer(lease) | Answer::Ack(lease)) = read(&answer(kind, &options), XID, MAC) {
                prop_assert!((1..=32).contains(&lease.prefix) && lease.dns.len() <= 3);
                prop_assert!(!lease.address.is_unspecified());
            }
        }

        #[test]
        fn times_come_one_after_the_other(seconds: [Option<u32>; 3], near: bool) {
            let [seconds, renew, rebind] = seconds.map(|seconds| seconds.map(|it| if near { it % 8 } else { it }));
            let option = |code, value: Option<u32>| value.map_or(Vec::new(), |value| {
                [&[code, 4][..], &value.to_be_bytes()].concat()
            });
            let id = [SERVER_ID, 4, 10, 0, 2, 2];
            let options = [&id[..], &option(LEASE, seconds), &option(RENEW, renew), &option(REBIND, rebind)].concat();
            let Some(Answer::Ack(lease)) = read(&answer(5, &options), XID, MAC) else { panic!("no answer") };
            match lease.times() {
                None => prop_assert!(seconds.is_none_or(|seconds| seconds == u32::MAX)),
                Some(Times { renew, rebind, end }) => {
                    prop_assert_eq!(Some(end), seconds);
                    prop_assert!(renew <= rebind && rebind <= end);
                }
            }
        }

        #[test]
        fn a_cut_or_changed_answer_never_panics(at in 0..320usize, value in any::<u8>(), cut in 0..320usize) {
            let whole = answer(5, &[OVERLOAD, 1, 3, DNS, 8, 1, 1, 1, 1, 2, 2, 2, 2, SERVER_ID, 4, 10, 0, 2, 2]);
            let mut bytes = packet(&whole);
            bytes[22..24].copy_from_slice(&CLIENT.to_be_bytes());
            if let Some(byte) = bytes.get_mut(at) {
                *byte = value;
            }
            bytes.truncate(bytes.len().saturating_sub(cut));
            let _ = payload(&bytes).and_then(|message| read(message, XID, MAC));
        }
    }
}
