//! A command from its start to its end: its streams go to the host and come from there, each within its window.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{ErrorKind, PipeReader, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use super::super::frames::{CHUNK, Exec, Frame, Stream, WINDOW};
use super::super::sys::{self, PollFd};
use super::Base;
use super::command::Command;
use super::link::Link;

/// What a terminal takes for the end of its input.
const END_OF_INPUT: u8 = 4;

/// Runs a command. It ends with the host's connection, and with the guest.
pub fn run(mut link: Link, exec: &Exec, base: &Base, closed: &PipeReader) {
    let command = match Command::start(exec, base) {
        Ok(command) => command,
        Err(why) => {
            link.say(&why);
            return link.finish();
        }
    };
    link.say(&Frame::Started { pid: command.pid.cast_unsigned() });
    let Command { pid, process, input, outputs: [output, errors], is_terminal } = command;
    let mut session = Session {
        link,
        pid,
        is_terminal,
        input: Some(input),
        queue: VecDeque::new(),
        input_ended: false,
        outputs: [Output::new(Stream::Output, output), Output::new(Stream::Error, errors)],
        status: None,
    };
    let mut ending = false;
    loop {
        session.link.fill();
        if session.obey().is_err() || session.link.gone {
            // Nobody is there any more to whom it could matter.
            return session.kill_and_reap();
        }
        if session.status.is_none() && sys::wait_any(&mut [wait(&process)], 0).unwrap_or(false) {
            match sys::wait_for(pid) {
                Ok(status) if status.stopped_signal().is_some() => {}
                status => session.status = Some(status.unwrap_or_default()),
            }
        }
        session.feed();
        let all = session.collect();
        session.link.flush();
        if let (Some(status), true) = (session.status, all) {
            return session.end(status);
        }

        let [output, errors] = &session.outputs;
        let mut fds = [
            session.link.poll_fd(),
            PollFd::new(
                session.input.as_ref().map(File::as_fd),
                if session.queue.is_empty() { 0 } else { sys::POLLOUT },
            ),
            output.poll_fd(),
            errors.poll_fd(),
            if session.status.is_none() { wait(&process) } else { PollFd::new(None, 0) },
            if ending { PollFd::new(None, 0) } else { wait(closed) },
        ];
        let _ = sys::wait_any(&mut fds, -1);
        if fds[5].is_ready() {
            ending = true;
            session.kill(sys::SIGKILL);
        }
    }
}

fn wait(fd: &impl AsFd) -> PollFd {
    PollFd::new(Some(fd.as_fd()), sys::POLLIN)
}

struct Session {
    link: Link,
    pid: i32,
    is_terminal: bool,
    /// What the command reads; nothing when that has ended.
    input: Option<File>,
    /// What the host has sent and the command has not read, a window at most.
    queue: VecDeque<u8>,
    input_ended: bool,
    outputs: [Output; 2],
    /// How it ended; its number may be another's from then on.
    status: Option<ExitStatus>,
}

/// The host does not keep to the language.
struct Nonsense;

impl Session {
    /// Does what the host has said.
    fn obey(&mut self) -> Result<(), Nonsense> {
        while let Some(frame) = self.link.next().map_err(|_| Nonsense)? {
            match frame {
                Frame::Data(Stream::Input, bytes) => {
                    if self.input.is_none() || self.input_ended {
                        self.link.say(&Frame::Taken(Stream::Input, length(bytes.len())));
                    } else if self.queue.len() + bytes.len() > WINDOW {
                        return Err(Nonsense);
                    } else {
                        self.queue.extend(bytes);
                    }
                }
                Frame::End(Stream::Input) => self.input_ended = true,
                Frame::Taken(Stream::Output, count) => self.outputs[0].may_send(count),
                Frame::Taken(Stream::Error, count) => self.outputs[1].may_send(count),
                // The command's next write fails, as if it had written to whoever has gone.
                Frame::End(Stream::Output | Stream::Error) if self.is_terminal => self.kill(sys::SIGHUP),
                Frame::End(Stream::Output) => self.outputs[0].file = None,
                Frame::End(Stream::Error) => self.outputs[1].file = None,
                Frame::Signal { number } if sys::is_signal(number) => self.kill(number),
                Frame::Signal { .. } => {}
                Frame::Resize(size) => {
                    if let (true, Some(terminal)) = (self.is_terminal, &self.input) {
                        let _ = sys::resize_terminal(terminal.as_fd(), size.rows, size.columns);
                    }
                }
                _ => return Err(Nonsense),
            }
        }
        Ok(())
    }

