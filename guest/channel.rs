//! The guest's end of the channel to the host.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::time::{Duration, Instant};

use super::failure::{Failure, shown};
use super::orders;
use super::ports;
use super::sys;
use super::words::{Request, Word};

/// How long the host may keep the guest waiting. A host that does not listen must not hold up the workload.
const PATIENCE: Duration = Duration::from_secs(2);

/// An open channel, or none: words for nobody are dropped.
pub struct Channel {
    file: Option<File>,
    is_socket: bool,
}

impl Channel {
    /// No channel.
    pub fn none() -> Channel {
        Channel { file: None, is_socket: false }
    }

    /// Opens the channel that the orders name.
    pub fn open(kind: &orders::Channel) -> Result<Channel, Failure> {
        match kind {
            orders::Channel::None => Ok(Channel::none()),
            orders::Channel::Vsock { port } => sys::connect_vsock(*port)
                .and_then(Channel::socket)
                .map_err(|error| Failure::new(format_args!("no channel to the host on vsock port {port}"), &error)),
            orders::Channel::Port { name } => Channel::port(name).map_err(|error| {
                Failure::new(format_args!("no channel to the host on port \"{}\"", shown(name)), &error)
            }),
        }
    }

    fn socket(socket: OwnedFd) -> io::Result<Channel> {
        sys::set_nonblocking(socket.as_fd())?;
        Ok(Channel { file: Some(socket.into()), is_socket: true })
    }

    fn port(name: &[u8]) -> io::Result<Channel> {
        let path = ports::awaited(name).ok_or(io::Error::from_raw_os_error(sys::ENODEV))?;
        // Not blocking: writing to a port whose host end is closed would wait for ever.
        let file = OpenOptions::new().read(true).write(true).custom_flags(sys::O_NONBLOCK).open(path)?;
        Ok(Channel { file: Some(file), is_socket: false })
    }

    /// Sends a word. A channel that fails is given up, since half a line would make nonsense of the next one.
    pub fn say(&mut self, word: &Word) {
        if let Some(file) = &self.file
            && write_all(file, &word.line(), PATIENCE).is_err()
        {
            self.file = None;
        }
    }

    /// Hears what the host asks, until it hangs up. On a thread, which ends with the program.
    pub fn listen(&self, mut heard: impl FnMut(Request) + Send + 'static) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        let file = file.try_clone()?;
        std::thread::Builder::new().stack_size(64 << 10).spawn(move || listen_to(file, &mut heard)).map(drop)
    }

    /// Closes the channel so that everything said reaches the host, although the machine is about to stop.
    pub fn finish(self) {
        self.finish_within(PATIENCE);
    }

    fn finish_within(self, patience: Duration) {
        let Some(mut socket) = self.file else { return };
        if !self.is_socket {
            ports::taken(socket.as_fd(), Instant::now() + patience);
            return;
        }
        if sys::shutdown_write(socket.as_fd()).is_err() {
            return;
        }
        // The host closes its end when it has read the final word.
        let deadline = Instant::now() + patience;
        let mut ignored = [0; 64];
        loop {
            match socket.read(&mut ignored) {
                Ok(0) => return,
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(_) => return,
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let _ = sys::wait_ready(socket.as_fd(), sys::POLLIN, left);
        }
    }
}

fn listen_to(mut file: File, heard: &mut dyn FnMut(Request)) {
    let (mut line, mut buffer) = (Vec::new(), [0; 256]);
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return,
            Ok(n) => {
                for byte in &buffer[..n] {
                    match byte {
                        b'\n' => {
                            Request::parse(&line).into_iter().for_each(&mut *heard);
                            line.clear();
                        }
                        byte if line.len() < Word::LINE_MAX => line.push(*byte),
                        _ => {}
                    }
                }
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                if sys::wait_ready(file.as_fd(), sys::POLLIN, Duration::from_secs(3600)).is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

fn write_all(mut file: &File, mut bytes: &[u8], patience: Duration) -> io::Result<()> {
    let deadline = Instant::now() + patience;
    while !bytes.is_empty() {
        match file.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                let left = deadline.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    return Err(ErrorKind::TimedOut.into());
                }
                let _ = sys::wait_ready(file.as_fd(), sys::POLLOUT, left);
                // A port without a host reports "hung up" at once, again and again.
                std::thread::sleep(Duration::from_millis(5));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixStream;

    #[test]
    fn finish_waits_for_the_host_and_no_longer() {
        let (host, guest) = UnixStream::pair().unwrap();
        let mut channel = Channel::socket(guest.into()).unwrap();
        let reader = std::thread::spawn(move || {
            let mut lines = BufReader::new(host).lines();
            let first = lines.next().unwrap().unwrap();
            std::thread::sleep(Duration::from_millis(300));
            let second = lines.next().unwrap().unwrap();
            assert!(lines.next().is_none(), "the guest's end is shut down");
            (first, second, Instant::now())
        });
        channel.say(&Word::Up);
        channel.say(&Word::Exit(3));
        channel.finish_within(Duration::from_secs(20));
        let finished = Instant::now();
        let (first, second, read) = reader.join().unwrap();
        assert_eq!((first.as_str(), second.as_str()), ("up", "exit 3"));
        assert!(finished + Duration::from_millis(50) > read, "finished before the host had read everything");
    }

    #[test]
    fn requests_are_heard_until_the_host_hangs_up() {
        let (mut host, guest) = UnixStream::pair().unwrap();
        let channel = Channel::socket(guest.into()).unwrap();
        let (tell, told) = std::sync::mpsc::channel();
        channel.listen(move |request| tell.send(request).unwrap()).unwrap();
        for bytes in [&b"noise\n\xff"[..], &vec![b'x'; 10_000], b"\nterm", b"inate\nterminate\nterminate"] {
            host.write_all(bytes).unwrap();
        }
        drop(host);
        assert_eq!(told.iter().collect::<Vec<_>>(), [Request::Terminate; 2], "half a line is none");
    }

    #[test]
    fn a_host_that_does_not_answer_is_left() {
        let (host, guest) = UnixStream::pair().unwrap();
        let channel = Channel::socket(guest.into()).unwrap();
        let start = Instant::now();
        channel.finish_within(Duration::from_millis(200));
        assert!(start.elapsed() >= Duration::from_millis(200) && start.elapsed() < Duration::from_secs(10));
        drop(host);
    }

    #[test]
    fn a_host_that_does_not_read_is_given_up() {
        let (host, guest) = UnixStream::pair().unwrap();
        let channel = Channel::socket(guest.into()).unwrap();
        let file = channel.file.as_ref().unwrap();
        let much = vec![b'x'; 16 << 20];
        assert_eq!(write_all(file, &much, Duration::from_millis(200)).unwrap_err().kind(), ErrorKind::TimedOut);
        drop(host);
    }

    #[test]
    fn a_host_that_is_gone_is_given_up() {
        let (host, guest) = UnixStream::pair().unwrap();
        let mut channel = Channel::socket(guest.into()).unwrap();
        drop(host);
        channel.say(&Word::Up);
        assert!(channel.file.is_none());
        channel.finish();
    }
}
