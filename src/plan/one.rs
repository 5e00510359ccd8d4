//! Negotiation with API generation one: contexts and setters, libkrun 0.1 to 1.19.

use super::call::{CHANNEL_NAME, CHANNEL_PORT, Call, Channel, Content, Fd, Guest, GuestMount, Shared};
use super::{Plan, devices};
use crate::capabilities::Capabilities;
use crate::error::{Problem, ProblemKind};
use crate::spec::{Findings, Kernel, KernelFormat, LogLevel, MountPoint, Semantics, VmSpec};
use crate::symbols::Function;

/// The tag that makes a share the root (`KRUN_FS_ROOT_TAG`).
const ROOT_TAG: &str = "/dev/root";
/// The tag of the share that brings krundl's program in before 1.19.0.
const BOOTSTRAP_TAG: &str = "krundl";
/// What `krun_set_root` takes for its DAX window, in MiB; it cannot be told otherwise.
const SET_ROOT_DAX_MIB: u32 = 512;
/// `TSI_HIJACK_INET`: the guest's IPv4 and IPv6 sockets are the host's, as they are without an explicit device.
const TSI_INET: u32 = 1;
/// init.krun reads its configuration from here: a path in the guest's own devtmpfs that no image can fill, because
/// the file's default place lies in the root and would let an image steer the boot.
const NO_INIT_CONFIG: &str = "KRUN_CONFIG=/dev/krundl-no-config";
/// init.krun uses it for the shell command below.
const BOOTSTRAP_PATH: &str = "PATH=/bin:/sbin:/usr/bin:/usr/sbin";
/// Brings krundl's program in where there are no overlays. init.krun has a tmpfs on /dev/shm, also over a read-only
/// root; the program takes the share off it again before it does anything else.
const BOOTSTRAP_COMMAND: &str =
    "mount -t virtiofs krundl /dev/shm && exec /dev/shm/guest /dev/shm/orders --detach=/dev/shm";
/// Where the program and its orders are laid over the root.
const OVERLAY_DIR: &str = ".krundl";

pub(super) fn negotiate(spec: &VmSpec, findings: &Findings, capabilities: &Capabilities) -> Result<Plan, Vec<Problem>> {
    let mut negotiation =
        Negotiation { spec, findings, capabilities, calls: Vec::new(), problems: Vec::new(), notes: Vec::new() };
    let guest = negotiation.run();
    let Negotiation { calls, problems, notes, .. } = negotiation;
    if !problems.is_empty() {
        return Err(problems);
    }
    let observation = &capabilities.observation;
    let wants_firmware = spec.kernel.is_none() || observation.firmware.linked;
    Ok(Plan {
        library: observation.real_path.clone(),
        identity: observation.identity.clone(),
        firmware: observation.firmware.path.clone().filter(|_| wants_firmware && observation.firmware.preload),
        generation: capabilities.generation,
        calls,
        guest,
        notes,
    })
}

struct Negotiation<'a> {
    spec: &'a VmSpec,
    findings: &'a Findings,
    capabilities: &'a Capabilities,
    calls: Vec<Call>,
    problems: Vec<Problem>,
    notes: Vec<String>,
}

