//! What the helper and its caller say to each other.
//!
//! Both sides begin with a line `krundl-wire PROTOCOL VERSION`. After it the caller sends one request, and the helper
//! any number of statuses: each a length (32 bits, little-endian) and as many bytes of JSON. A truncated or foreign
//! message is an error, never another message.

use std::io::{self, Read, Write};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Attempt, Origin};
use crate::library::{Firmware, Observation, Options};
use crate::plan::{OpenPort, Plan};

/// Grows with every change of a message.
pub(crate) const PROTOCOL: u32 = 2;
/// The longest message, in bytes: arguments and environment take at most 1.5 MiB, and JSON may make six bytes of one.
const MAX_MESSAGE: usize = 32 << 20;
/// The longest first line, in bytes.
const MAX_GREETING: usize = 256;

/// What the caller wants.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// Open a libkrun and say what it is.
    Probe {
        /// Which.
        options: Box<Options>,
        /// Whether to read the release of the kernel in libkrunfw.
        kernel_release: bool,
    },
    /// Carry out a plan.
    Run {
        /// The plan.
        plan: Box<Plan>,
        /// How the child goes about it.
        how: How,
    },
}

/// How a plan is carried out.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct How {
    /// The caller's process: the helper is its child, and dies with it where that is wished for.
    pub parent: u32,
    /// Whether to die with it.
    pub die_with_parent: bool,
}

/// What the helper says.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    /// It is about to open this; the last one before its death is the culprit.
    Trying {
        /// A path or soname.
        candidate: String,
        /// Where it came from.
        origin: Origin,
    },
    /// That was not it.
    Attempted(Attempt),
    /// This one opened.
    Observed(Box<Observation>),
    /// Its libkrunfw, asked about itself. After the observation, so that a libkrunfw which kills the process does not
    /// count against libkrun.
    Firmware(Box<Firmware>),
    /// None opened; the attempts were told one by one.
    NotFound,
    /// The library could not be opened again, or is not the one that was probed.
    LibraryChanged {
        /// Why.
        reason: String,
    },
    /// The helper itself failed at something.
    Failed {
        /// What.
        what: String,
        /// The positive errno.
        errno: i32,
    },
    /// A program for a network card serves.
    Network {
        /// Its process. The helper is its parent and leaves it alone from now on.
        pid: u32,
        /// The ports that it has opened, as they are now.
        ports: Vec<OpenPort>,
    },
    /// A program for a network card does not.
    NetworkFailed {
        /// The field of the spec that asks for it.
        field: String,
        /// The program.
        program: std::path::PathBuf,
        /// What happened.
        reason: String,
    },
    /// The bootstrap share was made here; the caller removes it.
    Share {
        /// Its directory.
        path: std::path::PathBuf,
    },
    /// A call is about to be made.
    Calling {
        /// Its place in the plan.
        index: usize,
    },
    /// A call was refused.
    Refused {
        /// Its place in the plan.
        index: usize,
        /// What it returned.
        returned: i32,
    },
    /// `krun_start_enter` is about to be called.
    Entered,
    /// It came back, which it does only when it fails.
    Returned {
        /// What it returned.
        returned: i32,
    },
}

/// The first line of either side.
pub(crate) fn greeting() -> String {
    format!("krundl-wire {PROTOCOL} {}\n", env!("CARGO_PKG_VERSION"))
}

/// Checks the other side's first line, without its newline.
pub(crate) fn check_greeting(line: &[u8]) -> Result<(), String> {
    let ours = greeting();
    if line == ours.trim_end().as_bytes() {
        return Ok(());
    }
    match std::str::from_utf8(line).ok().and_then(|line| line.strip_prefix("krundl-wire ")) {
        Some(theirs) => Err(format!(
            "one speaks protocol and version {}, the other {}",
            ours.trim_end().trim_start_matches("krundl-wire "),
            theirs.escape_debug()
        )),
        None => Err("its first words are not krundl's".to_owned()),
    }
}

/// A message with its length.
pub(crate) fn frame<T: Serialize>(message: &T) -> Vec<u8> {
    let body = serde_json::to_vec(message).expect("messages are plain data");
    let length = u32::try_from(body.len()).expect("messages are far below 4 GiB");
    [&length.to_le_bytes()[..], &body].concat()
}

/// Everything that the caller sends.
pub(crate) fn request(request: &Request) -> Vec<u8> {
    [greeting().into_bytes(), frame(request)].concat()
}

