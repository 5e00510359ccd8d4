//! Does this host take the spec as it stands? All problems at once, each with its field.
//!
//! What is checked is opened first and kept open, and the very thing that was opened is what libkrun is given
//! (as `/proc/self/fd/N/.`), so that a name that changes in between changes nothing.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{Access, AtFlags, FileType};
use serde::{Deserialize, Serialize};

use super::kernel;
use super::model::{Kernel, KernelFormat, Mount, VmSpec};
use super::mountpoint::{self, MountPoint};
use super::text::Text;
use crate::error::{Problem, ProblemKind};

/// The longest tag that libkrun takes, in bytes; one more aborts it.
const MAX_TAG: usize = 36;
/// The longest single argument or variable that Linux's exec takes, in bytes.
const MAX_STRING: usize = 128 * 1024 - 1;
/// The most that arguments and environment may take together, in bytes: a quarter of the usual 8 MiB stack, with
/// room for the pointers.
const MAX_STRINGS: usize = 1536 * 1024;
/// The most of a kernel command line that a stock x86-64 kernel reads, in bytes.
const MAX_CMDLINE: usize = 2047;
/// DAX windows come in these, in MiB: the guest's driver refuses others.
const DAX_UNIT_MIB: u32 = 2;
/// The largest DAX window, in MiB: it takes guest-physical address space, of which there is little more.
const MAX_DAX_MIB: u32 = 256 * 1024;
/// krundl's own directory in the guest.
const RESERVED_GUEST: &str = "/.krundl";
/// Tags that libkrun or krundl use themselves.
const RESERVED_TAGS: &[&str] = &["/dev/root", "krundl"];

/// A thing of the host as libkrun gets it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPath {
    /// Its canonical path, for people, and for libkrun where there is no descriptor.
    pub path: Text,
    /// Which of the descriptors kept open ([`Checked::held`]) it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub held: Option<u32>,
}

/// What was found out about a mount.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountFinding {
    /// The host's directory.
    pub host: HostPath,
    /// What there is at its path in the guest.
    pub point: MountPoint,
    /// The mount, by index, in which that path lies; `None`: in the root.
    pub within: Option<usize>,
}

/// What was found out about the kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelFinding {
    /// The file.
    pub file: HostPath,
    /// Its format; never `Auto`.
    pub format: KernelFormat,
    /// The initial RAM disk.
    pub initrd: Option<HostPath>,
}

/// What the host says about a spec: plain data, so that the negotiation needs no host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Findings {
    /// The root directory.
    pub root: HostPath,
    /// Why a `/bin/sh` command in the root could not mount a share; `None` when it could. Before libkrun 1.19.0
    /// that is how krundl's guest program gets in.
    pub no_shell_mount: Option<String>,
    /// The mounts, in the spec's order.
    pub mounts: Vec<MountFinding>,
    /// The kernel, where the spec has one.
    pub kernel: Option<KernelFinding>,
}

/// A spec, what the host says about it, and the things that were opened for it.
#[derive(Debug)]
pub struct Checked {
    /// What the host says.
    pub findings: Findings,
    /// What was opened; [`HostPath::held`] counts into it. Closed when dropped.
    pub held: Vec<OwnedFd>,
    /// Everything that stands in the way; the findings of a field with a problem are placeholders.
    pub problems: Vec<Problem>,
}

/// Checks a spec against this host and keeps open what it checked.
pub fn check(spec: &VmSpec) -> Checked {
    let mut checker = Checker { held: Vec::new(), problems: Vec::new() };
    let findings = checker.run(spec);
    Checked { findings, held: checker.held, problems: checker.problems }
}

struct Checker {
    held: Vec<OwnedFd>,
    problems: Vec<Problem>,
}

impl Checker {
    fn invalid(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.problems.push(Problem::new(ProblemKind::Invalid, field, reason));
    }

    fn host(&mut self, field: impl Into<String>, reason: impl Into<String>) {
        self.problems.push(Problem::new(ProblemKind::Host, field, reason));
    }

    fn run(&mut self, spec: &VmSpec) -> Findings {
        self.machine(spec);
        let (root, root_dir) = self.directory("root.dir", &spec.root.dir);
        self.dax("root.dax_mib", spec.root.dax_mib);
        let mut no_shell_mount = None;
        if let Some(dir) = &root_dir {
            self.guest_directories(spec, dir);
            no_shell_mount = shell_mount(dir.as_fd()).err();
        }
        let kernel = spec.kernel.as_ref().and_then(|kernel| self.kernel(kernel, spec.memory_mib));
        self.exec(spec);
        let mounts = self.mounts(&spec.mounts, root_dir.as_ref());
        Findings { root, no_shell_mount, mounts, kernel }
    }

