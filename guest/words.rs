//! What krundl's program in the guest tells the host: one short line for each step.
//!
//! The exit status of a microVM proves nothing, since a guest that never came up ends with 0 as well. So the host
//! believes these lines only: `krundl-guest 1`, then `up` or a failure, then `exit N` or `signal N`.
//!
//! In the other direction go [`Request`]s, a line each.
//!
//! This file is compiled into the library and into the guest program, so it uses nothing but the standard library.

/// One line on the channel from the guest to the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Word {
    /// The guest program runs. Always the first line.
    Hello {
        /// The version of this list of lines.
        version: u32,
    },
    /// Everything is mounted and the workload runs.
    Up,
    /// The guest could not be prepared; the workload did not run. A final line.
    Failed {
        /// The system's error number, 0 where there is none.
        errno: i32,
        /// What failed, for people.
        message: String,
    },
    /// The guest was prepared, but the workload could not be executed. A final line.
    FailedExec {
        /// The system's error number.
        errno: i32,
        /// What failed, for people.
        message: String,
    },
    /// The workload ended with this status, 0 to 255. A final line.
    Exit(i32),
    /// The workload was ended by this signal, 1 to 127. A final line.
    Signal(i32),
}

impl Word {
    /// The version that [`Word::Hello`] carries today.
    pub const VERSION: u32 = 1;

    /// The longest line in bytes, its newline included. Longer messages are cut.
    pub const LINE_MAX: usize = 4096;

    /// The line with its newline. In a message a backslash and the bytes of every control character become `\xHH`.
    pub fn line(&self) -> Vec<u8> {
        let mut line = match self {
            Word::Hello { version } => format!("krundl-guest {version}"),
            Word::Up => "up".to_string(),
            Word::Failed { errno, message } => with_message(format!("failed {errno} "), message),
            Word::FailedExec { errno, message } => with_message(format!("failed-exec {errno} "), message),
            Word::Exit(status) => format!("exit {status}"),
            Word::Signal(signal) => format!("signal {signal}"),
        };
        line.push('\n');
        line.into_bytes()
    }

    /// Reads a line without its newline. Only what [`line`](Self::line) writes is a word, to the byte.
    pub fn parse(line: &[u8]) -> Option<Word> {
        let text = std::str::from_utf8(line).ok()?;
        let (head, rest) = text.split_once(' ').unwrap_or((text, ""));
        let word = match head {
            "krundl-guest" => Word::Hello { version: rest.parse().ok()? },
            "up" => Word::Up,
            "failed" => {
                let (errno, message) = errno_and_message(rest)?;
                Word::Failed { errno, message }
            }
            "failed-exec" => {
                let (errno, message) = errno_and_message(rest)?;
                Word::FailedExec { errno, message }
            }
            "exit" => Word::Exit(rest.parse().ok().filter(|status| (0..=255).contains(status))?),
            "signal" => Word::Signal(rest.parse().ok().filter(|signal| (1..=127).contains(signal))?),
            _ => return None,
        };
        // Writing it again settles everything else: signs, leading zeros, needless escapes, too great a length.
        (word.line().strip_suffix(b"\n") == Some(line)).then_some(word)
    }

    /// Whether nothing can follow this line.
    pub fn is_final(&self) -> bool {
        !matches!(self, Word::Hello { .. } | Word::Up)
    }
}

/// What the host asks of the guest program, on the same channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Send SIGTERM to the workload, and go on as usual: what it does with it is its own affair.
    Terminate,
}

impl Request {
    /// The line with its newline.
    pub fn line(self) -> &'static [u8] {
        match self {
            Request::Terminate => b"terminate\n",
        }
    }

    /// Reads a line without its newline.
    pub fn parse(line: &[u8]) -> Option<Request> {
        (Request::Terminate.line().strip_suffix(b"\n") == Some(line)).then_some(Request::Terminate)
    }
}

/// Appends the escaped message, cut between two characters where it is too long.
fn with_message(mut line: String, message: &str) -> String {
    for c in message.chars() {
        let mut bytes = [0; 4];
        let bytes = c.encode_utf8(&mut bytes).as_bytes();
        let escape = c == '\\' || c.is_control();
        let len = if escape { 4 * bytes.len() } else { bytes.len() };
        if line.len() + len >= Word::LINE_MAX {
            break;
        }
        if escape {
            for byte in bytes {
                line.push_str(&format!("\\x{byte:02x}"));
            }
        } else {
            line.push(c);
        }
    }
    line
}

