//! Everything that can go wrong, as one enum with one table of codes.
//!
//! Rust, C, Python and JSON share the numbers and names of [`Code`]. Each error says what was tried, where, why it
//! failed, and what would mend it; what libkrun itself said is quoted, bounded and without control characters.

mod attempt;
mod code;
mod problem;
mod words;

use std::path::PathBuf;

pub use attempt::{Attempt, AttemptError, AttemptKind, Origin};
pub use code::{CODES, Code, CodeInfo};
pub use problem::{Needs, Problem, ProblemKind};
pub use words::Words;

use crate::symbols::Function;

/// krundl's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Ended {
    /// It exited with this status (0 to 255).
    Exit(i32),
    /// This signal killed it.
    Signal(i32),
    /// It did not end in time and was killed; the number is the time it was given, in milliseconds.
    TimedOut(u64),
    /// Somebody else in this process took its status (a `waitpid` for any child).
    Unknown,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ended::Exit(status) => write!(f, "exited with status {status}"),
            Ended::Signal(signal) => match crate::errno::signal_name(*signal) {
                Some(name) => write!(f, "was killed by signal {signal} ({name})"),
                None => write!(f, "was killed by signal {signal}"),
            },
            Ended::TimedOut(ms) => write!(f, "was killed after {ms} ms without an answer"),
            Ended::Unknown => write!(f, "ended, and its status was taken by somebody else in this process"),
        }
    }
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No candidate is a libkrun that opens. `attempts` has every candidate with the loader's own words.
    #[error("no usable libkrun: {}\n{}\nfix: {}", attempt::summary(.attempts), attempt::list(.attempts), attempt::fix(.attempts))]
    LibraryNotFound {
        /// Every candidate, in the order in which they were tried.
        attempts: Vec<Attempt>,
    },

    /// The library speaks an API generation that krundl does not; none of its functions was called.
    #[error("{}: {reason}; krundl does not call into it\nfix: install libkrun 1.x, or name another library with KRUNDL_LIBRARY", .path.display())]
    GenerationUnknown {
        /// The library.
        path: PathBuf,
        /// How its generation was told.
        reason: String,
    },

    /// The spec is wrong in itself or on this host.
    #[error("the VM cannot be started as described:{}", problem::list(.problems))]
    InvalidSpec {
        /// Every problem, in the order of the fields.
        problems: Vec<Problem>,
    },

    /// This libkrun cannot do what the spec asks for.
    #[error("this libkrun cannot run the VM as described:{}", problem::list(.problems))]
    Unsupported {
        /// Every refusal.
        problems: Vec<Problem>,
    },

    /// The helper program `krundl-vmm` was not found.
    #[error("krundl-vmm, the program that runs libkrun, was not found; tried: {}\nfix: install it beside the program or library that uses krundl, or name it with KRUNDL_VMM", .tried.iter().map(|p| p.display().to_string()).collect::<Vec<_>>().join(", "))]
    HelperNotFound {
        /// Where it was looked for.
        tried: Vec<PathBuf>,
    },

    /// The helper is of another version, or is no `krundl-vmm` at all.
    #[error("{} does not fit {}: {reason}\nfix: install both from the same release of krundl", .helper.display(), .caller.display())]
    HelperMismatch {
        /// The helper program.
        helper: PathBuf,
        /// Our own program or library.
        caller: PathBuf,
        /// What did not fit.
        reason: String,
    },

    /// The helper could not be started, or stopped in the middle of a sentence.
    #[error("{}: {reason}{words}", .helper.display())]
    HelperFailed {
        /// The helper program.
        helper: PathBuf,
        /// What happened.
        reason: String,
        /// What it wrote before.
        words: Words,
    },

    /// A program that krundl starts for a network card could not be started, or ended before it served.
    #[error("{field}: {} {reason}{}", .program.display(), words.of("its"))]
    Network {
        /// The field of the spec that asks for it, `nics[0].passt`.
        field: String,
        /// The program.
        program: PathBuf,
        /// What happened.
        reason: String,
        /// What it wrote.
        words: Words,
    },

    /// The library is not the one that was probed.
    #[error("{} changed between the probe and the launch: {reason}\nfix: probe again, then launch", .path.display())]
    LibraryChanged {
        /// The library.
        path: PathBuf,
        /// Which mark of identity differs.
        reason: String,
    },

    /// One of libkrun's functions refused.
    #[error("{}({args}) failed: {}{words}", .function.name(), crate::errno::describe(*.errno))]
    Call {
        /// The function.
        function: Function,
        /// Its arguments, as text.
        args: String,
        /// The positive errno.
        errno: i32,
        /// What libkrun wrote.
        words: Words,
    },

    /// `krun_start_enter` came back instead of running the VM.
    #[error("libkrun did not start the VM: krun_start_enter returned {} ({}){words}", .errno.wrapping_neg(), start_meaning(*.errno))]
    Start {
        /// The positive errno.
        errno: i32,
        /// What libkrun wrote.
        words: Words,
    },

    /// libkrun's process died before the guest was up.
    #[error("libkrun's process {ended} {}before the guest was up{words}", during.map(|f| format!("in {f}, ")).unwrap_or_default())]
    Crashed {
        /// How.
        ended: Ended,
        /// The function that was called last, as far as that is known.
        during: Option<Function>,
        /// What libkrun wrote.
        words: Words,
    },

    /// The VM ended without a word from the guest: nothing proves that the workload ran.
    #[error(
        "the VM ended without the guest ever having been up (libkrun's process {ended}): the workload did not run{words}"
    )]
    NeverUp {
        /// How the VM's process ended.
        ended: Ended,
        /// What libkrun and the guest's kernel wrote.
        words: Words,
    },

    /// Our program in the guest could not prepare the workload (a mount, the working directory).
    #[error("in the guest: {message}{words}")]
    GuestSetup {
        /// What failed there, with the name of the mount or path.
        message: String,
        /// What libkrun wrote.
        words: Words,
    },

    /// The guest was up and then vanished without saying how the workload ended (kernel panic, power-off, kill).
    #[error("the guest stopped without telling how the workload ended (libkrun's process {ended}){words}")]
    GuestLost {
        /// How the VM's process ended.
        ended: Ended,
        /// What libkrun and the guest's kernel wrote.
        words: Words,
    },

    /// The time given was over.
    #[error("{what} did not happen within {} ms{}{words}", .after.as_millis(), during.map(|f| format!(" (it is in {f})")).unwrap_or_default())]
    TimedOut {
        /// What was waited for.
        what: &'static str,
        /// The time given.
        after: std::time::Duration,
        /// The function that was called last, as far as that is known.
        during: Option<Function>,
        /// What libkrun wrote so far.
        words: Words,
    },

    /// Readiness cannot be told: this libkrun has no channel for the guest's first word.
    #[error("whether the guest is up cannot be told: {reason}")]
    ReadinessUnknown {
        /// Why not.
        reason: String,
    },

    /// The guest's control port cannot be reached, or the conversation broke off: what was asked for may or may not have
    /// happened.
    #[error("the guest's control port {}: {reason}", .socket.display())]
    ControlLost {
        /// The port's socket.
        socket: PathBuf,
        /// What happened.
        reason: String,
    },

    /// The operating system refused something that krundl itself needs.
    #[error("{what}: {source}")]
    Os {
        /// What was tried, and on what.
        what: String,
        /// The operating system's answer.
        source: std::io::Error,
    },

    /// A function of krundl was given something that it cannot take.
    #[error("{argument}: {reason}")]
    InvalidArgument {
        /// Which argument or option.
        argument: String,
        /// What is wrong with it.
        reason: String,
    },

    /// krundl itself has failed, which is a mistake in it. What was asked for did not happen.
    #[error("krundl failed, which is a mistake in krundl: {message}")]
    Internal {
        /// What it said.
        message: String,
    },
}

