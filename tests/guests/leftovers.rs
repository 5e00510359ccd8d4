//! What VMs may leave behind: processes, descriptors, directories.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

/// What there was before a VM.
pub struct Before {
    descriptors: BTreeMap<i32, PathBuf>,
}

impl Before {
    pub fn look() -> Before {
        Before { descriptors: descriptors() }
    }

    /// Compares with now.
    ///
    /// # Errors
    /// Everything that has come and stayed.
    pub fn compare(&self) -> Result<(), String> {
        let mut left = Vec::new();
        for (number, target) in descriptors() {
            if self.descriptors.get(&number) != Some(&target) {
                left.push(format!("descriptor {number}: {}", target.display()));
            }
        }
        left.extend(children(std::process::id()).iter().map(|pid| format!("process {pid}: {}", command(*pid))));
        for entry in fs::read_dir(std::env::temp_dir()).expect("a directory for temporary files").flatten() {
            if entry.file_name().to_string_lossy().starts_with("krundl-") {
                left.push(entry.path().display().to_string());
            }
        }
        if left.is_empty() { Ok(()) } else { Err(format!("left behind: {}", left.join(", "))) }
    }
}

fn descriptors() -> BTreeMap<i32, PathBuf> {
    let own = fs::File::open("/proc/self/fd").expect("/proc");
    let listing = fs::read_dir("/proc/self/fd").expect("/proc");
    let numbers: Vec<i32> = listing.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect();
    // The two directories that are open for this very listing are none.
    numbers
        .into_iter()
        .filter(|number| *number != own.as_raw_fd())
        .filter_map(|number| Some((number, fs::read_link(format!("/proc/self/fd/{number}")).ok()?)))
        .collect()
}

/// The children of a process.
pub fn children(parent: u32) -> Vec<u32> {
    let processes = fs::read_dir("/proc").expect("/proc");
    let numbers = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    numbers.filter(|pid| parent_of(*pid) == Some(parent)).collect()
}

fn parent_of(pid: u32) -> Option<u32> {
    stat(pid, 1)?.try_into().ok()
}

/// A number of those that the kernel tells of a process (proc(5), `stat`), counted from its state on.
pub fn stat(pid: u32, n: usize) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name of the program, in parentheses, may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    rest.split_whitespace().nth(n)?.parse().ok()
}

fn command(pid: u32) -> String {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&words).replace('\0', " ")
}
