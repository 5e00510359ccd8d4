//! A command that the host asks for: started, with three pipes or a terminal.

use std::ffi::OsStr;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{OpenOptionsExt, fchown};

use super::super::failure::{Failure, shown};
use super::super::frames::{Exec, Frame};
use super::super::sys;
use super::super::workload::Program;
use super::Base;

/// A command that runs, in a session of its own.
pub struct Command {
    pub pid: i32,
    /// Becomes readable when it ends.
    pub process: OwnedFd,
    /// What it reads.
    pub input: File,
    /// What it writes; on a terminal there is no second.
    pub outputs: [Option<File>; 2],
    pub is_terminal: bool,
}

/// The steps of the child, so that it is known which of them failed.
const PREPARE: u8 = 0;
const USER: u8 = 1;
const DIRECTORY: u8 = 2;
const EXECUTE: u8 = 3;

impl Command {
    /// Starts it; says why where that cannot be.
    pub fn start(exec: &Exec, base: &Base) -> Result<Command, Frame> {
        let cannot = |error: &io::Error| refused(Failure::new("cannot start a process", error));
        let env = environment(exec, base);
        let workdir = if exec.workdir.is_empty() { &base.workdir } else { &exec.workdir };
        let workdir = if workdir.is_empty() { b"/" } else { workdir.as_slice() };
        let directory = sys::c_string(workdir).map_err(|error| cannot(&error))?;
        let mut program = Program::new(&exec.path, &exec.args, &env).map_err(|error| cannot(&error))?;
        let gid = exec.gid.or(exec.uid.map(group_of));
        let streams = Streams::new(exec, gid).map_err(refused)?;
        let (mut failed, mut report) = io::pipe().map_err(|error| cannot(&error))?;

        let pid = sys::split().map_err(|error| cannot(&error))?;
        if pid == 0 {
            let mut step = PREPARE;
            let errno = (|| {
                sys::new_session()?;
                if exec.terminal.is_some() {
                    sys::control_terminal(streams.theirs[0].as_fd())?;
                }
                for (number, fd) in (0..).zip(&streams.theirs) {
                    sys::replace_stdio(fd.as_raw_fd(), number)?;
                }
                sys::default_signals();
                sys::unblock_signals();
                step = USER;
                sys::become_user(exec.uid, gid)?;
                step = DIRECTORY;
                sys::change_directory(&directory)?;
                step = EXECUTE;
                Err(io::Error::from_raw_os_error(program.execute()))
            })()
            .map_or_else(|error: io::Error| error.raw_os_error().unwrap_or(sys::EINVAL), |()| sys::EINVAL);
            let [a, b, c, d] = errno.to_ne_bytes();
            let _ = report.write_all(&[step, a, b, c, d]);
            sys::exit_now(126);
        }
        drop(report);
        // The descriptor closes itself when the program is executed.
        let mut said = [0; 5];
        if failed.read_exact(&mut said).is_ok() {
            let _ = sys::wait_for(pid);
            let [step, a, b, c, d] = said;
            let error = io::Error::from_raw_os_error(i32::from_ne_bytes([a, b, c, d]));
            return Err(match step {
                EXECUTE => {
                    let Failure { errno, message } = program.failure(error.raw_os_error().unwrap_or(sys::EINVAL));
                    Frame::NotExecuted { errno, message: message.into_bytes() }
                }
                DIRECTORY => refused(Failure::new(format_args!("working directory {}", shown(workdir)), &error)),
                USER => refused(Failure::new(format_args!("cannot become {}", who(exec.uid, gid)), &error)),
                _ => cannot(&error),
            });
        }
        let Streams { input, outputs, .. } = streams;
        match sys::open_process(pid) {
            Ok(process) => Ok(Command { pid, process, input, outputs, is_terminal: exec.terminal.is_some() }),
            Err(error) => {
                sys::send_signal(-pid, sys::SIGKILL);
                let _ = sys::wait_for(pid);
                Err(refused(Failure::new("the command cannot be watched (pidfd_open)", &error)))
            }
        }
    }
}

fn refused(Failure { errno, message }: Failure) -> Frame {
    Frame::Failed { errno, message: message.into_bytes() }
}

