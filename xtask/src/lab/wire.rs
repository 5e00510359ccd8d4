//! What the two sides of the lab say to each other, over one virtio-serial port.
//!
//! Everything is a frame: one byte for the kind, four bytes (little-endian) for the length, and so many bytes. One port
//! for everything keeps the order: whatever the command wrote arrives before its exit status does.

use std::ffi::{OsStr, OsString};
use std::io::{self, Read, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

/// The name of the virtio-serial port.
pub const PORT: &str = "krundl.lab";

/// The longest payload of a frame, in bytes: what is longer was not written by the other side.
pub const LONGEST: usize = 1 << 22;

/// What a frame carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// To the lab, as the answer to its first frame: the time, as seconds and nanoseconds since 1970 (eight bytes each).
    Clock = 4,
    /// To the lab, after the time: the encoded [`Job`].
    Job = 1,
    /// To the lab: bytes for the command's stdin.
    Input = 2,
    /// To the lab: the command's stdin is at its end.
    InputEnd = 3,
    /// From the lab: the command runs now.
    Started = 10,
    /// From the lab: bytes from the command's stdout.
    Output = 11,
    /// From the lab: bytes from the command's stderr.
    Error = 12,
    /// From the lab, first of all and then every few seconds: the machine works.
    Alive = 13,
    /// From the lab: the command's exit status, one byte. Always the last frame.
    Exit = 14,
    /// From the lab: a sentence that says why the command could not be run.
    Failed = 15,
}

impl Kind {
    const ALL: [Self; 10] = [
        Self::Clock,
        Self::Job,
        Self::Input,
        Self::InputEnd,
        Self::Started,
        Self::Output,
        Self::Error,
        Self::Alive,
        Self::Exit,
        Self::Failed,
    ];

    fn from_byte(byte: u8) -> io::Result<Self> {
        let found = Self::ALL.into_iter().find(|kind| *kind as u8 == byte);
        found.ok_or_else(|| damaged(format!("unknown frame kind {byte}")))
    }
}

/// A kind and its payload.
pub type Frame = (Kind, Vec<u8>);

/// Writes one frame, as one write where the writer takes it.
pub fn write_frame(writer: &mut impl Write, kind: Kind, payload: &[u8]) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(payload.len() + 5);
    bytes.push(kind as u8);
    bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    bytes.extend_from_slice(payload);
    writer.write_all(&bytes)
}

/// Puts frames together from whatever pieces the bytes come in.
#[derive(Debug)]
pub struct Frames {
    /// Where reads go first: clearing room for each read at the end of `pending` is slow in an emulated machine.
    incoming: Vec<u8>,
    pending: Vec<u8>,
    taken: usize,
}

impl Default for Frames {
    fn default() -> Self {
        Self { incoming: vec![0; 1 << 16], pending: Vec::new(), taken: 0 }
    }
}

impl Frames {
    /// Reads once from `reader` and keeps what came; 0 bytes means that the other side is gone.
    pub fn read_from(&mut self, reader: &mut impl Read) -> io::Result<usize> {
        let count = reader.read(&mut self.incoming)?;
        self.pending.drain(..self.taken);
        self.taken = 0;
        self.pending.extend_from_slice(&self.incoming[..count]);
        Ok(count)
    }

    /// The next whole frame, if it is here already.
    pub fn next_frame(&mut self) -> io::Result<Option<Frame>> {
        let bytes = &self.pending[self.taken..];
        let Some((head, rest)) = bytes.split_at_checked(5) else { return Ok(None) };
        let length = u32::from_le_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if length > LONGEST {
            return Err(damaged(format!("a frame of {length} bytes")));
        }
        let kind = Kind::from_byte(head[0])?;
        let Some(payload) = rest.get(..length) else { return Ok(None) };
        let frame = (kind, payload.to_vec());
        self.taken += 5 + length;
        Ok(Some(frame))
    }
}

/// What is to be run in the lab, and around it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Job {
    /// The program and its arguments.
    pub command: Vec<OsString>,
    /// The whole environment of the command.
    pub environment: Vec<(OsString, OsString)>,
    /// The command's current directory.
    pub directory: PathBuf,
    /// Directories of the outside that are to be writable; the position is the number in the mount tag.
    pub writable: Vec<PathBuf>,
    /// Paths of the outside that lie where the lab has an empty directory of its own, and are wanted all the same.
    pub readable: Vec<PathBuf>,
}

