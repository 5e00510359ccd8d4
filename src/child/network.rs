//! Starts the programs that serve network cards.
//!
//! passt is given one end of a connection, and libkrun the other. The program ends when its end is closed, which the
//! kernel does when this process ends, however it ends; and on Linux the kernel kills it then (unless it has become
//! another user, as passt does when it is started by root). gvproxy, in its own file, has to be connected to.

use std::io::{self, Read, Write};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use super::{gvproxy, udp};
use crate::helper::{child_ends_within, close_others};
use crate::plan::{Network, NetworkKind, OpenPort};
use crate::spec::{Protocol, reserve};

/// How long a program may take until it serves.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);
/// How long it may be silent before it is asked again.
const PAUSE: Duration = Duration::from_millis(500);
/// How often other ports are chosen when somebody else has opened one that was.
const ATTEMPTS: usize = 3;

/// A program that serves.
pub(super) struct Serving {
    /// Our end of the connection to it, for libkrun.
    pub connection: OwnedFd,
    pub pid: u32,
    /// The ports that it has opened.
    pub ports: Vec<OpenPort>,
}

/// Starts a network's program and waits until it serves; what it writes goes to `log`.
///
/// # Errors
/// Why it does not, as the end of a sentence that begins with the program.
pub(super) fn start(network: &Network, log: BorrowedFd<'_>) -> Result<Serving, String> {
    let chosen = network.ports.iter().any(|port| port.host == 0);
    let mut attempt = 1;
    loop {
        let tried = match network.kind {
            NetworkKind::Passt => try_start(network, log),
            NetworkKind::Gvproxy => gvproxy::try_start(network, log),
        };
        match tried {
            Err(Failure::Ended(_) | Failure::Refused(_)) if chosen && attempt < ATTEMPTS => attempt += 1,
            result => return result.map_err(|failure| failure.to_string()),
        }
    }
}

pub(super) enum Failure {
    Os(&'static str, io::Error),
    Ended(ExitStatus),
    /// What it does not do, or does otherwise.
    Refused(String),
    Silent,
    /// What the guest answers over UDP does not come back.
    OneWay,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Os(what, error) => write!(f, "could not be started: {what}: {error}"),
            Failure::Ended(status) => match (status.code(), status.signal()) {
                (Some(code), _) => write!(f, "exited with status {code} before it served"),
                (None, signal) => {
                    let signal = signal.unwrap_or(0);
                    let name = crate::errno::signal_name(signal).unwrap_or("unnamed");
                    write!(f, "was killed by signal {signal} ({name}) before it served")
                }
            },
            Failure::Refused(what) => f.write_str(what),
            Failure::OneWay => f.write_str(
                "loses what the guest answers to UDP clients on this host, as those of 2023 do while this host's loopback \
                 is hidden from the guest; use a later passt, or gvproxy, or set host_loopback, which shows it",
            ),
            Failure::Silent => write!(f, "did not answer within {} s and was ended", PATIENCE.as_secs()),
        }
    }
}

fn try_start(network: &Network, log: BorrowedFd<'_>) -> Result<Serving, Failure> {
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
    let udp = ports.iter().find(|port| port.protocol == Protocol::Udp);
    let answers = answers(&ours, &network.mac);
    let comes_back = |port| udp::comes_back(&ours, port).map(|comes| if comes { None } else { Some(Failure::OneWay) });
    let failure = match answers {
        Ok(true) => udp.map_or(Ok(None), comes_back),
        Ok(false) => Ok(Some(Failure::Silent)),
        Err(error) => Err(error),
    };
    match failure {
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

/// The ports with a number each, and what keeps those that were chosen until the program has opened them, so that two
/// that start at the same time do not choose the same.
pub(super) fn choose_ports(network: &Network) -> io::Result<(Vec<OpenPort>, Vec<OwnedFd>)> {
    let mut ports = network.ports.clone();
    let mut reserved = Vec::new();
    for port in ports.iter_mut().filter(|port| port.host == 0) {
        let (socket, number) = reserve(port.protocol, port.address, 0)?;
        port.host = number;
        reserved.push((socket, port.protocol));
    }
    // Two sockets of one UDP port would both be heard.
    reserved.retain(|(_, protocol)| *protocol == Protocol::Tcp);
    Ok((ports, reserved.into_iter().map(|(socket, _)| socket).collect()))
}

/// The program with its arguments, and its words in the log.
pub(super) fn command(network: &Network, log: BorrowedFd<'_>) -> io::Result<Command> {
    let mut command = Command::new(&network.program);
    command.args(&network.args);
    command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log.try_clone_to_owned()?);
    Ok(command)
}

/// Takes the status of a program that is about to end.
pub(super) fn end(child: &mut Child) -> io::Result<ExitStatus> {
    if !child_ends_within(child, Duration::from_secs(1)) {
        child.kill()?;
    }
    child.wait()
}

/// The program gets nothing of ours but its standard streams and `connection`, is away from the terminal, whose keys
/// are for the guest, and dies with this process.
pub(super) fn apart(command: &mut Command, connection: Option<RawFd>) {
    let parent = std::process::id();
    // SAFETY: between fork and exec only async-signal-safe functions are called, and nothing is allocated.
    unsafe {
        command.pre_exec(move || {
            close_others();
            if connection.is_some_and(|fd| libc::fcntl(fd, libc::F_SETFD, 0) < 0) || libc::setsid() < 0 {
                return Err(io::Error::last_os_error());
            }
            // Nobody may be left to read what it writes, which must not end it before the VM.
            libc::signal(libc::SIGPIPE, libc::SIG_IGN);
            #[cfg(target_os = "linux")]
            {
                // The thread that this is about is the one that enters libkrun, and lives as long as the VM.
                if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) < 0 {
                    return Err(io::Error::last_os_error());
                }
                if u32::try_from(libc::getppid()) != Ok(parent) {
                    return Err(io::Error::from_raw_os_error(libc::ESRCH));
                }
            }
            Ok(())
        });
    }
}

/// Asks until there is an answer: then it has read its arguments, opened its ports and serves. `false` when there is
/// none in time, an error when the other end is closed.
fn answers(connection: &UnixStream, mac: &str) -> io::Result<bool> {
    let mac = super::one::address(mac)?;
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

/// Takes a frame out whole, as libkrun must find the beginning of the next one; `None` when none comes in time.
pub(super) fn read_frame(connection: &UnixStream, patience: Duration) -> io::Result<Option<Vec<u8>>> {
    let (mut stream, mut length) = (connection, [0; 4]);
    connection.set_read_timeout(Some(patience))?;
    match stream.read(&mut length[..1]) {
        Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
        Ok(_) => {}
        Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {
            return Ok(None);
        }
        Err(error) => return Err(error),
    }
    connection.set_read_timeout(None)?;
    stream.read_exact(&mut length[1..])?;
    let mut frame = Vec::new();
    stream.take(u32::from_be_bytes(length).into()).read_to_end(&mut frame)?;
    Ok(Some(frame))
}

/// A frame as it travels: its length, big-endian, and itself.
pub(super) fn framed(frame: &[u8]) -> Vec<u8> {
    let length = u32::try_from(frame.len()).expect("a question is short");
    [&length.to_be_bytes(), frame].concat()
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
