//! Libraries whose functions fail at run time: one compiled library for every fault at every call.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use super::{Stub, StubLibrary};

pub(super) const RUNTIME: &str = include_str!("faults.c");

/// What a function does instead of its work, or before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It returns this.
    Return(i32),
    /// It aborts the process.
    Abort,
    /// It writes where nothing is.
    Segfault,
    /// It ends the process with this status.
    Exit(i32),
    /// It never returns.
    Hang,
    /// It is killed (SIGKILL), as from outside.
    Kill,
    /// Its process's parent is killed (SIGKILL).
    KillParent,
    /// Everything in its process group is killed (SIGKILL), its own process included.
    KillGroup,
    /// It writes at least so many bytes of escape sequences, control characters and broken UTF-8 to standard error and
    /// into the log, and then the line `said in FUNCTION`.
    Say(usize),
    /// It makes the terminal of the guest's standard output raw.
    Raw,
}

impl Fault {
    fn words(self) -> String {
        match self {
            Fault::Return(value) => format!("return {value}"),
            Fault::Abort => "abort".to_owned(),
            Fault::Segfault => "segfault".to_owned(),
            Fault::Exit(status) => format!("exit {status}"),
            Fault::Hang => "hang".to_owned(),
            Fault::Kill => "kill".to_owned(),
            Fault::KillParent => "kill-parent".to_owned(),
            Fault::KillGroup => "kill-group".to_owned(),
            Fault::Say(bytes) => format!("say {bytes}"),
            Fault::Raw => "raw".to_owned(),
        }
    }
}

/// C statements at the beginning of a function.
pub(super) fn check(name: &str) -> String {
    let mut c = String::new();
    if name == "krun_init_log" {
        c.push_str("    log_descriptor = target_fd;\n");
    }
    writeln!(c, "    static int nth;\n    int32_t fault;").unwrap();
    writeln!(c, "    if (faulted(\"{name}\", nth++, &fault))\n        return fault;").unwrap();
    c
}

impl Stub {
    /// With functions that can be made to fail after the library was built ([`StubLibrary::fault`]).
    pub fn faulty(mut self) -> Stub {
        self.faulty = true;
        self
    }
}

impl StubLibrary {
    /// A stub that was built elsewhere, or has a second name here.
    pub fn at(path: &Path) -> StubLibrary {
        let dir = path.parent().expect("the path of a file").to_owned();
        StubLibrary { dir, path: path.to_owned(), link: path.to_owned(), temp: None }
    }

    /// Makes the `nth` call of a function in each process (from 0) do these things, in this order; all other calls of
    /// the library do their work again. For a [`Stub::faulty`] library.
    pub fn fault(&self, function: &str, nth: usize, faults: &[Fault]) {
        let lines: String = faults.iter().map(|fault| format!("{function} {nth} {}\n", fault.words())).collect();
        fs::write(self.fault_path(), lines).expect("a file written");
    }

    /// Ends all faults.
    pub fn heal(&self) {
        let _absent = fs::remove_file(self.fault_path());
    }

    fn fault_path(&self) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(".fault");
        path.into()
    }
}