impl Job {
    /// The job as bytes: each list as the number of its strings and these, each with a NUL at its end. No argument,
    /// variable or path can hold a NUL, so nothing needs to be escaped.
    pub fn encode(&self) -> Vec<u8> {
        let environment: Vec<OsString> =
            self.environment.iter().flat_map(|(name, value)| [name.clone(), value.clone()]).collect();
        let paths = |list: &[PathBuf]| list.iter().map(|path| path.clone().into_os_string()).collect::<Vec<_>>();
        let lists = [
            self.command.clone(),
            environment,
            vec![self.directory.clone().into_os_string()],
            paths(&self.writable),
            paths(&self.readable),
        ];
        let mut bytes = Vec::new();
        for list in lists {
            let count = OsString::from(list.len().to_string());
            for string in std::iter::once(&count).chain(&list) {
                bytes.extend_from_slice(string.as_bytes());
                bytes.push(0);
            }
        }
        bytes
    }

    /// Reads what [`Job::encode`] wrote.
    pub fn decode(bytes: &[u8]) -> io::Result<Self> {
        let mut strings = bytes.split(|byte| *byte == 0);
        let mut list = || -> io::Result<Vec<OsString>> {
            let next = |strings: &mut dyn Iterator<Item = &[u8]>| {
                let string = strings.next().ok_or_else(|| damaged("a job that ends too early"));
                string.map(|bytes| OsStr::from_bytes(bytes).to_owned())
            };
            let count = next(&mut strings)?;
            let count = count.to_str().and_then(|text| text.parse::<usize>().ok());
            let count = count.ok_or_else(|| damaged("a job without a count"))?;
            (0..count).map(|_| next(&mut strings)).collect()
        };
        let paths = |list: Vec<OsString>| list.into_iter().map(PathBuf::from).collect::<Vec<_>>();
        let command = list()?;
        let environment = list()?.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        let directory = paths(list()?).pop().ok_or_else(|| damaged("a job without a directory"))?;
        Ok(Self { command, environment, directory, writable: paths(list()?), readable: paths(list()?) })
    }
}

fn damaged(what: impl std::fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("the lab's two sides do not understand each other: {what}"))
}

/// A string of any bytes as a word that can stand on a kernel's command line.
pub fn to_hex(text: &OsStr) -> String {
    text.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a string can be an argument or a variable at all.
pub fn has_nul(text: &OsStr) -> bool {
    text.to_owned().into_vec().contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn os(bytes: &[u8]) -> OsString {
        OsString::from_vec(bytes.to_vec())
    }

    #[test]
    fn a_job_arrives_as_it_was_sent() {
        let job = Job {
            command: vec![
                os(b"sh"),
                os(b""),
                os(b"a \"b\" 'c' $d\n\t\\"),
                os("grüß".as_bytes()),
                os(b"\xff\xfe\x80\x01"),
            ],
            environment: vec![(os(b"A"), os(b"")), (os(b"B"), os(b"x=y\n"))],
            directory: "/work/a b".into(),
            writable: vec!["/work/a b".into(), "/x".into()],
            readable: vec![],
        };
        assert_eq!(Job::decode(&job.encode()).unwrap(), job);
    }

    #[test]
    fn a_damaged_job_is_an_error() {
        let bytes = Job { command: vec![os(b"true")], directory: "/".into(), ..Job::default() }.encode();
        assert!(Job::decode(&bytes[..bytes.len() - 5]).is_err());
        assert!(Job::decode(b"x\0").is_err());
        assert!(Job::decode(b"").is_err());
    }

    #[test]
    fn frames_come_whole_however_they_are_cut() {
        let mut bytes = Vec::new();
        write_frame(&mut bytes, Kind::Output, b"hello\0\xff").unwrap();
        write_frame(&mut bytes, Kind::Exit, &[7]).unwrap();
        for size in 1..bytes.len() {
            let (mut frames, mut got) = (Frames::default(), Vec::new());
            for mut piece in bytes.chunks(size) {
                frames.read_from(&mut piece).unwrap();
                while let Some(frame) = frames.next_frame().unwrap() {
                    got.push(frame);
                }
            }
            assert_eq!(got, [(Kind::Output, b"hello\0\xff".to_vec()), (Kind::Exit, vec![7])]);
        }
    }

    #[test]
    fn garbage_is_an_error() {
        for garbage in [&b"\x63\0\0\0\0"[..], b"\x0b\xff\xff\xff\xff"] {
            let mut frames = Frames::default();
            frames.read_from(&mut &garbage[..]).unwrap();
            assert!(frames.next_frame().is_err());
        }
    }

    #[test]
    fn hexadecimal() {
        assert_eq!(to_hex(OsStr::new("/a b")), "2f612062");
    }
}
