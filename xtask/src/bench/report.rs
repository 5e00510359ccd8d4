//! The table.

use std::fmt::Write;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::command::output;
use crate::project;

/// Where the table goes.
const FILE: &str = "docs/performance.md";
const BEGIN: &str = "<!-- measured: begin -->\n";
const END: &str = "<!-- measured: end -->\n";

/// A line of the table.
#[derive(Debug)]
pub(super) struct Row {
    pub name: String,
    /// What the C program takes; empty where there is none.
    pub c: String,
    pub ours: String,
    pub ratio: String,
    pub limit: String,
    pub holds: Option<bool>,
}

/// The table in Markdown.
pub(super) fn table(rows: &[Row]) -> String {
    let mut table = "| | C | krundl | ratio | limit | holds |\n| --- | --: | --: | --: | --- | --- |\n".to_owned();
    for Row { name, c, ours, ratio, limit, holds } in rows {
        let holds = match holds {
            Some(true) => "yes",
            Some(false) => "**no**",
            None => "",
        };
        writeln!(table, "| {name} | {c} | {ours} | {ratio} | {limit} | {holds} |").expect("text can be written to");
    }
    table
}

/// Puts the table and a description of this machine into the file, between its marks.
pub(super) fn write(table: &str) -> Result<()> {
    let path = project::root().join(FILE);
    let text = std::fs::read_to_string(&path).with_context(|| format!("could not read {FILE}"))?;
    let Some((before, (_, after))) =
        text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?)))
    else {
        bail!("{FILE} lacks its marks {BEGIN:?} and {END:?}");
    };
    let text = format!("{before}{BEGIN}\n{}\n\n{table}\n{END}{after}", machine()?);
    std::fs::write(&path, text).with_context(|| format!("could not write {FILE}"))
}

/// This machine in a line.
fn machine() -> Result<String> {
    let processors = std::fs::read_to_string("/proc/cpuinfo").context("could not read /proc/cpuinfo")?;
    let model = processors.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unknown processor", |(_, model)| model);
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel: Vec<&str> = kernel.trim().splitn(3, ['.', '-']).take(2).collect();
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let rustc = String::from_utf8_lossy(&output(Command::new(rustc).arg("--version"))?).trim().to_owned();
    Ok(format!("Measured on {model}, {cores} cores, Linux {}, {rustc}, libkrun {}.", kernel.join("."), super::RELEASE))
}

/// 1234567 as 1 234 567.
pub(super) fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// Nanoseconds as milliseconds.
pub(super) fn milliseconds(nanoseconds: f64) -> String {
    let milliseconds = nanoseconds / 1e6;
    if milliseconds < 100.0 { format!("{milliseconds:.2} ms") } else { format!("{milliseconds:.0} ms") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_readable() {
        assert_eq!(thousands(1_234_567.0), "1 234 567");
        assert_eq!(thousands(123.0), "123");
        assert_eq!(milliseconds(1_234_567.0), "1.23 ms");
    }

    #[test]
    fn a_limit_that_does_not_hold_is_seen() {
        let row = |holds| Row {
            name: "a".to_owned(),
            c: "1".to_owned(),
            ours: "2".to_owned(),
            ratio: "2.00".to_owned(),
            limit: "1.5 x".to_owned(),
            holds: Some(holds),
        };
        assert!(table(&[row(false)]).ends_with("| a | 1 | 2 | 2.00 | 1.5 x | **no** |\n"));
        assert!(table(&[row(true)]).ends_with("| 1.5 x | yes |\n"));
    }
}
