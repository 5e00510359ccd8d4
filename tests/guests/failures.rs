//! VMs that do not do what they are for: what exactly is wrong is said, whatever status libkrun ends with.

use std::io::Write;
use std::path::Path;

use krundl::Error;
use krundl::error::Ended;
use krundl::plan::{Call, Shared};
use krundl::spec::HostPath;

use crate::stage::Stage;
use crate::talk::LONG;

/// libkrun ends with status 0 then.
pub fn a_guest_that_reboots_is_lost(stage: &Stage) {
    let guest = stage.launch(stage.prepare(&stage.spec("read word; reboot -f")));
    guest.vm.wait_ready(Some(LONG)).unwrap();
    writeln!(guest.vm.take_stdin().unwrap(), "go on").unwrap();
    let error = guest.vm.wait().unwrap_err();
    assert!(matches!(error, Error::GuestLost { ended: Ended::Exit(0), .. }), "{error:?}");
}

/// As above; krundl refuses such a root beforehand, and it may lose its contents afterwards.
pub fn a_root_without_anything_is_never_up(stage: &Stage) {
    let mut prepared = stage.prepare(&stage.spec("true"));
    let empty = stage.dir("empty");
    let is_root = |call: &&mut Call| matches!(call, Call::AddVirtiofs { tag, .. } if tag == "/dev/root");
    let root = prepared.plan.calls.iter_mut().find(is_root).expect("a call that shares the root");
    *root = Call::AddVirtiofs3 { tag: "/dev/root".to_owned(), dir: host(&empty), shm_size: 0, read_only: true };
    let guest = stage.launch(prepared);
    for error in [guest.vm.wait_ready(Some(LONG)).unwrap_err(), guest.vm.wait().unwrap_err()] {
        let Error::NeverUp { ended: Ended::Exit(0), words } = &error else { panic!("{error:?}") };
        assert!(words.to_string().contains("Error creating directory (/dev)"), "{error}");
    }
}

fn host(path: &Path) -> Shared {
    Shared::Host(HostPath { path: path.into(), held: None })
}

pub fn a_missing_libkrunfw_is_named(stage: &Stage) {
    stage.remove_firmware();
    let firmware = &stage.probe().capabilities.observation.firmware;
    assert_eq!(firmware.path, None, "this case needs a machine without a libkrunfw of its own");
    let guest = stage.launch(stage.prepare(&stage.spec("true")));
    let error = guest.vm.wait_ready(Some(LONG)).unwrap_err();
    assert!(matches!(error, Error::Start { errno: libc::ENOENT, .. }), "{error:?}");
    assert!(error.to_string().contains("libkrunfw"), "{error}");
}

pub fn too_little_memory_is_refused(stage: &Stage) {
    let mut spec = stage.spec("true");
    spec.memory_mib = 32;
    let problems = stage.problems(&spec);
    assert_eq!(problems.len(), 1, "{problems:?}");
    assert!(problems[0].starts_with("memory_mib: libkrunfw's kernel alone takes"), "{problems:?}");
}
