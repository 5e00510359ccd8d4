//! What can be said on the command line.

use std::ffi::{OsStr, OsString};
use std::net::Ipv4Addr;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use krundl::doctor::Purpose;
use krundl::spec::{DEFAULT_GUEST, Disk, DiskFormat, LogLevel, Mount, Protocol};

/// microVMs through libkrun: what the installed one can do, and how to run a command in one.
#[derive(Debug, Parser)]
#[command(name = "krundl", version, max_term_width = 100)]
pub struct Cli {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Show what libkrun and this machine can do, and what is in the way
    ///
    /// libkrun is opened in a child process, so that a broken one cannot take krundl along. Exit status: 0 when
    /// nothing fails, 1 when something does, 2 when used wrongly.
    Doctor(DoctorArgs),
    /// Show what files say about themselves, without running anything of them
    ///
    /// For any architecture, ELF and Mach-O. Exit status: 0, or 1 when a file cannot be read or is no library, 2 when
    /// used wrongly.
    Inspect(InspectArgs),
    /// Kernels for guests
    Kernel {
        #[command(subcommand)]
        command: KernelCommand,
    },
    /// Run a further command in a VM that runs
    ///
    /// The VM must have a control port: krundl run --name or --control, or control in its spec. Standard input, output,
    /// error and the exit status are the command's own, and signals are passed on to it; it is killed when krundl exec is.
    /// krundl's own failures exit with 125, a command that cannot be executed with 126, one that is not found with 127, one
    /// killed by a signal with 128 and the signal's number.
    ///
    /// Example: krundl exec -t web -- sh
    Exec(Box<ExecArgs>),
    /// Show a running guest's figures: uptime, memory, processors' time, load, processes
    ///
    /// Exit status: 0, or 1 when the guest does not answer, 2 when used wrongly.
    Figures(FiguresArgs),
    /// List the VMs of this user that run under a name
    Ps(PsArgs),
    /// Show how a VM would be started, or everything that stands in the way
    ///
    /// Checks the spec against this host and negotiates it with libkrun; nothing is started. Exit status: 0 with the
    /// calls, 1 with the problems, 2 when used wrongly.
    Plan(PlanArgs),
    /// Run a command in a microVM
    ///
    /// Standard input, output, error and the exit status are the command's own. krundl's own failures exit with 125,
    /// a command that cannot be executed with 126, one that is not found with 127, one killed by a signal with 128 and
    /// the signal's number.
    ///
    /// Example: krundl run --mount .:/workspace:ro ./rootfs -- ls -l /workspace
    Run(Box<RunArgs>),
    /// Ask the workload of a VM that runs to end, and wait until its guest is gone
    ///
    /// The workload gets SIGTERM and may take its time. Exit status: 0, or 1 when the guest does not answer or is still there
    /// after --timeout, 2 when used wrongly.
    Stop(StopArgs),
}

#[derive(Debug, Args)]
pub struct ExecArgs {
    /// Give the command a terminal of its own, of the size of ours; its output and errors are one
    #[arg(short = 't', long)]
    pub tty: bool,
    /// A variable of the command's environment, on top of the workload's; K alone takes the caller's value; may be repeated
    #[arg(long = "env", short = 'e', value_name = "K=V")]
    pub env: Vec<OsString>,
    /// Leave out the workload's environment
    #[arg(long)]
    pub clear_env: bool,
    /// The command's working directory in the guest; the workload's where it is left out
    #[arg(long, short = 'w', value_name = "DIR")]
    pub workdir: Option<OsString>,
    /// The user that it runs as, by number; without GID the user's group in the guest's /etc/passwd
    #[arg(long, short = 'u', value_name = "UID[:GID]", value_parser = user)]
    pub user: Option<(u32, Option<u32>)>,
    /// How long a guest that does not answer yet is waited for; 10 for a name, not at all for a socket
    #[arg(long, value_name = "SECONDS")]
    pub wait: Option<f64>,
    /// The VM's name, or the path of its control socket (with a slash)
    #[arg(value_name = "NAME|SOCKET")]
    pub vm: String,
    /// The command and its arguments
    #[arg(last = true, value_name = "CMD", required = true)]
    pub command: Vec<OsString>,
}

