//! What goes with what, whatever the host: parts that need each other, parts that exclude each other.

use super::Checker;
use crate::spec::model::{Console, VmSpec};

impl Checker {
    pub(super) fn shape(&mut self, spec: &VmSpec) {
        if spec.firmware.is_some() && spec.tee.is_some() {
            self.invalid("firmware", "a confidential guest boots libkrunfw's firmware and no other");
        }
        if spec.has_own_init() && spec.firmware.is_none() && spec.tee.is_none() {
            self.own_init(spec);
        } else if !spec.has_guest_program() {
            self.nothing_of_krundls(spec);
        } else {
            match &spec.root {
                None => self.invalid("root", "is required"),
                Some(root) => match (&root.dir, &root.disk) {
                    (None, None) => self.invalid("root.dir", "is required, unless there is root.disk"),
                    (Some(_), Some(_)) => self.invalid("root.disk", "the root is either a directory or a disk"),
                    _ => {}
                },
            }
            if spec.exec.is_none() {
                self.invalid(
                    "exec",
                    "is required, unless kernel.cmdline boots an init of the guest's own (one without init=/init.krun)",
                );
            }
        }
        if spec.tee.is_some() && spec.disks.is_empty() {
            self.invalid("disks", "is required with tee: a confidential guest's root is on the first disk");
        }
        if spec.gpu.is_none() && !spec.displays.is_empty() {
            self.invalid("displays", "need gpu: without a graphics card libkrun leaves them out silently");
        }
        if spec.control.is_some() && !spec.has_guest_program() {
            let reason = "needs krundl's program in the guest, and the guest boots what it has: firmware, a confidential guest's own root, or an init of its own (kernel.cmdline)";
            self.invalid("control", reason);
        }
        self.tsi(spec);
    }

    /// Firmware and confidential guests boot what they have: krundl has nobody inside who could do anything.
    fn nothing_of_krundls(&mut self, spec: &VmSpec) {
        let (boots, line) = if spec.tee.is_some() {
            ("a confidential guest", "nothing of a command line reaches a confidential guest")
        } else {
            ("firmware", "firmware reads no kernel command line of libkrun's")
        };
        let parts = [
            ("kernel", spec.kernel.is_some(), "boots its own kernel"),
            ("root", spec.root.is_some(), "has its root on a disk of its own choice"),
            ("exec", spec.exec.is_some(), "starts what its disk says"),
            ("mounts", !spec.mounts.is_empty(), "has no program of krundl's inside that could mount them"),
            (
                "overlay",
                !spec.overlay.files.is_empty() || !spec.overlay.dirs.is_empty(),
                "has no root directory to lay anything over",
            ),
        ];
        for (field, given, why) in parts {
            if given {
                self.invalid(field, format!("{boots} {why}"));
            }
        }
        for (field, given) in [("rlimits", !spec.rlimits.is_empty()), ("kernel_console", spec.kernel_console.is_some())]
        {
            if given {
                self.invalid(field, line);
            }
        }
        self.no_addresses(spec, &format!("{boots} has no program of krundl's inside that could do that"));
    }

    /// The guest's own init does what it does: krundl has nobody inside.
    fn own_init(&mut self, spec: &VmSpec) {
        const WHY: &str = "the guest boots an init of its own (kernel.cmdline), ";
        if spec.root.as_ref().is_some_and(|root| root.disk.is_some()) {
            self.invalid("root.disk", format!("{WHY}whose command line names its disk: root=/dev/vda"));
        }
        if spec.root.as_ref().is_some_and(|root| root.disk.is_none() && root.dir.is_none()) {
            self.invalid("root.dir", "is required in root");
        }
        for n in spec.mounts.iter().enumerate().filter(|(_, mount)| mount.overlay).map(|(n, _)| n) {
            self.invalid(format!("mounts[{n}].overlay"), format!("{WHY}which lays overlays over shares itself"));
        }
        if !spec.overlay.files.is_empty() || !spec.overlay.dirs.is_empty() {
            self.invalid("overlay", format!("{WHY}and gets nothing of krundl's"));
        }
        if !spec.rlimits.is_empty() {
            self.invalid("rlimits", format!("{WHY}and limits are libkrun's init's to set"));
        }
        self.no_addresses(spec, &format!("{WHY}which sets up its network itself"));
    }

    /// What krundl's program in the guest would do. A passt of the card's own is told its address and name servers anyway.
    fn no_addresses(&mut self, spec: &VmSpec, why: &str) {
        for (n, nic) in spec.nics.iter().enumerate() {
            let told = nic.passt.is_some();
            let fields = [
                ("address", nic.address.is_some() && !told),
                ("gateway", nic.gateway.is_some() && !told),
                ("dns", nic.dns.is_some() && !told),
                ("dhcp", nic.dhcp),
                ("optional", nic.optional),
            ];
            for (name, _) in fields.into_iter().filter(|(_, given)| *given) {
                self.invalid(format!("nics[{n}].{name}"), why);
            }
        }
    }

    fn tsi(&mut self, spec: &VmSpec) {
        let Some(tsi) = &spec.tsi else { return };
        let of_inet = [("tsi.ports", !tsi.ports.is_empty()), ("tsi.only_ports", tsi.only_ports)];
        let wanted = [("tsi.inet", tsi.inet), ("tsi.unix", tsi.unix), of_inet[0], of_inet[1]];
        for (field, _) in wanted.into_iter().filter(|(_, wanted)| *wanted) {
            if spec.has_foreign_kernel() {
                self.invalid(field, "TSI needs the patches of libkrunfw's kernel");
            } else if !spec.nics.is_empty() {
                self.invalid(field, "a guest with a network card has no TSI, and libkrun takes no ports for it");
            }
        }
        for (field, _) in of_inet.into_iter().filter(|(_, wanted)| *wanted && !tsi.inet) {
            self.invalid(field, "is a matter of tsi.inet, which is off");
        }
    }

    /// The console that the kernel is told must be there.
    pub(super) fn kernel_console(&mut self, spec: &VmSpec) {
        use crate::spec::model::KernelConsole;
        const FIELD: &str = "kernel_console";
        match spec.kernel_console {
            Some(KernelConsole::TtyS0) if spec.serial.is_none() => {
                self.invalid(FIELD, "ttyS0 is the serial console, which this VM does not have (serial)");
            }
            // Seen with libkrunfw 5.6.1: init starts without descriptors and loses the workload's streams.
            Some(KernelConsole::TtyS0) if spec.kernel.is_none() => {
                self.invalid(FIELD, "ttyS0 takes a kernel of your own: libkrunfw's has no driver for it, and starts init without any console");
            }
            Some(KernelConsole::Hvc0) if spec.console == Console::None => {
                self.invalid(FIELD, "hvc0 goes where console goes, which is nowhere");
            }
            _ => {}
        }
        let line = spec.kernel.as_ref().and_then(|kernel| kernel.cmdline.as_ref());
        let replaceable = |line: &String| line.split("console=").nth(1).is_some_and(|rest| rest.contains(' '));
        if spec.kernel_console.is_some() && line.is_some_and(|line| !replaceable(line)) {
            self.invalid(
                FIELD,
                "replaces the console= of kernel.cmdline; libkrun aborts unless that has one with something behind it",
            );
        }
    }
}
