//! A further command in a running guest.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{self, Read, Write};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use super::connection::{Connection, guest_failed};
use crate::error::{Error, Result};
use crate::frames::{CHUNK, Exec as Request, Frame, Size, Stream, WINDOW};
use crate::launch::{Exit, Interrupted};
use crate::spec::Text;

/// A pipe takes so much without blocking whenever it takes anything.
const PIPE_BUF: usize = 4096;

/// What is to run in the guest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Command {
    /// The program: a path in the guest, or a name that is searched in the `PATH` of its environment.
    pub path: Text,
    /// Its arguments, without its own name.
    #[serde(default)]
    pub args: Vec<Text>,
    /// Variables; they come on top of the workload's environment.
    #[serde(default)]
    pub env: BTreeMap<String, Text>,
    /// Whether the environment has these variables alone.
    #[serde(default)]
    pub clear_env: bool,
    /// Its working directory; the workload's where absent.
    #[serde(default)]
    pub workdir: Option<Text>,
    /// The user that it runs as, by number; root where absent.
    #[serde(default)]
    pub uid: Option<u32>,
    /// The group; where absent that of the user in the guest's /etc/passwd, else the one with the user's number.
    #[serde(default)]
    pub gid: Option<u32>,
    /// Whether it has a terminal of its own instead of three streams: its output and errors are one.
    #[serde(default)]
    pub terminal: bool,
}

/// Where the command's standard input comes from.
#[derive(Debug, Default)]
pub enum Source {
    /// Nowhere: it has ended already.
    #[default]
    Null,
    /// This descriptor.
    Fd(OwnedFd),
    /// These bytes.
    Bytes(Vec<u8>),
}

/// Where one of its outputs goes.
#[derive(Debug, Default)]
pub enum Sink {
    /// Nowhere.
    #[default]
    Null,
    /// To this descriptor. When nobody reads there any more the command's next write fails, as in a pipeline.
    Fd(OwnedFd),
    /// Into memory, without a limit: [`Exec::take_output`], [`Exec::take_errors`].
    Capture,
}

/// A command's streams. Data flows while somebody waits for the command.
#[derive(Debug, Default)]
pub struct Streams {
    /// Standard input.
    pub stdin: Source,
    /// Standard output; on a terminal everything.
    pub stdout: Sink,
    /// Standard error.
    pub stderr: Sink,
}

/// A command that runs in the guest, or has ended. Dropping it closes the connection, upon which the guest kills the
/// command and its process group.
///
/// Any thread may call any method at any time.
pub struct Exec {
    state: Mutex<State>,
    /// Wakes one who waits when another has something to send.
    wake: (File, File),
    pid: Option<u32>,
}

/// How a command ended, with what was captured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// How it ended.
    pub exit: Exit,
    /// Its standard output.
    pub stdout: Vec<u8>,
    /// Its standard error.
    pub stderr: Vec<u8>,
}

/// How waiting for a command came to its end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The command ended so.
    Exit(Exit),
    /// The time is over.
    TimedOut,
    /// `interrupted` has ended it.
    Interrupted,
}

/// A descriptor that an event loop waits on before it calls [`Exec::advance`] again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// The descriptor; it stays the command's, or the caller's.
    pub fd: RawFd,
    /// Until it can be read.
    pub readable: bool,
    /// Until it can be written to.
    pub writable: bool,
}

/// Runs a command to its end and captures what it writes.
///
/// # Errors
/// As [`Exec::start`] and [`Exec::wait`].
pub fn output(socket: &Path, command: &Command, input: Vec<u8>, timeout: Duration) -> Result<Output> {
    let streams = Streams { stdin: Source::Bytes(input), stdout: Sink::Capture, stderr: Sink::Capture };
    let exec = Exec::start(socket, command, Size::default(), streams, timeout)?;
    let exit = exec.wait()?;
    Ok(Output { exit, stdout: exec.take_output(), stderr: exec.take_errors() })
}

