//! A program that looks like passt from krundl's side and says how it was started.

use std::fs;
use std::path::{Path, PathBuf};

use crate::stubs::program;

/// One of those programs.
#[derive(Debug)]
pub struct FakePasst {
    /// Its file.
    pub path: PathBuf,
}

impl FakePasst {
    /// The program in `dir` under a name, which says how it behaves: `serves`, `fails`, `fails-once`, `deaf`.
    pub fn new(dir: &Path, name: &str) -> FakePasst {
        let path = dir.join(name);
        fs::copy(program(include_str!("passt.c")), &path).expect("the program copied");
        FakePasst { path }
    }

    /// What it noted: `pid N session N`, `fd N` and `arg TEXT`, a line each, of every start.
    pub fn notes(&self) -> Vec<String> {
        let mut path = self.path.clone().into_os_string();
        path.push(".notes");
        fs::read_to_string(path).unwrap_or_default().lines().map(str::to_owned).collect()
    }

    /// The process of its last start.
    pub fn pid(&self) -> u32 {
        let notes = self.notes();
        let last = notes.iter().rev().find_map(|line| line.strip_prefix("pid ")).expect("it was started");
        last.split(' ').next().and_then(|pid| pid.parse().ok()).expect("a number")
    }

    /// The arguments of its last start.
    pub fn args(&self) -> Vec<String> {
        let notes = self.notes();
        let start = notes.iter().rposition(|line| line.starts_with("pid ")).expect("it was started");
        notes[start..].iter().filter_map(|line| line.strip_prefix("arg ")).map(str::to_owned).collect()
    }
}
