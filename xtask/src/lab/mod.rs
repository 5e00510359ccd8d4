//! The lab: a machine whose `/dev/kvm` can really run guests, on a machine whose processor need not be able to.
//!
//! A command in the lab sees this machine's file system, below an overlay whose changes are thrown away at the end, with
//! fresh `/tmp` and `/run`. The current directory (unless it is `/`) and those of [`Lab::write`] are shared for reading
//! and writing; nothing else keeps what the command writes. Its arguments, its stdin, stdout, stderr and exit status pass
//! through unchanged.
//!
//! **Statuses.** The command's own; 128 + n if signal n ended it; 127 and 126 if it was not found or could not be
//! started; [`FAILED`] (124) if the lab itself did not come to an end.
//!
//! **Trying again.** Emulated machines hang now and then. A start that brings no exit status is tried once more, with a
//! line on stderr that says so, unless the command has already written or read something (see [`Lab::retry`]) or simply
//! took too long. A command that ends with a status, whichever, is never run again.
//!
//! Nothing is left behind: the machine has no files of its own, and the kernel ends it with this process.

mod attempt;
pub(crate) mod cpio;
pub mod inside;
mod machine;
mod modules;
mod parts;
mod wire;

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::cache::Cache;
use crate::command::last_lines;
use crate::debian;
use attempt::{Attempt, Failure, Show, Sink, attempt};
use machine::Plan;
use wire::{Job, Kind};

/// The exit status that stands for a failure of the lab itself.
pub const FAILED: u8 = 124;

/// The variables that the command has from outside, besides those whose names begin with `KRUNDL_`.
const PASSED: [&str; 5] = ["PATH", "HOME", "LANG", "RUST_BACKTRACE", "TERM"];

/// Directories that the lab has of its own, empty at first.
const FRESH: [&str; 2] = ["/tmp", "/run"];

/// Directories whose content belongs to the machine itself.
const SYSTEM: [&str; 3] = ["/dev", "/proc", "/sys"];

/// A lab that is being set up.
#[derive(Clone, Debug)]
pub struct Lab {
    cache: Cache,
    cpus: u32,
    memory_mib: u32,
    timeout: Duration,
    environment: Vec<(OsString, OsString)>,
    writable: Vec<PathBuf>,
    readable: Vec<PathBuf>,
    stdin: bool,
    capture: bool,
    retry: bool,
}

/// What came of a command in the lab.
#[derive(Debug)]
pub struct LabResult {
    /// The command's exit status, or why the lab did not come to one. What the lab's console said is on stderr already.
    pub outcome: Result<u8, String>,
    /// The command's stdout, if it was to be captured.
    pub stdout: Vec<u8>,
    /// The command's stderr, if it was to be captured.
    pub stderr: Vec<u8>,
    /// How many times the machine was started: 1 or 2.
    pub attempts: u32,
    /// The time from the last start of the machine to the start of the command, if it got that far.
    pub boot: Option<Duration>,
    /// The time that everything took, without fetching and building the lab's parts.
    pub duration: Duration,
}

impl LabResult {
    /// The command's exit status, or [`FAILED`].
    pub fn status(&self) -> u8 {
        *self.outcome.as_ref().unwrap_or(&FAILED)
    }
}

impl Lab {
    /// A lab with one processor, 3072 MiB of memory, 300 s of time and an empty stdin, whose output is shown.
    pub fn new(cache: &Cache) -> Self {
        Self {
            cache: cache.clone(),
            cpus: 1,
            memory_mib: 3072,
            timeout: Duration::from_secs(300),
            environment: Vec::new(),
            writable: Vec::new(),
            readable: Vec::new(),
            stdin: false,
            capture: false,
            retry: false,
        }
    }

    /// The number of emulated processors. With more than one the machine is less steady.
    pub fn cpus(mut self, cpus: u32) -> Self {
        self.cpus = cpus;
        self
    }

    /// The machine's memory in MiB. Half of it at most can be filled with changes to the file system.
    pub fn memory_mib(mut self, memory_mib: u32) -> Self {
        self.memory_mib = memory_mib;
        self
    }

