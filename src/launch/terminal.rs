//! The caller's terminal: libkrun makes it raw, and leaves it so when it is killed.

use std::os::fd::{AsFd, OwnedFd};

use rustix::termios::{OptionalActions, Termios, tcgetattr, tcsetattr};

/// The state of a terminal, put back when dropped.
pub(crate) struct SavedTerminal {
    terminal: OwnedFd,
    state: Option<Termios>,
}

impl SavedTerminal {
    /// The first of the standard streams that is a terminal.
    pub(crate) fn of_standard_streams() -> Option<SavedTerminal> {
        SavedTerminal::of(std::io::stdin())
            .or_else(|| SavedTerminal::of(std::io::stdout()))
            .or_else(|| SavedTerminal::of(std::io::stderr()))
    }

    fn of(stream: impl AsFd) -> Option<SavedTerminal> {
        let state = tcgetattr(&stream).ok()?;
        let terminal = rustix::io::fcntl_dupfd_cloexec(&stream, 3).ok()?;
        Some(SavedTerminal { terminal, state: Some(state) })
    }

    /// Puts the state back. Does nothing where nothing has changed, so that a caller in the background is not stopped
    /// for touching its terminal.
    pub(crate) fn restore(&self) {
        let Some(state) = &self.state else { return };
        let modes = |state: &Termios| (state.local_modes, state.input_modes, state.output_modes, state.control_modes);
        if tcgetattr(&self.terminal).is_ok_and(|now| modes(&now) != modes(state)) {
            let _ = tcsetattr(&self.terminal, OptionalActions::Now, state);
        }
    }
}

impl SavedTerminal {
    /// Leaves the terminal as it is.
    pub(crate) fn forget(mut self) {
        self.state = None;
    }
}

impl Drop for SavedTerminal {
    fn drop(&mut self) {
        self.restore();
    }
}
