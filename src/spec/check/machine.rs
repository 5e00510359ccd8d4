//! The virtual machine itself: processors, memory, limits.

use super::Checker;
use crate::spec::model::{Rlimit, VmSpec};

impl Checker {
    pub(super) fn machine(&mut self, spec: &VmSpec) {
        if !(1..=255).contains(&spec.vcpus) {
            self.invalid("vcpus", format!("must be 1 to 255, not {}", spec.vcpus));
        } else if let Some(max) = crate::host::max_vcpus().filter(|max| spec.vcpus > *max) {
            self.host("vcpus", format!("this host's KVM gives a VM at most {max} vCPUs, not {}", spec.vcpus));
        }
        if spec.memory_mib == 0 {
            self.invalid("memory_mib", "must be at least 1");
        }
        for (name, limit) in &spec.rlimits {
            let field = format!("rlimits.{name}");
            if Rlimit::number(name).is_none() {
                self.invalid(field, format!("is no resource of Linux; those are {}", Rlimit::names().join(", ")));
            } else if limit.hard.is_some_and(|hard| limit.soft > hard) {
                self.invalid(field, "its soft limit is above its hard one, which Linux refuses");
            }
        }
        for (n, text) in spec.smbios_oem_strings.iter().enumerate() {
            if text.is_empty() || !text.bytes().all(|b| (0x20..0x7f).contains(&b)) {
                self.invalid(format!("smbios_oem_strings[{n}]"), "must be printable ASCII, and not empty");
            }
        }
        if spec.nested_virt && nested_in_kvm() == Some(false) {
            self.host("nested_virt", "this host's KVM module does not let guests run virtual machines (nested=0)");
        }
    }
}

/// Whether the host's KVM passes the processor's virtualisation on; `None` where its module does not say.
fn nested_in_kvm() -> Option<bool> {
    let told: Vec<String> = ["kvm_intel", "kvm_amd"]
        .iter()
        .filter_map(|module| std::fs::read_to_string(format!("/sys/module/{module}/parameters/nested")).ok())
        .collect();
    (!told.is_empty()).then(|| told.iter().any(|value| matches!(value.trim(), "1" | "Y" | "y")))
}
