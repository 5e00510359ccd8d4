//! What is said on the control port: frames, each a kind (one byte), a length (32 bits, little-endian) and so many bytes.
//!
//! docs/control.md says who says what, and when. A number in a frame is 32 bits, little-endian, unless another size is
//! named; strings and lists are written as in [the orders](super::orders).
//!
//! This file is compiled into the library and into the guest program, so it uses nothing but the standard library.
//! Neither side trusts the other: whatever bytes come, the outcome is frames, or the end of the conversation.

use std::fmt;
use std::io::{ErrorKind, Read};

use super::orders::{DecodeError, Reader, number, string, strings};

/// The number of this language; both sides must speak the same.
pub const VERSION: u32 = 1;

/// How much of a stream may be under way: so many bytes may be sent before the other side has said that it took some.
///
/// libkrun hands on what the guest sends with calls that block, and with them all of its vsock device: no more may be
/// under way than the buffer of a unix socket holds.
pub const WINDOW: usize = 64 << 10;

/// The most bytes of a stream in one frame.
pub const CHUNK: usize = 16 << 10;

/// The most bytes after the head of a frame that is a request: a command line and an environment may be long.
pub const LONGEST_REQUEST: usize = 4 << 20;

/// The most bytes after the head of any other frame.
pub const LONGEST: usize = 64 << 10;

const HEAD: usize = 5;
const MAGIC: &[u8] = b"krundl-control";

/// One frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// The guest, at once and before all else.
    Hello {
        /// The language that it speaks.
        version: u32,
    },
    /// The guest: the command runs.
    Started {
        /// Its number in the guest.
        pid: u32,
    },
    /// Bytes of a stream: input from the host, output and errors from the guest.
    Data(Stream, Vec<u8>),
    /// So many bytes of a stream were taken, and as many more may come.
    Taken(Stream, u32),
    /// No more of a stream: the input has ended, or nobody reads the output.
    End(Stream),
    /// The guest: the command exited.
    Exited {
        /// Its status, 0 to 255.
        status: i32,
    },
    /// The guest: a signal killed the command.
    Killed {
        /// The signal.
        signal: i32,
    },
    /// The guest: the program could not be executed.
    NotExecuted {
        /// Linux's error number.
        errno: i32,
        /// Why, in words.
        message: Vec<u8>,
    },
    /// The guest: it could not do what was asked for.
    Failed {
        /// Linux's error number, 0 where there is none.
        errno: i32,
        /// Why, in words.
        message: Vec<u8>,
    },
    /// The guest: its figures, each with its name.
    Figures(Vec<(Vec<u8>, u64)>),
    /// The guest: it has done what was asked for.
    Done,
    /// The host: run a command.
    Exec(Exec),
    /// The host: tell the figures.
    AskFigures,
    /// The host: ask the workload to end.
    Terminate,
    /// The host: send the command a signal.
    Signal {
        /// Linux's number of it.
        number: i32,
    },
    /// The host: its terminal has another size.
    Resize(Size),
}

/// A stream of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard input.
    Input,
    /// Standard output, and on a terminal everything.
    Output,
    /// Standard error.
    Error,
}

/// A terminal's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Size {
    /// Lines.
    pub rows: u16,
    /// Characters in each.
    pub columns: u16,
}

/// A command.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exec {
    /// The program: a path, or a name that is looked up in the `PATH` of its environment.
    pub path: Vec<u8>,
    /// Its arguments, without its own name.
    pub args: Vec<Vec<u8>>,
    /// Variables, each `NAME=value`.
    pub env: Vec<Vec<u8>>,
    /// Whether they come on top of the workload's environment.
    pub on_top: bool,
    /// Its working directory; empty for the workload's.
    pub workdir: Vec<u8>,
    /// The user that it runs as.
    pub uid: Option<u32>,
    /// The group.
    pub gid: Option<u32>,
    /// A terminal of this size, instead of three streams.
    pub terminal: Option<Size>,
}

/// Why bytes are no frames.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FrameError {
    /// A kind without a meaning.
    Kind(u8),
    /// A frame is longer than any of its kind may be.
    Long,
    /// What is in it is not as it should be.
    Content(DecodeError),
    /// It does not begin as a krundl's guest does.
    Foreign,
}

impl fmt::Display for FrameError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FrameError::Kind(kind) => write!(f, "a frame of kind {kind}, which has no meaning"),
            FrameError::Long => write!(f, "a frame that is too long"),
            FrameError::Content(_) => write!(f, "a frame whose content is not as it should be"),
            FrameError::Foreign => write!(f, "it is not krundl's program in a guest"),
        }
    }
}

impl std::error::Error for FrameError {}

