//! Opens libkrun in a child process and says what it can do.
//!
//! A library that aborts, hangs, exits or prints when it is opened takes the child with it, not the caller.

use std::io::Read;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use crate::capabilities::Capabilities;
use crate::error::{Attempt, AttemptError, AttemptKind, Ended, Error, Result, Words};
use crate::helper::wire::{Inbox, Request, Status};
use crate::helper::{Helper, Running, child_ends_within, start_to_probe};
use crate::library::{Environment, Options, SkippedCandidate};

/// What to probe, and how long it may take.
#[derive(Clone, Debug)]
pub struct ProbeOptions {
    /// The library's file; `None`: search.
    pub library: Option<PathBuf>,
    /// A directory to search instead of the usual places.
    pub directory: Option<PathBuf>,
    /// The helper program; `None`: search.
    pub helper: Option<PathBuf>,
    /// How long opening one candidate may take before it counts as hung.
    pub timeout: Duration,
    /// What the search depends on besides; `None`: this process's environment.
    pub environment: Option<Environment>,
    /// Whether to read the release of the guest's kernel in libkrunfw. It is for people to read, no plan depends on it,
    /// and looking for it takes milliseconds, as long as all the rest.
    pub kernel_release: bool,
}

impl Default for ProbeOptions {
    /// Search for everything, and read the kernel's release; ten seconds for each candidate.
    fn default() -> ProbeOptions {
        ProbeOptions {
            library: None,
            directory: None,
            helper: None,
            timeout: Duration::from_secs(10),
            environment: None,
            kernel_release: true,
        }
    }
}

/// What a probe found.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Probed {
    /// What the library can do.
    pub capabilities: Capabilities,
    /// Every candidate that was tried, the chosen one last.
    pub attempts: Vec<Attempt>,
    /// What libraries printed when they were opened.
    pub words: Words,
    /// How the child ended after it had told what libkrun is, if not well: libkrunfw took it along when it was asked.
    pub died: Option<String>,
}

/// Opens libkrun in a child process and judges what it can do.
///
/// Takes no locks, uses no process-wide state, starts no thread; the child is gone when it returns.
///
/// # Errors
/// [`Error::LibraryNotFound`] with every attempt; [`Error::HelperNotFound`], [`Error::HelperMismatch`],
/// [`Error::HelperFailed`] when the child could not be had.
pub fn probe_isolated(options: &ProbeOptions) -> Result<Probed> {
    let helper = Helper::find(options.helper.as_deref())?;
    let mut search = Options {
        path: options.library.clone(),
        directory: options.directory.clone(),
        environment: options.environment.clone().unwrap_or_else(Environment::current),
        skip: Vec::new(),
    };
    // Each round ends with an answer or with one candidate more that is known to kill its process.
    loop {
        match round(&helper, &search, options)? {
            Round::Found(probed) => return Ok(*probed),
            Round::NotFound(attempts) => return Err(Error::LibraryNotFound { attempts }),
            Round::Crashed(skipped) => search.skip.push(skipped),
        }
    }
}

enum Round {
    Found(Box<Probed>),
    NotFound(Vec<Attempt>),
    Crashed(SkippedCandidate),
}

fn round(helper: &Helper, search: &Options, options: &ProbeOptions) -> Result<Round> {
    let request = Request::Probe { options: Box::new(search.clone()), kernel_release: options.kernel_release };
    let timeout = options.timeout;
    let (mut output, output_in) = std::io::pipe().map_err(|error| Error::os("making a pipe", error))?;
    let running = start_to_probe(helper, &request, output_in)?;
    let mut child = Child { running, timed_out: None };
    let mut inbox = Inbox::default();
    let mut noise = Vec::new();
    let mut story = Story::default();

    let heard = child.listen(&mut output, timeout, &mut noise, &mut |bytes| {
        inbox.push(bytes);
        let mut heard = Heard::Nothing;
        while let Some(status) = inbox.next::<Status>()? {
            let last = matches!(status, Status::NotFound | Status::Firmware(_));
            story.tell(status);
            heard = if last { Heard::Last } else { Heard::News };
        }
        Ok(heard)
    });
    let ended = child.end(timeout);
    let words = Words::quote(&noise);
    if let Err(reason) = heard {
        return Err(Error::HelperMismatch { helper: helper.path.clone(), caller: helper.caller.clone(), reason });
    }
    if let Some(observation) = story.observed {
        let capabilities = Capabilities::judge(*observation);
        let died = (!story.done && ended != Ended::Exit(0)).then(|| format!("{ended}{}", quoted(&words)));
        return Ok(Round::Found(Box::new(Probed { capabilities, attempts: story.attempts, words, died })));
    }
    if story.not_found {
        return Ok(Round::NotFound(story.attempts));
    }
    if let Some(candidate) = story.trying {
        let message = format!("the process that opened it {ended}{}", quoted(&words));
        let error = AttemptError { kind: AttemptKind::Crashed, message };
        return Ok(Round::Crashed(SkippedCandidate { candidate, error }));
    }
    if !inbox.greeted() {
        let reason = format!("it {ended} without a word of krundl's{}", quoted(&words));
        return Err(Error::HelperMismatch { helper: helper.path.clone(), caller: helper.caller.clone(), reason });
    }
    Err(Error::HelperFailed {
        helper: helper.path.clone(),
        reason: format!("it {ended} before it had an answer"),
        words,
    })
}

