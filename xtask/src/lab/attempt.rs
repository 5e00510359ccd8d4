//! One start of the machine, from its first instruction to the command's exit status or to a failure of the lab.

use std::io::{self, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, anyhow};

use super::machine::{Machine, Plan};
use super::wire::{Frame, Frames, Job, Kind, write_frame};

/// How long the machine may take to start the command.
const BOOT: Duration = Duration::from_secs(60);

/// How long the machine may be silent afterwards: it sends a sign of life every two seconds.
const SILENCE: Duration = Duration::from_secs(60);

/// What came of one start.
#[derive(Debug)]
pub struct Attempt {
    /// The command's exit status, or why there is none.
    pub end: Result<u8, Failure>,
    /// How long it took from the start to the command, if it got that far.
    pub boot: Option<Duration>,
    /// Whether the command wrote anything.
    pub wrote: bool,
    /// Whether the command was given anything on its stdin.
    pub read: bool,
}

/// The lab did not come to an end.
#[derive(Debug)]
pub struct Failure {
    /// Why, as a sentence.
    pub reason: String,
    /// What the machine's console said last.
    pub console: String,
    /// Whether the machine still worked: then it was the command that took too long, and trying again is no use.
    pub healthy: bool,
}

/// Where the command's output goes.
pub trait Sink {
    /// Takes bytes of the command's stdout ([`Kind::Output`]) or stderr ([`Kind::Error`]).
    fn take(&mut self, kind: Kind, bytes: &[u8]) -> io::Result<()>;
}

/// Starts the machine and runs the job in it.
pub fn attempt(plan: &Plan, job: &Job, deadline: Instant, forward_stdin: bool, sink: &mut dyn Sink) -> Result<Attempt> {
    let begin = Instant::now();
    let (machine, mut wire) = Machine::start(plan)?;
    let mut attempt = Attempt { end: Ok(0), boot: None, wrote: false, read: false };
    let mut pump = None;
    let mut greeted = false;
    let mut frames = Frames::default();
    let mut quiet_until = begin + BOOT;
    let end = loop {
        let frame = match next_frame(&mut frames, &mut wire, quiet_until.min(deadline))? {
            Next::Frame(frame) => frame,
            Next::Gone => break Err(("the machine ended before the command did".to_owned(), false)),
            Next::Late if Instant::now() >= deadline => {
                break Err((
                    "the command did not end within the time allowed (--timeout)".to_owned(),
                    attempt.boot.is_some(),
                ));
            }
            Next::Late if attempt.boot.is_none() => {
                break Err((format!("the machine did not start the command within {} s", BOOT.as_secs()), false));
            }
            Next::Late => break Err((format!("the machine gave no sign of life for {} s", SILENCE.as_secs()), false)),
        };
        if attempt.boot.is_some() {
            quiet_until = Instant::now() + SILENCE;
        }
        match frame {
            (Kind::Started, _) => {
                attempt.boot = Some(begin.elapsed());
                quiet_until = Instant::now() + SILENCE;
                if forward_stdin {
                    pump = Some(Pump::start(wire.try_clone()?)?);
                }
            }
            (Kind::Output | Kind::Error, bytes) => {
                attempt.wrote = true;
                match sink.take(frame.0, &bytes) {
                    // As if the command itself had written to a closed pipe.
                    Err(error) if error.kind() == io::ErrorKind::BrokenPipe => break Ok(128 + libc::SIGPIPE as u8),
                    taken => taken.context("could not write the command's output")?,
                }
            }
            (Kind::Alive, _) if !greeted => {
                greeted = true;
                // What fails here is the machine, and that shows in reading.
                let _ = greet(&mut wire, job, forward_stdin);
            }
            (Kind::Alive, _) => {}
            (Kind::Exit, bytes) => break Ok(bytes.first().copied().unwrap_or(0)),
            (Kind::Failed, reason) => break Err((String::from_utf8_lossy(&reason).into_owned(), false)),
            (kind, _) => {
                return Err(anyhow!("the lab's inside sent a frame of kind {kind:?}, which is not its to send"));
            }
        }
    };
    let console = machine.end();
    // The pump may be writing: the machine is gone, so that ends.
    let _ = wire.shutdown(Shutdown::Both);
    attempt.read = pump.is_some_and(Pump::stop);
    attempt.end = end.map_err(|(reason, healthy)| Failure { reason, console, healthy });
    Ok(attempt)
}