impl Exec {
    /// Starts a command. `size` is that of its terminal, where it has one; `timeout` is for a guest that does not answer
    /// yet. That the program could not be executed is not an error but how it ended ([`Exit::NotExecuted`]).
    ///
    /// # Errors
    /// [`Error::ControlLost`]; [`Error::GuestSetup`] when the guest cannot prepare it (working directory, user,
    /// terminal); [`Error::InvalidArgument`] for what no command can have.
    pub fn start(socket: &Path, command: &Command, size: Size, streams: Streams, timeout: Duration) -> Result<Exec> {
        let request = command.request(size)?;
        let mut connection = Connection::open(socket, timeout)?;
        connection.say(&Frame::Exec(request));
        let (pid, exit) = match connection.answer()? {
            Frame::Started { pid } => (Some(pid), None),
            Frame::NotExecuted { errno, message } => (None, Some(not_executed(errno, &message))),
            other => return Err(connection.unexpected(&other)),
        };
        let wake = wake().map_err(|error| Error::os("making a pipe", error))?;
        let Streams { stdin, stdout, stderr } = streams;
        let state = State {
            connection,
            input: Input { source: stdin, given: 0, window: WINDOW },
            outputs: [Flow::new(Stream::Output, stdout), Flow::new(Stream::Error, stderr)],
            last: exit,
        };
        Ok(Exec { state: Mutex::new(state), wake, pid })
    }

    /// The command's number in the guest; nothing where it was not executed.
    pub fn pid(&self) -> Option<u32> {
        self.pid
    }

    /// Sends a signal to the command and its process group.
    pub fn signal(&self, number: i32) {
        self.say(&Frame::Signal { number });
    }

    /// Tells the command's terminal its size.
    pub fn resize(&self, size: Size) {
        self.say(&Frame::Resize(size));
    }

    fn say(&self, frame: &Frame) {
        let mut state = self.state();
        if state.last.is_none() {
            state.connection.say(frame);
            if state.connection.has_unsent() {
                // A full pipe wakes as well.
                let _ = (&self.wake.1).write(&[0]);
            }
        }
    }

    /// Waits until the command has ended and everything that it wrote is where it belongs.
    ///
    /// # Errors
    /// [`Error::ControlLost`] when the guest or its VM ends first.
    pub fn wait(&self) -> Result<Exit> {
        match self.wait_with(None, &mut || ControlFlow::Continue(()))? {
            Ended::Exit(exit) => Ok(exit),
            Ended::TimedOut | Ended::Interrupted => unreachable!("neither was asked for"),
        }
    }

    /// As [`Exec::wait`], but not longer than `timeout`, and not when `interrupted`, which is called when a signal has
    /// interrupted the waiting, says so.
    ///
    /// # Errors
    /// As [`Exec::wait`].
    pub fn wait_with(&self, timeout: Option<Duration>, interrupted: Interrupted<'_>) -> Result<Ended> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            if let Some(exit) = self.advance()? {
                return Ok(Ended::Exit(exit));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(Ended::TimedOut);
            }
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            let watched = self.interests();
            let mut fds: Vec<PollFd<'_>> = watched.iter().map(Interest::poll_fd).collect();
            match poll(&mut fds, left.as_ref()) {
                Ok(_) => {}
                Err(rustix::io::Errno::INTR) => {
                    if interrupted().is_break() {
                        return Ok(Ended::Interrupted);
                    }
                }
                Err(errno) => return Err(Error::os("waiting for the guest", errno)),
            }
        }
    }

    /// What to wait on until the next [`Exec::advance`], for event loops.
    pub fn interests(&self) -> Vec<Interest> {
        let mut all = self.state().interests();
        all.push(Interest { fd: self.wake.0.as_raw_fd(), readable: true, writable: false });
        all
    }

    /// Moves on whatever can be moved without waiting; how the command ended, when it has and nothing is left to move.
    ///
    /// # Errors
    /// As [`Exec::wait`].
    pub fn advance(&self) -> Result<Option<Exit>> {
        while (&self.wake.0).read(&mut [0; 64]).is_ok_and(|count| count == 64) {}
        self.state().advance()
    }

    /// Takes what was captured of its standard output so far.
    pub fn take_output(&self) -> Vec<u8> {
        std::mem::take(&mut self.state().outputs[0].captured)
    }

    /// Takes what was captured of its standard error so far.
    pub fn take_errors(&self) -> Vec<u8> {
        std::mem::take(&mut self.state().outputs[1].captured)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Exec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Exec").field("pid", &self.pid).field("exit", &self.state().last).finish_non_exhaustive()
    }
}