fn quoted(words: &Words) -> String {
    if words.as_str().is_empty() {
        String::new()
    } else {
        format!(", and wrote: {}", words.as_str().replace('\n', " | "))
    }
}

/// What the child said.
enum Heard {
    Nothing,
    News,
    /// Nothing follows; a process that the library left behind may hold the pipe open.
    Last,
}

/// What the child has told so far.
#[derive(Default)]
struct Story {
    attempts: Vec<Attempt>,
    trying: Option<String>,
    observed: Option<Box<crate::library::Observation>>,
    not_found: bool,
    /// Nothing is left to tell.
    done: bool,
}

impl Story {
    fn tell(&mut self, status: Status) {
        match status {
            Status::Trying { candidate, .. } => self.trying = Some(candidate),
            Status::Attempted(attempt) => {
                self.trying = None;
                self.attempts.push(attempt);
            }
            Status::Observed(observation) => self.observed = Some(observation),
            Status::Firmware(firmware) => {
                self.done = true;
                if let Some(observation) = &mut self.observed {
                    observation.firmware = *firmware;
                }
            }
            Status::NotFound => self.not_found = true,
            _ => {}
        }
    }
}

struct Child {
    running: Running,
    timed_out: Option<Duration>,
}

impl Child {
    /// Hears the child out: until it is done, or has said nothing for as long as `timeout`.
    fn listen(
        &mut self,
        output: &mut impl ReadFd,
        timeout: Duration,
        noise: &mut Vec<u8>,
        hear: &mut dyn FnMut(&[u8]) -> Result<Heard, String>,
    ) -> Result<(), String> {
        let mut deadline = Instant::now() + timeout;
        let mut buffer = [0; 16 * 1024];
        let mut noisy = true;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                self.timed_out = Some(timeout);
                return Ok(());
            }
            let wait = Timespec::try_from(left).ok();
            let (said, printed) = {
                let mut watched = vec![PollFd::new(&self.running.status, PollFlags::IN)];
                if noisy {
                    watched.push(PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN));
                }
                match poll(&mut watched, wait.as_ref()) {
                    Ok(_) | Err(rustix::io::Errno::INTR) => {}
                    Err(errno) => return Err(format!("it cannot be waited for: {errno}")),
                }
                let ready = |n: usize| watched.get(n).is_some_and(|fd| !fd.revents().is_empty());
                (ready(0), ready(1))
            };
            if printed {
                match output.read(&mut buffer) {
                    Ok(0) | Err(_) => noisy = false,
                    // What a library prints while it is opened is kept up to a bound.
                    Ok(n) => noise.extend(&buffer[..n.min((64 * 1024usize).saturating_sub(noise.len()))]),
                }
            }
            if said {
                match self.running.status.read(&mut buffer) {
                    Ok(0) => {
                        drain(output, noise);
                        return Ok(());
                    }
                    Ok(n) => match hear(&buffer[..n])? {
                        Heard::Nothing => {}
                        Heard::News => deadline = Instant::now() + timeout,
                        Heard::Last => {
                            drain(output, noise);
                            return Ok(());
                        }
                    },
                    Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                    // It has ended without having heard the request.
                    Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {
                        drain(output, noise);
                        return Ok(());
                    }
                    Err(error) => return Err(format!("it cannot be read from: {error}")),
                }
            }
        }
    }

    /// Makes sure that it is gone, and says how it went.
    fn end(mut self, timeout: Duration) -> Ended {
        use std::os::unix::process::ExitStatusExt;
        // The end of its statuses need not be its own: a library may have closed them, and hang.
        if self.timed_out.is_none() && !child_ends_within(&self.running.child, timeout) {
            self.timed_out = Some(timeout);
        }
        if self.timed_out.is_some() {
            let _ = self.running.child.kill();
        }
        let status = self.running.child.wait();
        match (self.timed_out, status) {
            (Some(after), _) => Ended::TimedOut(after.as_millis().try_into().unwrap_or(u64::MAX)),
            (None, Ok(status)) => match (status.code(), status.signal()) {
                (Some(code), _) => Ended::Exit(code),
                (None, Some(signal)) => Ended::Signal(signal),
                (None, None) => Ended::Unknown,
            },
            (None, Err(_)) => Ended::Unknown,
        }
    }
}

trait ReadFd: Read + AsFd {}
impl<T: Read + AsFd> ReadFd for T {}

/// Takes what is left in the pipe without waiting for more: a grandchild may still hold its other end.
fn drain(output: &mut impl ReadFd, noise: &mut Vec<u8>) {
    let mut buffer = [0; 4096];
    while noise.len() < 64 * 1024 {
        let ready = {
            let mut watched = [PollFd::from_borrowed_fd(output.as_fd(), PollFlags::IN)];
            poll(&mut watched, Some(&Timespec::default())).is_ok_and(|n| n > 0)
        };
        match if ready { output.read(&mut buffer) } else { Ok(0) } {
            Ok(0) | Err(_) => return,
            Ok(n) => noise.extend(&buffer[..n]),
        }
    }
}
