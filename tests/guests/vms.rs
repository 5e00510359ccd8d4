//! VMs as values of a Rust program.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{ChildStdin, ChildStdout};

use krundl::Exit;
use krundl::launch::Asked;
use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};

use crate::stage::{Guest, Stage, mount};
use crate::talk::{LONG, has_ended, process};

pub fn two_vms_run_side_by_side_until_one_is_stopped_and_the_other_let_go(stage: &Stage) {
    let started = ["one", "another"].map(|name| echoing(stage, name));
    let [(one, _input), (another, mut echo)] = started.map(|(guest, mut echo)| {
        guest.vm.wait_ready(Some(LONG)).unwrap();
        echo.answers("first");
        assert_eq!(guest.vm.try_wait().unwrap(), None, "the workload waits for its input");
        (guest, echo)
    });

    assert_eq!(one.vm.terminate().unwrap(), Asked::Workload);
    assert_eq!(one.vm.wait().unwrap(), Exit::Signal(15));
    one.vm.terminate().expect("it is no error that a VM has ended already");
    echo.answers("after the other one's end");
    assert_eq!(another.vm.try_wait().unwrap(), None);

    let pid = Pid::from_raw(another.vm.detach().try_into().unwrap()).unwrap();
    echo.answers("detached");
    kill_process(pid, Signal::KILL).unwrap();
    let (_, status) = waitpid(Some(pid), WaitOptions::empty()).unwrap().expect("our own child");
    assert_eq!(status.terminating_signal(), Some(Signal::KILL.as_raw()));
}

pub fn a_vm_that_is_dropped_is_gone(stage: &Stage) {
    let guest = stage.launch(stage.prepare(&stage.spec("read for_ever")));
    let process = process(guest.vm.pid());
    assert!(!has_ended(&process));
    drop(guest.vm);
    assert!(has_ended(&process));
}

/// A VM that writes each word that it reads to a file in its mount.
fn echoing(stage: &Stage, name: &str) -> (Guest, Echo) {
    let dir = stage.dir(name);
    let mut spec = stage.spec("while read word; do echo $word > /workspace/word; echo written; done");
    spec.mounts.push(mount(&dir, "/workspace"));
    let guest = stage.launch(stage.prepare(&spec));
    let (stdin, stdout) = (guest.vm.take_stdin().unwrap(), guest.vm.take_stdout().unwrap());
    (guest, Echo { stdin, stdout: BufReader::new(stdout), file: dir.join("word") })
}

struct Echo {
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    file: PathBuf,
}

impl Echo {
    fn answers(&mut self, word: &str) {
        writeln!(self.stdin, "{word}").unwrap();
        let mut line = String::new();
        self.stdout.read_line(&mut line).unwrap();
        assert_eq!((line.as_str(), fs::read_to_string(&self.file).unwrap()), ("written\n", format!("{word}\n")));
    }
}
