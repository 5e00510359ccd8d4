//! Consoles, ports, input devices, and the files of displays, confidential guests and the log.

use std::collections::BTreeSet;
use std::os::unix::fs::FileTypeExt;

use super::Checker;
use super::files::Use;
use crate::plan::CHANNEL_NAME;
use crate::spec::findings::{Ends, Findings};
use crate::spec::model::{Console, ConsolePort, Display, VmSpec};

/// The names of the ports that libkrun makes itself begin so.
const RESERVED_PORTS: &str = "krun-";
/// The longest name of a port, in bytes.
const MAX_NAME: usize = 64;
/// The most displays that libkrun takes.
const MAX_DISPLAYS: usize = 16;
/// The sizes that an EDID has: one block, and at most 255 more.
const EDID_BLOCK: u64 = 128;

impl Checker {
    pub(super) fn consoles(&mut self, spec: &VmSpec, findings: &mut Findings) {
        if let Console::File(path) = &spec.console {
            findings.console = self.stream("console.file", path, Use::Write);
        }
        if let Some(serial) = &spec.serial {
            findings.serial = Ends {
                input: serial.input.as_ref().and_then(|path| self.stream("serial.input", path, Use::Read)),
                output: self.stream("serial.output", &serial.output, Use::Append),
            };
        }
        let mut names = BTreeSet::new();
        for (n, port) in spec.console_ports.iter().enumerate() {
            let field = format!("console_ports[{n}]");
            let name = &port.name;
            if name.is_empty() || name.len() > MAX_NAME || !name.bytes().all(|b| b.is_ascii_graphic()) {
                let reason = format!("must be printable ASCII without blanks, 1 to {MAX_NAME} bytes");
                self.invalid(format!("{field}.name"), reason);
            } else if name == CHANNEL_NAME || name.starts_with(RESERVED_PORTS) {
                self.invalid(format!("{field}.name"), format!("{name} is libkrun's or krundl's own"));
            } else if !names.insert(name) {
                self.invalid(format!("{field}.name"), format!("{name} is there twice"));
            }
            let ends = self.port(&field, port);
            findings.console_ports.push(ends);
        }
    }

    fn port(&mut self, field: &str, port: &ConsolePort) -> Ends {
        match (&port.tty, &port.input, &port.output) {
            (Some(tty), None, None) => {
                Ends { input: self.stream(&format!("{field}.tty"), tty, Use::Terminal), output: None }
            }
            (Some(_), ..) => {
                self.invalid(field, "has either a tty or an input and an output");
                Ends::default()
            }
            (None, None, None) => {
                self.invalid(field, "leads nowhere: it needs a tty, an input or an output");
                Ends::default()
            }
            (None, input, output) => Ends {
                input: input.as_ref().and_then(|path| self.stream(&format!("{field}.input"), path, Use::Read)),
                output: output.as_ref().and_then(|path| self.stream(&format!("{field}.output"), path, Use::Append)),
            },
        }
    }

    pub(super) fn devices(&mut self, spec: &VmSpec, findings: &mut Findings) {
        if spec.displays.len() > MAX_DISPLAYS {
            self.invalid("displays", format!("are {}; libkrun takes at most {MAX_DISPLAYS}", spec.displays.len()));
        }
        findings.edids = spec.displays.iter().enumerate().map(|(n, display)| self.display(n, display)).collect();
        for (n, path) in spec.inputs.iter().enumerate() {
            let field = format!("inputs[{n}]");
            let found = self.stream(&field, path, Use::Read);
            if found.is_some() && !std::fs::metadata(path).is_ok_and(|m| m.file_type().is_char_device()) {
                self.host(field, format!("{} is no input device", path.display()));
            }
            findings.inputs.push(found.unwrap_or_default());
        }
        findings.tee = spec.tee.as_ref().and_then(|tee| self.readable("tee.config", &tee.config));
        findings.log_file = spec.log_file.as_ref().and_then(|path| self.stream("log_file", path, Use::Log));
    }

    fn display(&mut self, n: usize, display: &Display) -> Option<crate::spec::HostPath> {
        if display.width == 0 || display.height == 0 {
            self.invalid(format!("displays[{n}]"), "has no width or no height");
        }
        let path = display.edid.as_ref()?;
        let field = format!("displays[{n}].edid");
        if display.refresh_rate.is_some() || display.dpi.is_some() || display.physical_size_mm.is_some() {
            self.invalid(&*field, "replaces refresh_rate, dpi and physical_size_mm: give either");
        }
        let file = self.file(&field, path)?;
        let size = file.metadata().map_or(0, |metadata| metadata.len());
        if size == 0 || size % EDID_BLOCK != 0 || size / EDID_BLOCK > 256 {
            self.host(field, format!("{} has {size} bytes; an EDID has blocks of {EDID_BLOCK}", path.display()));
            return None;
        }
        Some(self.hold(file, path))
    }
}
