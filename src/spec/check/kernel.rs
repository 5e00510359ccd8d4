//! A kernel of the user's own.

use super::Checker;
use crate::error::{Problem, ProblemKind};
use crate::spec::findings::KernelFinding;
use crate::spec::kernel;
use crate::spec::model::{Kernel, KernelFormat, names_libkruns_init};

/// The most of a kernel command line that a stock x86-64 kernel reads, in bytes.
const MAX_CMDLINE: usize = 2047;

impl Checker {
    pub(super) fn kernel(&mut self, kernel: &Kernel, memory_mib: u32, has_exec: bool) -> Option<KernelFinding> {
        if let Some(cmdline) = &kernel.cmdline {
            self.cmdline(cmdline, has_exec);
        }
        let initrd = kernel.initrd.as_ref().and_then(|path| self.readable("kernel.initrd", path));
        let file = self.file("kernel.path", &kernel.path)?;
        let found = match kernel::identify(&file) {
            Ok(found) => found,
            Err(reason) => {
                self.host("kernel.path", format!("{} {reason}", kernel.path.display()));
                return None;
            }
        };
        if kernel.format != KernelFormat::Auto && kernel.format != found.format {
            self.invalid(
                "kernel.format",
                format!("{} is {:?}, not {:?}", kernel.path.display(), found.format, kernel.format),
            );
        }
        let memory = u64::from(memory_mib) << 20;
        if let Some(end) = found.end.filter(|end| *end > memory) {
            self.host(
                "memory_mib",
                format!("the kernel alone takes {} MiB, and the guest has {memory_mib}", end.div_ceil(1 << 20)),
            );
        }
        Some(KernelFinding { file: self.hold(file, &kernel.path), format: found.format, initrd })
    }

    fn cmdline(&mut self, cmdline: &str, has_exec: bool) {
        const FIELD: &str = "kernel.cmdline";
        if !cmdline.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            self.invalid(FIELD, "must be printable ASCII: libkrun aborts at anything else");
        } else if cmdline.len() > MAX_CMDLINE {
            self.invalid(FIELD, format!("must be at most {MAX_CMDLINE} bytes: a kernel cuts off the rest"));
        } else if has_exec && !names_libkruns_init(cmdline) {
            self.problems.push(
                Problem::new(ProblemKind::Invalid, FIELD, "replaces libkrun's own command line, and without init=/init.krun the workload would never run")
                    .fix("add init=/init.krun rootfstype=virtiofs rw, or leave the command line out; or leave exec out, and the guest boots its own init"),
            );
        }
    }
}
