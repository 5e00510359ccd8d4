//! Disks. `krun_set_root_disk` and `krun_set_data_disk` are never used: beside `krun_add_disk*` libkrun ignores them.

use super::Negotiation;
use crate::plan::call::Call;
use crate::spec::{DiskFormat, DiskSync};
use crate::symbols::Function;

impl Negotiation<'_> {
    pub(super) fn disks(&mut self) {
        use Function as F;
        let spec = self.spec;
        for (n, (disk, id)) in spec.disks.iter().zip(spec.disk_ids()).enumerate() {
            self.lines.push(Some(format!("disks[{n}]")));
            let fine = disk.direct_io || disk.sync.is_some();
            let steps = [
                (F::krun_add_disk, disk.format == DiskFormat::Raw && !fine),
                (F::krun_add_disk2, !fine),
                (F::krun_add_disk3, true),
            ];
            let mut carriers = steps.iter().filter(|(_, carries)| *carries).map(|(function, _)| *function);
            let lowest = carriers.clone().next().expect("the last step carries everything");
            let Some(function) = carriers.find(|function| self.has(*function)) else {
                let (field, reason) = if disk.direct_io && lowest == F::krun_add_disk3 {
                    ("direct_io", "the page cache cannot be passed by")
                } else if lowest == F::krun_add_disk3 {
                    ("sync", "what flushes do cannot be chosen")
                } else if lowest == F::krun_add_disk2 {
                    ("format", "disks are raw")
                } else {
                    ("path", "there are no disks")
                };
                self.refuse(format!("disks[{n}].{field}"), reason, lowest);
                continue;
            };
            let read_only = disk.read_only;
            let disk_path = self.findings.disks.get(n).cloned().unwrap_or_default();
            let format = match disk.format {
                DiskFormat::Raw => 0,
                DiskFormat::Qcow2 => 1,
                DiskFormat::Vmdk => 2,
            };
            let sync_mode = match disk.sync {
                Some(DiskSync::None) => 0,
                Some(DiskSync::Relaxed) => 1,
                // What the simpler functions mean on Linux.
                Some(DiskSync::Full) | None => 2,
            };
            self.calls.push(match function {
                F::krun_add_disk => Call::AddDisk { id, disk: disk_path, read_only },
                F::krun_add_disk2 => Call::AddDisk2 { id, disk: disk_path, format, read_only },
                _ => {
                    let direct_io = disk.direct_io;
                    Call::AddDisk3 { id, disk: disk_path, format, read_only, direct_io, sync_mode }
                }
            });
        }
    }
}
