//! The host's end of the channel on which krundl's program in the guest speaks.
//!
//! The guest is not trusted: lines are bounded, what is not a word is passed over, and only the first connection of
//! the VM's own process counts.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::Arc;

use super::wake::Watched;
use crate::guest_words::{Request, Word};
use crate::plan::Channel;
use crate::system::{Place, private_listener};

/// What the guest has said.
#[derive(Debug, Default)]
pub(super) struct Said {
    /// It has mounted everything and runs the workload.
    pub up: bool,
    /// The word after which there is nothing to say: a failure, or how the workload ended.
    pub last: Option<Word>,
}

/// The host's end.
pub(super) struct ChannelHost {
    /// Whether the guest has a way to speak at all.
    pub exists: bool,
    state: State,
    line: Vec<u8>,
    /// Whether the line is longer than any word, and is passed over to its end.
    overlong: bool,
    pub said: Said,
}

enum State {
    /// There is none, or it has said its last.
    Silent,
    /// A socket that the VM's process connects to when the guest does.
    Listening { listener: Arc<UnixListener>, _place: Place },
    /// The connection, or the other end of a console port.
    Open(Arc<File>),
}

impl ChannelHost {
    /// The host's end, and what the VM's process is given.
    ///
    /// With `for_others` the VM's process may become another user before it connects.
    pub(super) fn new(channel: Channel, for_others: bool) -> io::Result<(ChannelHost, Option<OwnedFd>)> {
        let (state, given) = match channel {
            Channel::None => (State::Silent, None),
            Channel::Port => {
                let (ours, theirs) = UnixStream::pair()?;
                ours.set_nonblocking(true)?;
                (State::Open(Arc::new(OwnedFd::from(ours).into())), Some(theirs.into()))
            }
            Channel::Vsock { .. } => {
                let (listener, given, place) = private_listener(for_others)?;
                listener.set_nonblocking(true)?;
                (State::Listening { listener: Arc::new(listener), _place: place }, Some(given))
            }
        };
        Ok((
            ChannelHost {
                exists: channel != Channel::None,
                state,
                line: Vec::new(),
                overlong: false,
                said: Said::default(),
            },
            given,
        ))
    }

    /// What to wait on for more.
    pub(super) fn watched(&self) -> Option<Watched> {
        match &self.state {
            State::Silent => None,
            State::Listening { listener, .. } => Some(listener.clone()),
            State::Open(stream) => Some(stream.clone()),
        }
    }

    /// Asks the guest's program, if it is up and has a way to hear; tells whether it was asked.
    pub(super) fn ask(&self, request: Request) -> bool {
        match &self.state {
            State::Open(stream) if self.said.up => {
                // A line is never cut in two: a socket that has no room for it takes none of it.
                (&**stream).write(request.line()).is_ok_and(|written| written == request.line().len())
            }
            _ => false,
        }
    }

    /// Takes what has come, without waiting, and tells whether anything has. `vmm` is the VM's process.
    pub(super) fn drain(&mut self, vmm: u32) -> bool {
        let mut news = false;
        while let State::Listening { listener, .. } = &self.state {
            match listener.accept() {
                Ok((stream, _)) if is_peer(&stream, vmm) && stream.set_nonblocking(true).is_ok() => {
                    self.state = State::Open(Arc::new(OwnedFd::from(stream).into()));
                    news = true;
                }
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return news,
            }
        }
        let mut buffer = [0; 4096];
        while let State::Open(stream) = &self.state {
            match (&**stream).read(&mut buffer) {
                Ok(0) => self.state = State::Silent,
                Ok(n) => self.hear(&buffer[..n]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(_) => return news,
            }
            news = true;
            if self.said.last.is_some() {
                // The guest waits for this before it shuts down, so that its last word is sure to arrive.
                self.state = State::Silent;
            }
        }
        news
    }

    fn hear(&mut self, bytes: &[u8]) {
        for byte in bytes {
            match byte {
                b'\n' => {
                    if !self.overlong && self.said.last.is_none() {
                        self.word();
                    }
                    self.line.clear();
                    self.overlong = false;
                }
                byte if self.line.len() < Word::LINE_MAX => self.line.push(*byte),
                _ => self.overlong = true,
            }
        }
    }

    fn word(&mut self) {
        match Word::parse(&self.line) {
            Some(Word::Up) => self.said.up = true,
            Some(Word::Hello { .. }) | None => {}
            Some(last) => self.said.last = Some(last),
        }
    }
}

#[cfg(target_os = "linux")]
fn is_peer(stream: &UnixStream, vmm: u32) -> bool {
    rustix::net::sockopt::socket_peercred(stream)
        .is_ok_and(|peer| u32::try_from(peer.pid.as_raw_nonzero().get()) == Ok(vmm))
}

/// Elsewhere nobody can know the socket's name by now, which has to do.
#[cfg(not(target_os = "linux"))]
fn is_peer(_: &UnixStream, _: u32) -> bool {
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::private_path;
    use std::os::fd::AsFd;

    #[test]
    fn words_come_through_a_socket_without_a_name() {
        let (mut host, given) = ChannelHost::new(Channel::Vsock { port: 1 }, false).unwrap();
        let path = private_path(given.as_ref().unwrap().as_fd()).unwrap();
        let mut guest = UnixStream::connect(&path).unwrap();
        guest.write_all(b"krundl-guest 1\nup\nexi").unwrap();
        host.drain(std::process::id());
        assert!(host.said.up && host.said.last.is_none());
        guest.write_all(b"t 42\n").unwrap();
        host.drain(std::process::id());
        assert_eq!(host.said.last, Some(Word::Exit(42)));
        assert_eq!(guest.read(&mut [0; 8]).unwrap(), 0, "the host hangs up after the last word");
    }

    #[test]
    fn a_guest_is_asked_when_it_is_up() {
        let (mut host, given) = ChannelHost::new(Channel::Port, false).unwrap();
        let mut guest = UnixStream::from(given.unwrap());
        assert!(!host.ask(Request::Terminate), "it runs no workload yet");
        guest.write_all(b"krundl-guest 1\nup\n").unwrap();
        host.drain(0);
        assert!(host.ask(Request::Terminate));
        let mut line = [0; 10];
        guest.read_exact(&mut line).unwrap();
        assert_eq!(&line, b"terminate\n");
        guest.write_all(b"signal 15\n").unwrap();
        host.drain(0);
        assert!(!host.ask(Request::Terminate), "it has said its last word");
    }

    #[test]
    fn another_process_is_not_heard() {
        let (mut host, given) = ChannelHost::new(Channel::Vsock { port: 1 }, false).unwrap();
        let path = private_path(given.as_ref().unwrap().as_fd()).unwrap();
        let mut stranger = UnixStream::connect(&path).unwrap();
        stranger.write_all(b"krundl-guest 1\nup\nexit 0\n").unwrap();
        host.drain(1);
        assert!(!host.said.up && host.said.last.is_none());
    }

    #[test]
    fn noise_and_overlong_lines_are_passed_over() {
        let (mut host, given) = ChannelHost::new(Channel::Port, false).unwrap();
        let mut guest = File::from(given.unwrap());
        for bytes in [&b"\x00\xff noise\n"[..], &vec![b'x'; 10_000], b"\nup\nsignal 9\nexit 0\n"] {
            guest.write_all(bytes).unwrap();
            host.drain(0);
        }
        assert!(host.said.up);
        assert_eq!(host.said.last, Some(Word::Signal(9)), "what comes after the last word does not count");
    }
}