/// Writes one message.
pub(crate) fn send<T: Serialize>(out: &mut impl Write, message: &T) -> io::Result<()> {
    out.write_all(&frame(message))
}

/// Reads the caller's greeting and its request.
///
/// # Errors
/// What did not fit, in words.
pub(crate) fn receive_request(input: &mut impl Read) -> Result<Request, String> {
    let mut bytes = Vec::new();
    input.take(MAX_MESSAGE as u64 + 512).read_to_end(&mut bytes).map_err(|error| error.to_string())?;
    let mut inbox = Inbox::default();
    inbox.push(&bytes);
    inbox.greeting()?.ok_or("the request has no first line")?;
    let request = inbox.next()?.ok_or("the request is cut off")?;
    if inbox.is_empty() { Ok(request) } else { Err("something follows the request".to_owned()) }
}

/// Bytes as they come in, taken out as whole messages.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    bytes: Vec<u8>,
    greeted: bool,
}

impl Inbox {
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// Whether the other side has said its first line.
    pub(crate) fn greeted(&self) -> bool {
        self.greeted
    }

    /// Takes the first line, once it is there whole.
    ///
    /// # Errors
    /// What does not fit.
    pub(crate) fn greeting(&mut self) -> Result<Option<()>, String> {
        if self.greeted {
            return Ok(Some(()));
        }
        let Some(end) = self.bytes.iter().take(MAX_GREETING).position(|b| *b == b'\n') else {
            return if self.bytes.len() >= MAX_GREETING {
                Err("its first words are not krundl's".to_owned())
            } else {
                Ok(None)
            };
        };
        check_greeting(&self.bytes[..end])?;
        self.bytes.drain(..=end);
        self.greeted = true;
        Ok(Some(()))
    }

