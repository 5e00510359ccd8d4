//! What somebody else wrote, made fit to be quoted.

use serde::{Deserialize, Serialize};

/// Quoted output of libkrun, its process or the guest's kernel: at most [`Words::MAX`] bytes, without control
/// characters or escape sequences, so that it can be shown on a terminal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Words(String);

impl Words {
    /// The most that is quoted, in bytes; of longer output the end is kept, where the reason usually is.
    pub const MAX: usize = 4096;

    /// Makes raw output fit to be quoted.
    pub fn quote(raw: &[u8]) -> Words {
        let text = String::from_utf8_lossy(raw);
        let mut clean = String::with_capacity(text.len());
        let mut chars = text.chars().peekable();
        while let Some(c) = chars.next() {
            match c {
                '\u{1b}' => skip_escape(&mut chars),
                '\n' => clean.push('\n'),
                '\t' => clean.push(' '),
                c if c.is_control() => {}
                c => clean.push(c),
            }
        }
        // A panic that aborts prints all its frames, whatever is asked for; they would leave no room for its reason.
        let mut frames = false;
        let mut is_noise = |line: &str| {
            frames = line == "stack backtrace:" || (frames && is_frame(line));
            frames || line.is_empty()
        };
        let lines: Vec<&str> = clean.lines().map(str::trim_end).filter(|line| !is_noise(line)).collect();
        let mut clean = lines.join("\n");
        if clean.len() > Words::MAX {
            let mut start = clean.len() - Words::MAX;
            while !clean.is_char_boundary(start) {
                start += 1;
            }
            clean = format!("[...] {}", &clean[start..]);
        }
        Words(clean)
    }

    /// What a program for a network card wrote. passt complains of a missing system log at every line; and what was said
    /// of several attempts need be read only once.
    pub(crate) fn of_program(self) -> Words {
        let complains = |line: &str| line.starts_with("Failed to send ") && line.ends_with(" bytes to syslog");
        let mut lines: Vec<&str> = Vec::new();
        for line in self.0.lines() {
            if !complains(line) && !lines.contains(&line) {
                lines.push(line);
            }
        }
        Words(lines.join("\n"))
    }

    /// The text, lines separated by `\n`; empty when nothing was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `   7:     0x55fa8dc90280 - krundl::child::vmm_main`, or the line with its place in the source below it.
fn is_frame(line: &str) -> bool {
    let text = line.trim_start();
    let numbered = text.split_once(':').is_some_and(|(number, _)| number.parse::<u32>().is_ok());
    text.len() < line.len() && (numbered || text.starts_with("at "))
}

/// Swallows the rest of an escape sequence: CSI up to its final byte, OSC up to BEL or ST, else one character. None goes
/// beyond its line, for one that was cut off must not take the reason with it.
fn skip_escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.next_if(|c| *c != '\n') {
        Some('[') => while chars.next_if(|c| *c != '\n').is_some_and(|c| !('\u{40}'..='\u{7e}').contains(&c)) {},
        Some(']') => {
            while let Some(c) = chars.next_if(|c| *c != '\n') {
                if c == '\u{7}' || (c == '\u{1b}' && chars.next_if_eq(&'\\').is_some()) {
                    break;
                }
            }
        }
        _ => {}
    }
}

/// Nothing when there are no words, else a clause of its own: `; libkrun's words:` and the indented lines.
impl std::fmt::Display for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.of("libkrun's").fmt(f)
    }
}

impl Words {
    /// The same clause about another speaker: `its`.
    pub(super) fn of<'w>(&'w self, whose: &'w str) -> impl std::fmt::Display + 'w {
        struct Quoted<'w>(&'w Words, &'w str);
        impl std::fmt::Display for Quoted<'_> {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                let Quoted(words, whose) = self;
                if words.0.is_empty() {
                    return Ok(());
                }
                write!(f, "; {whose} words:")?;
                words.0.lines().try_for_each(|line| write!(f, "\n  | {line}"))
            }
        }
        Quoted(self, whose)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::collection::vec;
    use proptest::prelude::*;
    use proptest::sample::select;

    #[test]
    fn escape_sequences_and_control_characters_are_removed() {
        let raw = b"\x1b[31mred\x1b[0m \x1b]0;title\x07plain\r\n\x08\x00end\n\n";
        assert_eq!(Words::quote(raw).as_str(), "red plain\nend");
    }

    #[test]
    fn a_sequence_that_was_cut_off_ends_with_its_line() {
        for start in ["\u{1b}", "\u{1b}[", "\u{1b}[31;", "\u{1b}]", "\u{1b}]0;title", "\u{1b}]0;title\u{1b}"] {
            assert_eq!(Words::quote(format!("before{start}\nthe reason\n").as_bytes()).as_str(), "before\nthe reason");
        }
    }

    #[test]
    fn the_frames_of_a_panic_are_left_out() {
        let frame =
            |n| format!("{n:4}:     0x55fa8dc90280 - some::function::h40ca2f2713491b55\n{:29}at /source.rs:30:9\n", "");
        let frames: String = (0..100).map(frame).collect();
        let raw = format!(
            "thread 'main' panicked at src/vstate.rs:454:\nError creating the Kvm object: Error(13)\n\n\
             thread 'main' panicked at panicking.rs:225:\npanic in a function that cannot unwind\n\
             stack backtrace:\n{frames}thread caused non-unwinding panic. aborting.\n   1: no frame\n"
        );
        assert_eq!(
            Words::quote(raw.as_bytes()).as_str(),
            "thread 'main' panicked at src/vstate.rs:454:\nError creating the Kvm object: Error(13)\n\
             thread 'main' panicked at panicking.rs:225:\npanic in a function that cannot unwind\n\
             thread caused non-unwinding panic. aborting.\n   1: no frame"
        );
    }

    proptest! {
        #[test]
        fn any_output_is_quoted_in_bounds_without_control_characters_and_with_its_last_line(
            raw in vec(prop_oneof![3 => any::<u8>(), 1 => select(b"\x1b[]\\\x07\n0;m".to_vec())], 0..100),
            times in 1..100usize,
            reason in "[ -~]{0,40}[!-~]",
        ) {
            let words = Words::quote(&[&raw.repeat(times), b"\n".as_slice(), reason.as_bytes()].concat());
            prop_assert!(words.as_str().len() <= Words::MAX + "[...] ".len());
            prop_assert!(!words.as_str().contains(|c: char| c.is_control() && c != '\n'));
            prop_assert!(words.as_str().ends_with(&reason));
        }
    }

    #[test]
    fn long_output_keeps_its_end() {
        let raw = [b"start ".repeat(2000), b"the reason".to_vec()].concat();
        let words = Words::quote(&raw);
        assert!(words.as_str().len() <= Words::MAX + 6);
        assert!(words.as_str().ends_with("the reason"));
    }
}
