//! Several threads may wait for one VM. Whoever takes the news wakes the others, so that none sleeps on.

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

/// A descriptor that a thread may still wait on while another one is done with it.
pub(super) type Watched = Arc<dyn AsFd + Send + Sync>;

/// A pipe that is readable as long as somebody who waits has not seen the latest news.
pub(super) struct Wake {
    reader: Arc<File>,
    writer: File,
    news: u64,
    readable: bool,
    /// Those who wait, and the latest news that each has seen.
    waiters: Vec<(u64, u64)>,
    next: u64,
    /// Those who wait with an event loop of their own. They may be slow to look, and must not keep the others awake.
    bells: Vec<(u64, Arc<Bell>)>,
}

/// A pipe that is readable from the latest news on until its one listener has looked.
pub(super) struct Bell {
    reader: File,
    writer: File,
}

impl Bell {
    fn new() -> io::Result<Bell> {
        let (reader, writer) = pipe()?;
        Ok(Bell { reader, writer })
    }

    fn ring(&self) {
        // A pipe that is full rings already.
        let _ = (&self.writer).write(&[0]);
    }

    /// Its listener looks now.
    pub(super) fn hush(&self) {
        while (&self.reader).read(&mut [0; 64]).is_ok_and(|read| read == 64) {}
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.reader.as_fd()
    }
}

/// Reading and writing it never wait; whoever else has it shares that.
pub(super) fn nonblocking(fd: BorrowedFd<'_>) -> io::Result<()> {
    let flags = fcntl_getfl(fd)?;
    Ok(fcntl_setfl(fd, flags | OFlags::NONBLOCK)?)
}

fn pipe() -> io::Result<(File, File)> {
    let (reader, writer) = io::pipe()?;
    let (reader, writer) = (OwnedFd::from(reader), OwnedFd::from(writer));
    nonblocking(reader.as_fd())?;
    nonblocking(writer.as_fd())?;
    Ok((reader.into(), writer.into()))
}

impl Wake {
    pub(super) fn new() -> io::Result<Wake> {
        let (reader, writer) = pipe()?;
        Ok(Wake {
            reader: Arc::new(reader),
            writer,
            news: 0,
            readable: false,
            waiters: Vec::new(),
            next: 0,
            bells: Vec::new(),
        })
    }

    pub(super) fn watched(&self) -> Watched {
        self.reader.clone()
    }

    /// Somebody begins to wait; what has happened until now it knows.
    pub(super) fn enter(&mut self) -> u64 {
        self.next += 1;
        self.waiters.push((self.next, self.news));
        self.next
    }

    /// `waiter` has looked at everything.
    pub(super) fn seen(&mut self, waiter: u64) {
        for (id, seen) in &mut self.waiters {
            if *id == waiter {
                *seen = self.news;
            }
        }
        self.settle();
    }

    pub(super) fn leave(&mut self, waiter: u64) {
        self.waiters.retain(|(id, _)| *id != waiter);
        self.settle();
    }

    /// Somebody begins to wait with an event loop.
    pub(super) fn listen(&mut self) -> io::Result<(u64, Arc<Bell>)> {
        let bell = Arc::new(Bell::new()?);
        self.next += 1;
        self.bells.push((self.next, bell.clone()));
        Ok((self.next, bell))
    }

    pub(super) fn unlisten(&mut self, listener: u64) {
        self.bells.retain(|(id, _)| *id != listener);
    }

    /// Something has happened.
    pub(super) fn news(&mut self) {
        self.bells.iter().for_each(|(_, bell)| bell.ring());
        self.news += 1;
        if !self.readable && !self.waiters.is_empty() {
            // One byte always fits into an empty pipe.
            self.readable = self.writer.write(&[0]).is_ok();
        }
    }

    fn settle(&mut self) {
        if self.readable && self.waiters.iter().all(|(_, seen)| *seen == self.news) {
            let _ = (&*self.reader).read(&mut [0]);
            self.readable = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    fn wakes(wake: &Wake) -> bool {
        let watched = wake.watched();
        poll(&mut [PollFd::from_borrowed_fd(watched.as_fd(), PollFlags::IN)], Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))
            .unwrap()
            > 0
    }

    #[test]
    fn every_waiter_is_woken_once() {
        let mut wake = Wake::new().unwrap();
        wake.news();
        assert!(!wakes(&wake), "nobody waits");
        let (one, other) = (wake.enter(), wake.enter());
        assert!(!wakes(&wake), "what was before is known");
        wake.news();
        wake.news();
        wake.seen(one);
        assert!(wakes(&wake), "the other has not looked yet");
        wake.seen(other);
        assert!(!wakes(&wake));
        wake.news();
        wake.seen(one);
        wake.leave(other);
        assert!(!wakes(&wake), "who is gone need not look");
    }

    #[test]
    fn a_listener_that_does_not_look_keeps_nobody_awake() {
        let rings = |bell: &Bell| {
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            poll(&mut [PollFd::from_borrowed_fd(bell.as_fd(), PollFlags::IN)], Some(&now)).unwrap() > 0
        };
        let mut wake = Wake::new().unwrap();
        let waiter = wake.enter();
        let (slow, bell) = wake.listen().unwrap();
        (0..100_000).for_each(|_| wake.news());
        wake.seen(waiter);
        assert!(!wakes(&wake) && rings(&bell));
        bell.hush();
        assert!(!rings(&bell));
        wake.unlisten(slow);
        wake.news();
        assert!(!rings(&bell));
    }
}