fn start_meaning(errno: i32) -> String {
    // The context is ours and good, so of the two meanings of ENOENT only the missing firmware is left.
    match errno {
        libc::ENOENT => {
            "it found no libkrunfw, the library that holds the guest's kernel; fix: install libkrunfw, or give a kernel"
                .to_owned()
        }
        libc::EINVAL => "EINVAL: it could not build the VM; its own words say why".to_owned(),
        other => crate::errno::describe(other),
    }
}

impl Error {
    /// The code of this error, the same number in Rust, C, Python and JSON.
    pub fn code(&self) -> Code {
        match self {
            Error::LibraryNotFound { .. } => Code::LibraryNotFound,
            Error::GenerationUnknown { .. } => Code::GenerationUnknown,
            Error::InvalidSpec { .. } => Code::InvalidSpec,
            Error::Unsupported { .. } => Code::Unsupported,
            Error::HelperNotFound { .. } => Code::HelperNotFound,
            Error::HelperMismatch { .. } => Code::HelperMismatch,
            Error::HelperFailed { .. } => Code::HelperFailed,
            Error::Network { .. } => Code::Network,
            Error::LibraryChanged { .. } => Code::LibraryChanged,
            Error::Call { .. } => Code::Call,
            Error::Start { .. } => Code::Start,
            Error::Crashed { .. } => Code::Crashed,
            Error::NeverUp { .. } => Code::NeverUp,
            Error::GuestSetup { .. } => Code::GuestSetup,
            Error::GuestLost { .. } => Code::GuestLost,
            Error::TimedOut { .. } => Code::TimedOut,
            Error::ReadinessUnknown { .. } => Code::ReadinessUnknown,
            Error::ControlLost { .. } => Code::ControlLost,
            Error::Os { .. } => Code::Os,
            Error::InvalidArgument { .. } => Code::InvalidArgument,
            Error::Internal { .. } => Code::Internal,
        }
    }

