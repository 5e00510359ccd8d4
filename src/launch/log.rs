//! libkrun's log and its own words, bounded.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};

use super::options::LogTarget;
use super::wake::{Watched, nonblocking};

/// How much of the beginning is kept, in bytes: start-up failures are explained there.
const HEAD: usize = 32 * 1024;
/// How much of the end is kept, in bytes: later failures are explained there.
const TAIL: usize = 96 * 1024;

/// What libkrun has written.
pub(super) struct Log {
    source: Source,
    head: Vec<u8>,
    tail: VecDeque<u8>,
    /// Bytes between the two that were dropped.
    dropped: u64,
}

enum Source {
    /// The read end of a pipe; `None` once everything was read.
    Pipe(Option<Arc<File>>),
    /// A file of the caller's, and where this VM's part of it begins.
    File(File, u64),
}

impl Log {
    /// The log, and the descriptor for the VM's process to write to.
    pub(super) fn new(target: LogTarget) -> io::Result<(Log, OwnedFd)> {
        let (source, writer) = match target {
            LogTarget::Captured => {
                let (reader, writer) = io::pipe()?;
                let (reader, writer) = (OwnedFd::from(reader), OwnedFd::from(writer));
                // Whoever writes must never wait for a caller that does not read.
                nonblocking(writer.as_fd())?;
                nonblocking(reader.as_fd())?;
                #[cfg(target_os = "linux")]
                let _ = rustix::pipe::fcntl_setpipe_size(&writer, 1 << 20);
                (Source::Pipe(Some(Arc::new(reader.into()))), writer)
            }
            LogTarget::File(mut file) => {
                let start = file.seek(SeekFrom::End(0))?;
                let flags = fcntl_getfl(&file)?;
                fcntl_setfl(&file, flags | OFlags::APPEND)?;
                let writer = file.try_clone()?.into();
                (Source::File(file, start), writer)
            }
        };
        Ok((Log { source, head: Vec::new(), tail: VecDeque::new(), dropped: 0 }, writer))
    }

    /// What to wait on for more; `None` when there is nothing to wait for.
    pub(super) fn watched(&self) -> Option<Watched> {
        match &self.source {
            Source::Pipe(Some(pipe)) => Some(pipe.clone()),
            _ => None,
        }
    }

    /// Takes what has come, without waiting.
    pub(super) fn drain(&mut self) {
        let mut buffer = [0; 16 * 1024];
        loop {
            let Source::Pipe(Some(pipe)) = &self.source else { return };
            match (&**pipe).read(&mut buffer) {
                Ok(0) => {
                    self.source = Source::Pipe(None);
                    return;
                }
                Ok(n) => self.keep(&buffer[..n]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return,
            }
        }
    }

    fn keep(&mut self, mut bytes: &[u8]) {
        let room = HEAD - self.head.len();
        let (first, rest) = bytes.split_at(room.min(bytes.len()));
        self.head.extend_from_slice(first);
        bytes = rest;
        self.tail.extend(bytes);
        let excess = self.tail.len().saturating_sub(TAIL);
        self.tail.drain(..excess);
        self.dropped += excess as u64;
    }

    /// Everything that was kept; a line tells where something was left out.
    pub(super) fn bytes(&self) -> Vec<u8> {
        if let Source::File(file, start) = &self.source {
            return tail_of(file, *start).unwrap_or_default();
        }
        let mut bytes = self.head.clone();
        if self.dropped > 0 {
            bytes.extend(format!("\n[{} bytes left out]\n", self.dropped).bytes());
        }
        bytes.extend(&self.tail);
        bytes
    }
}

fn tail_of(file: &File, start: u64) -> io::Result<Vec<u8>> {
    use std::os::unix::fs::FileExt;
    let end = file.metadata()?.len();
    let from = start.max(end.saturating_sub(TAIL as u64));
    let mut bytes = vec![0; usize::try_from(end.saturating_sub(from)).unwrap_or(0)];
    let read = file.read_at(&mut bytes, from)?;
    bytes.truncate(read);
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn the_beginning_and_the_end_are_kept() {
        let (mut log, writer) = Log::new(LogTarget::Captured).unwrap();
        let mut writer = File::from(writer);
        writer.write_all(b"first words\n").unwrap();
        for n in 0..400 {
            writer.write_all(format!("{n:01023}\n").as_bytes()).unwrap();
            log.drain();
        }
        writer.write_all(b"last words\n").unwrap();
        drop(writer);
        log.drain();
        let text = String::from_utf8(log.bytes()).unwrap();
        assert!(text.starts_with("first words\n") && text.ends_with("last words\n"));
        assert!(text.contains("bytes left out") && text.len() < HEAD + TAIL + 100);
        assert!(log.watched().is_none(), "the end was seen");
    }

    #[test]
    fn a_writer_never_waits_for_a_reader() {
        let (_log, writer) = Log::new(LogTarget::Captured).unwrap();
        let mut writer = File::from(writer);
        let mut written = 0;
        let error = loop {
            match writer.write(&[b'x'; 4096]) {
                Ok(n) => written += n,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::WouldBlock);
        assert!(written >= 64 * 1024);
    }
}
