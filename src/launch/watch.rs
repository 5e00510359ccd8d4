//! For event loops, which wait on descriptors and not in [`Vm::wait`].

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use super::vm::Vm;
use super::wake::Bell;

/// One who waits for a VM with an event loop of its own: get the [`Watch::descriptors`], then look ([`Vm::try_wait`],
/// [`Vm::is_entered`], [`Vm::wait_ready`] with no time), and if that was not it yet, wait until one of them is readable
/// and begin again. Looking takes what has come, as somebody must: the guest waits for its last word to be heard.
pub struct Watch {
    vm: Arc<Vm>,
    id: u64,
    /// Rings when somebody else has taken the news.
    bell: Arc<Bell>,
}

impl Watch {
    /// Begins to wait.
    ///
    /// # Errors
    /// There are no descriptors left, or the VM is not this process's ([`Vm::is_own`]).
    pub fn new(vm: Arc<Vm>) -> io::Result<Watch> {
        vm.check_own().map_err(io::Error::other)?;
        let (id, bell) = vm.state().wake.listen()?;
        Ok(Watch { vm, id, bell })
    }

    /// Copies of everything that may have news until the next look; the caller closes them.
    ///
    /// # Errors
    /// As [`Watch::new`].
    pub fn descriptors(&self) -> io::Result<Vec<OwnedFd>> {
        self.vm.check_own().map_err(io::Error::other)?;
        self.bell.hush();
        let state = self.vm.state();
        let sources = state.sources().map(|fd| (*fd).as_fd().try_clone_to_owned());
        sources.chain([self.bell.as_fd().try_clone_to_owned()]).collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if self.vm.is_own() {
            self.vm.state().wake.unlisten(self.id);
        }
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch").field("vm", &self.vm).finish_non_exhaustive()
    }
}
