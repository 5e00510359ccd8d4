//! The vsock device, TSI, ports, and the channel.

use super::Negotiation;
use crate::error::{Problem, ProblemKind};
use crate::plan::arguments::{Fd, Socket};
use crate::plan::call::Call;
use crate::plan::guest::{CHANNEL_PORT, CONTROL_PORT, Channel};
use crate::spec::Control;
use crate::symbols::Function;

/// `TSI_HIJACK_INET`: the guest's IPv4 and IPv6 sockets are the host's, as they are without an explicit device.
const TSI_INET: u32 = 1;
/// `TSI_HIJACK_UNIX`.
const TSI_UNIX: u32 = 2;

/// The release from which on `krun_set_port_map` closes nothing, whatever its header says.
const MAP_ONLY_RENAMES_SINCE: semver::Version = semver::Version::new(1, 17, 0);

impl Negotiation<'_> {
    /// Whether the guest's first word goes over vsock: libkrunfw's kernel has it, and it costs no device of its own.
    fn channel_by_vsock(&self) -> bool {
        !self.spec.has_foreign_kernel() && self.has(Function::krun_add_vsock_port)
    }

    fn tsi(&self) -> u32 {
        if self.spec.has_foreign_kernel() || !self.spec.nics.is_empty() {
            return 0;
        }
        match &self.spec.tsi {
            None => TSI_INET,
            Some(tsi) => u32::from(tsi.inet) * TSI_INET + u32::from(tsi.unix) * TSI_UNIX,
        }
    }

    pub(super) fn vsock(&mut self) {
        let tsi = self.tsi();
        let by = if !self.spec.vsock.ports.is_empty() { "vsock" } else { "control" };
        let asked = by == "vsock" || self.spec.control.is_some();
        let wanted = tsi != 0 || asked || self.channel_by_vsock();
        let (disable, add) = (Function::krun_disable_implicit_vsock, Function::krun_add_vsock);
        // What libkrun makes without being asked: with no card the device with TSI, else one for ports alone.
        let implicit = if self.spec.nics.is_empty() { (true, TSI_INET) } else { (asked || self.channel_by_vsock(), 0) };
        let mut there = wanted;
        if wanted && self.has(disable) && self.has(add) {
            self.calls.push(Call::DisableImplicitVsock {});
            self.calls.push(Call::AddVsock { tsi_features: tsi });
        } else if !wanted && self.has(disable) {
            self.calls.push(Call::DisableImplicitVsock {});
        } else if implicit != (wanted, tsi) {
            there = implicit.0;
            self.unwanted_vsock(tsi, asked.then_some(by));
        }
        if there {
            self.lines.push(asked.then(|| by.to_owned()));
        }
        if tsi & TSI_INET != 0 {
            self.ports();
        }
    }

    fn ports(&mut self) {
        let Some(tsi) = &self.spec.tsi else { return };
        if tsi.ports.is_empty() && !tsi.only_ports {
            return;
        }
        // Since TSI knows more than IPv4, a port that the map does not have keeps its number instead of being refused.
        let keeps_others = self.capabilities.at_least(&MAP_ONLY_RENAMES_SINCE);
        if tsi.only_ports && keeps_others {
            let reason = format!(
                "libkrun closes no port of the guest since {MAP_ONLY_RENAMES_SINCE}: krun_set_port_map only gives them other numbers; this is {}",
                self.capabilities.describe()
            );
            let fix = "give it a network card (nics), or no network (tsi.inet false)";
            self.problems.push(Problem::new(ProblemKind::Unsupported, "tsi.only_ports", reason).fix(fix));
            return;
        }
        if !tsi.only_ports {
            self.notes.push(
                match keeps_others {
                    true => "the guest's other TCP ports are open on the host under their own numbers",
                    false => "the guest's other TCP ports stay closed: before 1.17.0 libkrun opens those that are listed and no others",
                }
                .to_owned(),
            );
        }
        if self.needs("tsi.ports", "ports of the guest cannot be chosen", Function::krun_set_port_map) {
            let ports = tsi.ports.iter().map(|port| format!("{}:{}", port.host, port.guest)).collect();
            self.calls.push(Call::SetPortMap { ports });
        }
    }

    /// Refuses what the implicit device would silently give instead.
    fn unwanted_vsock(&mut self, tsi: u32, asked: Option<&'static str>) {
        if self.spec.has_foreign_kernel() {
            let (field, function) = match (&self.spec.kernel, asked) {
                (_, Some(field)) => (field, Function::krun_add_vsock),
                (Some(_), None) => ("kernel", Function::krun_disable_implicit_vsock),
                (None, None) if self.spec.tee.is_some() => return,
                (None, None) => ("firmware", Function::krun_disable_implicit_vsock),
            };
            self.refuse(
                field,
                "the implicit vsock device puts the word tsi_hijack on the kernel's command line, which a kernel other than libkrunfw's hands to init as an argument, and it cannot be left out",
                function,
            );
        } else if tsi & TSI_UNIX != 0 {
            self.refuse("tsi.unix", "the guest's unix sockets cannot be the host's", Function::krun_add_vsock);
        } else {
            self.refuse(
                "tsi.inet",
                "the guest's sockets are the host's, and that cannot be left out",
                Function::krun_add_vsock,
            );
        }
    }

    /// How the guest's first word gets out: over vsock, or from other kernels over a console port, unless its
    /// interrupt line is needed for what the spec asks for.
    pub(super) fn channel(&mut self) -> Channel {
        if self.channel_by_vsock() {
            let socket = Socket::Ours(Fd::Channel);
            self.calls.push(Call::AddVsockPort { port: CHANNEL_PORT, socket });
            return Channel::Vsock { port: CHANNEL_PORT };
        }
        let has_ports =
            self.has(Function::krun_add_virtio_console_multiport) && self.has(Function::krun_add_console_port_inout);
        let fits = !self.spec.console_ports.is_empty() || self.has_spare_line();
        if self.spec.has_guest_program() && self.spec.kernel.is_some() && has_ports && fits {
            return Channel::Port;
        }
        let reason = match (self.spec.has_guest_program(), self.spec.kernel.is_some() && has_ports) {
            (false, _) => "it runs nothing of krundl's",
            (true, true) => "the devices asked for leave none for its first word",
            (true, false) => "this libkrun has no way for its first word",
        };
        self.notes.push(format!("whether the guest is up cannot be told: {reason}"));
        Channel::None
    }

    /// The host connects into the guest, so libkrun makes the socket.
    pub(super) fn control(&mut self) {
        let what = "the host cannot connect to the guest";
        let Some(control) = &self.spec.control else { return };
        if !self.spec.has_guest_program() || !self.needs("control", what, Function::krun_add_vsock_port2) {
            return;
        }
        let socket = match control {
            Control::Private => Socket::Ours(Fd::Control),
            Control::Socket(_) => {
                let socket = self.findings.control.clone().unwrap_or_default();
                self.sockets.push(socket.path());
                Socket::Host(socket)
            }
        };
        self.calls.push(Call::AddVsockPort2 { port: CONTROL_PORT, socket, listen: true });
    }

    pub(super) fn vsock_ports(&mut self) {
        let spec = self.spec;
        for (n, (port, socket)) in spec.vsock.ports.iter().zip(&self.findings.vsock).enumerate() {
            let (number, listen) = (port.port, port.listen);
            let (function, what) = match listen {
                false => (Function::krun_add_vsock_port, "vsock ports cannot be connected"),
                true => (Function::krun_add_vsock_port2, "the guest cannot listen on a vsock port"),
            };
            if !self.needs(&format!("vsock.ports[{n}]"), what, function) {
                continue;
            }
            let socket = Socket::Host(socket.clone());
            self.calls.push(match listen {
                false => Call::AddVsockPort { port: number, socket },
                true => Call::AddVsockPort2 { port: number, socket, listen },
            });
            if listen {
                self.sockets.push(self.findings.vsock[n].path());
            }
        }
    }
}
