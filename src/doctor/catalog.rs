//! Every check there is: the single source of `--list`, `--explain` and docs/doctor.md.

use std::fmt::Write;

use crate::symbols::named;

named! {
    /// What the checks are grouped by, in the order of the report.
    pub enum Group {
        /// The libkrun that is used, and those beside it.
        Library => "library",
        /// What its functions can do.
        Abilities => "abilities",
        /// libkrunfw, which holds the guest's kernel.
        Firmware => "firmware",
        /// This machine.
        Host => "host",
        /// The mounts asked about with `--mount`.
        Mounts => "mounts",
        /// The kernel asked about with `--kernel`.
        Kernel => "kernel",
        /// A real guest, with `--boot`.
        Proof => "proof",
    }
}

impl Group {
    /// Its heading.
    pub fn title(self) -> &'static str {
        match self {
            Group::Library => "libkrun",
            Group::Abilities => "What it can do",
            Group::Firmware => "libkrunfw, the guest's kernel",
            Group::Host => "This machine",
            Group::Mounts => "The mounts asked about",
            Group::Kernel => "The kernel asked about",
            Group::Proof => "A real guest",
        }
    }
}

/// What there is to say about a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Info {
    /// Its name.
    pub id: Id,
    /// Where it belongs.
    pub group: Group,
    /// What is checked, and how that is known.
    pub checks: &'static str,
    /// What it means when it does not pass.
    pub means: &'static str,
    /// What would mend it.
    pub remedy: &'static str,
}

