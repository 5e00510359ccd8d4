//! krundl's tasks: `cargo xtask --help` lists them.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};
use xtask::{Cache, Lab};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "krundl's tasks")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Show the main job from nothing: get libkrun, report what it can do, boot a guest with a directory in it
    Demo,
    /// Run all tests: style, lints, unit and integration tests, real guests in the lab
    Test {
        /// What takes very long, too
        #[arg(long)]
        full: bool,
        /// Only the guests in the lab, and of those only the ones with this in their names
        #[arg(long, value_name = "FILTER", num_args = 0..=1, default_missing_value = "")]
        guests: Option<String>,
        /// Only the Python package: its wheel, its types, its tests, its guests in the lab
        #[arg(long, conflicts_with_all = ["guests", "ffi", "smolvm"])]
        python: bool,
        /// Only SmolVM with krundl behind its libkrun backend: its own tests, and its guests in the lab
        #[arg(long, conflicts_with_all = ["guests", "ffi"])]
        smolvm: bool,
        /// Only the C ABI: C, C++ and Go
        #[arg(long)]
        ffi: bool,
        /// Only the kernels of our own, and of that only the parts with this in their names: again (built to the same
        /// bytes), arm64 (built, and booted on an emulated machine)
        #[arg(long, value_name = "FILTER", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["guests", "python", "ffi", "smolvm", "packaging"])]
        kernels: Option<String>,
        /// Only that krundl compiles for macOS, of the long run
        #[arg(long, conflicts_with_all = ["guests", "python", "ffi", "smolvm", "packaging", "kernels"])]
        macos: bool,
        /// Only what is packed, and of that only the parts with this in their names: crate, distributions, fresh,
        /// cargo-c, semver, wheels
        #[arg(long, value_name = "FILTER", num_args = 0..=1, default_missing_value = "",
              conflicts_with_all = ["guests", "python", "ffi", "smolvm"])]
        packaging: Option<String>,
    },
    /// Measure what krundl costs, beside C programs that do the same by hand
    Bench {
        /// Fewer pairs, and no cold build
        #[arg(long)]
        quick: bool,
        /// Put the table into docs/performance.md
        #[arg(long)]
        write: bool,
        /// Only the benchmarks with this in their names: open, call, launch, doctor, boot, python, sizes
        #[arg(default_value = "")]
        filter: String,
    },
    /// Install the libraries for C, the header, krundl.pc, krundl-vmm, and krundl with its man pages and completions,
    /// built for release
    Install {
        /// Where it is going to be
        #[arg(long, default_value = "/usr/local")]
        prefix: PathBuf,
        /// A directory that stands for / for now
        #[arg(long)]
        destdir: Option<PathBuf>,
        /// The libraries' directory below the prefix
        #[arg(long, default_value = "lib")]
        libdir: PathBuf,
        /// Build without optimisation, which is quicker
        #[arg(long)]
        debug: bool,
    },
    /// Build packages for a distribution and print their files
    Package {
        /// What kind
        kind: xtask::package::Kind,
        /// Who answers for them, "Name <address>"; Debian only
        #[arg(long, value_name = "WHO")]
        maintainer: Option<String>,
    },
    /// Build the wheels krundl-libkrun (the real libkrun) and krundl-kernel (a guest's kernel) and print their files
    Wheels {
        /// Install them and krundl's own into a fresh environment, and boot a guest with them in the lab
        #[arg(long)]
        test: bool,
    },
    /// Write the files of the repository that follow from the code
    Generate {
        /// Only say which are stale, and fail if any is
        #[arg(long)]
        check: bool,
    },
    /// Build the real libkrun from its published crate and print the directory that holds it
    Libkrun {
        /// The release, such as 1.19.7
        #[arg(long)]
        release: String,
        /// The features, separated by commas; "" for none
        #[arg(long, value_delimiter = ',', default_value = "blk,net")]
        features: Vec<String>,
        /// Resolve the dependencies anew first and check the result in below xtask/libkrun
        #[arg(long)]
        relock: bool,
    },
    /// Fetch libkrunfw, the guest kernel, and print the directory that holds it
    Firmware,
    /// Build a guest's kernel of our own from Debian's source of Linux and print the directory that holds it
    Kernel {
        /// For this processor: x86_64 or arm64; another than this machine's takes a cross compiler
        #[arg(long, value_parser = ["x86_64", "arm64"])]
        arch: Option<String>,
    },
    /// Run a command on an emulated machine whose /dev/kvm can run guests; exits with the command's status, with 124 if
    /// the lab did not come to an end, and with 125 if it could not be set up
    Lab(LabArguments),
    /// Fill a directory as a guest's root: busybox and the usual empty directories
    GuestRoot {
        /// The directory, created if it is missing
        directory: PathBuf,
    },
}