    /// The problems of [`Error::InvalidSpec`] and [`Error::Unsupported`]; empty for all others.
    pub fn problems(&self) -> &[Problem] {
        match self {
            Error::InvalidSpec { problems } | Error::Unsupported { problems } => problems,
            _ => &[],
        }
    }

    /// The candidates of [`Error::LibraryNotFound`]; empty for all others.
    pub fn attempts(&self) -> &[Attempt] {
        match self {
            Error::LibraryNotFound { attempts } => attempts,
            _ => &[],
        }
    }

    /// The function of libkrun that refused, or during which its process died or was given up.
    pub fn function(&self) -> Option<Function> {
        match self {
            Error::Call { function, .. } => Some(*function),
            Error::Start { .. } => Some(Function::krun_start_enter),
            Error::Crashed { during, .. } | Error::TimedOut { during, .. } => *during,
            _ => None,
        }
    }

    /// The positive errno that libkrun or the operating system gave.
    pub fn errno(&self) -> Option<i32> {
        match self {
            Error::Call { errno, .. } | Error::Start { errno, .. } => Some(*errno),
            Error::Os { source, .. } => source.raw_os_error(),
            _ => None,
        }
    }

    /// As JSON, the same for every language: `{"error": {"code", "name", "message"}, "problems": [...]}`, with
    /// `attempts` where there are any.
    pub fn to_json(&self) -> String {
        let code = self.code();
        let mut value = serde_json::json!({
            "error": {"code": code as u32, "name": code, "message": self.to_string()},
            "problems": self.problems(),
        });
        if let Error::LibraryNotFound { attempts } = self {
            value["attempts"] = serde_json::json!(attempts);
        }
        serde_json::to_string_pretty(&value).expect("an error is plain data")
    }

    /// What libkrun, its process, the guest's kernel or a network's program wrote, where that is part of the error.
    pub fn words(&self) -> Option<&Words> {
        match self {
            Error::HelperFailed { words, .. }
            | Error::Network { words, .. }
            | Error::Call { words, .. }
            | Error::Start { words, .. }
            | Error::Crashed { words, .. }
            | Error::NeverUp { words, .. }
            | Error::GuestSetup { words, .. }
            | Error::GuestLost { words, .. }
            | Error::TimedOut { words, .. } => Some(words),
            _ => None,
        }
    }

    /// The problems as one error: [`Error::InvalidSpec`] when one of them is the spec's or the host's fault,
    /// [`Error::Unsupported`] when all are this libkrun's.
    pub fn refused(problems: Vec<Problem>) -> Error {
        if problems.iter().all(|p| p.kind == ProblemKind::Unsupported) {
            Error::Unsupported { problems }
        } else {
            Error::InvalidSpec { problems }
        }
    }

    /// An argument that cannot be taken.
    pub fn argument(argument: impl Into<String>, reason: impl Into<String>) -> Error {
        Error::InvalidArgument { argument: argument.into(), reason: reason.into() }
    }

    /// An operating-system error with what was tried.
    pub fn os(what: impl Into<String>, source: impl Into<std::io::Error>) -> Error {
        Error::Os { what: what.into(), source: source.into() }
    }
}
