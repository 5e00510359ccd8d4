//! Graphics, displays, sound, input devices: functions that every build has and few builds mean.

use super::Negotiation;
use super::console::fd;
use crate::plan::call::Call;
use crate::spec::Display;
use crate::symbols::Function;

impl Negotiation<'_> {
    pub(super) fn gadgets(&mut self) {
        let spec = self.spec;
        if let Some(gpu) = spec.gpu {
            self.lines.push(Some("gpu".to_owned()));
            let virgl_flags = gpu.virgl_flags;
            match gpu.shm_mib {
                None if self.means("gpu", "a graphics card", Function::krun_set_gpu_options) => {
                    self.calls.push(Call::SetGpuOptions { virgl_flags });
                }
                Some(mib) if self.means("gpu", "a graphics card", Function::krun_set_gpu_options2) => {
                    self.calls.push(Call::SetGpuOptions2 { virgl_flags, shm_size: u64::from(mib) << 20 });
                }
                _ => {}
            }
        }
        for (n, display) in spec.displays.iter().enumerate() {
            self.display(n, display);
        }
        if spec.sound {
            self.lines.push(Some("sound".to_owned()));
            if self.means("sound", "a sound card", Function::krun_set_snd_device) {
                self.calls.push(Call::SetSndDevice { enable: true });
            }
        }
        for n in 0..spec.inputs.len() {
            self.lines.push(Some(format!("inputs[{n}]")));
            let field = format!("inputs[{n}]");
            if self.means(&field, "an input device", Function::krun_add_input_device_fd)
                && let Some(device) = fd(self.findings.inputs.get(n))
            {
                self.calls.push(Call::AddInputDeviceFd { device });
            }
        }
    }

    fn display(&mut self, n: usize, display: &Display) {
        let field = format!("displays[{n}]");
        if !self.means(&field, "a display", Function::krun_add_display) {
            return;
        }
        let mut calls = vec![Call::AddDisplay { width: display.width, height: display.height }];
        if let Some(file) = self.findings.edids.get(n).cloned().flatten() {
            calls.push(Call::DisplaySetEdid { file });
        }
        if let Some([width_mm, height_mm]) = display.physical_size_mm {
            calls.push(Call::DisplaySetPhysicalSize { width_mm, height_mm });
        }
        if let Some(refresh_rate) = display.refresh_rate {
            calls.push(Call::DisplaySetRefreshRate { refresh_rate });
        }
        if let Some(dpi) = display.dpi {
            calls.push(Call::DisplaySetDpi { dpi });
        }
        for call in calls {
            if self.means(&field, "a display", call.function()) {
                self.calls.push(call);
            }
        }
    }
}