#[derive(Debug, Args)]
pub struct FiguresArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// How long a guest that does not answer yet is waited for; 10 for a name, not at all for a socket
    #[arg(long, value_name = "SECONDS")]
    pub wait: Option<f64>,
    /// The VM's name, or the path of its control socket (with a slash)
    #[arg(value_name = "NAME|SOCKET")]
    pub vm: String,
}

#[derive(Debug, Args)]
pub struct StopArgs {
    /// How long the workload may take
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub timeout: u64,
    /// The VM's name, or the path of its control socket (with a slash)
    #[arg(value_name = "NAME|SOCKET")]
    pub vm: String,
}

#[derive(Debug, Args)]
pub struct PsArgs {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct LibraryArgs {
    /// The libkrun to use; without it: KRUNDL_LIBRARY, KRUNDL_LIBRARY_DIR, the system's loader, well-known places, the
    /// one that pip install krundl[bundled] brought
    #[arg(long, value_name = "PATH")]
    pub library: Option<PathBuf>,
}

impl LibraryArgs {
    pub fn probe(&self) -> krundl::ProbeOptions {
        let library = self.library.clone();
        let environment = std::env::current_exe()
            .ok()
            .map(|program| krundl::library::Environment::current().with_bundled_of(&program));
        krundl::ProbeOptions { library, environment, kernel_release: false, ..krundl::ProbeOptions::default() }
    }
}

#[derive(Debug, Args)]
pub struct DoctorArgs {
    #[command(flatten)]
    pub library: LibraryArgs,
    /// Boot a real guest, which reads, writes and is refused; takes seconds, a minute at most
    #[arg(long)]
    pub boot: bool,
    /// Say whether this mount would work here, and how; may be repeated
    #[arg(long = "mount", value_name = "HOST[:GUEST][:ro|:overlay]", value_parser = clap::builder::OsStringValueParser::new())]
    pub mounts: Vec<OsString>,
    /// Say whether this kernel can be started, and has what a guest needs
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,
    /// Say what this release of libkrun would add
    #[arg(long, value_name = "RELEASE")]
    pub compare: Option<String>,
    /// Only this check or group of checks; may be repeated
    #[arg(long, value_name = "ID")]
    pub only: Vec<String>,
    /// Warnings count as failures
    #[arg(long)]
    pub strict: bool,
    /// Print JSON; the same as --format json
    #[arg(long, conflicts_with = "format")]
    pub json: bool,
    /// The form of the report
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: ReportFormat,
    /// Leave out the user's name, home and host, for pasting in public
    #[arg(long)]
    pub redact: bool,
    /// Show every function, every attempt and all evidence
    #[arg(short, long)]
    pub verbose: bool,
    /// List the checks, and do nothing else
    #[arg(long, conflicts_with = "explain")]
    pub list: bool,
    /// Explain a check, and do nothing else
    #[arg(long, value_name = "ID")]
    pub explain: Option<String>,
}

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ReportFormat {
    /// For people
    Text,
    /// Everything, for programs
    Json,
    /// Labels of a Kubernetes node (node-feature-discovery's local file)
    Nfd,
    /// Metrics, for a node exporter's textfile collector
    Openmetrics,
}

#[derive(Debug, Args)]
pub struct InspectArgs {
    /// The files; with --root and without any: those where libkrun is looked for
    #[arg(value_name = "FILE", required_unless_present = "root")]
    pub files: Vec<PathBuf>,
    /// The files' paths are those in this directory, an image's root
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
    /// Show the functions that are there, too
    #[arg(short, long)]
    pub verbose: bool,
}

#[derive(Debug, Subcommand)]
pub enum KernelCommand {
    /// Show whether a kernel, or a configuration before it is built, has what a guest takes
    ///
    /// FILE is a vmlinux, a bzImage, an arm64 Image or a .config. Nothing is run. Exit status: 0, or 1 when something is
    /// missing or cannot be told, 2 when used wrongly.
    Check {
        /// The kernel, or its configuration
        file: PathBuf,
        /// What it is to serve for: mounts, overlay, disk, net, vsock, dax, initrd
        #[arg(
            long = "for",
            value_name = "PURPOSES",
            value_delimiter = ',',
            default_value = "mounts",
            value_parser = purpose
        )]
        purposes: Vec<Purpose>,
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
}

