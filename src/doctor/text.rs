//! The report for people: grouped, aligned, the bad news last.

use std::fmt::Write;

use anstyle::{AnsiColor, Effects, Style as Ansi};

use super::catalog::Group;
use super::check::{Check, Status};
use super::report::{LibraryReport, Report};
use crate::capabilities::Support;
use crate::symbols::{self, Function};

/// How the text looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Style {
    /// With colours.
    pub colour: bool,
    /// The width to wrap to; `None`: lines stay whole, for other programs.
    pub width: Option<usize>,
    /// Every function, every attempt and all evidence.
    pub verbose: bool,
    /// Only the checks, without the overview of the library.
    pub checks_only: bool,
}

/// Before the name of a check.
const INDENT: usize = 2;

impl Report {
    /// The report as text.
    pub fn as_text(&self, style: Style) -> String {
        let mut writer = Writer { text: String::new(), style, names: 0 };
        writer.names = self.checks.iter().map(|check| check.id.name().len()).max().unwrap_or(0);
        if let Some(library) = self.library.as_ref().filter(|_| !style.checks_only) {
            writer.library(self, library);
        }
        if style.verbose && !style.checks_only {
            writer.attempts(self);
        }
        for group in Group::ALL {
            writer.group(*group, &self.checks);
        }
        writer.trouble(&self.checks);
        writer.verdict(self);
        writer.text
    }
}

struct Writer {
    text: String,
    style: Style,
    /// The length of the longest name of a check.
    names: usize,
}

impl Writer {
    fn library(&mut self, report: &Report, library: &LibraryReport) {
        self.heading(&format!("libkrun {}: {}", library.version.range, library.real_path.display()));
        if let Some(levels) = &report.levels {
            let levels: Vec<String> =
                levels.named().iter().map(|(name, level, top)| format!("{name} {level}/{top}")).collect();
            self.field("levels", &levels.join("  "));
        }
        let features: Vec<String> =
            library.features.iter().map(|(feature, state)| format!("{feature} {state}")).collect();
        self.field("features", &features.join("  "));
        let has = |function: &Function| library.functions.get(function).copied().unwrap_or(false);
        let groups: Vec<String> = symbols::Group::ALL
            .iter()
            .map(|group| {
                let all: Vec<Function> = group.functions().collect();
                format!("{group} {}/{}", all.iter().filter(|function| has(function)).count(), all.len())
            })
            .collect();
        self.field("functions", &groups.join("  "));
        let lacking: Vec<&str> = Function::ALL.iter().filter(|function| !has(function)).map(|f| f.name()).collect();
        if !lacking.is_empty() && !self.style.verbose {
            self.field("not there:", &lacking.join(", "));
        }
        for doubt in &report.doubts {
            self.field("no proof", &format!("{}: {}", doubt.group, doubt.why));
        }
        if self.style.verbose {
            for group in symbols::Group::ALL {
                self.functions(*group, library);
            }
        }
        self.text.push('\n');
    }

    fn functions(&mut self, group: symbols::Group, library: &LibraryReport) {
        let _ = writeln!(self.text, "  {group}");
        for function in group.functions() {
            let state = match library.support.get(&function) {
                None => "no",
                Some(Support::Yes) => "yes",
                Some(Support::Refuses) => "refuses",
                Some(Support::NoEffect) => "no effect",
                Some(Support::Unknown) => "there, unknown",
                Some(Support::Absent) => "no",
            };
            let _ = writeln!(self.text, "    {:<40} {state:<14} since {}", function.name(), function.symbol().since);
        }
    }

    fn attempts(&mut self, report: &Report) {
        self.heading("Candidates, in the order in which they were tried");
        for attempt in &report.attempts {
            let what = attempt.error.as_ref().map_or("chosen", |error| error.message.as_str());
            let line = format!("{} ({}): {what}", attempt.candidate, attempt.origin.describe());
            self.wrapped(INDENT, INDENT + 2, &line);
        }
        for other in &report.others {
            let what = other.error.as_ref().map_or("not tried: another one was chosen", |error| error.message.as_str());
            let line = format!("{} ({}): {what}", other.path.display(), other.origin.describe());
            self.wrapped(INDENT, INDENT + 2, &line);
        }
        self.text.push('\n');
    }

    fn group(&mut self, group: Group, checks: &[Check]) {
        let checks: Vec<&Check> = checks.iter().filter(|check| check.id.info().group == group).collect();
        if checks.is_empty() {
            return;
        }
        self.heading(group.title());
        for check in checks {
            self.line(check);
            if self.style.verbose && !is_trouble(check) {
                self.more(check);
            }
        }
        self.text.push('\n');
    }

    /// One line: status, name, summary.
    fn line(&mut self, check: &Check) {
        let mark = format!("{:<5}", mark(check.status));
        let name = format!("{:<width$}", check.id.name(), width = self.names);
        let summary = match &check.subject {
            Some(subject) => format!("{subject}: {}", check.summary),
            None => check.summary.clone(),
        };
        let indent = INDENT + mark.len() + 1 + name.len() + 2;
        let lines = self.wrap(indent, indent, &summary);
        let mut lines = lines.iter();
        let first = lines.next().map_or("", String::as_str);
        let mark = self.paint(check.status, &mark);
        let _ = writeln!(self.text, "{:INDENT$}{mark} {name}  {first}", "");
        for line in lines {
            let _ = writeln!(self.text, "{:indent$}{line}", "");
        }
    }