impl From<DecodeError> for FrameError {
    fn from(error: DecodeError) -> FrameError {
        FrameError::Content(error)
    }
}

/// The kinds. Those of the guest are below 64; a number is never used again for another meaning.
mod kind {
    pub const HELLO: u8 = 1;
    pub const STARTED: u8 = 2;
    pub const EXITED: u8 = 3;
    pub const KILLED: u8 = 4;
    pub const NOT_EXECUTED: u8 = 5;
    pub const FAILED: u8 = 6;
    pub const FIGURES: u8 = 7;
    pub const DONE: u8 = 8;
    pub const EXEC: u8 = 64;
    pub const ASK_FIGURES: u8 = 65;
    pub const TERMINATE: u8 = 66;
    pub const SIGNAL: u8 = 67;
    pub const RESIZE: u8 = 68;
    /// And one more for output, two more for errors.
    pub const DATA: u8 = 128;
    pub const TAKEN: u8 = 132;
    pub const END: u8 = 136;
}

impl Stream {
    fn offset(self) -> u8 {
        match self {
            Stream::Input => 0,
            Stream::Output => 1,
            Stream::Error => 2,
        }
    }

    fn of(kind: u8, base: u8) -> Option<Stream> {
        match kind.checked_sub(base)? {
            0 => Some(Stream::Input),
            1 => Some(Stream::Output),
            2 => Some(Stream::Error),
            _ => None,
        }
    }
}

impl Frame {
    /// The bytes of the frame. A string with a NUL inside, or a frame that is too long, makes one that nobody accepts.
    pub fn encode(&self) -> Vec<u8> {
        let mut out = vec![0; HEAD];
        out[0] = self.content(&mut out);
        let length = u32::try_from(out.len() - HEAD).unwrap_or(u32::MAX);
        out[1..HEAD].copy_from_slice(&length.to_le_bytes());
        out
    }

    /// Writes what is in it, and returns its kind.
    fn content(&self, out: &mut Vec<u8>) -> u8 {
        match self {
            Frame::Hello { version } => {
                out.extend_from_slice(MAGIC);
                number(out, *version);
                kind::HELLO
            }
            Frame::Started { pid } => {
                number(out, *pid);
                kind::STARTED
            }
            Frame::Data(stream, bytes) => {
                out.extend_from_slice(bytes);
                kind::DATA + stream.offset()
            }
            Frame::Taken(stream, bytes) => {
                number(out, *bytes);
                kind::TAKEN + stream.offset()
            }
            Frame::End(stream) => kind::END + stream.offset(),
            Frame::Exited { status } => {
                number(out, status.cast_unsigned());
                kind::EXITED
            }
            Frame::Killed { signal } => {
                number(out, signal.cast_unsigned());
                kind::KILLED
            }
            Frame::NotExecuted { errno, message } => {
                number(out, errno.cast_unsigned());
                string(out, message);
                kind::NOT_EXECUTED
            }
            Frame::Failed { errno, message } => {
                number(out, errno.cast_unsigned());
                string(out, message);
                kind::FAILED
            }
            Frame::Figures(figures) => {
                number(out, u32::try_from(figures.len()).unwrap_or(u32::MAX));
                for (name, value) in figures {
                    string(out, name);
                    out.extend_from_slice(&value.to_le_bytes());
                }
                kind::FIGURES
            }
            Frame::Done => kind::DONE,
            Frame::Exec(exec) => {
                string(out, &exec.path);
                strings(out, &exec.args);
                strings(out, &exec.env);
                number(out, exec.on_top.into());
                string(out, &exec.workdir);
                for id in [exec.uid, exec.gid] {
                    number(out, id.is_some().into());
                    id.iter().for_each(|id| number(out, *id));
                }
                number(out, exec.terminal.is_some().into());
                exec.terminal.iter().for_each(|size| size.put(out));
                kind::EXEC
            }
            Frame::AskFigures => kind::ASK_FIGURES,
            Frame::Terminate => kind::TERMINATE,
            Frame::Signal { number: signal } => {
                number(out, signal.cast_unsigned());
                kind::SIGNAL
            }
            Frame::Resize(size) => {
                size.put(out);
                kind::RESIZE
            }
        }
    }