    /// Takes the next message, once it is there whole.
    ///
    /// # Errors
    /// A message that is too long or not understood.
    pub(crate) fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, String> {
        if self.greeting()?.is_none() {
            return Ok(None);
        }
        let Some((length, rest)) = self.bytes.split_first_chunk::<4>() else { return Ok(None) };
        let length = u32::from_le_bytes(*length) as usize;
        if length > MAX_MESSAGE {
            return Err(format!("a message of {length} bytes is longer than any of krundl's"));
        }
        let Some(body) = rest.get(..length) else { return Ok(None) };
        let message = serde_json::from_slice(body).map_err(|error| format!("a message is not understood: {error}"))?;
        self.bytes.drain(..4 + length);
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{AttemptError, AttemptKind};
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::Index;

    fn stream() -> Vec<u8> {
        let mut bytes = greeting().into_bytes();
        bytes.extend(frame(&Status::Calling { index: 3 }));
        bytes.extend(frame(&Status::Returned { returned: -22 }));
        bytes
    }

    #[test]
    fn messages_come_out_whole_however_they_come_in() {
        for chunk in [1, 2, 7, 1000] {
            let mut inbox = Inbox::default();
            let mut seen = Vec::new();
            for piece in stream().chunks(chunk) {
                inbox.push(piece);
                while let Some(status) = inbox.next::<Status>().unwrap() {
                    seen.push(format!("{status:?}"));
                }
            }
            assert_eq!(seen, ["Calling { index: 3 }", "Returned { returned: -22 }"]);
            assert!(inbox.is_empty());
        }
    }

    #[test]
    fn a_truncated_message_is_no_message() {
        let whole = stream();
        for length in 0..whole.len() {
            let mut inbox = Inbox::default();
            inbox.push(&whole[..length]);
            let mut seen = 0;
            while inbox.next::<Status>().unwrap().is_some() {
                seen += 1;
            }
            assert!(seen < 2, "{length} bytes gave {seen} messages");
        }
    }

    #[test]
    fn foreign_words_are_an_error() {
        let mut other = stream();
        other.splice(.., b"krundl-wire 999 0.0.1\n".iter().copied());
        for bytes in [&b"\x7fELF\n"[..], b"hello\n", &[b'x'; 300], &other] {
            let mut inbox = Inbox::default();
            inbox.push(bytes);
            assert!(inbox.next::<Status>().is_err());
        }
        let mut inbox = Inbox::default();
        inbox.push(greeting().as_bytes());
        inbox.push(&u32::MAX.to_le_bytes());
        assert!(inbox.next::<Status>().unwrap_err().contains("longer"));
    }

    /// One of each kind, with any contents.
    fn any_status() -> impl Strategy<Value = Status> {
        let text = any::<String>;
        let attempt = (text(), text()).prop_map(|(candidate, message)| {
            let error = Some(AttemptError { kind: AttemptKind::Crashed, message });
            Status::Attempted(Attempt { candidate, origin: Origin::Explicit, error })
        });
        let firmware = Firmware::default;
        prop_oneof![
            text().prop_map(|candidate| Status::Trying { candidate, origin: Origin::Loader }),
            attempt,
            Just(()).prop_map(move |()| Status::Firmware(Box::new(firmware()))),
            Just(()).prop_map(|()| Status::NotFound),
            text().prop_map(|reason| Status::LibraryChanged { reason }),
            (text(), any::<i32>()).prop_map(|(what, errno)| Status::Failed { what, errno }),
            text().prop_map(|path| Status::Share { path: path.into() }),
            any::<u32>().prop_map(|pid| Status::Network { pid, ports: Vec::new() }),
            (text(), text()).prop_map(|(field, reason)| Status::NetworkFailed { field, program: "p".into(), reason }),
            any::<usize>().prop_map(|index| Status::Calling { index }),
            (any::<usize>(), any::<i32>()).prop_map(|(index, returned)| Status::Refused { index, returned }),
            Just(()).prop_map(|()| Status::Entered),
            any::<i32>().prop_map(|returned| Status::Returned { returned }),
        ]
    }

    /// What comes out of these bytes, and whether that ended with an error.
    fn read(bytes: &[u8], chunk: usize) -> (Vec<String>, bool) {
        let mut inbox = Inbox::default();
        let mut seen = Vec::new();
        for piece in bytes.chunks(chunk) {
            inbox.push(piece);
            loop {
                match inbox.next::<Status>() {
                    Ok(Some(status)) => seen.push(format!("{status:?}")),
                    Ok(None) => break,
                    Err(_) => return (seen, true),
                }
            }
        }
        (seen, false)
    }

    proptest! {
        #[test]
        fn what_was_cut_off_is_the_beginning_of_what_was_said(
            statuses in vec(any_status(), 0..6),
            cut in any::<Index>(),
            chunk in 1..200usize,
        ) {
            let mut bytes = greeting().into_bytes();
            statuses.iter().for_each(|status| bytes.extend(frame(status)));
            let said: Vec<String> = statuses.iter().map(|status| format!("{status:?}")).collect();
            prop_assert_eq!(read(&bytes, chunk), (said.clone(), false));
            let cut = cut.index(bytes.len());
            let (heard, error) = read(&bytes[..cut], chunk);
            prop_assert!(!error && heard.len() <= said.len() && heard == said[..heard.len()]);
            prop_assert!(said.is_empty() || heard.len() < said.len(), "{cut} of {} bytes", bytes.len());
        }

        #[test]
        fn foreign_bytes_are_never_a_message(bytes in vec(any::<u8>(), 0..400), as_krundl in any::<bool>()) {
            let own = if as_krundl { b"krundl-wire ".as_slice() } else { b"" };
            prop_assert_eq!(read(&[own, &bytes].concat(), 64).0, [""; 0]);
            prop_assert!(receive_request(&mut [own, &bytes].concat().as_slice()).is_err());
        }

        /// Lengths and text at random: never another message than the one that stands there.
        #[test]
        fn noise_after_the_first_line_is_an_error_or_nothing(
            length in prop_oneof![0..40u32, any::<u32>()],
            body in vec(any::<u8>(), 0..40),
        ) {
            let bytes = [greeting().as_bytes(), &length.to_le_bytes(), &body].concat();
            let (heard, error) = read(&bytes, 7);
            prop_assert_eq!(heard, [""; 0]);
            prop_assert!(error || length as usize > body.len());
        }

        #[test]
        fn a_request_is_whole_or_refused(cut in any::<Index>(), more in vec(any::<u8>(), 1..20)) {
            let whole = request(&Request::Probe { options: Box::default(), kernel_release: true });
            prop_assert!(receive_request(&mut whole.as_slice()).is_ok());
            prop_assert!(receive_request(&mut &whole[..cut.index(whole.len())]).is_err());
            prop_assert!(receive_request(&mut [whole, more].concat().as_slice()).is_err());
        }
    }
}
