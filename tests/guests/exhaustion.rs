//! When there is too much of something, or nothing left of it.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::Path;
use std::process::Command;

use krundl::spec::LogLevel;
use krundl::{Error, Exit, LaunchOptions};
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::stage::{Stage, mount};
use crate::talk::{LONG, all};

pub fn all_of_64_mib_of_output_comes_before_the_end(stage: &Stage) {
    const SIZE: usize = 64 << 20;
    let guest = stage.launch(stage.prepare(&stage.spec(&format!("head -c {SIZE} /dev/zero; exit 3"))));
    let mut stdout = guest.vm.take_stdout().unwrap();
    let (mut buffer, mut size) = (vec![0; 1 << 16], 0);
    loop {
        match stdout.read(&mut buffer).unwrap() {
            0 => break,
            n if buffer[..n].iter().all(|byte| *byte == 0) => size += n,
            _ => panic!("after {size} bytes there are others"),
        }
    }
    assert_eq!((size, guest.vm.wait().unwrap()), (SIZE, Exit::Code(3)));
}

/// libkrun says a lot at its finest level, and its log has room for a page.
pub fn a_full_disk_under_the_log_stops_no_guest(stage: &Stage) {
    let disk = stage.dir("disk");
    run(Command::new("mount").args(["-t", "tmpfs", "-o", "size=4k", "krundl-test"]).arg(&disk));
    let log = disk.join("log");
    let mut spec = stage.spec("echo done; exit 4");
    spec.log_level = LogLevel::Trace;
    spec.log_file = Some(log.clone());
    let guest = stage.launch(stage.prepare(&spec));
    assert_eq!(all(guest.vm.take_stdout().unwrap()), b"done\n");
    assert_eq!(guest.vm.wait().unwrap(), Exit::Code(4));
    assert_eq!(log.metadata().unwrap().len(), 4096, "the disk is full");
    drop(guest);
    run(Command::new("umount").arg(&disk));
}

/// virtio-fs holds one for every file that the guest knows. Without any left, libkrun ends a list early and says
/// nothing: why krundl raises the limit as far as it goes, and the doctor looks at it.
pub fn a_share_without_descriptors_shows_fewer_files_and_the_guest_goes_on(stage: &Stage) {
    let dir = stage.dir("dir");
    for n in 0..300 {
        fs::write(dir.join(n.to_string()), "").unwrap();
    }
    let mut spec = stage.spec("read word; ls -l /workspace | grep -c ^-; exit 5");
    spec.mounts.push(mount(&dir, "/workspace"));
    let guest = stage.launch(stage.prepare(&spec));
    guest.vm.wait_ready(Some(LONG)).unwrap();
    let pid = guest.vm.pid();
    let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count() as u64;
    let limit = Rlimit { current: Some(open + 100), maximum: Some(open + 100) };
    prlimit(Pid::from_raw(i32::try_from(pid).unwrap()), Resource::Nofile, limit).unwrap();
    writeln!(guest.vm.take_stdin().unwrap(), "go on").unwrap();
    let shown = String::from_utf8(all(guest.vm.take_stdout().unwrap())).unwrap();
    assert!((1..300).contains(&shown.trim().parse::<u32>().unwrap()), "{shown}");
    assert_eq!(guest.vm.wait().unwrap(), Exit::Code(5));
}

pub fn a_launch_without_descriptors_is_refused_and_a_running_guest_goes_on(stage: &Stage) {
    let guest = stage.launch(stage.prepare(&stage.spec("read word; exit 6")));
    guest.vm.wait_ready(Some(LONG)).unwrap();
    let prepared = stage.prepare(&stage.spec("true"));
    let mut taken = Vec::new();
    while let Ok(file) = File::open(Path::new("/dev/null")) {
        taken.push(file);
    }
    let error = krundl::launch(prepared, LaunchOptions::default()).unwrap_err();
    assert!(matches!(&error, Error::Os { source, .. } if source.raw_os_error() == Some(libc::EMFILE)), "{error:?}");
    writeln!(guest.vm.take_stdin().unwrap(), "go on").unwrap();
    assert_eq!(guest.vm.wait().unwrap(), Exit::Code(6));
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}