    fn parse(kind: u8, bytes: &[u8]) -> Result<Frame, FrameError> {
        if let Some(stream) = Stream::of(kind, kind::DATA) {
            return Ok(Frame::Data(stream, bytes.to_vec()));
        }
        let mut reader = Reader { bytes, at: 0 };
        let frame = match kind {
            kind::HELLO if reader.take(MAGIC.len(), 0).is_ok_and(|magic| magic == MAGIC) => {
                Frame::Hello { version: reader.number()? }
            }
            kind::HELLO => return Err(FrameError::Foreign),
            kind::STARTED => Frame::Started { pid: reader.number()? },
            kind::EXITED => Frame::Exited { status: reader.number()?.cast_signed() },
            kind::KILLED => Frame::Killed { signal: reader.number()?.cast_signed() },
            kind::NOT_EXECUTED => {
                Frame::NotExecuted { errno: reader.number()?.cast_signed(), message: reader.string()? }
            }
            kind::FAILED => Frame::Failed { errno: reader.number()?.cast_signed(), message: reader.string()? },
            kind::FIGURES => Frame::Figures(reader.list(|reader| {
                let name = reader.string()?;
                let (low, high) = (reader.number()?, reader.number()?);
                Ok((name, u64::from(high) << 32 | u64::from(low)))
            })?),
            kind::DONE => Frame::Done,
            kind::EXEC => Frame::Exec(Exec {
                path: reader.string()?,
                args: reader.list(Reader::string)?,
                env: reader.list(Reader::string)?,
                on_top: reader.truth()?,
                workdir: reader.string()?,
                uid: if reader.truth()? { Some(reader.number()?) } else { None },
                gid: if reader.truth()? { Some(reader.number()?) } else { None },
                terminal: if reader.truth()? { Some(Size::take(&mut reader)?) } else { None },
            }),
            kind::ASK_FIGURES => Frame::AskFigures,
            kind::TERMINATE => Frame::Terminate,
            kind::SIGNAL => Frame::Signal { number: reader.number()?.cast_signed() },
            kind::RESIZE => Frame::Resize(Size::take(&mut reader)?),
            other => match (Stream::of(other, kind::TAKEN), Stream::of(other, kind::END)) {
                (Some(stream), _) => Frame::Taken(stream, reader.number()?),
                (None, Some(stream)) => Frame::End(stream),
                (None, None) => return Err(FrameError::Kind(other)),
            },
        };
        if reader.at < bytes.len() {
            return Err(DecodeError::Trailing { at: reader.at }.into());
        }
        Ok(frame)
    }
}

impl Size {
    fn put(self, out: &mut Vec<u8>) {
        number(out, u32::from(self.rows) << 16 | u32::from(self.columns));
    }

    fn take(reader: &mut Reader<'_>) -> Result<Size, DecodeError> {
        let both = reader.number()?;
        let [rows, columns] = [both >> 16, both].map(|half| (half & 0xffff) as u16);
        Ok(Size { rows, columns })
    }
}

/// Bytes as they come, and the frames in them.
#[derive(Debug, Default)]
pub struct Decoder {
    bytes: Vec<u8>,
    /// How many of them have been read already.
    read: usize,
}