#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The VM's description (JSON, see docs/spec.md); - for standard input
    #[arg(value_name = "SPEC.json")]
    pub spec: PathBuf,
    #[command(flatten)]
    pub library: LibraryArgs,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, Args)]
pub struct RunArgs {
    /// Start from this description (JSON, see docs/spec.md); what is given beside it counts more
    #[arg(long, value_name = "FILE")]
    pub spec: Option<PathBuf>,
    /// Number of virtual CPUs [default: 1]
    #[arg(long, value_name = "N")]
    pub cpus: Option<u32>,
    /// Memory of the guest in MiB [default: 512]
    #[arg(long, value_name = "MIB")]
    pub memory: Option<u32>,
    /// A directory of the host that the guest sees; GUEST is /workspace where it is left out; may be repeated. With
    /// :overlay the guest may write, and the host's files stay as they are
    #[arg(long = "mount", value_name = "HOST[:GUEST][:ro|:overlay]", value_parser = clap::builder::OsStringValueParser::new())]
    pub mounts: Vec<OsString>,
    /// The guest may not write to its root
    #[arg(long)]
    pub read_only: bool,
    /// A disk; FORMAT is raw where it is left out, or qcow2 or vmdk; may be repeated
    #[arg(long = "disk", value_name = "PATH[:FORMAT][:ro]", value_parser = clap::builder::OsStringValueParser::new())]
    pub disks: Vec<OsString>,
    /// The guest's network: a card with a passt or gvproxy that is started for it; one on the socket of a passt or gvproxy that
    /// runs (gvproxy=SOCKET is its -listen-vfkit; its -listen-qemu is as passt's); one on a tap interface; libkrun's TSI, which
    /// is there without any of them; none. May be repeated
    #[arg(long = "net", value_name = NET, value_parser = clap::builder::OsStringValueParser::new())]
    pub nets: Vec<OsString>,
    /// Open a port of the guest on the host; may be repeated. With --net passt or gvproxy on ADDR, 127.0.0.1 where left out,
    /// and where HOST is left out on any that is free, which is said. With TSI HOST:GUEST, on all addresses; the guest's
    /// other ports are open under their own numbers
    #[arg(long = "publish", short = 'p', value_name = PUBLISH, value_parser = published)]
    pub ports: Vec<Published>,
    /// A kernel of your own instead of libkrunfw's
    #[arg(long, value_name = "FILE")]
    pub kernel: Option<PathBuf>,
    /// An initial RAM disk for it
    #[arg(long, value_name = "FILE", requires = "kernel")]
    pub initrd: Option<PathBuf>,
    /// Its command line. One without init=/init.krun boots an init of the guest's own: then there is no CMD
    #[arg(long, value_name = "LINE", requires = "kernel")]
    pub cmdline: Option<String>,
    /// A variable of the command's environment; K alone takes the caller's value; may be repeated
    #[arg(long = "env", short = 'e', value_name = "K=V")]
    pub env: Vec<OsString>,
    /// The command's working directory in the guest
    #[arg(long, short = 'w', value_name = "DIR")]
    pub workdir: Option<OsString>,
    /// Let krundl exec, figures and stop reach the VM under this name
    #[arg(long, value_name = "NAME", conflicts_with = "control")]
    pub name: Option<String>,
    /// The same by a socket at this path, in a directory with mode 0700
    #[arg(long, value_name = "SOCKET")]
    pub control: Option<PathBuf>,
    /// What libkrun logs; it goes to --log, else it is shown only when something fails
    #[arg(long, value_name = "LEVEL")]
    pub log_level: Option<Level>,
    /// How long a workload that was asked to end by SIGTERM or SIGHUP may take before the VM is ended
    #[arg(long, value_name = "SECONDS", default_value_t = 10)]
    pub stop_timeout: u64,
    /// Append libkrun's log to this file
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
    #[command(flatten)]
    pub library: LibraryArgs,
    /// The directory that the guest has as its root
    #[arg(value_name = "ROOT", required_unless_present_any = ["spec", "cmdline"])]
    pub root: Option<PathBuf>,
    /// The command and its arguments
    #[arg(last = true, value_name = "CMD", required_unless_present_any = ["spec", "cmdline"])]
    pub command: Vec<OsString>,
}

