//! Whether all devices fit.

use super::Negotiation;
use crate::plan::devices;

impl Negotiation<'_> {
    /// Whether a line is left beside everything that the spec asks for and krundl needs for it.
    pub(super) fn has_spare_line(&self) -> bool {
        let spec = self.spec;
        let asked = [
            usize::from(!spec.vsock.ports.is_empty()),
            usize::from(!spec.console_ports.is_empty()),
            spec.nics.len(),
            spec.disks.len(),
            usize::from(spec.gpu.is_some()),
            usize::from(spec.sound),
            spec.inputs.len(),
            usize::from(spec.root.is_some()),
            usize::from(!self.has_overlays()),
            spec.mounts.len(),
        ];
        asked.iter().sum::<usize>() < devices::lines(self.architecture()) - devices::ALWAYS
    }

    /// Too many devices are a bare EINVAL from krun_start_enter. krundl's own come first, then the spec's in the order
    /// in which they were counted.
    pub(super) fn device_count(&mut self) {
        let architecture = self.architecture().to_owned();
        let room = devices::lines(&architecture) - devices::ALWAYS;
        let own = self.lines.iter().filter(|line| line.is_none()).count();
        let asked: Vec<String> = self.lines.iter().flatten().cloned().collect();
        let fit = room.saturating_sub(own);
        let because = if own > 0 { format!("; {own} are taken by krundl itself") } else { String::new() };
        let what = match asked.iter().all(|field| field.starts_with("mounts[")) {
            true => format!("only {fit} mounts fit beside the root"),
            false => format!("only {fit} of the {} devices fit", asked.len()),
        };
        for field in asked.iter().skip(fit) {
            let reason = format!("{what}: each takes one of {architecture}'s interrupt lines{because}");
            self.unsupported(field.clone(), reason);
        }
    }
}