    /// What stands below it.
    fn more(&mut self, check: &Check) {
        const BELOW: usize = 8;
        for line in check.detail.iter().flat_map(|detail| detail.lines()) {
            self.wrapped(BELOW, BELOW + 2, line);
        }
        if self.style.verbose || is_trouble(check) {
            for known in &check.evidence {
                self.wrapped(BELOW, BELOW + 2, &format!("known by {}: {}", known.by.describe(), known.says));
            }
        }
        let Some(fix) = &check.fix else { return };
        let words = fix.lines().count().saturating_sub(check.commands.len());
        for line in fix.lines().take(words) {
            self.wrapped(BELOW, BELOW + 2, &format!("fix: {line}"));
        }
        // A command is not wrapped: it is there to be copied.
        for command in &check.commands {
            let _ = writeln!(self.text, "{:1$}$ {command}", "", BELOW + 2);
        }
    }

    /// What is in the way, the worst last.
    fn trouble(&mut self, checks: &[Check]) {
        let mut trouble: Vec<&Check> = checks.iter().filter(|check| is_trouble(check)).collect();
        if trouble.is_empty() {
            return;
        }
        trouble.sort_by_key(|check| check.status.is_bad());
        self.heading("In the way");
        for check in trouble {
            self.line(check);
            self.more(check);
        }
        self.text.push('\n');
    }

    fn verdict(&mut self, report: &Report) {
        let mut parts = Vec::new();
        for status in [Status::Pass, Status::Skip, Status::Warn, Status::Crash, Status::Fail] {
            let count = report.count(status);
            if count > 0 || status == Status::Fail {
                let text = format!("{count} {status}");
                parts.push(if count > 0 { self.paint(status, &text) } else { text });
            }
        }
        let _ = writeln!(self.text, "{}", parts.join(", "));
    }

    fn heading(&mut self, text: &str) {
        let bold = Ansi::new().effects(Effects::BOLD);
        let text = self.styled(bold, text);
        let _ = writeln!(self.text, "{text}");
    }

    fn field(&mut self, name: &str, value: &str) {
        let indent = INDENT + 11;
        let lines = self.wrap(indent, indent, value);
        for (n, line) in lines.iter().enumerate() {
            let _ = writeln!(self.text, "{:INDENT$}{:<10} {line}", "", if n == 0 { name } else { "" });
        }
    }

    fn wrapped(&mut self, first: usize, rest: usize, text: &str) {
        for (n, line) in self.wrap(first, rest, text).iter().enumerate() {
            let indent = if n == 0 { first } else { rest };
            let _ = writeln!(self.text, "{:indent$}{line}", "");
        }
    }

    /// Breaks between words, where there is a width; a word that is longer stays whole.
    fn wrap(&self, first: usize, rest: usize, text: &str) -> Vec<String> {
        let Some(width) = self.style.width else { return vec![text.to_owned()] };
        let mut lines = vec![String::new()];
        for word in text.split(' ') {
            let indent = if lines.len() == 1 { first } else { rest };
            let line = lines.last_mut().expect("there is always one");
            if !line.is_empty() && indent + line.chars().count() + 1 + word.chars().count() > width {
                lines.push(word.to_owned());
            } else {
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            }
        }
        lines
    }

    fn paint(&self, status: Status, text: &str) -> String {
        let style = match status {
            Status::Pass => AnsiColor::Green.on_default(),
            Status::Warn => AnsiColor::Yellow.on_default(),
            Status::Fail | Status::Crash => AnsiColor::Red.on_default().effects(Effects::BOLD),
            Status::Skip => Ansi::new().effects(Effects::DIMMED),
        };
        self.styled(style, text)
    }

    fn styled(&self, style: Ansi, text: &str) -> String {
        if self.style.colour { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }
}

fn is_trouble(check: &Check) -> bool {
    check.status.is_bad() || check.status == Status::Warn
}

fn mark(status: Status) -> &'static str {
    match status {
        Status::Pass => "pass",
        Status::Warn => "warn",
        Status::Fail => "FAIL",
        Status::Skip => "skip",
        Status::Crash => "CRASH",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn writer(width: usize) -> Writer {
        Writer { text: String::new(), style: Style { width: Some(width), ..Style::default() }, names: 0 }
    }

    #[test]
    fn lines_break_between_words_and_long_words_stay_whole() {
        assert_eq!(writer(12).wrap(4, 6, "one two three"), ["one two", "three"]);
        assert_eq!(writer(12).wrap(4, 4, "/a/path/that/is/long x"), ["/a/path/that/is/long", "x"]);
    }

    #[test]
    fn colours_are_only_there_where_they_are_wanted() {
        let paint =
            |colour| Writer { style: Style { colour, ..Style::default() }, ..writer(0) }.paint(Status::Fail, "x");
        assert_eq!(paint(false), "x");
        assert!(paint(true).starts_with("\u{1b}[") && paint(true).ends_with("\u{1b}[0m"));
    }
}
