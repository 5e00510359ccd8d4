//! A connection to a guest's control port, which never blocks by itself.

use std::io::{self, ErrorKind, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SocketAddrUnix, connect};

use crate::error::{Error, Result, Words};
use crate::frames::{Decoder, Frame, VERSION};
use crate::system::{path_of, stream_socket};

/// How long a connection may stay without the guest's first word. libkrun accepts it before the guest listens, and not
/// every release then closes it.
const HELLO: Duration = Duration::from_secs(2);
/// How long a guest may take to answer a request.
const ANSWER: Duration = Duration::from_secs(30);
/// Between two attempts: nothing tells when a socket appears or begins to be served.
const PAUSE: Duration = Duration::from_millis(20);

/// A connection over which the guest has said who it is.
pub(super) struct Connection {
    socket: UnixStream,
    path: PathBuf,
    decoder: Decoder,
    out: Vec<u8>,
    gone: bool,
}

/// Why an attempt came to nothing.
enum Failed {
    /// It may be different in a moment.
    Now(String),
    /// It will stay so.
    Ever(String),
}

impl Connection {
    /// Connects, over and over until `timeout` where the guest may just not be so far.
    pub(super) fn open(path: &Path, timeout: Duration) -> Result<Connection> {
        let deadline = Instant::now() + timeout;
        loop {
            let reason = match Connection::attempt(path, deadline) {
                Ok(connection) => return Ok(connection),
                Err(Failed::Now(reason)) if Instant::now() + PAUSE < deadline => {
                    std::thread::sleep(PAUSE);
                    drop(reason);
                    continue;
                }
                Err(Failed::Now(reason) | Failed::Ever(reason)) => reason,
            };
            return Err(Error::ControlLost { socket: path.to_owned(), reason });
        }
    }

    fn attempt(path: &Path, deadline: Instant) -> std::result::Result<Connection, Failed> {
        let socket = dial(path).map_err(|error| match error.kind() {
            ErrorKind::NotFound => Failed::Now("there is no such socket".to_owned()),
            ErrorKind::ConnectionRefused => Failed::Now("nobody listens: its VM has ended".to_owned()),
            ErrorKind::WouldBlock => Failed::Now("too many are waiting to be heard".to_owned()),
            _ => Failed::Ever(error.to_string()),
        })?;
        let mut connection =
            Connection { socket, path: path.to_owned(), decoder: Decoder::default(), out: Vec::new(), gone: false };
        let patience = HELLO.max(deadline.saturating_duration_since(Instant::now()).min(HELLO));
        let silent = || Failed::Now("the guest does not answer".to_owned());
        match connection.next_within(patience) {
            Ok(Some(Frame::Hello { version: VERSION })) => Ok(connection),
            Ok(Some(Frame::Hello { version })) => Err(Failed::Ever(format!(
                "the guest speaks language {version}, and this krundl {VERSION}: use the krundl that started the VM"
            ))),
            Ok(Some(_)) => Err(Failed::Ever("it is not krundl's program in a guest".to_owned())),
            Ok(None) => Err(silent()),
            Err(Error::ControlLost { reason, .. }) if !connection.gone => Err(Failed::Ever(reason)),
            Err(_) => Err(silent()),
        }
    }

    /// Puts a frame behind those that are to be sent, and sends what goes.
    pub(super) fn say(&mut self, frame: &Frame) {
        self.out.extend_from_slice(&frame.encode());
        self.flush();
    }

    /// Sends what the connection takes now.
    pub(super) fn flush(&mut self) {
        let mut sent = 0;
        while sent < self.out.len() {
            match self.socket.write(&self.out[sent..]) {
                Ok(count) if count > 0 => sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // What the guest has said last may still be there to be read.
                Ok(_) | Err(_) => sent = self.out.len(),
            }
        }
        self.out.drain(..sent);
    }

    /// Whether something is left to be sent.
    pub(super) fn has_unsent(&self) -> bool {
        !self.out.is_empty()
    }

    /// Takes what has come; after that [`Connection::next`] has all of it.
    pub(super) fn fill(&mut self) {
        // The windows bound how much there can be.
        self.gone |= !self.decoder.fill(&mut self.socket);
    }

    /// The next frame; nothing when it has not come yet.
    ///
    /// # Errors
    /// The guest does not keep to the language, or nothing will come any more.
    pub(super) fn next(&mut self) -> Result<Option<Frame>> {
        match self.decoder.next() {
            Ok(Some(frame)) => Ok(Some(frame)),
            Ok(None) if self.gone => Err(self.lost("the connection ended: the guest, or its VM, is gone")),
            Ok(None) => Ok(None),
            Err(error) => Err(self.lost(format!("the guest said {error}"))),
        }
    }

    fn next_within(&mut self, patience: Duration) -> Result<Option<Frame>> {
        let deadline = Instant::now() + patience;
        loop {
            if let Some(frame) = self.next()? {
                return Ok(Some(frame));
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            let events = if self.has_unsent() { PollFlags::IN | PollFlags::OUT } else { PollFlags::IN };
            let _ = poll(&mut [PollFd::new(&self.socket, events)], Timespec::try_from(left).ok().as_ref());
            self.flush();
            self.fill();
        }
    }

    /// The guest's answer to a request.
    ///
    /// # Errors
    /// It says that it cannot, or nothing.
    pub(super) fn answer(&mut self) -> Result<Frame> {
        match self.next_within(ANSWER)? {
            Some(Frame::Failed { message, .. }) => Err(guest_failed(&message)),
            Some(frame) => Ok(frame),
            None => Err(self.lost("the guest does not answer")),
        }
    }

    pub(super) fn lost(&self, reason: impl Into<String>) -> Error {
        Error::ControlLost { socket: self.path.clone(), reason: reason.into() }
    }

    pub(super) fn unexpected(&self, _: &Frame) -> Error {
        self.lost("the guest's answer is none to what it was asked")
    }

    /// Ends it; whoever waits on it wakes.
    pub(super) fn close(&self) {
        let _ = self.socket.shutdown(std::net::Shutdown::Both);
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

/// What krundl's program in the guest could not do.
pub(super) fn guest_failed(message: &[u8]) -> Error {
    Error::GuestSetup { message: crate::spec::Text::from(message.to_vec()).to_string(), words: Words::default() }
}

/// Paths that are too long for an address are reached by their directory.
fn dial(path: &Path) -> io::Result<UnixStream> {
    let socket = stream_socket()?;
    match (SocketAddrUnix::new(path), path.parent(), path.file_name()) {
        (Ok(address), ..) => connect(&socket, &address)?,
        (Err(_), Some(parent), Some(name)) => {
            let dir = std::fs::File::open(parent)?;
            let path = path_of(dir.as_fd())?.join(name);
            connect(&socket, &SocketAddrUnix::new(path)?)?;
        }
        (Err(error), ..) => return Err(error.into()),
    }
    Ok(socket.into())
}