    /// Gives the command what it takes now.
    fn feed(&mut self) {
        let mut taken = 0;
        while let Some(input) = &mut self.input
            && !self.queue.is_empty()
        {
            let (next, _) = self.queue.as_slices();
            match input.write(next) {
                Ok(count) => {
                    self.queue.drain(..count);
                    taken += count;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                // It reads no more.
                Err(_) => {
                    taken += self.queue.len();
                    self.queue.clear();
                    self.input = None;
                    self.link.say(&Frame::End(Stream::Input));
                }
            }
        }
        if taken > 0 {
            self.link.say(&Frame::Taken(Stream::Input, length(taken)));
        }
        if self.input_ended && self.queue.is_empty() && self.input.is_some() {
            self.input_ended = false;
            if self.is_terminal {
                // The terminal stays; this is how its input ends.
                self.queue.push_back(END_OF_INPUT);
            } else {
                self.input = None;
            }
        }
    }

    /// Takes what the command has written, and tells whether that is all that there is now.
    fn collect(&mut self) -> bool {
        let link = &mut self.link;
        let [output, errors] = &mut self.outputs;
        [output.collect(link), errors.collect(link)] == [true, true]
    }

    fn kill(&self, signal: i32) {
        if self.status.is_none() {
            sys::send_signal(-self.pid, signal);
        }
    }

    fn kill_and_reap(self) {
        self.kill(sys::SIGKILL);
        while self.status.is_none() && sys::wait_for(self.pid).is_ok_and(|status| status.stopped_signal().is_some()) {}
    }

    fn end(mut self, status: ExitStatus) {
        self.link.say(&match (status.code(), status.signal()) {
            (Some(status), _) => Frame::Exited { status },
            (None, signal) => Frame::Killed { signal: signal.unwrap_or(0) },
        });
        self.link.finish();
    }
}

/// Something that the command writes to.
struct Output {
    stream: Stream,
    file: Option<File>,
    /// How much more the host takes.
    window: usize,
}

impl Output {
    fn new(stream: Stream, file: Option<File>) -> Output {
        Output { stream, file, window: WINDOW }
    }

    fn may_send(&mut self, more: u32) {
        // An honest host never comes to more.
        self.window = self.window.saturating_add(more as usize).min(WINDOW);
    }

    fn poll_fd(&self) -> PollFd {
        PollFd::new(self.file.as_ref().map(File::as_fd), if self.window == 0 { 0 } else { sys::POLLIN })
    }

    /// Whether there is no more now.
    fn collect(&mut self, link: &mut Link) -> bool {
        let mut buffer = [0; CHUNK];
        while let Some(file) = &mut self.file {
            let room = self.window.min(CHUNK);
            if room == 0 {
                return false;
            }
            match file.read(&mut buffer[..room]) {
                Ok(0) => self.end(link),
                Ok(count) => {
                    self.window -= count;
                    link.say(&Frame::Data(self.stream, buffer[..count].to_vec()));
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return true,
                // A terminal without anybody on it is an error to read.
                Err(_) => self.end(link),
            }
        }
        true
    }

    fn end(&mut self, link: &mut Link) {
        self.file = None;
        link.say(&Frame::End(self.stream));
    }
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).unwrap_or(u32::MAX)
}
