//! A program that looks like gvproxy from krundl's side and says how it was started and what it was asked.

use std::fs;
use std::path::{Path, PathBuf};

use crate::stubs::program;

/// One of those programs.
#[derive(Debug)]
pub struct FakeGvproxy {
    /// Its file.
    pub path: PathBuf,
}

impl FakeGvproxy {
    /// The program in `dir` under a name, which says how it behaves: `serves`, `fails`, `dies`, `hangs`, `refuses`,
    /// `elsewhere`.
    pub fn new(dir: &Path, name: &str) -> FakeGvproxy {
        let path = dir.join(name);
        fs::copy(program(include_str!("gvproxy.c")), &path).expect("the program copied");
        FakeGvproxy { path }
    }

    /// What it noted with this word before it, a line each, of every start: `pid`, `arg`, `asked`, `frame`.
    pub fn noted(&self, word: &str) -> Vec<String> {
        let mut path = self.path.clone().into_os_string();
        path.push(".notes");
        let notes = fs::read_to_string(path).unwrap_or_default();
        let lines = notes.lines().filter_map(|line| line.strip_prefix(word)?.strip_prefix(' '));
        lines.map(str::to_owned).collect()
    }

    /// The process of its last start.
    pub fn pid(&self) -> u32 {
        let pids = self.noted("pid");
        pids.last().and_then(|line| line.split(' ').next()).and_then(|pid| pid.parse().ok()).expect("it was started")
    }

    /// The directory of its sockets, as it was told at its last start.
    pub fn dir(&self) -> PathBuf {
        let args = self.noted("arg");
        let path = args.iter().rev().find_map(|arg| arg.strip_prefix("unix://")).expect("a socket for the card");
        Path::new(path).parent().expect("an absolute path").to_owned()
    }
}