impl Interest {
    fn poll_fd(&self) -> PollFd<'_> {
        let mut events = PollFlags::empty();
        events.set(PollFlags::IN, self.readable);
        events.set(PollFlags::OUT, self.writable);
        // SAFETY: descriptors of a command that is borrowed while this is made and waited on; one that another thread has
        // closed meanwhile is looked up by the kernel, and is an event that is looked into again.
        PollFd::from_borrowed_fd(unsafe { BorrowedFd::borrow_raw(self.fd) }, events)
    }
}

impl Command {
    fn request(&self, size: Size) -> Result<Request> {
        let nul = |name: &str, text: &Text| {
            if text.has_nul() { Err(Error::argument(name, "holds a NUL, which no command can have")) } else { Ok(()) }
        };
        nul("path", &self.path)?;
        self.args.iter().try_for_each(|arg| nul("args", arg))?;
        self.workdir.iter().try_for_each(|dir| nul("workdir", dir))?;
        let mut env = Vec::new();
        for (name, value) in &self.env {
            if name.is_empty() || name.contains(['=', '\0']) || value.has_nul() {
                return Err(Error::argument("env", format!("{name:?} cannot be a variable")));
            }
            env.push([name.as_bytes(), b"=", value.as_bytes()].concat());
        }
        let request = Request {
            path: self.path.as_bytes().to_vec(),
            args: self.args.iter().map(|arg| arg.as_bytes().to_vec()).collect(),
            env,
            on_top: !self.clear_env,
            workdir: self.workdir.as_ref().map(|dir| dir.as_bytes().to_vec()).unwrap_or_default(),
            uid: self.uid,
            gid: self.gid,
            terminal: self.terminal.then_some(size),
        };
        let length = Frame::Exec(request.clone()).encode().len();
        if length > crate::frames::LONGEST_REQUEST {
            return Err(Error::argument(
                "args",
                format!("are {length} bytes with the environment, more than Linux takes"),
            ));
        }
        Ok(request)
    }
}

fn not_executed(errno: i32, message: &[u8]) -> Exit {
    let status = if errno == libc::ENOENT { 127 } else { 126 };
    Exit::NotExecuted { status, reason: Text::from(message.to_vec()).to_string() }
}

/// A pipe of which neither end blocks.
fn wake() -> io::Result<(File, File)> {
    let (reader, writer) = io::pipe()?;
    let ends = (File::from(OwnedFd::from(reader)), File::from(OwnedFd::from(writer)));
    for end in [&ends.0, &ends.1] {
        let flags = rustix::fs::fcntl_getfl(end)? | rustix::fs::OFlags::NONBLOCK;
        rustix::fs::fcntl_setfl(end, flags)?;
    }
    Ok(ends)
}

struct State {
    connection: Connection,
    input: Input,
    outputs: [Flow; 2],
    /// The guest's last word on the command.
    last: Option<Exit>,
}

impl State {
    fn interests(&self) -> Vec<Interest> {
        let socket = self.connection.as_fd().as_raw_fd();
        let mut all = vec![Interest { fd: socket, readable: true, writable: self.connection.has_unsent() }];
        if self.last.is_some() {
            all.clear();
        } else if let (Source::Fd(fd), 1..) = (&self.input.source, self.input.window) {
            all.push(Interest { fd: fd.as_raw_fd(), readable: true, writable: false });
        }
        for output in &self.outputs {
            if let (Sink::Fd(fd), false) = (&output.sink, output.queue.is_empty()) {
                all.push(Interest { fd: fd.as_raw_fd(), readable: false, writable: true });
            }
        }
        all
    }

    fn advance(&mut self) -> Result<Option<Exit>> {
        if self.last.is_none() {
            self.connection.fill();
            self.hear()?;
        }
        for output in &mut self.outputs {
            output.deliver(&mut self.connection);
        }
        if self.last.is_none() {
            self.input.feed(&mut self.connection);
            self.connection.flush();
        }
        match &self.last {
            Some(exit) if self.outputs.iter().all(|output| output.queue.is_empty()) => {
                self.connection.close();
                Ok(Some(exit.clone()))
            }
            _ => Ok(None),
        }
    }