fn who(uid: Option<u32>, gid: Option<u32>) -> String {
    match (uid, gid) {
        (Some(uid), Some(gid)) => format!("user {uid} of group {gid}"),
        (Some(uid), None) => format!("user {uid}"),
        (None, Some(gid)) => format!("group {gid}"),
        (None, None) => "another user".into(),
    }
}

/// The ends of the command's streams.
struct Streams {
    input: File,
    outputs: [Option<File>; 2],
    theirs: [OwnedFd; 3],
}

impl Streams {
    fn new(exec: &Exec, gid: Option<u32>) -> Result<Streams, Failure> {
        if let Some(size) = exec.terminal {
            let failed = |error: &io::Error| Failure::new("no terminal (/dev/ptmx)", error);
            let master = OpenOptions::new().read(true).write(true).custom_flags(sys::O_NOCTTY).open("/dev/ptmx");
            let master = master.map_err(|error| failed(&error))?;
            let made = (|| {
                let slave = sys::terminal_of(master.as_fd())?;
                sys::resize_terminal(master.as_fd(), size.rows, size.columns)?;
                if exec.uid.is_some() {
                    fchown(&slave, exec.uid, gid)?;
                }
                sys::set_nonblocking(master.as_fd())?;
                let theirs = [slave.try_clone()?, slave.try_clone()?, slave];
                Ok(Streams { input: master.try_clone()?, outputs: [Some(master), None], theirs })
            })();
            return made.map_err(|error| failed(&error));
        }
        let made = (|| {
            let ((their_in, input), (output, their_out), (errors, their_err)) = (io::pipe()?, io::pipe()?, io::pipe()?);
            let (input, output, errors) = (OwnedFd::from(input), OwnedFd::from(output), OwnedFd::from(errors));
            for ours in [&input, &output, &errors] {
                sys::set_nonblocking(ours.as_fd())?;
            }
            let theirs = [their_in.into(), their_out.into(), their_err.into()];
            Ok(Streams { input: input.into(), outputs: [Some(output.into()), Some(errors.into())], theirs })
        })();
        made.map_err(|error: io::Error| Failure::new("cannot make a pipe", &error))
    }
}

/// Later ones replace earlier ones of the same name.
fn environment(exec: &Exec, base: &Base) -> Vec<Vec<u8>> {
    if !exec.on_top {
        return exec.env.clone();
    }
    let name = |entry: &[u8]| entry.split(|byte| *byte == b'=').next().unwrap_or_default().to_vec();
    let replaced: Vec<Vec<u8>> = exec.env.iter().map(|entry| name(entry)).collect();
    let kept = base.env.iter().filter(|entry| !replaced.contains(&name(entry)));
    kept.chain(&exec.env).cloned().collect()
}

/// The group of a user by the guest's own list; where that does not have it, the group of the same number.
fn group_of(uid: u32) -> u32 {
    let list = fs::read(OsStr::from_bytes(b"/etc/passwd")).unwrap_or_default();
    group_in(&list, uid).unwrap_or(uid)
}

fn group_in(list: &[u8], uid: u32) -> Option<u32> {
    let number = |field: &[u8]| std::str::from_utf8(field).ok()?.parse::<u32>().ok();
    list.split(|byte| *byte == b'\n').find_map(|line| {
        let mut fields = line.split(|byte| *byte == b':').skip(2);
        let (user, group) = (number(fields.next()?)?, number(fields.next()?)?);
        (user == uid).then_some(group)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_replace_those_of_the_same_name() {
        let list = |entries: &[&str]| entries.iter().map(|entry| entry.as_bytes().to_vec()).collect::<Vec<_>>();
        let base = Base { env: list(&["A=1", "PATH=/bin", "B=2"]), workdir: Vec::new() };
        let exec = Exec { env: list(&["B=3", "C=", "AB=4"]), on_top: true, ..Exec::default() };
        assert_eq!(environment(&exec, &base), list(&["A=1", "PATH=/bin", "B=3", "C=", "AB=4"]));
        let alone = Exec { on_top: false, ..exec };
        assert_eq!(environment(&alone, &base), alone.env);
    }

    #[test]
    fn groups_are_those_of_the_list() {
        let list = b"root:x:0:0:root:/root:/bin/sh\n\nbroken\nx:y:z:1\nme:x:1000:100::/:/bin/sh\n";
        assert_eq!((group_in(list, 0), group_in(list, 1000), group_in(list, 5)), (Some(0), Some(100), None));
    }
}
