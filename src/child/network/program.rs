//! What is the same for every program that serves a card: how it is started, and how that fails.

use std::io;
use std::os::fd::{BorrowedFd, OwnedFd, RawFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use crate::helper::{child_ends_within, close_others};
use crate::plan::{Network, OpenPort};
use crate::spec::{Protocol, reserve};

/// How long a program may take until it serves.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// A program that serves.
pub(in crate::child) struct Serving {
    /// Our end of the connection to it, for libkrun.
    pub connection: OwnedFd,
    pub pid: u32,
    /// The ports that it has opened.
    pub ports: Vec<OpenPort>,
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
    #[cfg(target_os = "linux")]
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
