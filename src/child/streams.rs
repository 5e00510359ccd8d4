//! The VM process's descriptors: the workload's standard streams, the log, the channel, and what was checked.

use std::io::{self, IsTerminal};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use crate::plan::{Call, Channel, Fd, Plan};

/// Every descriptor that a call can name.
pub(super) struct Streams {
    stdin: RawFd,
    stdout: RawFd,
    stderr: RawFd,
    /// Our own copies of the standard streams, where libkrun is told numbers instead of taking 0, 1 and 2.
    _copies: Vec<OwnedFd>,
    /// /dev/null, for reading and writing; -1 where descriptor 0 is the workload's.
    null: RawFd,
    log: OwnedFd,
    channel: Option<OwnedFd>,
    control: Option<OwnedFd>,
    held: Vec<OwnedFd>,
    /// The workload's output goes to a file.
    to_file: bool,
    /// Our ends of the connections to the networks' programs.
    pub(super) networks: Vec<OwnedFd>,
}

impl Streams {
    /// `extra` is the log, the channel and the private control port's directory where there are such, then what the host
    /// checks kept open.
    ///
    /// With `told` libkrun needs 0, 1 and 2 for nothing: it is told which descriptors are the workload's, or
    /// that they go to a file. So 1 and 2 are free for libkrun's own words:
    /// they go to the log, and the workload's streams stay the workload's alone.
    pub(super) fn new(extra: Vec<OwnedFd>, plan: &Plan, told: bool) -> io::Result<Streams> {
        let mut extra = extra.into_iter();
        let log = extra.next().ok_or(io::ErrorKind::InvalidInput)?;
        let mut one = |there: bool| there.then(|| extra.next().ok_or(io::ErrorKind::InvalidInput)).transpose();
        let channel = one(plan.channel() != Channel::None)?;
        let control = one(plan.has_private_control())?;
        let held = extra.collect();
        let mut streams = Streams {
            stdin: 0,
            stdout: 1,
            stderr: 2,
            _copies: Vec::new(),
            null: -1,
            log,
            channel,
            control,
            held,
            networks: Vec::new(),
            to_file: plan.calls.iter().any(|call| matches!(call, Call::SetConsoleOutput { .. })),
        };
        if told {
            let copies = [copy(io::stdin())?, copy(io::stdout())?, copy(io::stderr())?];
            [streams.stdin, streams.stdout, streams.stderr] = [0, 1, 2].map(|n: usize| copies[n].as_raw_fd());
            streams._copies = copies.into();
            rustix::stdio::dup2_stdin(std::fs::File::options().read(true).write(true).open("/dev/null")?)?;
            streams.null = 0;
            rustix::stdio::dup2_stdout(&streams.log)?;
            rustix::stdio::dup2_stderr(&streams.log)?;
        }
        Ok(streams)
    }

    /// The number of a descriptor; it stays ours and open. -1 for one that there is not.
    pub(super) fn number(&self, fd: Fd) -> RawFd {
        match fd {
            Fd::Null => self.null,
            Fd::Network(n) => self.networks.get(n as usize).map_or(-1, AsRawFd::as_raw_fd),
            Fd::Held(n) => self.held.get(n as usize).map_or(-1, AsRawFd::as_raw_fd),
            Fd::Stdin => self.stdin,
            Fd::Stdout => self.stdout,
            Fd::Stderr => self.stderr,
            Fd::Log => self.log.as_raw_fd(),
            Fd::Channel => self.channel.as_ref().map_or(-1, AsRawFd::as_raw_fd),
            Fd::Control => self.control.as_ref().map_or(-1, AsRawFd::as_raw_fd),
        }
    }

    /// The standard streams for which libkrun makes a port in the guest, a bit each: those that are no terminal, unless
    /// everything goes to a file.
    pub(super) fn ports(&self) -> u32 {
        if self.to_file {
            return 0;
        }
        let is_port = |number: RawFd| {
            // SAFETY: it is open for as long as this value lives, and borrowed for this call only.
            number >= 0 && !unsafe { BorrowedFd::borrow_raw(number) }.is_terminal()
        };
        let streams = [self.stdin, self.stdout, self.stderr].into_iter().enumerate();
        streams.fold(0, |bits, (n, number)| bits | u32::from(is_port(number)) << n)
    }

    /// A descriptor, which must be there.
    pub(super) fn borrowed(&self, fd: Fd) -> io::Result<BorrowedFd<'_>> {
        let number = self.number(fd);
        if number < 0 {
            return Err(io::Error::from_raw_os_error(libc::EBADF));
        }
        // SAFETY: it is open for as long as this value lives, and so for as long as it is borrowed.
        Ok(unsafe { BorrowedFd::borrow_raw(number) })
    }

    /// A copy of a descriptor, to be given away.
    pub(super) fn to_give(&self, fd: Fd) -> io::Result<OwnedFd> {
        copy(self.borrowed(fd)?)
    }

    /// Where libkrun's log and its own words go.
    pub(super) fn log(&self) -> BorrowedFd<'_> {
        self.log.as_fd()
    }
}

fn copy(fd: impl AsFd) -> io::Result<OwnedFd> {
    Ok(rustix::io::fcntl_dupfd_cloexec(fd, 3)?)
}