impl Negotiation<'_> {
    fn has(&self, function: Function) -> bool {
        self.capabilities.has(function)
    }

    /// Notes a refusal for want of a function.
    fn refuse(&mut self, field: impl Into<String>, reason: &str, function: Function) {
        let reason = format!("{reason}; this is {}", self.capabilities.describe());
        let fix = format!("install libkrun {} or later{}", function.since(), built_with(function));
        self.problems.push(Problem::new(ProblemKind::Unsupported, field, reason).needs(function).fix(fix));
    }

    fn run(&mut self) -> Guest {
        self.log();
        self.calls.push(Call::CreateCtx {});
        let vcpus = u8::try_from(self.spec.vcpus).unwrap_or(u8::MAX);
        self.calls.push(Call::SetVmConfig { vcpus, ram_mib: self.spec.memory_mib });
        self.memory();
        self.console();
        let overlay = self.has(Function::krun_fs_add_overlay_dir) && self.has(Function::krun_fs_add_overlay_file);
        let bootstrap = !overlay;
        let vsock = self.vsock();
        let channel = self.channel(1 + usize::from(bootstrap) + self.spec.mounts.len());
        self.kernel();
        self.root();
        self.mounts();
        self.device_count(bootstrap, vsock, channel);
        if bootstrap {
            self.bootstrap_by_share()
        } else {
            self.bootstrap_by_overlay()
        }
        self.calls.push(Call::StartEnter {});
        self.guest(channel)
    }

    /// Exactly one of the two log functions: the second call of either aborts the process.
    fn log(&mut self) {
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

    /// libkrun aborts when its own kernel does not fit.
    fn memory(&mut self) {
        let kernel = &self.capabilities.observation.firmware.kernel;
        let (None, Some(kernel)) = (&self.spec.kernel, kernel) else { return };
        let needed = (kernel.load_address + kernel.size).div_ceil(1 << 20);
        if u64::from(self.spec.memory_mib) < needed {
            let reason =
                format!("libkrunfw's kernel alone takes {needed} MiB, and the guest has {}", self.spec.memory_mib);
            let fix = format!("give it {needed} MiB and what the workload takes");
            self.problems.push(Problem::new(ProblemKind::Host, "memory_mib", reason).fix(fix));
        }
    }

    /// The standard streams, explicitly where that can be said; before 1.16.0 libkrun takes descriptors 0, 1 and 2.
    fn console(&mut self) {
        if self.has(Function::krun_disable_implicit_console) && self.has(Function::krun_add_virtio_console_default) {
            self.calls.push(Call::DisableImplicitConsole {});
            self.calls.push(Call::AddVirtioConsoleDefault { input: Fd::Stdin, output: Fd::Stdout, error: Fd::Stderr });
        }
    }

    /// Returns whether there is a vsock device.
    fn vsock(&mut self) -> bool {
        let explicit = self.has(Function::krun_disable_implicit_vsock) && self.has(Function::krun_add_vsock);
        match (&self.spec.kernel, explicit) {
            (None, true) => {
                self.calls.push(Call::DisableImplicitVsock {});
                self.calls.push(Call::AddVsock { tsi_features: TSI_INET });
                true
            }
            // The implicit device, which is the same.
            (None, false) => true,
            (Some(_), _) if self.has(Function::krun_disable_implicit_vsock) => {
                self.calls.push(Call::DisableImplicitVsock {});
                false
            }
            (Some(_), _) => {
                self.refuse(
                    "kernel",
                    "the implicit vsock device puts the word tsi_hijack on the kernel's command line, which a kernel other than libkrunfw's hands to init as an argument, and it cannot be left out",
                    Function::krun_disable_implicit_vsock,
                );
                true
            }
        }
    }

    /// How the guest's first word gets out: over vsock, which libkrunfw's kernel has and which costs no device of
    /// its own; from other kernels over a console port, unless its interrupt line is needed for one of the `shares`.
    fn channel(&mut self, shares: usize) -> Channel {
        if self.spec.kernel.is_none() {
            if self.has(Function::krun_add_vsock_port) {
                self.calls.push(Call::AddVsockPort { port: CHANNEL_PORT, socket: Fd::Channel });
                return Channel::Vsock { port: CHANNEL_PORT };
            }
        } else if devices::shares(&self.capabilities.observation.architecture, 1) < shares {
            self.notes.push(
                "whether the guest is up cannot be told: the mounts leave no device for its first word".to_owned(),
            );
            return Channel::None;
        } else if self.has(Function::krun_add_virtio_console_multiport)
            && self.has(Function::krun_add_console_port_inout)
        {
            self.calls.push(Call::AddVirtioConsoleMultiport {});
            // Without an input: one that comes to its end would make libkrun close the port for the guest.
            let name = CHANNEL_NAME.to_owned();
            self.calls.push(Call::AddConsolePortInout { name, input: None, output: Some(Fd::Channel) });
            return Channel::Port;
        }
        self.notes
            .push("whether the guest is up cannot be told: this libkrun has no way for its first word".to_owned());
        Channel::None
    }

    fn kernel(&mut self) {
        let Some(kernel) = &self.spec.kernel else { return };
        if !self.has(Function::krun_set_kernel) {
            self.refuse("kernel", "a kernel of your own cannot be given", Function::krun_set_kernel);
        } else if self.capabilities.is_tee() {
            let reason = format!(
                "a build for confidential guests takes no kernel of your own; this is {}",
                self.capabilities.describe()
            );
            self.problems.push(Problem::new(ProblemKind::Unsupported, "kernel", reason));
        } else if let Some(finding) = &self.findings.kernel {
            self.calls.push(Call::SetKernel {
                file: finding.file.clone(),
                format: format_number(kernel, finding.format),
                initrd: finding.initrd.clone(),
                cmdline: kernel.cmdline.clone(),
            });
        }
    }

    fn root(&mut self) {
        let root = &self.spec.root;
        let dir = Shared::Host(self.findings.root.clone());
        let wish = Share {
            tag: ROOT_TAG.to_owned(),
            dir: dir.clone(),
            dax_mib: root.dax_mib,
            read_only: root.read_only,
            semantics: None,
        };
        match wish.lowest(self.capabilities) {
            Ok(call) => self.calls.push(call),
            Err(_) if root.dax_mib == SET_ROOT_DAX_MIB && !root.read_only && self.has(Function::krun_set_root) => {
                self.calls.push(Call::SetRoot { dir });
            }
            Err(function) => {
                let (field, reason) = if root.read_only {
                    (
                        "root.read_only",
                        "a root that the guest cannot write to must be enforced on the host's side, which it cannot do",
                    )
                } else if root.dax_mib != 0 {
                    ("root.dax_mib", "the size of the root's DAX window cannot be chosen")
                } else {
                    ("root.dir", "the root cannot be shared without a DAX window")
                };
                self.refuse(field, reason, function);
            }
        }
    }

    fn mounts(&mut self) {
        let spec = self.spec;
        for (n, (mount, tag)) in spec.mounts.iter().zip(spec.tags()).enumerate() {
            let host = self.findings.mounts.get(n).map(|finding| finding.host.clone()).unwrap_or_default();
            let wish = Share {
                tag,
                dir: Shared::Host(host),
                dax_mib: mount.dax_mib,
                read_only: mount.read_only,
                semantics: mount.semantics,
            };
            match wish.lowest(self.capabilities) {
                Ok(call) => self.calls.push(call),
                Err(function) => {
                    let (field, reason) = if mount.semantics.is_some() && function == Function::krun_add_virtiofs4 {
                        ("semantics", "ownership semantics cannot be chosen")
                    } else if mount.read_only {
                        (
                            "read_only",
                            "a share that the guest cannot write to must be enforced on the host's side, which it cannot do",
                        )
                    } else if mount.dax_mib != 0 {
                        ("dax_mib", "the size of a DAX window cannot be chosen")
                    } else {
                        ("host", "directories cannot be shared")
                    };
                    self.refuse(format!("mounts[{n}].{field}"), reason, function);
                }
            }
        }
    }

    /// Too many devices are a bare EINVAL from krun_start_enter.
    fn device_count(&mut self, bootstrap: bool, vsock: bool, channel: Channel) {
        let architecture = &self.capabilities.observation.architecture;
        let others = usize::from(vsock) + usize::from(channel == Channel::Port);
        let fit = devices::shares(architecture, others);
        let own = 1 + usize::from(bootstrap);
        for n in (0..self.spec.mounts.len()).skip(fit - own) {
            let because = if bootstrap {
                " (one more is taken to bring krundl's program in, which libkrun 1.19.0 does without)"
            } else {
                ""
            };
            let reason = format!(
                "only {} mounts fit beside the root: each share takes one of {architecture}'s interrupt lines{because}",
                fit - own
            );
            self.problems.push(Problem::new(ProblemKind::Unsupported, format!("mounts[{n}]"), reason));
        }
    }

    /// From 1.19.0 on: krundl's program and its orders are files that only this guest sees, and mount points whose
    /// first component is missing are directories of the same kind, so that nothing of them stays on the host.
    fn bootstrap_by_overlay(&mut self) {
        let mut dirs: Vec<String> = vec![OVERLAY_DIR.to_owned()];
        for (mount, finding) in self.spec.mounts.iter().zip(&self.findings.mounts) {
            if finding.point != MountPoint::MissingTop || finding.within.is_some() {
                continue;
            }
            let mut path = String::new();
            for component in mount.guest.split('/').filter(|c| !c.is_empty()) {
                path = if path.is_empty() { component.to_owned() } else { format!("{path}/{component}") };
                if !dirs.contains(&path) {
                    dirs.push(path.clone());
                }
            }
        }
        for path in dirs {
            self.calls.push(Call::FsAddOverlayDir { fs_tag: ROOT_TAG.to_owned(), path, mode: 0o040_755 });
        }
        for (name, content, mode) in
            [("guest", Content::GuestProgram, 0o100_755), ("orders", Content::Orders, 0o100_400)]
        {
            self.calls.push(Call::FsAddOverlayFile {
                fs_tag: ROOT_TAG.to_owned(),
                path: format!("{OVERLAY_DIR}/{name}"),
                content,
                mode,
                // The orders hold the workload's environment: once krundl's program has them, they are gone.
                one_shot: content == Content::Orders,
            });
        }
        self.calls.push(Call::SetExec {
            path: format!("/{OVERLAY_DIR}/guest"),
            args: vec![format!("/{OVERLAY_DIR}/orders")],
            env: vec![NO_INIT_CONFIG.to_owned()],
        });
    }

    /// Before 1.19.0: on a small share of its own, which a shell in the root mounts.
    fn bootstrap_by_share(&mut self) {
        if let Some(missing) = &self.findings.no_shell_mount {
            let reason = format!(
                "krundl's program gets into the guest by a mount command of the root's own shell, and {missing}"
            );
            self.refuse("root.dir", &reason, Function::krun_fs_add_overlay_file);
        }
        let share = Share {
            tag: BOOTSTRAP_TAG.to_owned(),
            dir: Shared::Bootstrap { bootstrap: true },
            dax_mib: 0,
            read_only: self.has(Function::krun_add_virtiofs3),
            semantics: None,
        };
        match share.lowest(self.capabilities) {
            Ok(call) => self.calls.push(call),
            // Said by the root already, unless that went by krun_set_root.
            Err(function) if self.problems.is_empty() => {
                self.refuse("exec", "krundl's program cannot get into the guest", function)
            }
            Err(_) => {}
        }
        self.calls.push(Call::SetExec {
            path: "/bin/sh".to_owned(),
            args: vec!["-c".to_owned(), BOOTSTRAP_COMMAND.to_owned()],
            env: vec![NO_INIT_CONFIG.to_owned(), BOOTSTRAP_PATH.to_owned()],
        });
    }

    fn guest(&mut self, channel: Channel) -> Guest {
        let spec = self.spec;
        let exec = &spec.exec;
        let mut mounts: Vec<GuestMount> = Vec::new();
        for (n, (mount, tag)) in spec.mounts.iter().zip(spec.tags()).enumerate() {
            let create = self.mount_point(n);
            mounts.push(GuestMount { tag, path: mount.guest.clone(), create, read_only: mount.read_only });
        }
        // Parents first; a stable sort keeps the spec's order otherwise.
        mounts.sort_by_key(|mount| mount.path.matches('/').count());
        Guest {
            channel,
            reopen_stdio: spec.kernel.is_some(),
            mounts,
            exec: exec.path.clone(),
            args: exec.args.clone(),
            env: exec
                .full_env()
                .into_iter()
                .map(|(name, value)| {
                    let mut entry = format!("{name}=").into_bytes();
                    entry.extend_from_slice(value.as_bytes());
                    entry.into()
                })
                .collect(),
            workdir: exec.workdir.clone(),
        }
    }

    /// Whether the guest's program has to make the mount point of mount `n`; refuses where nobody can.
    fn mount_point(&mut self, n: usize) -> bool {
        let Some(finding) = self.findings.mounts.get(n) else { return false };
        let spec = self.spec;
        let guest = &spec.mounts[n].guest;
        let overlay = self.has(Function::krun_fs_add_overlay_dir) && self.has(Function::krun_fs_add_overlay_file);
        let (read_only, owner) = match finding.within {
            Some(m) => (spec.mounts[m].read_only, format!("mounts[{m}] ({})", spec.mounts[m].host.display())),
            None => (spec.root.read_only, format!("the root ({})", spec.root.dir.display())),
        };
        match finding.point {
            MountPoint::Exists => false,
            MountPoint::Device => true,
            MountPoint::MissingTop if overlay && finding.within.is_none() => false,
            MountPoint::MissingTop | MountPoint::MissingBelow if read_only => {
                let reason = format!("{guest} does not exist in {owner}, which is read-only, so nobody can make it");
                let field = format!("mounts[{n}].guest");
                let fix = "make the directory there first, or choose one that exists";
                let mut problem = Problem::new(ProblemKind::Host, field, reason).fix(fix);
                if finding.point == MountPoint::MissingTop && finding.within.is_none() {
                    problem = problem.needs(Function::krun_fs_add_overlay_dir);
                }
                self.problems.push(problem);
                false
            }
            MountPoint::MissingTop | MountPoint::MissingBelow => {
                self.notes.push(format!("{guest} does not exist in {owner}; the guest makes it, and it stays there"));
                true
            }
        }
    }
}