impl Decoder {
    /// Takes more bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.drain(..self.read);
        self.read = 0;
        self.bytes.extend_from_slice(bytes);
    }

    /// Takes some of what has come over a connection that does not block; returns whether more can come.
    pub fn fill(&mut self, connection: &mut impl Read) -> bool {
        let mut buffer = [0; 16 << 10];
        loop {
            match connection.read(&mut buffer) {
                Ok(0) => return false,
                Ok(count) => self.push(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return error.kind() == ErrorKind::WouldBlock,
            }
            return true;
        }
    }

    /// The next frame; nothing until all of it is there. A frame that is too long is refused by its head, so that no more
    /// than the longest is ever kept.
    ///
    /// # Errors
    /// The bytes are no frames, and nothing after them can be.
    pub fn next(&mut self) -> Result<Option<Frame>, FrameError> {
        let left = &self.bytes[self.read..];
        let Some((&[kind, a, b, c, d], rest)) = left.split_first_chunk::<HEAD>() else { return Ok(None) };
        let length = u32::from_le_bytes([a, b, c, d]) as usize;
        if length > if kind == kind::EXEC { LONGEST_REQUEST } else { LONGEST } {
            return Err(FrameError::Long);
        }
        let Some(content) = rest.get(..length) else { return Ok(None) };
        let frame = Frame::parse(kind, content)?;
        self.read += HEAD + length;
        Ok(Some(frame))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::option;
    use proptest::prelude::*;

    fn text() -> impl Strategy<Value = Vec<u8>> {
        vec(1..=u8::MAX, 0..40)
    }

    fn stream() -> impl Strategy<Value = Stream> {
        prop_oneof![Just(Stream::Input), Just(Stream::Output), Just(Stream::Error)]
    }

    fn size() -> impl Strategy<Value = Size> {
        any::<(u16, u16)>().prop_map(|(rows, columns)| Size { rows, columns })
    }

    fn any_exec() -> impl Strategy<Value = Exec> {
        let ids = (option::of(any::<u32>()), option::of(any::<u32>()));
        (text(), vec(text(), 0..5), vec(text(), 0..5), any::<bool>(), text(), ids, option::of(size())).prop_map(
            |(path, args, env, on_top, workdir, (uid, gid), terminal)| Exec {
                path,
                args,
                env,
                on_top,
                workdir,
                uid,
                gid,
                terminal,
            },
        )
    }

    fn any_frame() -> impl Strategy<Value = Frame> {
        prop_oneof![
            any::<u32>().prop_map(|version| Frame::Hello { version }),
            any::<u32>().prop_map(|pid| Frame::Started { pid }),
            (stream(), vec(any::<u8>(), 0..300)).prop_map(|(stream, bytes)| Frame::Data(stream, bytes)),
            (stream(), any::<u32>()).prop_map(|(stream, bytes)| Frame::Taken(stream, bytes)),
            stream().prop_map(Frame::End),
            any::<i32>().prop_map(|status| Frame::Exited { status }),
            any::<i32>().prop_map(|signal| Frame::Killed { signal }),
            (any::<i32>(), text()).prop_map(|(errno, message)| Frame::NotExecuted { errno, message }),
            (any::<i32>(), text()).prop_map(|(errno, message)| Frame::Failed { errno, message }),
            vec((text(), any::<u64>()), 0..6).prop_map(Frame::Figures),
            Just(Frame::Done),
            any_exec().prop_map(Frame::Exec),
            Just(Frame::AskFigures),
            Just(Frame::Terminate),
            any::<i32>().prop_map(|number| Frame::Signal { number }),
            size().prop_map(Frame::Resize),
        ]
    }

    /// Everything that comes out, in pieces of these sizes, until the end or a mistake.
    fn decode(bytes: &[u8], piece: usize) -> (Vec<Frame>, Option<FrameError>) {
        let (mut decoder, mut frames) = (Decoder::default(), Vec::new());
        for piece in bytes.chunks(piece.max(1)) {
            decoder.push(piece);
            loop {
                match decoder.next() {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(error) => return (frames, Some(error)),
                }
            }
        }
        (frames, None)
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_in_pieces_of_any_size(frames in vec(any_frame(), 0..8), piece in 1_usize..200) {
            let bytes: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
            prop_assert_eq!(decode(&bytes, piece), (frames, None));
        }

        #[test]
        fn any_bytes_are_frames_or_a_mistake(bytes in vec(any::<u8>(), 0..400), piece in 1_usize..64) {
            let (frames, _) = decode(&bytes, piece);
            // What was understood is what was said.
            let again: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
            prop_assert!(bytes.starts_with(&again));
        }

        #[test]
        fn a_changed_byte_is_a_mistake_or_means_what_it_says(
            frame in any_frame(), at in any::<prop::sample::Index>(), value in any::<u8>()
        ) {
            let mut bytes = frame.encode();
            let at = at.index(bytes.len());
            bytes[at] = value;
            let (frames, _) = decode(&bytes, 7);
            let again: Vec<u8> = frames.iter().flat_map(Frame::encode).collect();
            prop_assert!(bytes.starts_with(&again));
        }
    }

    #[test]
    fn a_long_frame_is_refused_by_its_head() {
        let head = |kind, length: usize| [&[kind][..], &(length as u32).to_le_bytes()].concat();
        assert_eq!(decode(&head(kind::DATA, LONGEST + 1), 64).1, Some(FrameError::Long));
        assert_eq!(decode(&head(kind::EXEC, LONGEST_REQUEST + 1), 64).1, Some(FrameError::Long));
        assert_eq!(decode(&head(kind::EXEC, LONGEST_REQUEST), 64).1, None, "it may still come");
        assert_eq!(decode(&head(kind::EXEC, usize::MAX), 64).1, Some(FrameError::Long));
    }

    #[test]
    fn the_layout_stays() {
        assert_eq!(Frame::Hello { version: 1 }.encode(), b"\x01\x12\0\0\0krundl-control\x01\0\0\0");
        assert_eq!(Frame::Data(Stream::Error, b"ab".to_vec()).encode(), b"\x82\x02\0\0\0ab");
        assert_eq!(Frame::Taken(Stream::Output, 258).encode(), b"\x85\x04\0\0\0\x02\x01\0\0");
        assert_eq!(Frame::End(Stream::Input).encode(), b"\x88\0\0\0\0");
        assert_eq!(Frame::Resize(Size { rows: 24, columns: 80 }).encode(), b"\x44\x04\0\0\0\x50\0\x18\0");
        assert_eq!(decode(b"\x01\x04\0\0\0SSH-", 64).1, Some(FrameError::Foreign));
    }
}
