//! What is booted instead of libkrunfw's kernel.

use super::Negotiation;
use crate::plan::call::Call;
use crate::spec::{Kernel, KernelFormat};
use crate::symbols::Function;

impl Negotiation<'_> {
    pub(super) fn kernel(&mut self) {
        self.own_kernel();
        if self.spec.firmware.is_some() && self.capabilities.is_tee() && self.has(Function::krun_set_firmware) {
            let reason = format!(
                "a build for confidential guests takes no firmware of your own; this is {}",
                self.capabilities.describe()
            );
            self.unsupported("firmware", reason);
        } else if self.spec.firmware.is_some()
            && self.needs("firmware", "firmware of your own cannot be given", Function::krun_set_firmware)
        {
            let file = self.findings.firmware.clone().unwrap_or_default();
            self.calls.push(Call::SetFirmware { file });
        }
        if self.spec.tee.is_some()
            && self.needs("tee", "this build runs no confidential guests", Function::krun_set_tee_config_file)
        {
            let file = self.findings.tee.clone().unwrap_or_default();
            self.calls.push(Call::SetTeeConfigFile { file });
        }
        if let Some(console) = self.spec.kernel_console
            && self.needs("kernel_console", "the kernel's console cannot be chosen", Function::krun_set_kernel_console)
        {
            self.calls.push(Call::SetKernelConsole { console: console.name().to_owned() });
        }
    }

    fn own_kernel(&mut self) {
        let Some(kernel) = &self.spec.kernel else { return };
        if !self.has(Function::krun_set_kernel) {
            self.refuse("kernel", "a kernel of your own cannot be given", Function::krun_set_kernel);
        } else if self.capabilities.is_tee() {
            let reason = format!(
                "a build for confidential guests takes no kernel of your own; this is {}",
                self.capabilities.describe()
            );
            self.unsupported("kernel", reason);
        } else if let Some(finding) = &self.findings.kernel {
            self.calls.push(Call::SetKernel {
                file: finding.file.clone(),
                format: format_number(kernel, finding.format),
                initrd: finding.initrd.clone(),
                cmdline: kernel.cmdline.clone(),
            });
        }
    }
}

/// `KRUN_KERNEL_FORMAT_*`.
fn format_number(kernel: &Kernel, found: KernelFormat) -> u32 {
    let format = if kernel.format == KernelFormat::Auto { found } else { kernel.format };
    match format {
        KernelFormat::Raw | KernelFormat::Auto => 0,
        KernelFormat::Elf => 1,
        KernelFormat::PeGz => 2,
        KernelFormat::ImageBz2 => 3,
        KernelFormat::ImageGz => 4,
        KernelFormat::ImageZstd => 5,
    }
}