    /// How long everything may take, a second attempt included.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Sets a variable in the command's environment.
    pub fn env(mut self, name: impl Into<OsString>, value: impl Into<OsString>) -> Self {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Shares a directory for reading and writing, at its own path, besides the current directory.
    pub fn write(mut self, directory: impl Into<PathBuf>) -> Self {
        self.writable.push(directory.into());
        self
    }

    /// Shows a path below `/tmp` or `/run` in the lab, where it would not be seen otherwise. Changes are thrown away.
    pub fn read(mut self, path: impl Into<PathBuf>) -> Self {
        self.readable.push(path.into());
        self
    }

    /// Whether the command gets this process's stdin, instead of an empty one.
    pub fn stdin(mut self, forward: bool) -> Self {
        self.stdin = forward;
        self
    }

    /// Whether the command's output is kept for [`LabResult`], instead of being shown as it comes.
    pub fn capture(mut self, capture: bool) -> Self {
        self.capture = capture;
        self
    }

    /// Whether a lab that failed may be tried again although the command had written something. Output that is shown
    /// then shows twice; of captured output only the last attempt's is kept, so that it is always tried again.
    pub fn retry(mut self, retry: bool) -> Self {
        self.retry = retry;
        self
    }

    /// What emulates the machine, and the Debian package that brings it.
    pub const PROGRAM: (&str, &str) = ("qemu-system-x86_64", "qemu-system-x86");

    /// Runs a command: the program (looked up in PATH) and its arguments.
    pub fn run(&self, command: &[OsString]) -> Result<LabResult> {
        let job = self.job(command)?;
        let plan = Plan {
            qemu: debian::program(Lab::PROGRAM.0, Lab::PROGRAM.1)?,
            parts: parts::parts(&self.cache)?,
            cpus: self.cpus,
            memory_mib: self.memory_mib,
            program: this_program()?,
            writable: job.writable.clone(),
        };
        let begin = Instant::now();
        let deadline = begin + self.timeout;
        let mut attempts = 1;
        loop {
            let mut capture = Capture::default();
            let sink: &mut dyn Sink = if self.capture { &mut capture } else { &mut Show };
            let last = attempt(&plan, &job, deadline, self.stdin, sink)?;
            if let Err(failure) = &last.end {
                complain(failure);
                if attempts == 1 && self.may_retry(&last, failure) && Instant::now() < deadline {
                    eprintln!("lab: trying once more");
                    attempts = 2;
                    continue;
                }
            }
            return Ok(LabResult {
                outcome: last.end.map_err(|failure| failure.reason),
                stdout: capture.stdout,
                stderr: capture.stderr,
                attempts,
                boot: last.boot,
                duration: begin.elapsed(),
            });
        }
    }

    fn may_retry(&self, last: &Attempt, failure: &Failure) -> bool {
        !failure.healthy && !last.read && (!last.wrote || self.capture || self.retry)
    }

    fn job(&self, command: &[OsString]) -> Result<Job> {
        let directory = std::env::current_dir().context("could not find the current directory")?;
        let mut writable = vec![directory.clone()];
        for path in &self.writable {
            let path =
                path.canonicalize().with_context(|| format!("could not share the directory {}", path.display()))?;
            if !path.is_dir() || !can_be_shared(&path) {
                bail!(
                    "{} cannot be shared for writing: it has to be a directory, and not / or one of the system's own ({})",
                    path.display(),
                    SYSTEM.join(", ")
                );
            }
            writable.push(path);
        }
        // A current directory that cannot be shared is there all the same, for reading.
        writable.retain(|path| can_be_shared(path));
        let mut readable = vec![self.cache.root().to_owned()];
        for path in &self.readable {
            readable
                .push(path.canonicalize().with_context(|| format!("could not show {} in the lab", path.display()))?);
        }
        readable.retain(|path| FRESH.iter().any(|fresh| path.starts_with(fresh)));
        let environment = self.environment(std::env::vars_os(), &directory);
        let job = Job {
            command: command.to_vec(),
            environment,
            directory,
            writable: without_nested(writable),
            readable: without_nested(readable),
        };
        if job.command.is_empty() {
            bail!("there is no command to run in the lab");
        }
        let variables = job.environment.iter().flat_map(|(name, value)| [name, value]);
        if job.command.iter().chain(variables).any(|text| wire::has_nul(text)) {
            bail!("an argument or a variable for the lab contains a NUL byte, which no program can be given");
        }
        Ok(job)
    }

    fn environment(
        &self,
        outside: impl Iterator<Item = (OsString, OsString)>,
        directory: &Path,
    ) -> Vec<(OsString, OsString)> {
        let passed = |name: &OsStr| {
            name.to_str().is_some_and(|name| PASSED.contains(&name)) || name.as_encoded_bytes().starts_with(b"KRUNDL_")
        };
        let mut environment: Vec<_> = outside.filter(|(name, _)| passed(name)).collect();
        environment.push(("PWD".into(), directory.into()));
        // The lab's cache is the outside's, whatever HOME says inside.
        environment.push(("KRUNDL_CACHE".into(), self.cache.root().into()));
        environment.push(("KRUNDL_LAB".into(), "1".into()));
        environment.extend(self.environment.iter().cloned());
        environment
    }
}

/// This very program's file, or what cargo has put in its place since this process started.
fn this_program() -> Result<PathBuf> {
    let path = std::env::current_exe().context("could not find this very program")?;
    let replaced = path.as_os_str().as_encoded_bytes().strip_suffix(b" (deleted)").map(OsStr::from_bytes);
    Ok(replaced.map_or(path.clone(), PathBuf::from))
}

fn can_be_shared(path: &Path) -> bool {
    path != Path::new("/") && !SYSTEM.iter().any(|system| path.starts_with(system))
}

/// The paths that lie in no other one of the list, sorted.
fn without_nested(mut paths: Vec<PathBuf>) -> Vec<PathBuf> {
    paths.sort();
    let mut kept: Vec<PathBuf> = Vec::new();
    for path in paths {
        // A directory sorts before what is in it.
        if !kept.iter().any(|outer| path.starts_with(outer)) {
            kept.push(path);
        }
    }
    kept
}

fn complain(failure: &Failure) {
    let console = last_lines(&failure.console, 80);
    if !failure.healthy && !console.is_empty() {
        eprintln!("lab: the end of the machine's console:\n{console}");
    }
    eprintln!("lab: {}", failure.reason);
}

#[derive(Debug, Default)]
struct Capture {
    stdout: Vec<u8>,
    stderr: Vec<u8>,
}

impl Sink for Capture {
    fn take(&mut self, kind: Kind, bytes: &[u8]) -> io::Result<()> {
        let kept = if kind == Kind::Error { &mut self.stderr } else { &mut self.stdout };
        kept.extend_from_slice(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lab() -> Lab {
        Lab::new(&Cache::at(std::env::temp_dir()).unwrap())
    }

    #[test]
    fn nested_directories_are_shared_once() {
        let paths = ["/w/b", "/w", "/x", "/w b", "/x"].map(PathBuf::from).to_vec();
        assert_eq!(without_nested(paths), ["/w", "/w b", "/x"].map(PathBuf::from));
    }

    #[test]
    fn the_environment_of_the_command() {
        let outside = [("PATH", "/bin"), ("SECRET", "x"), ("KRUNDL_X", "y"), ("HOME", "/root")];
        let outside = outside.map(|(name, value)| (OsString::from(name), OsString::from(value)));
        let lab = lab().env("HOME", "/h").env("MORE", "");
        let inside: std::collections::BTreeMap<_, _> =
            lab.environment(outside.into_iter(), Path::new("/w")).into_iter().collect();
        let value = |name: &str| inside.get(OsStr::new(name)).map(|value| value.to_str().unwrap());
        assert_eq!(value("PATH"), Some("/bin"));
        assert_eq!(value("SECRET"), None);
        assert_eq!(value("KRUNDL_X"), Some("y"));
        assert_eq!(value("HOME"), Some("/h"), "what is set for the lab wins");
        assert_eq!(value("MORE"), Some(""));
        assert_eq!(value("KRUNDL_LAB"), Some("1"));
        assert_eq!(value("PWD"), Some("/w"));
    }

    #[test]
    fn what_cannot_be_run_is_refused() {
        let refused = |lab: Lab, command: &[&str]| {
            let command: Vec<OsString> = command.iter().map(OsString::from).collect();
            lab.job(&command).unwrap_err().to_string()
        };
        assert!(refused(lab(), &[]).contains("no command"));
        assert!(refused(lab(), &["a\0b"]).contains("NUL"));
        assert!(refused(lab().write("/"), &["true"]).contains("cannot be shared"));
        assert!(refused(lab().write("/proc/sys"), &["true"]).contains("cannot be shared"));
        assert!(refused(lab().write("/nowhere/at/all"), &["true"]).contains("/nowhere/at/all"));
    }

    #[test]
    fn only_a_failure_of_the_lab_is_tried_again() {
        let attempt = |wrote, read| Attempt { end: Ok(0), boot: None, wrote, read };
        let failure = |healthy| Failure { reason: String::new(), console: String::new(), healthy };
        assert!(lab().may_retry(&attempt(false, false), &failure(false)));
        assert!(!lab().may_retry(&attempt(true, false), &failure(false)));
        assert!(lab().retry(true).may_retry(&attempt(true, false), &failure(false)));
        assert!(lab().capture(true).may_retry(&attempt(true, false), &failure(false)));
        assert!(!lab().retry(true).may_retry(&attempt(false, true), &failure(false)));
        assert!(!lab().retry(true).may_retry(&attempt(false, false), &failure(true)));
    }
}