/// Sends what the machine waits for: the time (its own clock knows whole seconds only), the job, perhaps an empty stdin.
fn greet(wire: &mut UnixStream, job: &Job, forward_stdin: bool) -> io::Result<()> {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    let now = [now.as_secs().to_le_bytes(), u64::from(now.subsec_nanos()).to_le_bytes()].concat();
    write_frame(wire, Kind::Clock, &now)?;
    write_frame(wire, Kind::Job, &job.encode())?;
    if forward_stdin { Ok(()) } else { write_frame(wire, Kind::InputEnd, &[]) }
}

enum Next {
    Frame(Frame),
    Gone,
    Late,
}

fn next_frame(frames: &mut Frames, wire: &mut UnixStream, until: Instant) -> Result<Next> {
    loop {
        if let Some(frame) = frames.next_frame()? {
            return Ok(Next::Frame(frame));
        }
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(Next::Late);
        }
        wire.set_read_timeout(Some(left)).context("could not set the time to wait for the machine")?;
        match frames.read_from(wire) {
            Ok(0) => return Ok(Next::Gone),
            Ok(_) => {}
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted => {}
                // QEMU ended with bytes of ours unread.
                io::ErrorKind::ConnectionReset => return Ok(Next::Gone),
                _ => return Err(error).context("could not read from the machine"),
            },
        }
    }
}

/// Forwards this process's stdin to the command until its end, or until it is stopped.
struct Pump {
    thread: thread::JoinHandle<()>,
    /// Closing it wakes the thread.
    stop: UnixStream,
    used: Arc<AtomicBool>,
}

impl Pump {
    fn start(mut wire: UnixStream) -> Result<Self> {
        let (stop, stopped) = UnixStream::pair().context("could not make a socket pair")?;
        let used = Arc::new(AtomicBool::new(false));
        let mark = Arc::clone(&used);
        let thread = thread::spawn(move || {
            let stdin = io::stdin();
            let mut bytes = vec![0; 1 << 15];
            while wait_readable(stdin.as_fd(), stopped.as_fd()) {
                let count = read_unbuffered(stdin.as_fd(), &mut bytes);
                if count == 0 {
                    let _ = write_frame(&mut wire, Kind::InputEnd, &[]);
                    return;
                }
                mark.store(true, Ordering::SeqCst);
                if write_frame(&mut wire, Kind::Input, &bytes[..count]).is_err() {
                    return;
                }
            }
        });
        Ok(Self { thread, stop, used })
    }

    /// Stops forwarding and tells whether anything was forwarded.
    fn stop(self) -> bool {
        drop(self.stop);
        let _ = self.thread.join();
        self.used.load(Ordering::SeqCst)
    }
}

/// Waits until `input` can be read (or is at its end); false when `stop` was closed first.
fn wait_readable(input: BorrowedFd<'_>, stop: BorrowedFd<'_>) -> bool {
    let wanted =
        |descriptor: BorrowedFd<'_>| libc::pollfd { fd: descriptor.as_raw_fd(), events: libc::POLLIN, revents: 0 };
    let mut descriptors = [wanted(stop), wanted(input)];
    loop {
        // SAFETY: the pointer and the count describe `descriptors`, which outlives the call.
        let ready = unsafe { libc::poll(descriptors.as_mut_ptr(), descriptors.len() as libc::nfds_t, -1) };
        if ready > 0 {
            return descriptors[0].revents == 0;
        }
        if io::Error::last_os_error().kind() != io::ErrorKind::Interrupted {
            return false;
        }
    }
}

/// Reads once, past std's buffer, which would hide from poll what it holds. 0 at the end and on errors.
fn read_unbuffered(input: BorrowedFd<'_>, bytes: &mut [u8]) -> usize {
    // SAFETY: the pointer and the length describe `bytes`, which outlives the call.
    let count = unsafe { libc::read(input.as_raw_fd(), bytes.as_mut_ptr().cast(), bytes.len()) };
    usize::try_from(count).unwrap_or(0)
}

/// Shows the command's output as it comes.
#[derive(Debug)]
pub struct Show;

impl Sink for Show {
    fn take(&mut self, kind: Kind, bytes: &[u8]) -> io::Result<()> {
        if kind == Kind::Error {
            return io::stderr().write_all(bytes);
        }
        let mut stdout = io::stdout().lock();
        stdout.write_all(bytes).and_then(|()| stdout.flush())
    }
}