#[derive(Args)]
struct LabArguments {
    /// The number of emulated processors
    #[arg(long, default_value_t = 1, value_name = "N")]
    cpus: u32,
    /// The machine's memory in MiB
    #[arg(long, default_value_t = 3072, value_name = "MIB")]
    memory: u32,
    /// How long everything may take, in seconds
    #[arg(long, default_value_t = 300, value_name = "S")]
    timeout: u64,
    /// A variable for the command's environment
    #[arg(long, value_name = "K=V")]
    env: Vec<OsString>,
    /// A directory that the command may change for good, besides the current one
    #[arg(long, value_name = "DIR")]
    write: Vec<PathBuf>,
    /// A path below /tmp or /run that the command can read
    #[arg(long, value_name = "PATH")]
    read: Vec<PathBuf>,
    /// The command and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

fn main() -> ExitCode {
    // Not a task: this is how the lab's machine starts its own side.
    if std::env::args_os().nth(1).is_some_and(|word| word == xtask::lab::inside::ARGUMENT) {
        xtask::lab::inside::main();
    }
    match run(Arguments::parse().task) {
        Ok(status) => status,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode> {
    let cache = Cache::open()?;
    match task {
        Task::Libkrun { release, features, relock } => {
            let features: Vec<&str> = features.iter().map(String::as_str).filter(|name| !name.is_empty()).collect();
            if relock {
                eprintln!("wrote {}", xtask::libkrun::relock(&cache, &release, &features)?.display());
            }
            println!("{}", xtask::libkrun(&cache, &release, &features)?.display());
        }
        Task::Demo => xtask::demo::demo(&cache)?,
        Task::Test { full, guests, python, ffi, kernels, macos, packaging, smolvm } => {
            let selection = xtask::test::Selection { full, guests, python, ffi, kernels, macos, packaging, smolvm };
            xtask::test::test(&cache, &selection)?;
        }
        Task::Bench { quick, write, filter } => {
            xtask::bench::bench(&cache, &xtask::bench::Selection { quick, filter, write })?;
        }
        Task::Install { prefix, destdir, libdir, debug } => {
            xtask::install::install(&xtask::install::Installation { prefix, destdir, libdir, debug })?;
        }
        Task::Package { kind, maintainer } => {
            for file in xtask::package::package(&cache, kind, maintainer.as_deref())? {
                println!("{}", file.display());
            }
        }
        Task::Wheels { test } => {
            if test {
                xtask::package::wheels::test(&cache)?;
            } else {
                for file in xtask::package::wheels::build(&cache)? {
                    println!("{}", file.display());
                }
            }
        }
        Task::Generate { check } => xtask::generate::generate(check)?,
        Task::Firmware => println!("{}", xtask::firmware(&cache)?.display()),
        Task::Kernel { arch } => {
            let built = arch.map_or_else(|| xtask::kernel(&cache), |arch| xtask::kernel_of(&cache, &arch))?;
            println!("{}", built.display());
        }
        Task::Lab(arguments) => {
            // The command has every other status to itself.
            let status = run_lab(&cache, arguments).unwrap_or_else(|error| {
                eprintln!("error: {error:#}");
                125
            });
            return Ok(ExitCode::from(status));
        }
        Task::GuestRoot { directory } => xtask::busybox_root(&cache, &directory)?,
    }
    Ok(ExitCode::SUCCESS)
}

fn run_lab(cache: &Cache, arguments: LabArguments) -> Result<u8> {
    let LabArguments { cpus, memory, timeout, env, write, read, command } = arguments;
    let timeout = Duration::from_secs(timeout);
    let mut lab = Lab::new(cache).cpus(cpus).memory_mib(memory).timeout(timeout).stdin(true);
    for variable in &env {
        let (name, value) = split_variable(variable)?;
        lab = lab.env(name, value);
    }
    lab = write.into_iter().fold(lab, Lab::write);
    lab = read.into_iter().fold(lab, Lab::read);
    Ok(lab.run(&command)?.status())
}

fn split_variable(variable: &OsStr) -> Result<(&OsStr, &OsStr)> {
    let bytes = variable.as_bytes();
    match bytes.iter().position(|byte| *byte == b'=') {
        Some(at @ 1..) => Ok((OsStr::from_bytes(&bytes[..at]), OsStr::from_bytes(&bytes[at + 1..]))),
        _ => bail!("--env takes NAME=VALUE, not {variable:?}"),
    }
}
