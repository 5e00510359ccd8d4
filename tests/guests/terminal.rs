//! `krundl run` on a terminal.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;

use krundl_test_support::processes::children;
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::Signal;
use rustix::termios::{Termios, Winsize, tcgetattr, tcsetwinsize};

use crate::stage::Stage;
use crate::talk::{LONG, Limit, Owned, process};

const CTRL_C: &[u8] = b"\x03";

pub fn the_guest_has_the_terminal_with_its_size_and_keys(stage: &Stage) {
    with(stage, &[]);
}

/// The same with further options.
pub fn with(stage: &Stage, options: &[&str]) {
    const SCRIPT: &str = "
        trap 'echo resized to $(stty size)' WINCH
        trap 'echo interrupted; exit 7' INT
        [ -t 0 ] && [ -t 1 ] && [ -t 2 ] && tty && echo starts with $(stty size) $TERM
        while :; do read line; done";
    let terminal = Terminal::new(24, 80);
    let mut krundl = terminal.start(stage.krundl(options, &stage.root, &["sh", "-c", SCRIPT]));
    krundl.see("/dev/hvc0");
    krundl.see("starts with 24 80 vt52");
    assert!(modes(&terminal.state()) != modes(&terminal.fresh), "the guest's terminal has the modes now");
    terminal.resize(33, 99);
    krundl.see("resized to 33 99");
    krundl.press(CTRL_C);
    krundl.see("interrupted");
    assert_eq!(krundl.end(), Some(7));
    assert_eq!(modes(&terminal.state()), modes(&terminal.fresh));
}

pub fn the_terminal_is_restored_when_the_vm_is_killed(stage: &Stage) {
    let terminal = Terminal::new(24, 80);
    let mut krundl = terminal.start(stage.krundl(&[], &stage.root, &["sh", "-c", "echo ready; read for_ever"]));
    krundl.see("ready");
    assert!(modes(&terminal.state()) != modes(&terminal.fresh), "the guest's terminal has the modes now");
    let [vmm] = children(krundl.child.0.id())[..] else { panic!("krundl has one child") };
    rustix::process::pidfd_send_signal(process(vmm), Signal::KILL).unwrap();
    krundl.see("krundl: the guest stopped without telling how the workload ended");
    assert_eq!(krundl.end(), Some(125));
    assert_eq!(modes(&terminal.state()), modes(&terminal.fresh));
}

/// A terminal, seen from the side of its user.
struct Terminal {
    user: File,
    device: OwnedFd,
    fresh: Termios,
}

impl Terminal {
    fn new(rows: u16, columns: u16) -> Terminal {
        let (mut user, mut device) = (-1, -1);
        let none = std::ptr::null_mut();
        // SAFETY: openpty fills in the two numbers; without a name, modes and a size it writes nothing else.
        let made = unsafe { libc::openpty(&mut user, &mut device, none, none.cast(), none.cast()) };
        assert_eq!(made, 0, "{}", io::Error::last_os_error());
        // SAFETY: both were just made for this caller.
        let (user, device) = unsafe { (File::from_raw_fd(user), OwnedFd::from_raw_fd(device)) };
        fcntl_setfd(&user, FdFlags::CLOEXEC).unwrap();
        fcntl_setfd(&device, FdFlags::CLOEXEC).unwrap();
        let fresh = tcgetattr(&device).unwrap();
        let terminal = Terminal { user, device, fresh };
        terminal.resize(rows, columns);
        terminal
    }

    fn resize(&self, rows: u16, columns: u16) {
        tcsetwinsize(&self.user, Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    }

    fn state(&self) -> Termios {
        tcgetattr(&self.device).unwrap()
    }

    /// Starts a program with this terminal as a login shell would have it.
    fn start(&self, mut command: Command) -> OnTerminal {
        let device = || self.device.try_clone().unwrap();
        command.stdin(device()).stdout(device()).stderr(device()).env("TERM", "vt52");
        // SAFETY: both functions are async-signal-safe and touch no memory.
        unsafe {
            command.pre_exec(|| {
                if libc::setsid() < 0 || libc::ioctl(libc::STDIN_FILENO, libc::TIOCSCTTY, 0) < 0 {
                    return Err(io::Error::last_os_error());
                }
                Ok(())
            });
        }
        let child = Owned(command.spawn().unwrap());
        OnTerminal { _limit: Limit::of(child.0.id()), child, user: self.user.try_clone().unwrap(), seen: Vec::new() }
    }
}

fn modes(state: &Termios) -> impl PartialEq + std::fmt::Debug {
    (state.local_modes, state.input_modes, state.output_modes, state.control_modes)
}

/// A program on a terminal.
struct OnTerminal {
    child: Owned,
    user: File,
    seen: Vec<u8>,
    _limit: Limit,
}

impl OnTerminal {
    /// Waits until this is on the screen.
    fn see(&mut self, text: &str) {
        let mut buffer = [0; 4096];
        while !String::from_utf8_lossy(&self.seen).contains(text) {
            let time = LONG.try_into().unwrap();
            let something = poll(&mut [PollFd::new(&self.user, PollFlags::IN)], Some(&time)).unwrap();
            assert_eq!(something, 1, "never seen: {text:?} in {:?}", String::from_utf8_lossy(&self.seen));
            let n = self.user.read(&mut buffer).unwrap();
            self.seen.extend_from_slice(&buffer[..n]);
        }
    }

    fn press(&mut self, keys: &[u8]) {
        self.user.write_all(keys).unwrap();
    }

    fn end(&mut self) -> Option<i32> {
        self.child.0.wait().unwrap().code()
    }
}