    fn hear(&mut self) -> Result<()> {
        while self.last.is_none() {
            let Some(frame) = self.connection.next()? else { return Ok(()) };
            match frame {
                Frame::Data(Stream::Output, bytes) => self.take(0, &bytes)?,
                Frame::Data(Stream::Error, bytes) => self.take(1, &bytes)?,
                Frame::Taken(Stream::Input, count) => self.input.may_send(count),
                Frame::End(Stream::Input) => self.input.source = Source::Null,
                Frame::End(Stream::Output | Stream::Error) => {}
                Frame::Exited { status } => self.last = Some(Exit::Code(status)),
                Frame::Killed { signal } => self.last = Some(Exit::Signal(signal)),
                Frame::Failed { message, .. } => return Err(guest_failed(&message)),
                other => return Err(self.connection.unexpected(&other)),
            }
        }
        Ok(())
    }

    fn take(&mut self, output: usize, bytes: &[u8]) -> Result<()> {
        let output = &mut self.outputs[output];
        if output.queue.len() + bytes.len() > WINDOW {
            return Err(self.connection.lost("the guest sends more than it may"));
        }
        output.queue.extend(bytes);
        Ok(())
    }
}

struct Input {
    source: Source,
    /// How many of the bytes were sent already.
    given: usize,
    /// How much more the guest takes.
    window: usize,
}

impl Input {
    fn may_send(&mut self, more: u32) {
        self.window = self.window.saturating_add(more as usize).min(WINDOW);
    }

    /// Sends what there is to be read now, as much as the guest takes.
    fn feed(&mut self, connection: &mut Connection) {
        let mut buffer = [0; CHUNK];
        while self.window > 0 && !connection.has_unsent() {
            let room = self.window.min(CHUNK);
            let sent = match &self.source {
                Source::Null if self.given == usize::MAX => return,
                Source::Null => 0,
                Source::Bytes(bytes) => {
                    let left = &bytes[self.given..];
                    let part = &left[..left.len().min(room)];
                    if !part.is_empty() {
                        connection.say(&Frame::Data(Stream::Input, part.to_vec()));
                    }
                    self.given += part.len();
                    part.len()
                }
                Source::Fd(fd) => {
                    if !ready(fd.as_fd(), PollFlags::IN) {
                        return;
                    }
                    match rustix::io::read(fd, &mut buffer[..room]) {
                        Ok(count) => {
                            if count > 0 {
                                connection.say(&Frame::Data(Stream::Input, buffer[..count].to_vec()));
                            }
                            count
                        }
                        Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return,
                        // Such as a terminal that is somebody else's now.
                        Err(_) => 0,
                    }
                }
            };
            if sent == 0 {
                connection.say(&Frame::End(Stream::Input));
                self.source = Source::Null;
                self.given = usize::MAX;
                return;
            }
            self.window -= sent;
        }
    }
}

/// An output on its way to its sink.
struct Flow {
    stream: Stream,
    sink: Sink,
    /// What has come and is not there yet, a window at most.
    queue: VecDeque<u8>,
    captured: Vec<u8>,
}

impl Flow {
    fn new(stream: Stream, sink: Sink) -> Flow {
        Flow { stream, sink, queue: VecDeque::new(), captured: Vec::new() }
    }

    fn deliver(&mut self, connection: &mut Connection) {
        let mut taken = 0;
        while !self.queue.is_empty() {
            let (next, _) = self.queue.as_slices();
            let done = match &self.sink {
                Sink::Null => next.len(),
                Sink::Capture => {
                    self.captured.extend_from_slice(next);
                    next.len()
                }
                Sink::Fd(fd) => {
                    if !ready(fd.as_fd(), PollFlags::OUT) {
                        break;
                    }
                    match rustix::io::write(fd, &next[..next.len().min(PIPE_BUF)]) {
                        Ok(count) => count,
                        Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => break,
                        Err(_) => {
                            self.sink = Sink::Null;
                            connection.say(&Frame::End(self.stream));
                            continue;
                        }
                    }
                }
            };
            self.queue.drain(..done);
            taken += done;
        }
        if taken > 0 {
            connection.say(&Frame::Taken(self.stream, u32::try_from(taken).unwrap_or(u32::MAX)));
        }
    }
}

/// Whether it can be read or written to now, or is broken, which the attempt then says.
fn ready(fd: BorrowedFd<'_>, events: PollFlags) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut [PollFd::from_borrowed_fd(fd, events)], Some(&now)).is_ok_and(|count| count > 0)
}
