//! For event loops, which wait on descriptors and not in [`Vm::wait`].

use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use super::vm::Vm;

/// One who waits for a VM with an event loop of its own: get the [`Watch::descriptors`], then look ([`Vm::try_wait`],
/// [`Vm::is_entered`], [`Vm::wait_ready`] with no time), and if that was not it yet, wait until one of them is readable
/// and begin again. Looking takes what has come, as somebody must: the guest waits for its last word to be heard.
#[derive(Debug)]
pub struct Watch {
    vm: Arc<Vm>,
    id: u64,
}

impl Watch {
    /// Begins to wait.
    pub fn new(vm: Arc<Vm>) -> Watch {
        let id = vm.state().wake.enter();
        Watch { vm, id }
    }

    /// Copies of everything that may have news until the next look; the caller closes them.
    ///
    /// # Errors
    /// There are no descriptors left.
    pub fn descriptors(&self) -> io::Result<Vec<OwnedFd>> {
        let mut state = self.vm.state();
        state.wake.seen(self.id);
        state.watched().iter().map(|fd| (**fd).as_fd().try_clone_to_owned()).collect()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.vm.state().wake.leave(self.id);
    }
}
