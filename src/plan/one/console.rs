//! Consoles: the one of the standard streams, a serial one, further ports, and the channel where it is a port.

use super::Negotiation;
use crate::plan::arguments::Fd;
use crate::plan::call::Call;
use crate::plan::guest::{CHANNEL_NAME, Channel};
use crate::spec::{Console, HostPath};
use crate::symbols::Function;

impl Negotiation<'_> {
    /// The standard streams, explicitly where that can be said; before 1.16.0 libkrun takes descriptors 0, 1 and 2.
    pub(super) fn consoles(&mut self) {
        let explicit =
            self.has(Function::krun_disable_implicit_console) && self.has(Function::krun_add_virtio_console_default);
        match &self.spec.console {
            // The file is a matter of the implicit console alone.
            Console::File(_) => {
                let reason = "the console cannot be written to a file";
                if self.needs("console", reason, Function::krun_set_console_output) {
                    let file = self.findings.console.clone().unwrap_or_default();
                    self.calls.push(Call::SetConsoleOutput { file });
                }
            }
            Console::Inherit | Console::None if explicit => {
                let none = self.spec.console == Console::None;
                let fd = |fd| if none { Fd::Null } else { fd };
                self.calls.push(Call::DisableImplicitConsole {});
                self.calls.push(Call::AddVirtioConsoleDefault {
                    input: fd(Fd::Stdin),
                    output: fd(Fd::Stdout),
                    error: fd(Fd::Stderr),
                });
                // A firmware gets a serial console beside the implicit console, and may wait for one.
                if self.spec.firmware.is_some()
                    && self.spec.serial.is_none()
                    && self.has(Function::krun_add_serial_console_default)
                {
                    self.calls.push(Call::AddSerialConsoleDefault { input: None, output: None });
                }
            }
            Console::Inherit => {}
            Console::None => self.refuse(
                "console",
                "the console takes the process's own streams, on which libkrun's words come as well",
                Function::krun_add_virtio_console_default,
            ),
        }
        let line = self.spec.kernel.as_ref().and_then(|kernel| kernel.cmdline.as_deref()).unwrap_or_default();
        if self.spec.serial.is_none()
            && self.spec.kernel_console.is_none()
            && line.split(' ').any(|word| word.starts_with("console=ttyS"))
        {
            let note =
                "the kernel's command line names a serial console, and there is none (serial): its log goes nowhere";
            self.notes.push(note.to_owned());
        }
        if self.spec.serial.is_some()
            && self.needs("serial", "there is no serial console", Function::krun_add_serial_console_default)
        {
            if !self.spec.has_foreign_kernel() {
                self.notes.push("the serial console stays silent: libkrunfw's kernel has no driver for it".to_owned());
            }
            let ends = &self.findings.serial;
            let (input, output) = (fd(ends.input.as_ref()), fd(ends.output.as_ref()));
            self.calls.push(Call::AddSerialConsoleDefault { input, output });
        }
    }

    /// Ports of the spec, and the channel where it is one, on one console: that takes one line.
    pub(super) fn console_ports(&mut self, channel: Channel) {
        let spec = self.spec;
        let mut missing = false;
        for (n, port) in spec.console_ports.iter().enumerate() {
            let function = match port.tty {
                Some(_) => Function::krun_add_console_port_tty,
                None => Function::krun_add_console_port_inout,
            };
            let field = format!("console_ports[{n}]");
            missing |= !self.needs(&field, "a console has no further ports", function);
        }
        if missing || (spec.console_ports.is_empty() && channel != Channel::Port) {
            return;
        }
        if !self.needs("console_ports", "a console has no further ports", Function::krun_add_virtio_console_multiport) {
            return;
        }
        self.lines.push((!spec.console_ports.is_empty()).then(|| "console_ports".to_owned()));
        self.calls.push(Call::AddVirtioConsoleMultiport {});
        if channel == Channel::Port {
            // The input comes to its end with krundl's caller; libkrun closes the port for the guest then.
            let (name, end) = (CHANNEL_NAME.to_owned(), Some(Fd::Channel));
            self.calls.push(Call::AddConsolePortInout { name, input: end, output: end });
        }
        for (port, ends) in spec.console_ports.iter().zip(&self.findings.console_ports) {
            let (name, input) = (port.name.clone(), fd(ends.input.as_ref()));
            self.calls.push(match (&port.tty, input) {
                (Some(_), Some(tty)) => Call::AddConsolePortTty { name, tty },
                (_, input) => Call::AddConsolePortInout { name, input, output: fd(ends.output.as_ref()) },
            });
        }
    }
}

/// The descriptor of something that the host checks opened.
pub(super) fn fd(file: Option<&HostPath>) -> Option<Fd> {
    file.and_then(|file| file.held).map(Fd::Held)
}
