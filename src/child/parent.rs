//! Dying with the caller, where that is wished for.

use std::io;
use std::path::PathBuf;
use std::sync::OnceLock;

use rustix::event::{PollFd, PollFlags, poll};
use rustix::process::{Pid, getppid};

use crate::launch::SavedTerminal;
use crate::system::end_of;

/// The bootstrap share, which the parent would have removed.
pub(super) static SHARE: OnceLock<PathBuf> = OnceLock::new();

/// Kills this process when `parent` ends. A descriptor that tells of that is watched by a thread of ours, because Linux's
/// own parent-death signal comes already when the parent's *thread* ends, and macOS has none.
pub(super) fn die_with(parent: u32) -> io::Result<()> {
    let parent = i32::try_from(parent).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidInput)?;
    let ended = end_of(parent)?;
    // Checked after opening: a parent that died before has left us to another one.
    if getppid() != Some(parent) {
        kill_self();
    }
    // Nobody else will be left to put the terminal right.
    let terminal = SavedTerminal::of_standard_streams();
    std::thread::Builder::new().name("krundl-parent".to_owned()).stack_size(64 * 1024).spawn(move || {
        loop {
            let mut watched = [PollFd::new(&ended, PollFlags::IN)];
            match poll(&mut watched, None) {
                Ok(n) if n > 0 => {
                    if let Some(terminal) = &terminal {
                        terminal.restore();
                    }
                    if let Some(share) = SHARE.get() {
                        let _ = std::fs::remove_dir_all(share);
                    }
                    kill_self()
                }
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    })?;
    Ok(())
}

fn kill_self() -> ! {
    // SAFETY: a signal to our own process, which does not survive it.
    unsafe {
        libc::kill(libc::getpid(), libc::SIGKILL);
        libc::_exit(super::EXIT_FAILED)
    }
}
