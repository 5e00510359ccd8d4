//! The log, the machine, the limits of the workload, the user of the process.

use super::Negotiation;
use crate::plan::arguments::Fd;
use crate::plan::call::Call;
use crate::spec::{LogLevel, Rlimit};
use crate::symbols::Function;

impl Negotiation<'_> {
    /// Exactly one of the two log functions: the second call of either aborts the process.
    pub(super) fn log(&mut self) {
        // Errors are the only explanation of a failed start, so they are always on.
        let level = match self.spec.log_level {
            LogLevel::Off | LogLevel::Error => 1,
            LogLevel::Warn => 2,
            LogLevel::Info => 3,
            LogLevel::Debug => 4,
            LogLevel::Trace => 5,
        };
        if self.has(Function::krun_init_log) {
            // Style 2: no colours. Options 1: RUST_LOG in the environment cannot silence it.
            self.calls.push(Call::InitLog { target: Fd::Log, level, style: 2, options: 1 });
        } else if self.has(Function::krun_set_log_level) {
            self.calls.push(Call::SetLogLevel { level });
        }
    }

    pub(super) fn machine(&mut self) {
        let spec = self.spec;
        let vcpus = u8::try_from(spec.vcpus).unwrap_or(u8::MAX);
        self.calls.push(Call::SetVmConfig { vcpus, ram_mib: spec.memory_mib });
        self.memory();
        let x86 = self.architecture() == "x86_64";
        if spec.nested_virt {
            const FIELD: &str = "nested_virt";
            if !x86 {
                self.unsupported(FIELD, "libkrun on Linux accepts this and does nothing, except on x86-64");
            } else if self.needs(FIELD, "the guest's processor cannot be told to", Function::krun_set_nested_virt) {
                self.calls.push(Call::SetNestedVirt { enabled: true });
            }
        }
        if spec.split_irqchip {
            const FIELD: &str = "split_irqchip";
            if !x86 {
                self.unsupported(FIELD, "only x86-64 has such an interrupt controller");
            } else if self.needs(FIELD, "the interrupt controller cannot be split", Function::krun_split_irqchip) {
                self.calls.push(Call::SplitIrqchip { enable: true });
            }
        }
        if !spec.smbios_oem_strings.is_empty() {
            const FIELD: &str = "smbios_oem_strings";
            const FUNCTION: Function = Function::krun_set_smbios_oem_strings;
            if self.architecture() != "aarch64" {
                self.unsupported(FIELD, "libkrun accepts them and does nothing, except on aarch64");
            } else if self.needs(FIELD, "there is no way to give them to the guest", FUNCTION) {
                self.calls.push(Call::SetSmbiosOemStrings { oem_strings: spec.smbios_oem_strings.clone() });
            }
        }
        self.rlimits();
        self.identity();
    }

    fn rlimits(&mut self) {
        let spec = self.spec;
        if spec.rlimits.is_empty() || !spec.has_guest_program() {
            return;
        }
        if self.needs("rlimits", "limits cannot be given to the workload", Function::krun_set_rlimits) {
            let rlimits = spec.rlimits.iter().filter_map(|(name, limit)| {
                Some(format!("{}={}:{}", Rlimit::number(name)?, limit.soft, limit.hard.unwrap_or(limit.soft)))
            });
            self.calls.push(Call::SetRlimits { rlimits: rlimits.collect() });
        }
    }

    fn identity(&mut self) {
        const REASON: &str = "the VM's process cannot become another user";
        if let Some(gid) = self.spec.gid
            && self.needs("gid", REASON, Function::krun_setgid)
        {
            self.calls.push(Call::Setgid { gid });
        }
        if let Some(uid) = self.spec.uid
            && self.needs("uid", REASON, Function::krun_setuid)
        {
            self.calls.push(Call::Setuid { uid });
        }
    }

    /// libkrun aborts when its own kernel does not fit.
    fn memory(&mut self) {
        let kernel = &self.capabilities.observation.firmware.kernel;
        let (false, Some(kernel)) = (self.spec.has_foreign_kernel(), kernel) else { return };
        let needed = (kernel.load_address + kernel.size).div_ceil(1 << 20);
        if u64::from(self.spec.memory_mib) < needed {
            let reason =
                format!("libkrunfw's kernel alone takes {needed} MiB, and the guest has {}", self.spec.memory_mib);
            let fix = format!("give it {needed} MiB and what the workload takes");
            self.problems
                .push(crate::error::Problem::new(crate::error::ProblemKind::Host, "memory_mib", reason).fix(fix));
        }
    }
}