fn errno_and_message(rest: &str) -> Option<(i32, String)> {
    let (errno, escaped) = rest.split_once(' ')?;
    let errno = errno.parse().ok().filter(|errno| (0..=4095).contains(errno))?;
    let mut bytes = Vec::with_capacity(escaped.len());
    let mut parts = escaped.split('\\');
    bytes.extend_from_slice(parts.next()?.as_bytes());
    for part in parts {
        let digits = part.strip_prefix('x')?.get(..2)?;
        bytes.push(u8::from_str_radix(digits, 16).ok()?);
        bytes.extend_from_slice(&part.as_bytes()[3..]);
    }
    Some((errno, String::from_utf8(bytes).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(message: &str) -> Word {
        Word::Failed { errno: 19, message: message.to_string() }
    }

    #[test]
    fn lines_are_as_documented() {
        let cases: [(Word, &[u8]); 8] = [
            (Word::Hello { version: 1 }, b"krundl-guest 1\n"),
            (Word::Up, b"up\n"),
            (failed("mount of tag \"m0\""), b"failed 19 mount of tag \"m0\"\n"),
            (failed("a\\b\nc\u{85}d \u{e4}"), b"failed 19 a\\x5cb\\x0ac\\xc2\\x85d \xc3\xa4\n"),
            (failed(""), b"failed 19 \n"),
            (Word::FailedExec { errno: 2, message: "cannot run 'x'".into() }, b"failed-exec 2 cannot run 'x'\n"),
            (Word::Exit(0), b"exit 0\n"),
            (Word::Signal(15), b"signal 15\n"),
        ];
        for (word, line) in cases {
            assert_eq!(word.line(), line);
            assert_eq!(Word::parse(&line[..line.len() - 1]), Some(word));
        }
    }

    #[test]
    fn nothing_else_is_a_word() {
        let lines: [&[u8]; 24] = [
            b"",
            b" ",
            b"krundl-guest",
            b"krundl-guest 01",
            b"krundl-guest 4294967296",
            b"up ",
            b"up\n",
            b" up",
            b"UP",
            b"exit",
            b"exit ",
            b"exit +1",
            b"exit -1",
            b"exit 256",
            b"exit 1 ",
            b"signal 0",
            b"failed 2",
            b"failed x y",
            b"failed 2 a\tb",
            b"failed 2 a\\",
            b"failed 2 a\\x5C",
            b"failed 2 a\\x41",
            b"failed 2 a\\xff",
            b"failed 2 \xff",
        ];
        for line in lines {
            assert_eq!(Word::parse(line), None, "{:?}", line.escape_ascii().to_string());
        }
        assert_eq!(Word::parse("failed 2 \\\u{e4}4".as_bytes()), None);
    }

    #[test]
    fn long_messages_are_cut_between_characters() {
        for fill in ["x", "\u{e4}", "\\", "\u{85}"] {
            for shift in 0..9 {
                let word = failed(&("y".repeat(shift) + &fill.repeat(5000)));
                let line = word.line();
                assert!(line.len() <= Word::LINE_MAX && line.len() > Word::LINE_MAX - 10, "{}", line.len());
                let read = Word::parse(&line[..line.len() - 1]).expect("a cut line is a word");
                assert_eq!(read.line(), line);
            }
        }
        assert_eq!(Word::parse(&[b"failed 2 ".to_vec(), vec![b'x'; 5000]].concat()), None);
    }

    #[test]
    fn requests_are_lines() {
        assert_eq!(Request::parse(b"terminate"), Some(Request::Terminate));
        for line in [&b""[..], b"terminate\n", b"terminate ", b"TERMINATE", b"up"] {
            assert_eq!(Request::parse(line), None);
        }
    }

    #[test]
    fn final_words() {
        assert!(!Word::Hello { version: 1 }.is_final() && !Word::Up.is_final());
        assert!(failed("").is_final() && Word::Exit(0).is_final() && Word::Signal(9).is_final());
    }
}
