//! The command line `krundl`, run as a person runs it.
#![cfg(feature = "cli")]

mod doctor;
mod network;
mod plan;
mod run;

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

/// With none of the variables that the person who runs the tests may have set.
fn krundl(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_krundl"));
    for name in ["KRUNDL_LIBRARY", "KRUNDL_LIBRARY_DIR", "KRUNDL_VMM", "RUST_BACKTRACE"] {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

struct Said {
    status: i32,
    out: String,
    err: String,
}

fn said(command: &mut Command) -> Said {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Said { status: status.code().expect("an exit status"), out: text(stdout), err: text(stderr) }
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {}{}", self.out, self.err))
    }
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn help_tells_how_to_use_it_and_wrong_use_ends_with_2() {
    let help = said(&mut krundl(&["run", "--help"]));
    assert_eq!(help.status, 0);
    for words in ["Example: krundl run --mount", "HOST[:GUEST][:ro|:overlay]", "125"] {
        assert!(help.out.contains(words), "{words} in {}", help.out);
    }
    for arguments in [
        &[][..],
        &["run"],
        &["run", "root"],
        &["run", "--", "/bin/true"],
        &["run", "--cpus", "many", "root", "--", "/bin/true"],
        &["run", "--log-level", "loud", "root", "--", "/bin/true"],
        &["plan"],
        &["doctor", "--fast"],
        &["start"],
    ] {
        let wrong = said(&mut krundl(arguments));
        assert_eq!((wrong.status, wrong.out.as_str()), (2, ""), "{arguments:?}: {}", wrong.err);
        assert!(wrong.err.contains("--help"), "{arguments:?}: {}", wrong.err);
    }
}