/// libkrun's log levels.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Level {
    Off,
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> LogLevel {
        match level {
            Level::Off => LogLevel::Off,
            Level::Error => LogLevel::Error,
            Level::Warn => LogLevel::Warn,
            Level::Info => LogLevel::Info,
            Level::Debug => LogLevel::Debug,
            Level::Trace => LogLevel::Trace,
        }
    }
}

/// `HOST[:GUEST][:ro|:overlay]`. Read from the end, so that a host path may hold a colon unless what follows it begins with a
/// slash.
pub fn mount(text: &OsStr) -> Result<Mount, String> {
    let (mut host, mut guest, mut mode) = (text.as_bytes(), DEFAULT_GUEST.as_bytes(), &b"rw"[..]);
    if let Some((rest, said)) = split_last(host).filter(|(_, said)| matches!(*said, b"ro" | b"rw" | b"overlay")) {
        (host, mode) = (rest, said);
    }
    if let Some((rest, path)) = split_last(host).filter(|(_, path)| path.starts_with(b"/")) {
        (host, guest) = (rest, path);
    }
    if host.is_empty() {
        return Err("the host's directory is missing".to_owned());
    }
    let guest = std::str::from_utf8(guest).map_err(|_| "the path in the guest must be UTF-8".to_owned())?;
    // A slash at the end is how people name directories.
    let guest = match guest.trim_end_matches('/') {
        "" => "/",
        plain => plain,
    };
    Ok(Mount {
        host: OsString::from_vec(host.to_vec()).into(),
        guest: guest.to_owned(),
        tag: None,
        read_only: mode == b"ro",
        overlay: mode == b"overlay",
        dax_mib: 0,
        semantics: None,
    })
}

/// `PATH[:FORMAT][:ro]`, read from the end.
pub fn disk(text: &OsStr) -> Result<Disk, String> {
    let (mut path, mut format, mut read_only) = (text.as_bytes(), DiskFormat::Raw, false);
    if let Some((rest, mode)) = split_last(path).filter(|(_, mode)| matches!(*mode, b"ro" | b"rw")) {
        (path, read_only) = (rest, mode == b"ro");
    }
    for (name, is) in [("raw", DiskFormat::Raw), ("qcow2", DiskFormat::Qcow2), ("vmdk", DiskFormat::Vmdk)] {
        if let Some((rest, _)) = split_last(path).filter(|(_, last)| *last == name.as_bytes()) {
            (path, format) = (rest, is);
            break;
        }
    }
    if path.is_empty() {
        return Err("the disk's file is missing".to_owned());
    }
    let path = OsString::from_vec(path.to_vec()).into();
    Ok(Disk { path, id: None, format, read_only, direct_io: false, sync: None })
}

/// What `--net` can say.
pub const NET: &str = "passt|gvproxy|passt=SOCKET|gvproxy=SOCKET|tap=NAME|tsi|none";
/// What `--publish` can say.
pub const PUBLISH: &str = "[[ADDR:]HOST:]GUEST[/udp]";

/// A port as `--publish` says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    pub text: String,
    pub address: Option<Ipv4Addr>,
    pub host: Option<u16>,
    pub guest: u16,
    pub protocol: Protocol,
}