    fn machine(&mut self, spec: &VmSpec) {
        if !(1..=255).contains(&spec.vcpus) {
            self.invalid("vcpus", format!("must be 1 to 255, not {}", spec.vcpus));
        } else if let Some(max) = crate::host::max_vcpus().filter(|max| spec.vcpus > *max) {
            self.host("vcpus", format!("this host's KVM gives a VM at most {max} vCPUs, not {}", spec.vcpus));
        }
        if spec.memory_mib == 0 {
            self.invalid("memory_mib", "must be at least 1");
        }
    }

    /// Opens a directory for reading; what is read later is this very directory.
    fn directory(&mut self, field: &str, path: &Path) -> (HostPath, Option<File>) {
        let opened =
            refuse_nul(path).and_then(|()| File::options().read(true).custom_flags(libc::O_DIRECTORY).open(path));
        match opened {
            Ok(dir) => match usable_directory(dir.as_fd()) {
                Ok(()) => {
                    let copy = dir.try_clone().ok();
                    (self.hold(dir, path), copy)
                }
                Err(error) => {
                    self.host(field, format!("{} cannot be used: {error}", path.display()));
                    (HostPath::default(), None)
                }
            },
            Err(error) => {
                let reason = match error.raw_os_error() {
                    Some(libc::ENOENT) if path.as_os_str().is_empty() => "is empty".to_owned(),
                    Some(libc::ENOENT) => format!("{} does not exist", path.display()),
                    Some(libc::ENOTDIR) => format!("{} is not a directory", path.display()),
                    _ => format!("{} cannot be opened: {}", path.display(), plain(&error)),
                };
                self.host(field, reason);
                (HostPath::default(), None)
            }
        }
    }

    fn hold(&mut self, file: File, path: &Path) -> HostPath {
        // The name of what was opened, not the name that was asked for.
        let by_fd = format!("/proc/self/fd/{}", file.as_raw_fd());
        let named = std::fs::read_link(&by_fd);
        let held = named.is_ok() && std::fs::metadata(&by_fd).is_ok();
        let path = named.or_else(|_| path.canonicalize()).unwrap_or_else(|_| path.to_owned());
        if !held {
            // Without /proc there is only the name; the window between check and use is then open.
            return HostPath { path: path.into(), held: None };
        }
        let slot = u32::try_from(self.held.len()).expect("a spec has fewer than 2^32 paths");
        self.held.push(file.into());
        HostPath { path: path.into(), held: Some(slot) }
    }

    /// libkrun's init makes /dev, /proc and /sys where it can; where it cannot, the guest ends at once and silently.
    fn guest_directories(&mut self, spec: &VmSpec, dir: &File) {
        let missing: Vec<&str> = ["dev", "proc", "sys"]
            .into_iter()
            .filter(|name| mountpoint::lookup(dir.as_fd(), name) != Ok(FileType::Directory))
            .collect();
        if missing.is_empty() {
            return;
        }
        let names = missing.iter().map(|name| format!("/{name}")).collect::<Vec<_>>().join(", ");
        let make = format!("cd {} && mkdir {}", shell_quote(&spec.root.dir), missing.join(" "));
        let problem = if spec.root.read_only {
            Problem::new(
                ProblemKind::Host,
                "root.read_only",
                format!("a read-only root must have {names}: the guest's init cannot make them"),
            )
        } else if rustix::fs::accessat(dir, ".", Access::WRITE_OK, AtFlags::EACCESS).is_err() {
            Problem::new(
                ProblemKind::Host,
                "root.dir",
                format!("the root lacks {names} and cannot be written to by this user"),
            )
        } else {
            return;
        };
        self.problems.push(problem.fix(make));
    }

    fn dax(&mut self, field: &str, mib: u32) {
        if !mib.is_multiple_of(DAX_UNIT_MIB) {
            self.invalid(
                field,
                format!("must be a multiple of {DAX_UNIT_MIB} MiB, not {mib}: the guest's driver takes no other"),
            );
        } else if mib > MAX_DAX_MIB {
            self.invalid(field, format!("must be at most {MAX_DAX_MIB} MiB, not {mib}"));
        }
    }

