//! A connection of the host: frames in both directions, without ever waiting for one of them alone.

use std::fs::File;
use std::io::{ErrorKind, PipeReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use super::super::frames::{Decoder, Frame, FrameError};
use super::super::sys::{self, PollFd};

/// The most that is sent at once. Linux makes a packet of whatever that is, newer kernels (libkrunfw 5.6.1's) one of several
/// pieces where it is large, and libkrun before 1.19.2 throws those away.
const PIECE: usize = 16 << 10;
/// How long the host may take nothing of what is left for it at the end.
const STUCK: Duration = Duration::from_secs(10);
/// How long it may then take to close its end.
const PARTING: Duration = Duration::from_secs(2);

pub struct Link {
    socket: File,
    decoder: Decoder,
    /// What is to be sent. The windows of the streams bound it.
    out: Vec<u8>,
    /// The host has closed its end, or the connection is broken.
    pub gone: bool,
}

impl Link {
    /// A connection that does not block.
    pub fn new(socket: OwnedFd) -> Link {
        // Where that fails, so does what comes next.
        let _ = sys::set_nonblocking(socket.as_fd());
        Link { socket: socket.into(), decoder: Decoder::default(), out: Vec::new(), gone: false }
    }

    /// Puts a frame behind those that are to be sent.
    pub fn say(&mut self, frame: &Frame) {
        self.out.extend_from_slice(&frame.encode());
    }

    /// What to wait for on it.
    pub fn poll_fd(&self) -> PollFd {
        let events = if self.out.is_empty() { sys::POLLIN } else { sys::POLLIN | sys::POLLOUT };
        PollFd::new(Some(self.socket.as_fd()), events)
    }

    /// Sends what the connection takes now.
    pub fn flush(&mut self) {
        let mut sent = 0;
        while sent < self.out.len() && !self.gone {
            let left = &self.out[sent..];
            match self.socket.write(&left[..left.len().min(PIECE)]) {
                Ok(0) => self.gone = true,
                Ok(count) => sent += count,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(_) => self.gone = true,
            }
        }
        self.out.drain(..sent);
    }

    /// Takes some of what has come.
    pub fn fill(&mut self) {
        self.gone |= !self.decoder.fill(&mut self.socket);
    }

    /// The next frame that is there.
    pub fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        self.decoder.next()
    }

    /// The first frame, unless it does not come in time, or the guest ends before.
    pub fn first(&mut self, patience: Duration, closed: &PipeReader) -> Option<Frame> {
        let deadline = Instant::now() + patience;
        loop {
            self.flush();
            if let Some(frame) = self.next().ok()? {
                return Some(frame);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if self.gone || left.is_zero() {
                return None;
            }
            let mut fds = [self.poll_fd(), PollFd::new(Some(closed.as_fd()), sys::POLLIN)];
            let _ = sys::wait_any(&mut fds, milliseconds(left));
            if fds[1].is_ready() {
                return None;
            }
            self.fill();
        }
    }

    /// Sends the rest, and closes the connection when the host has read it.
    pub fn finish(mut self) {
        while !self.out.is_empty() && !self.gone {
            let before = self.out.len();
            self.flush();
            if self.out.len() == before {
                let mut fds = [self.poll_fd()];
                if !sys::wait_any(&mut fds, milliseconds(STUCK)).unwrap_or(false) {
                    return;
                }
                // What it still says is of no interest, but that it goes is.
                self.ignore();
            }
        }
        let deadline = Instant::now() + PARTING;
        while !self.gone {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() || !sys::wait_any(&mut [self.poll_fd()], milliseconds(left)).unwrap_or(false) {
                return;
            }
            self.ignore();
        }
    }

    fn ignore(&mut self) {
        self.fill();
        self.decoder = Decoder::default();
    }
}

fn milliseconds(duration: Duration) -> i32 {
    // Upwards, or the last of them would be waited for without sleeping.
    i32::try_from(duration.as_micros().div_ceil(1000)).unwrap_or(i32::MAX)
}