/// The names, and the table of [`CATALOG`], in one place.
macro_rules! catalog {
    ($($group:ident { $($id:ident => $name:literal: $checks:literal, $means:literal, $remedy:literal;)+ })+) => {
        named! {
            /// The name of a check, stable across releases.
            pub enum Id { $($(#[doc = $checks] $id => $name,)+)+ }
        }

        /// All checks, in the order of the report.
        pub const CATALOG: &[Info] = &[$($(Info {
            id: Id::$id, group: Group::$group, checks: $checks, means: $means, remedy: $remedy,
        },)+)+];
    };
}

catalog! {
    Library {
        LibraryFound => "library.found":
            "Which libkrun is used, of all places where one may be; every candidate is reported with what became of it.",
            "No libkrun can be used, so nothing can run.",
            "Install libkrun, or name its file with --library or KRUNDL_LIBRARY.";
        LibraryOpening => "library.opening":
            "How opening each candidate went, in a child process: whether it aborted, hung, exited or printed.",
            "A library takes the process along that opens it. krundl goes on to the next candidate; programs that open it themselves die.",
            "Remove or replace the library that is named, or the one that it needs.";
        LibraryDependencies => "library.dependencies":
            "Whether the libraries that it is linked with are there: by the loader, or by looking for each name in its file.",
            "The loader cannot open it.",
            "Install the packages that hold the missing libraries.";
        LibraryOthers => "library.others":
            "Other files that are libkrun, in places that are searched later. They are read and not opened.",
            "Another program may find another libkrun first, and behave differently.",
            "Keep one, or name the one that is meant with KRUNDL_LIBRARY.";
        LibraryMajors => "library.majors":
            "Whether libkruns of several major numbers lie side by side. The name of a file tells its number.",
            "Majors speak different languages under partly the same names.",
            "Nothing has to be done as long as the one in use is of major 1.";
        LibraryArchitecture => "library.architecture":
            "Whether a libkrun for another processor or system lies where one is looked for, by the file's header.",
            "It can never be opened here and hides that the right one is missing.",
            "Install libkrun for this processor, and remove the other.";
        LibraryGeneration => "library.generation":
            "Which language its functions speak, by which of them are there and by the major number of its soname.",
            "krundl does not know the language: it reports the library and never calls it.",
            "Install libkrun 1.x, or name another library with KRUNDL_LIBRARY.";
        LibraryVersion => "library.version":
            "Which release it is: by its functions (a fingerprint, which counts), and by what file names and libkrun.pc claim.",
            "Witnesses contradict each other: a file was renamed, libkrun.pc belongs to another installation, or it is a fork or a patched build.",
            "Reinstall libkrun from one source.";
        LibraryFlavour => "library.flavour":
            "Which variant it is: the ordinary one, or one for confidential guests, enclaves or EFI.",
            "It is made for other guests: without directories of the host, or without a kernel of one's own.",
            "Install the ordinary libkrun, unless its guests are what is wanted.";
        LibraryFork => "library.fork":
            "Functions named krun_ that no known release has.",
            "It is a fork, or newer than this krundl. What the functions of known names do may differ.",
            "Use an unmodified release, or a newer krundl.";
        LibraryExports => "library.exports":
            "Whether the functions that its file exports and those that the loader finds are the same.",
            "What the loader finds is not a function of this file: data of that name, or the file was changed.",
            "Reinstall libkrun.";
    }
    Abilities {
        Mounts => "mounts":
            "Whether directories of the host can be mounted (krun_add_virtiofs, 1.8.0).",
            "No mount works.",
            "Install libkrun 1.9.5 or later, which can also do without a DAX window.";
        MountsReadOnly => "mounts.read_only":
            "Whether a mount can be made read-only on the host's side (krun_add_virtiofs3, 1.18.0).",
            "A read-only mount is refused: a guest could make it writable again.",
            "Install libkrun 1.18.0 or later.";
        MountsOwnership => "mounts.ownership":
            "Whether ownership semantics of a mount can be chosen (krun_add_virtiofs4, 1.19.3).",
            "Mounts have the semantics that the library gives them.",
            "Install libkrun 1.19.3 or later.";
        MountsOverlay => "mounts.overlay":
            "Whether files can be laid over the root that the host does not have (krun_fs_add_overlay_file, 1.19.0).",
            "krundl's program comes on a share of its own: the root needs /bin/sh and mount, and one mount fewer fits.",
            "Install libkrun 1.19.0 or later.";
        Readiness => "readiness":
            "Whether the guest can say that it is up, and how its workload ended (krun_add_vsock_port, 1.8.0).",
            "An exit status of 0 then proves nothing.",
            "Install libkrun 1.8.0 or later.";
        Control => "control":
            "Whether the host can connect into a running guest, for further commands and figures (krun_add_vsock_port2, 1.10.0). The guest's address on vsock (CID) is 3 in every VM: libkrun has no function for another, and none is needed, since each VM has sockets of its own on the host.",
            "A spec with a control port, or a vsock port on which the guest listens, is refused.",
            "Install libkrun 1.10.0 or later.";
        Console => "console":
            "Whether the standard streams can be given to the guest explicitly (krun_add_virtio_console_default, 1.16.0).",
            "libkrun takes descriptors 0, 1 and 2 of its process.",
            "Install libkrun 1.16.0 or later.";
        OwnKernel => "own_kernel":
            "Whether the guest can have a kernel of your own (krun_set_kernel, 1.11.0; without the word tsi_hijack from krun_disable_implicit_vsock, 1.17.0 on).",
            "Only libkrunfw's kernel can be used.",
            "Install libkrun 1.17.0 or later.";
        Disks => "disks":
            "Whether disk images can be attached (krun_add_disk, in builds with blk).",
            "No disk images.",
            "Use a libkrun that was built with blk (BLK=1).";
        Network => "network":
            "Whether network cards can be attached (krun_add_net_unixstream, in builds with net).",
            "Only the sockets that libkrun carries over vsock (TSI).",
            "Use a libkrun that was built with net (NET=1).";
        Snapshots => "snapshots":
            "Whether a running VM can be paused, resumed, written to a file and started from it. No release of libkrun has functions for that; the names under which upstream prepares them are known.",
            "Nothing of it can be had, also from a library that has the functions already: what they do is not settled.",
            "Wait for a release of libkrun with them, and a krundl that knows it.";
        Features => "features":
            "Functions that are there although this build lacks what they need, by krun_has_feature.",
            "Their presence proves nothing: they refuse, or succeed without doing anything.",
            "Use a libkrun that was built with the feature.";
        Compare => "compare":
            "With --compare RELEASE: what that release has and this library has not.",
            "Nothing; it answers a question.",
            "Install that release.";
    }
    Firmware {
        FirmwareWanted => "firmware.wanted":
            "Which libkrunfw this libkrun asks for: the name stands in its file.",
            "It cannot be told which libkrunfw to install.",
            "Install the one that the package of libkrun comes with.";
        FirmwareFound => "firmware.found":
            "Whether that libkrunfw is there, and whether the system's loader finds it or krundl has to load it by its path.",
            "No guest starts, except with a kernel of your own.",
            "Install libkrunfw, so that it lies beside libkrun or where the loader looks.";
        FirmwareAnswers => "firmware.answers":
            "What it says itself when it is loaded in a child process: the number of its interface, and the kernel in it.",
            "It is damaged, or not the libkrunfw that libkrun expects.",
            "Reinstall libkrunfw.";
    }
    Host {
        Kvm => "kvm":
            "Whether /dev/kvm exists, opens for this user, answers with interface 12 and creates a VM. Each is asked for.",
            "No guest runs here.",
            "Enable virtualisation, load the module, pass the device into the container, or join the group of the device.";
        KvmGuests => "kvm.guests":
            "What is behind /dev/kvm: the flags of the processor and the kernel's modules. Only kvm_intel and kvm_amd run ordinary guests on x86-64; only --boot proves it.",
            "The device is there and answers, and guests do not run all the same.",
            "Use a machine with hardware virtualisation.";
        KvmVcpus => "kvm.vcpus":
            "The most vCPUs that a VM can have, as KVM answers.",
            "A VM with more is refused.",
            "Nothing: it is a limit of this machine.";
        HostVirtual => "host.virtual":
            "Whether this machine is a guest itself (the processor's hypervisor flag), and whether its KVM nests.",
            "Nested guests are slower, and nesting may be off.",
            "Turn nesting on at the machine that runs this one.";
        HostContainer => "host.container":
            "Whether this is a container, by the marks that container engines leave, and whether it has the devices.",
            "Devices of the host have to be passed in.",
            "Start the container with --device /dev/kvm.";
        HostFiles => "host.files":
            "How many files a process may hold open. virtio-fs holds one for each file that the guest knows; krundl raises the limit as far as it may.",
            "A guest that looks at many files sees directories cut short, without an error (seen with libkrun 1.19.7).",
            "Raise the hard limit of open files.";
        HostLandlock => "host.landlock":
            "The version of Landlock's interface, as the kernel answers: with it the VM's process can be confined.",
            "The VM's process cannot be confined by Landlock.",
            "Use a kernel with CONFIG_SECURITY_LANDLOCK, and landlock in its lsm= list.";
        HostPasst => "host.passt":
            "Whether passt is in PATH or in the system's directories, which connects guests to the network without privileges.",
            "Not needed for mounts.",
            "Install passt.";
        HostGvproxy => "host.gvproxy":
            "Whether gvproxy is in PATH, in the system's directories or where podman keeps it, which connects guests to the network without privileges.",
            "Not needed for mounts.",
            "Install gvproxy (gvisor-tap-vsock).";
        HostMacos => "host.macos":
            "macOS: its version, as the kernel answers.",
            "It cannot be told.",
            "Nothing: it is there for reports.";
        HostHypervisor => "host.hypervisor":
            "macOS: whether the processor and the system have Hypervisor.framework (kern.hv_support).",
            "No guest runs here.",
            "Use a Mac with Apple silicon and a current macOS.";
        HostEntitlement => "host.entitlement":
            "macOS: whether krundl-vmm, the program that runs libkrun, carries com.apple.security.hypervisor.",
            "macOS refuses it the hypervisor.",
            "Sign krundl-vmm with that entitlement.";
    }
    Mounts {
        MountWorks => "mount.works":
            "Whether this mount would work here: the directory is opened and the calls are negotiated, for a root that is empty.",
            "The mount is refused, with every reason.",
            "As each reason says.";
        MountOwner => "mount.owner":
            "Who will own what the guest writes: by the user of this process and how the directory is mounted on the host.",
            "Files may end up with owners that are not expected, or the guest may be refused.",
            "Run krundl as the user who is to own the files.";
        MountReadOnly => "mount.read_only":
            "What read-only rests on.",
            "It cannot be enforced.",
            "Install libkrun 1.18.0 or later.";
        MountConfinement => "mount.confinement":
            "What leaves the share unconfined. libkrun does not keep the guest to the directories that it is given.",
            "A guest that breaks out of the share has the rights of the VM's process.",
            "Run krundl as a user that may do no more than the guest may.";
    }
    Kernel {
        KernelFormat => "kernel.format":
            "The format and architecture of the file, by its magic numbers, and whether this libkrun takes it.",
            "libkrun cannot load it.",
            "Give a vmlinux (ELF), a bzImage or an arm64 Image for this machine's processor.";
        KernelConfig => "kernel.config":
            "Whether the kernel has what mounts, disks, console, vsock and DAX need: by the configuration that it carries (IKCONFIG), or the file config-RELEASE beside it. Otherwise it is unknown.",
            "Something is missing, or is a module that libkrun's init does not load.",
            "Build the kernel with the options that are named, built in and not as modules.";
    }
    Proof {
        ProofBoot => "proof.boot":
            "With --boot: a real guest is booted, from a root made on the spot with krundl's own program and nothing else.",
            "A guest does not come up here, whatever the other checks say.",
            "What libkrun said is quoted; the checks kvm and firmware.found name the usual causes.";
        ProofVsock => "proof.vsock":
            "With --boot: the guest says over vsock that it is up and how its workload ended.",
            "krundl cannot tell whether a workload ran.",
            "Install libkrun 1.8.0 or later.";
        ProofRead => "proof.read":
            "With --boot: the guest reads a number through a mount, which the host has just made up.",
            "Mounts do not show the host's files.",
            "Report it, with this report.";
        ProofWrite => "proof.write":
            "With --boot: the guest writes that number back through another mount.",
            "What the guest writes does not reach the host.",
            "Report it, with this report.";
        ProofReadOnly => "proof.read_only":
            "With --boot: the guest tries to write through a read-only mount, and is refused with EROFS.",
            "Read-only mounts are not enforced.",
            "Install libkrun 1.18.0 or later.";
    }
}

impl Id {
    /// What there is to say about it.
    pub fn info(self) -> &'static Info {
        &CATALOG[self as usize]
    }

    /// Whether it is the one, or one of the group, that `--only` names.
    pub fn is_selected_by(self, name: &str) -> bool {
        self.name() == name || self.info().group.name() == name
    }
}

/// Whether `--only` can name it.
pub fn is_selectable(name: &str) -> bool {
    Id::ALL.iter().any(|id| id.is_selected_by(name))
}

/// `--list`: a line for each check.
pub fn list() -> String {
    let width = Id::ALL.iter().map(|id| id.name().len()).max().unwrap_or(0);
    let mut text = String::new();
    for group in Group::ALL {
        let _ = writeln!(text, "{}", group.name());
        for info in CATALOG.iter().filter(|info| info.group == *group) {
            let _ = writeln!(text, "  {:width$}  {}", info.id.name(), first_sentence(info.checks));
        }
    }
    text
}

fn first_sentence(text: &str) -> &str {
    text.split_once(". ").map_or(text, |(first, _)| first).trim_end_matches('.')
}

/// `--explain ID`.
pub fn explain(id: Id) -> String {
    let info = id.info();
    format!(
        "{} (group {})\n\nWhat is checked: {}\nIf it does not pass: {}\nRemedy: {}\n",
        info.id, info.group, info.checks, info.means, info.remedy
    )
}

/// docs/doctor.md.
pub fn markdown() -> String {
    let mut text = "<!-- Written by `cargo xtask generate` from src/doctor/catalog.rs. -->\n\
        # What the doctor checks\n\n\
        `krundl doctor` prints this for people, `--json` for programs ([the schema](doctor.schema.json)). A check has a \
        status: *pass*; *warn*, it may be in the way; *fail*, it is in the way; *skip*, it was not checked; *crash*, what \
        was looked at took its process along. How each thing is known stands in its evidence. `--list` shows the checks, \
        `--explain ID` the text below, `--only ID` or `--only GROUP` makes the report and the exit status those checks' \
        alone.\n\n\
        The exit status is 0 when nothing fails, 1 when something does (with `--strict`: or warns), 2 when used wrongly. \
        The commands that a remedy gives are those of the distribution at hand. `--redact` takes the user's name, home \
        and host out of the report, for pasting it in public.\n\n\
        For reports of the form name, status, detail, fix: the name is the id, the detail the summary, the fix the fix; a \
        crash is a failure, and what was skipped is a warning.\n"
        .to_owned();
    for group in Group::ALL {
        let _ = write!(text, "\n## {} (`{}`)\n\n", group.title(), group.name());
        text.push_str("| Check | What is checked | If it does not pass | Remedy |\n| --- | --- | --- | --- |\n");
        for info in CATALOG.iter().filter(|info| info.group == *group) {
            let _ = writeln!(text, "| `{}` | {} | {} | {} |", info.id, info.checks, info.means, info.remedy);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_stands_in_the_order_of_the_names_and_groups() {
        for (id, info) in Id::ALL.iter().zip(CATALOG) {
            assert_eq!(*id, info.id);
        }
        assert!(CATALOG.is_sorted_by_key(|info| info.group));
    }

    #[test]
    fn a_check_is_selected_by_its_name_and_its_group() {
        assert!(Id::Kvm.is_selected_by("kvm") && Id::Kvm.is_selected_by("host"));
        assert!(!Id::KvmGuests.is_selected_by("kvm"), "a name is not a prefix");
        assert!(!is_selectable("nothing"));
    }
}