    fn kernel(&mut self, kernel: &Kernel, memory_mib: u32) -> Option<KernelFinding> {
        if let Some(cmdline) = &kernel.cmdline {
            self.cmdline(cmdline);
        }
        let initrd = kernel.initrd.as_ref().and_then(|path| Some((self.file("kernel.initrd", path)?, path)));
        let initrd = initrd.map(|(file, path)| self.hold(file, path));
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

    fn cmdline(&mut self, cmdline: &str) {
        const FIELD: &str = "kernel.cmdline";
        if !cmdline.bytes().all(|b| (0x20..0x7f).contains(&b)) {
            self.invalid(FIELD, "must be printable ASCII: libkrun aborts at anything else");
        } else if cmdline.len() > MAX_CMDLINE {
            self.invalid(FIELD, format!("must be at most {MAX_CMDLINE} bytes: a kernel cuts off the rest"));
        } else if !cmdline.split(' ').any(|word| word == "init=/init.krun") {
            self.problems.push(
                Problem::new(ProblemKind::NotOffered, FIELD, "replaces libkrun's own command line, and without init=/init.krun the workload would never run; an init of your own is not offered yet")
                    .fix("add init=/init.krun rootfstype=virtiofs rw, or leave the command line out"),
            );
        }
    }

    fn file(&mut self, field: &str, path: &Path) -> Option<File> {
        // Non-blocking, so that a FIFO is seen instead of waited for.
        let opened =
            refuse_nul(path).and_then(|()| File::options().read(true).custom_flags(libc::O_NONBLOCK).open(path));
        match opened.and_then(|file| Ok((file.metadata()?.is_file(), file))) {
            Ok((true, file)) => Some(file),
            Ok((false, _)) => {
                self.host(field, format!("{} is not a regular file", path.display()));
                None
            }
            Err(error) => {
                self.host(field, format!("{} cannot be read: {}", path.display(), plain(&error)));
                None
            }
        }
    }

    fn exec(&mut self, spec: &VmSpec) {
        let exec = &spec.exec;
        if exec.path.is_empty() {
            self.invalid("exec.path", "is empty");
        }
        let mut total = 0;
        let mut string = |checker: &mut Checker, field: String, text: &Text, extra: usize| {
            let len = text.as_bytes().len() + extra;
            total += len + 1;
            if text.has_nul() {
                checker.invalid(field, "holds a NUL, which no program can be given");
            } else if len > MAX_STRING {
                checker.invalid(field, format!("is {len} bytes long; Linux takes at most {MAX_STRING} in one piece"));
            }
        };
        string(self, "exec.path".to_owned(), &exec.path, 0);
        for (n, arg) in exec.args.iter().enumerate() {
            string(self, format!("exec.args[{n}]"), arg, 0);
        }
        for (name, value) in &exec.env {
            string(self, format!("exec.env.{name}"), value, name.len() + 1);
            if name.is_empty() || name.contains(['=', '\0']) {
                self.invalid(format!("exec.env.{name}"), "is no name of a variable: it is empty or holds = or NUL");
            }
        }
        if total > MAX_STRINGS {
            self.invalid(
                "exec.args",
                format!("arguments and environment take {total} bytes; at most {MAX_STRINGS} fit"),
            );
        }
        if !exec.workdir.as_bytes().starts_with(b"/") || exec.workdir.has_nul() {
            self.invalid("exec.workdir", "must be an absolute path");
        }
    }

    fn mounts(&mut self, mounts: &[Mount], root: Option<&File>) -> Vec<MountFinding> {
        self.unique(mounts);
        let opened: Vec<(HostPath, Option<File>)> = mounts
            .iter()
            .enumerate()
            .map(|(n, mount)| {
                self.dax(&format!("mounts[{n}].dax_mib"), mount.dax_mib);
                self.directory(&format!("mounts[{n}].host"), &mount.host)
            })
            .collect();
        let mut findings = Vec::new();
        for (n, mount) in mounts.iter().enumerate() {
            let field = format!("mounts[{n}].guest");
            let within = enclosing(mounts, n);
            let base = within.map_or(root, |m| opened[m].1.as_ref());
            let point = match guest_path(&mount.guest) {
                Err(reason) => {
                    self.invalid(&*field, reason);
                    MountPoint::Exists
                }
                Ok(()) if mount.guest.starts_with("/dev/") => MountPoint::Device,
                Ok(()) => base.map_or(MountPoint::Exists, |base| {
                    let relative = within.map_or(&*mount.guest, |m| &mount.guest[mounts[m].guest.len()..]);
                    mountpoint::find(base.as_fd(), relative).unwrap_or_else(|reason| {
                        self.host(&*field, reason);
                        MountPoint::Exists
                    })
                }),
            };
            findings.push(MountFinding { host: opened[n].0.clone(), point, within });
        }
        findings
    }

    fn unique(&mut self, mounts: &[Mount]) {
        let mut tags = BTreeMap::new();
        let mut guests = BTreeMap::new();
        for (n, mount) in mounts.iter().enumerate() {
            if let Some(tag) = &mount.tag {
                let field = format!("mounts[{n}].tag");
                if tag.is_empty() || tag.contains('\0') {
                    self.invalid(field, "is empty or holds a NUL");
                } else if tag.len() > MAX_TAG {
                    self.invalid(field, format!("is {} bytes long; libkrun aborts at more than {MAX_TAG}", tag.len()));
                } else if RESERVED_TAGS.contains(&tag.as_str()) {
                    self.invalid(field, format!("{tag:?} is used by libkrun or krundl itself"));
                } else if let Some(other) = tags.insert(tag, n) {
                    self.invalid(field, format!("{tag:?} is also the tag of mounts[{other}]"));
                }
            }
            if let Some(other) = guests.insert(&mount.guest, n) {
                self.invalid(
                    format!("mounts[{n}].guest"),
                    format!("{} is also where mounts[{other}] goes", mount.guest),
                );
            }
        }
    }
}

/// The mount, by index, whose path in the guest is the longest proper prefix of that of mount `n`.
fn enclosing(mounts: &[Mount], n: usize) -> Option<usize> {
    let path = Path::new(&mounts[n].guest);
    (0..mounts.len())
        .filter(|m| *m != n && mounts[*m].guest != mounts[n].guest && path.starts_with(&mounts[*m].guest))
        .filter(|m| guest_path(&mounts[*m].guest).is_ok())
        .max_by_key(|m| mounts[*m].guest.len())
}

fn guest_path(path: &str) -> Result<(), String> {
    let components = || path.split('/').skip(1);
    if !path.starts_with('/') {
        Err(format!("must be an absolute path, not {path:?}"))
    } else if path == "/" {
        Err("must not be /: that is the root's place".to_owned())
    } else if path.contains('\0') {
        Err("holds a NUL".to_owned())
    } else if components().any(|c| matches!(c, "" | "." | "..")) {
        Err(format!("must be written plainly, without //, /./, /../ or a slash at its end: {path:?}"))
    } else if path.len() > 4000 {
        Err("is longer than 4000 bytes".to_owned())
    } else if matches!(components().next(), Some("proc" | "sys")) || path == "/dev" {
        Err(format!("{path} belongs to the guest's kernel"))
    } else if Path::new(path).starts_with(RESERVED_GUEST) {
        Err(format!("{RESERVED_GUEST} is krundl's own"))
    } else {
        Ok(())
    }
}

/// Can `/bin/sh -c "mount ..."` work in this root? The error says what is missing.
fn shell_mount(root: BorrowedFd<'_>) -> Result<(), String> {
    let is_file = |path: &&str| mountpoint::lookup(root, path) == Ok(FileType::RegularFile);
    if !is_file(&"bin/sh") {
        return Err("the root has no /bin/sh".to_owned());
    }
    if !["bin/mount", "sbin/mount", "usr/bin/mount", "usr/sbin/mount"].iter().any(is_file) {
        return Err("the root has no mount program in /bin, /sbin, /usr/bin or /usr/sbin".to_owned());
    }
    Ok(())
}

/// The guest needs to list it and to go through it.
fn usable_directory(dir: BorrowedFd<'_>) -> io::Result<()> {
    rustix::fs::accessat(dir, ".", Access::READ_OK | Access::EXEC_OK, AtFlags::EACCESS).map_err(io::Error::from)
}

fn refuse_nul(path: &Path) -> io::Result<()> {
    if Text::from(path).has_nul() {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path holds a NUL"));
    }
    Ok(())
}

fn plain(error: &io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), crate::errno::describe)
}

fn shell_quote(path: &Path) -> String {
    let text = path.display().to_string();
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"/._-+".contains(&b)) {
        text
    } else {
        format!("'{}'", text.replace('\'', "'\\''"))
    }
}
