//! What a VM may leave behind in its caller: descriptors, children, threads, files, sockets.

use std::collections::BTreeMap;
use std::fs;
use std::time::{Duration, Instant};

use krundl_test_support::processes::children;

/// What there is now.
#[derive(Debug, PartialEq, Eq)]
pub struct Inventory {
    descriptors: BTreeMap<String, String>,
    children: Vec<u32>,
    threads: usize,
    files: Vec<String>,
    sockets: Vec<String>,
}

impl Inventory {
    /// Only for a process that runs nothing but this test.
    pub fn take() -> Inventory {
        let own = format!("krundl-{}-", std::process::id());
        let sockets = fs::read_to_string("/proc/self/net/unix").unwrap();
        Inventory {
            descriptors: names("/proc/self/fd")
                .into_iter()
                .filter_map(|fd| Some((fd.clone(), fs::read_link(format!("/proc/self/fd/{fd}")).ok()?)))
                .map(|(fd, target)| (fd, target.display().to_string()))
                .collect(),
            children: children(std::process::id()),
            threads: names("/proc/self/task").len(),
            files: crate::alone::krundls(&std::env::temp_dir()),
            sockets: sockets.lines().filter(|line| line.contains(&own)).map(str::to_owned).collect(),
        }
    }

    /// That there is now what there was.
    #[track_caller]
    pub fn expect(&self, after: &dyn std::fmt::Debug) {
        // Threads of the test's own that were joined may be seen for a moment longer.
        let soon = Instant::now() + Duration::from_secs(10);
        let mut now = Inventory::take();
        while now.threads > self.threads && Instant::now() < soon {
            std::thread::yield_now();
            now = Inventory::take();
        }
        assert!(now == *self, "after {after:?}:\n{now:#?}\nbefore:\n{self:#?}");
    }
}

fn names(dir: &str) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