/// A share as it is wished for.
struct Share {
    tag: String,
    dir: Shared,
    dax_mib: u32,
    read_only: bool,
    semantics: Option<Semantics>,
}

impl Share {
    /// The call of the lowest virtio-fs function that carries what is wished for.
    ///
    /// # Errors
    /// The lowest function that would.
    fn lowest(self, capabilities: &Capabilities) -> Result<Call, Function> {
        use Function as F;
        let plain = self.dax_mib == 0 && !self.read_only && self.semantics.is_none();
        let steps = [
            (F::krun_add_virtiofs, plain),
            (F::krun_add_virtiofs2, !self.read_only && self.semantics.is_none()),
            (F::krun_add_virtiofs3, self.semantics.is_none()),
            (F::krun_add_virtiofs4, true),
        ];
        let mut carriers = steps.iter().filter(|(_, carries)| *carries).map(|(function, _)| *function);
        let lowest = carriers.clone().next().expect("the last step carries everything");
        let function = carriers.find(|function| capabilities.has(*function)).ok_or(lowest)?;
        let Share { tag, dir, dax_mib, read_only, semantics } = self;
        let shm_size = u64::from(dax_mib) << 20;
        Ok(match function {
            F::krun_add_virtiofs => Call::AddVirtiofs { tag, dir },
            F::krun_add_virtiofs2 => Call::AddVirtiofs2 { tag, dir, shm_size },
            F::krun_add_virtiofs3 => Call::AddVirtiofs3 { tag, dir, shm_size, read_only },
            _ => {
                let semantics = u32::from(semantics == Some(Semantics::Simplified));
                Call::AddVirtiofs4 { tag, dir, shm_size, read_only, semantics }
            }
        })
    }
}

fn built_with(function: Function) -> String {
    match function.symbol().built_with {
        // Every ordinary build is one.
        None => String::new(),
        Some(what) if what.starts_with("not ") => String::new(),
        Some(what) => format!(", built with {what}"),
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
