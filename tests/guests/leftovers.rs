//! What VMs may leave behind: processes, descriptors, directories, and files in the root that they share.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

use krundl_test_support::processes::children;

/// What there was before a VM.
pub struct Before {
    descriptors: BTreeMap<i32, PathBuf>,
    root: BTreeSet<PathBuf>,
}

impl Before {
    /// With the root that the guests share.
    pub fn look(root: &Path) -> Before {
        Before { descriptors: descriptors(), root: tree(root) }
    }

    /// Compares with now.
    ///
    /// # Errors
    /// Everything that has come and stayed.
    pub fn compare(&self, root: &Path) -> Result<(), String> {
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
        left.extend(tree(root).difference(&self.root).map(|path| path.display().to_string()));
        if left.is_empty() { Ok(()) } else { Err(format!("left behind: {}", left.join(", "))) }
    }
}

/// Everything below a directory.
fn tree(dir: &Path) -> BTreeSet<PathBuf> {
    let mut all = BTreeSet::new();
    for entry in fs::read_dir(dir).expect("the guests' root").flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            all.extend(tree(&entry.path()));
        }
        all.insert(entry.path());
    }
    all
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

fn command(pid: u32) -> String {
    let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&words).replace('\0', " ")
}
