//! Speaking with a program over pipes.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::OwnedFd;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{JoinHandle, spawn};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};

/// Longer than anything here takes, also on a slow machine.
pub const LONG: Duration = Duration::from_secs(120);

/// Kills a process that takes [`LONG`]er, so that whoever reads from it comes to an end.
pub struct Limit {
    /// Dropped to call the thread off.
    active: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Limit {
    pub fn of(pid: u32) -> Limit {
        let process = process(pid);
        let (active, dropped) = channel::<()>();
        let thread = spawn(move || {
            if dropped.recv_timeout(LONG) == Err(RecvTimeoutError::Timeout) {
                eprintln!("process {pid} took too long");
                let _ = pidfd_send_signal(&process, Signal::KILL);
            }
        });
        Limit { active: Some(active), thread: Some(thread) }
    }
}

impl Drop for Limit {
    fn drop(&mut self) {
        self.active = None;
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

/// A process, whatever becomes of its number.
pub fn process(pid: u32) -> OwnedFd {
    let pid = Pid::from_raw(pid.try_into().expect("a process number")).expect("a process number");
    pidfd_open(pid, PidfdFlags::empty()).expect("a running process")
}

/// Waits for the end of a process that need not be a child.
pub fn await_end(process: &OwnedFd) {
    let time = LONG.try_into().expect("a short time");
    let ended = poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&time)).expect("poll");
    assert_eq!(ended, 1, "the process still runs");
}

pub fn has_ended(process: &OwnedFd) -> bool {
    let now = Duration::ZERO.try_into().expect("a short time");
    poll(&mut [PollFd::new(process, PollFlags::IN)], Some(&now)).expect("poll") == 1
}

/// A program that is spoken with.
pub struct Talk {
    child: Owned,
    stdin: Option<ChildStdin>,
    stdout: BufReader<ChildStdout>,
    stderr: JoinHandle<Vec<u8>>,
    limit: Limit,
}

/// A child that does not outlive a case that fails.
pub struct Owned(pub Child);

impl Drop for Owned {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What a program has left to say at its end.
pub struct End {
    pub status: Option<i32>,
    pub stdout: Vec<u8>,
    pub stderr: String,
}

impl Talk {
    pub fn with(command: Command) -> Talk {
        Talk::start(command, Stdio::piped())
    }

    /// With /dev/null for its stdin.
    pub fn without_stdin(command: Command) -> Talk {
        Talk::start(command, Stdio::null())
    }

    fn start(mut command: Command, stdin: Stdio) -> Talk {
        let spawned = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut child = Owned(spawned.expect("the program starts"));
        let (stdout, stderr) = (child.0.stdout.take().expect("a pipe"), child.0.stderr.take().expect("a pipe"));
        Talk {
            stdin: child.0.stdin.take(),
            stdout: BufReader::new(stdout),
            stderr: spawn(move || all(stderr)),
            limit: Limit::of(child.0.id()),
            child,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.0.id()
    }

    /// Writes a line to its stdin.
    pub fn say(&mut self, line: &str) {
        let stdin = self.stdin.as_mut().expect("its stdin is a pipe");
        stdin.write_all(format!("{line}\n").as_bytes()).expect("it reads");
    }

    /// Writes everything to its stdin and closes it, while its output is read.
    pub fn feed(&mut self, bytes: Vec<u8>) -> JoinHandle<()> {
        let mut stdin = self.stdin.take().expect("its stdin is a pipe");
        spawn(move || stdin.write_all(&bytes).expect("it reads everything"))
    }

    /// Reads lines from its stdout up to this one. Panics with what it said instead if that does not come.
    pub fn hear(&mut self, expected: &str) {
        let mut heard = String::new();
        loop {
            let mut line = String::new();
            if self.stdout.read_line(&mut line).expect("text") == 0 {
                panic!("it ended without saying {expected:?}, after {heard:?}; {}", self.last_words());
            }
            if line.trim_end() == expected {
                return;
            }
            heard += &line;
        }
    }

    /// Waits for its end, its stdin still open.
    pub fn end(mut self) -> End {
        let stdout = all(self.stdout);
        let status = self.child.0.wait().expect("our own child").code();
        drop(self.limit);
        let stderr = self.stderr.join().expect("a pipe is readable");
        End { status, stdout, stderr: String::from_utf8_lossy(&stderr).into_owned() }
    }

    fn last_words(&mut self) -> String {
        let status = self.child.0.wait();
        let stderr = std::mem::replace(&mut self.stderr, spawn(Vec::new));
        format!("{status:?}, stderr: {}", String::from_utf8_lossy(&stderr.join().unwrap_or_default()))
    }
}

impl End {
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("text")
    }

    /// Exactly this on stdout, nothing on stderr, and status 0.
    pub fn expect(&self, stdout: &str) {
        assert_eq!((self.status, self.text(), self.stderr.as_str()), (Some(0), stdout, ""));
    }
}

/// Everything up to the end.
pub fn all(mut reader: impl Read) -> Vec<u8> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).expect("a pipe is readable");
    bytes
}
