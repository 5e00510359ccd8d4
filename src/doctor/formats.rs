//! The report for programs: JSON, labels of a Kubernetes node, metrics.

use std::fmt::Write;

use super::check::Status;
use super::report::Report;
use super::text::Style;
use crate::library::FeatureState;
use crate::symbols::Function;

/// A form of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text(Style),
    /// Everything; its schema is docs/doctor.schema.json.
    Json,
    /// A local feature file of node-feature-discovery: a label each line.
    Nfd,
    /// OpenMetrics, which a node exporter's textfile collector takes.
    OpenMetrics,
}

impl Report {
    /// The report in that form.
    pub fn render(&self, format: Format) -> String {
        match format {
            Format::Text(style) => self.as_text(style),
            Format::Json => format!("{:#}\n", serde_json::to_value(self).expect("a report is plain data")),
            Format::Nfd => self.as_labels(),
            Format::OpenMetrics => self.as_metrics(),
        }
    }

    /// Every value is a legal label: letters, digits, `-`, `_` and `.`, at most 63 of them.
    fn as_labels(&self) -> String {
        let mut text = String::from("# Written by krundl doctor --format nfd.\n");
        let mut label = |name: &str, value: &str| {
            let _ = writeln!(text, "krundl-{name}={value}");
        };
        label("libkrun", bool_word(self.library.is_some()));
        if let (Some(library), Some(levels)) = (&self.library, &self.levels) {
            if let Some(release) = self.at_least() {
                label("libkrun.at-least", &release);
            }
            label("libkrun.flavour", library.flavour.name());
            for (name, level, _) in levels.named() {
                label(&format!("level.{name}"), &level.to_string());
            }
            let has = |function| library.functions.get(&function).copied().unwrap_or(false);
            label("mounts", bool_word(has(Function::krun_add_virtiofs)));
            label("mounts.read-only", bool_word(has(Function::krun_add_virtiofs3)));
            for (feature, state) in &library.features {
                if *state != FeatureState::Unasked {
                    label(&format!("feature.{feature}"), state.name());
                }
            }
        }
        label("firmware", bool_word(self.firmware.as_ref().is_some_and(|firmware| firmware.path.is_some())));
        // A device that answers and runs no ordinary guests is none for a scheduler.
        let guests = self.kvm.creates_vm == Some(true) && self.kvm.runs_ordinary_guests() != Some(false);
        label("kvm", bool_word(guests));
        label("fine", bool_word(self.is_fine(false)));
        if let Some(proof) = &self.proof {
            label("proved.boot", bool_word(proof.boot_ms.is_some() && proof.error.is_none()));
            label("proved.read-only", bool_word(proof.read_only == Some(true)));
        }
        text
    }

    /// The lowest release that it can be.
    fn at_least(&self) -> Option<String> {
        let range = &self.library.as_ref()?.version.range;
        let first = range.split(',').next()?.trim();
        let release = first.strip_prefix(">=").or_else(|| first.strip_prefix('='))?;
        Some(release.to_owned())
    }

    /// Gauges alone, so that readers of the older text format take it as well.
    fn as_metrics(&self) -> String {
        let mut text = String::new();
        let head = |text: &mut String, name: &str, help: &str| {
            let _ = writeln!(text, "# HELP krundl_{name} {help}\n# TYPE krundl_{name} gauge");
        };
        head(&mut text, "library", "Whether a libkrun was found, and which one.");
        let path = self.library.as_ref().map(|library| library.real_path.display().to_string()).unwrap_or_default();
        let range = self.library.as_ref().map(|library| library.version.range.clone()).unwrap_or_default();
        let _ = writeln!(
            text,
            "krundl_library{{path=\"{}\",release=\"{}\",krundl=\"{}\"}} {}",
            escaped(&path),
            escaped(&range),
            self.krundl_version,
            u8::from(self.library.is_some())
        );
        if let Some(levels) = &self.levels {
            head(&mut text, "level", "How far a group of libkrun's functions goes.");
            for (name, level, _) in levels.named() {
                let _ = writeln!(text, "krundl_level{{group=\"{name}\"}} {level}");
            }
        }
        head(&mut text, "check", "Whether a check came out with this status.");
        for check in &self.checks {
            let subject = check.subject.as_ref().map_or(String::new(), |s| format!(",subject=\"{}\"", escaped(s)));
            let _ = writeln!(text, "krundl_check{{id=\"{}\",status=\"{}\"{subject}}} 1", check.id, check.status);
        }
        head(&mut text, "checks", "The number of checks with a status.");
        for status in Status::ALL {
            let _ = writeln!(text, "krundl_checks{{status=\"{status}\"}} {}", self.count(*status));
        }
        if let Some(ms) = self.proof.as_ref().and_then(|proof| proof.boot_ms) {
            head(&mut text, "boot_seconds", "From the start of its process to the guest's first word.");
            let _ = writeln!(text, "krundl_boot_seconds {}.{:03}", ms / 1000, ms % 1000);
        }
        text + "# EOF\n"
    }
}

fn bool_word(yes: bool) -> &'static str {
    if yes { "true" } else { "false" }
}

fn escaped(text: &str) -> String {
    text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_a_label_of_a_metric_cannot_have_is_escaped() {
        assert_eq!(super::escaped("a\"b\\c\nd"), "a\\\"b\\\\c\\nd");
    }
}
