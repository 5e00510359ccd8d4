//! Processes, by what the kernel tells of them (proc(5)).

use std::fs;
use std::time::{Duration, Instant};

/// The children of a process, of all its threads, and those that have ended and that nobody has waited for.
///
/// By the parents of all processes: `task/*/children` is a file for each thread, of which one may end meanwhile.
pub fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("/proc");
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    pids.filter(|pid| stat(*pid, 1) == Some(u64::from(parent))).collect()
}

/// A number of the process's `stat`, counted from its state on: 1 is its parent.
pub fn stat(pid: u32, n: usize) -> Option<u64> {
    field(pid, n)?.parse().ok()
}

/// Whether a process has ended, at the latest in ten seconds; a corpse that nobody has waited for counts.
pub fn ends(pid: u32) -> bool {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        if field(pid, 0).is_none_or(|state| state == "Z") {
            return true;
        }
        if Instant::now() > deadline {
            return false;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn field(pid: u32, n: usize) -> Option<String> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program, in parentheses, may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(n).map(str::to_owned)
}
