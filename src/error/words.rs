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
        let lines: Vec<&str> = clean.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
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

    /// The text, lines separated by `\n`; empty when nothing was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Swallows the rest of an escape sequence: CSI up to its final byte, OSC up to BEL or ST, else one character.
fn skip_escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.next() {
        Some('[') => {
            for c in chars.by_ref() {
                if ('\u{40}'..='\u{7e}').contains(&c) {
                    break;
                }
            }
        }
        Some(']') => {
            while let Some(c) = chars.next() {
                if c == '\u{7}' || (c == '\u{1b}' && chars.next_if_eq(&'\\').is_some()) {
                    break;
                }
            }
        }
        _ => {}
    }
}

/// Nothing when there are no words, else a clause of its own: `; it said:` and the indented lines.
impl std::fmt::Display for Words {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.0.is_empty() {
            return Ok(());
        }
        write!(f, "; libkrun's words:")?;
        for line in self.0.lines() {
            write!(f, "\n  | {line}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escape_sequences_and_control_characters_are_removed() {
        let raw = b"\x1b[31mred\x1b[0m \x1b]0;title\x07plain\r\n\x08\x00end\n\n";
        assert_eq!(Words::quote(raw).as_str(), "red plain\nend");
    }

    #[test]
    fn long_output_keeps_its_end() {
        let raw = [b"start ".repeat(2000), b"the reason".to_vec()].concat();
        let words = Words::quote(&raw);
        assert!(words.as_str().len() <= Words::MAX + 6);
        assert!(words.as_str().ends_with("the reason"));
    }
}
