//! How a VM's process is started.

use std::fs::File;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

/// Where one of the workload's standard streams goes.
#[derive(Debug, Default)]
pub enum Stream {
    /// Where the caller's own goes.
    #[default]
    Inherit,
    /// Nowhere; reading gives the end at once.
    Null,
    /// Into a pipe, whose other end [`super::Vm`] has.
    Piped,
    /// To this descriptor.
    Fd(OwnedFd),
}

impl From<Stream> for Stdio {
    fn from(stream: Stream) -> Stdio {
        match stream {
            Stream::Inherit => Stdio::inherit(),
            Stream::Null => Stdio::null(),
            Stream::Piped => Stdio::piped(),
            Stream::Fd(fd) => fd.into(),
        }
    }
}

/// Where libkrun's log and its own words go.
#[derive(Debug, Default)]
pub enum LogTarget {
    /// Into memory, bounded: [`super::Vm::log`] has the first and the last of it. When nobody waits on the [`super::Vm`],
    /// what does not fit into a pipe of 1 MiB is lost; the VM is never held up. Where the spec has a `log_file`, the log
    /// goes there instead.
    #[default]
    Captured,
    /// Appended to this file, unbounded.
    File(File),
}

/// How a VM's process is started. The default: the caller's standard streams, the log captured, the VM outlives a
/// caller that is killed but not a dropped [`super::Vm`].
#[derive(Debug)]
pub struct LaunchOptions {
    /// The helper program; `None`: search ([`crate::Helper::find`]).
    pub helper: Option<PathBuf>,
    /// The workload's standard input.
    pub stdin: Stream,
    /// The workload's standard output.
    pub stdout: Stream,
    /// The workload's standard error.
    pub stderr: Stream,
    /// libkrun's log.
    pub log: LogTarget,
    /// Whether the VM dies with this process, however that ends.
    pub die_with_parent: bool,
    /// Whether the VM's process leads a session of its own, away from the caller's terminal and its signals.
    pub new_session: bool,
    /// How long it may take until libkrun is entered.
    pub start_timeout: Duration,
}

impl Default for LaunchOptions {
    fn default() -> LaunchOptions {
        LaunchOptions {
            helper: None,
            stdin: Stream::Inherit,
            stdout: Stream::Inherit,
            stderr: Stream::Inherit,
            log: LogTarget::Captured,
            die_with_parent: false,
            new_session: false,
            start_timeout: Duration::from_secs(30),
        }
    }
}