/// Reads `[[ADDR:]HOST:]GUEST[/udp]`.
pub fn published(text: &str) -> Result<Published, String> {
    let (ports, protocol) = match text.split_once('/') {
        None => (text, Protocol::Tcp),
        Some((ports, "tcp")) => (ports, Protocol::Tcp),
        Some((ports, "udp")) => (ports, Protocol::Udp),
        Some((_, other)) => return Err(format!("{other:?} is neither tcp nor udp")),
    };
    let number = |text: &str| text.parse::<u16>().map_err(|_| format!("{text:?} is no port"));
    let parts: Vec<&str> = ports.split(':').collect();
    let (address, host, guest) = match parts[..] {
        [guest] => (None, None, guest),
        [host, guest] => (None, Some(host), guest),
        [address, host, guest] => (Some(address), Some(host), guest),
        _ => return Err(format!("it is written {PUBLISH}")),
    };
    let address = address.map(|text| text.parse().map_err(|_| format!("{text:?} is no IPv4 address"))).transpose()?;
    let host = host.map(number).transpose()?;
    Ok(Published { text: text.to_owned(), address, host, guest: number(guest)?, protocol })
}

/// `UID[:GID]`.
fn user(text: &str) -> Result<(u32, Option<u32>), String> {
    let (uid, gid) = text.split_once(':').map_or((text, None), |(uid, gid)| (uid, Some(gid)));
    let number = |text: &str| text.parse::<u32>().map_err(|_| format!("{text:?} is no number of a user or group"));
    Ok((number(uid)?, gid.map(number).transpose()?))
}

fn purpose(text: &str) -> Result<Purpose, String> {
    let known = || Purpose::ALL.iter().map(|purpose| purpose.name()).collect::<Vec<_>>().join(", ");
    Purpose::from_name(text).ok_or_else(|| format!("known are {}", known()))
}

fn split_last(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let colon = text.iter().rposition(|b| *b == b':')?;
    Some((&text[..colon], &text[colon + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(text: &str) -> (String, String, bool) {
        let mount = mount(OsStr::new(text)).unwrap();
        (mount.host.display().to_string(), mount.guest, mount.read_only)
    }

    #[test]
    fn mounts_are_read_from_the_end() {
        let expect = |text, host: &str, guest: &str, ro| {
            assert_eq!(parts(text), (host.to_owned(), guest.to_owned(), ro), "{text}")
        };
        expect(".", ".", "/workspace", false);
        expect("./src:ro", "./src", "/workspace", true);
        expect("/a:/b", "/a", "/b", false);
        expect("/a:/b/:ro", "/a", "/b", true);
        expect("/a:rw", "/a", "/workspace", false);
        expect("/with:colon:/b:ro", "/with:colon", "/b", true);
        expect("with:colon", "with:colon", "/workspace", false);
        let overlay = mount(OsStr::new("/a:/b:overlay")).unwrap();
        assert_eq!((overlay.guest.as_str(), overlay.read_only, overlay.overlay), ("/b", false, true));
        assert!(mount(OsStr::new(":/b")).is_err());
        assert!(mount(OsStr::new("")).is_err());
    }

    #[test]
    fn disks_are_read_from_the_end() {
        let parts =
            |text| disk(OsStr::new(text)).map(|disk| (disk.path.display().to_string(), disk.format, disk.read_only));
        assert_eq!(parts("a.img"), Ok(("a.img".to_owned(), DiskFormat::Raw, false)));
        assert_eq!(parts("a:b:qcow2:ro"), Ok(("a:b".to_owned(), DiskFormat::Qcow2, true)));
        assert_eq!(parts("a:vmdk"), Ok(("a".to_owned(), DiskFormat::Vmdk, false)));
        assert_eq!(parts("a:other:rw"), Ok(("a:other".to_owned(), DiskFormat::Raw, false)));
        assert!(parts(":ro").is_err());
    }

    #[test]
    fn the_command_line_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }
}
