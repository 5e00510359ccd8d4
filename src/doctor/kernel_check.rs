//! Does a kernel, or a configuration before it is built, have what some use of it takes?

use std::fmt;
use std::fs;
use std::path::Path;

use serde::Serialize;

use super::kernel::{self, ConfigSource, KernelReport, Purpose, needs};

/// A kernel, what it is to serve for, and what it lacks for that.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KernelCheck {
    /// What the file is, and what it was built with.
    pub kernel: KernelReport,
    /// The processor that it is for: `x86_64`, `aarch64`.
    pub architecture: String,
    /// What it was to serve for.
    pub purposes: Vec<Purpose>,
    /// The options that it lacks for that.
    pub missing: Vec<MissingOption>,
}

/// An option that a kernel lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct MissingOption {
    /// Its name, with `CONFIG_`.
    pub option: String,
    /// What it is for; `None`: every VM takes it.
    pub purpose: Option<Purpose>,
    /// The same in words.
    pub what: &'static str,
    /// Whether it is there as a module, which nobody loads in a guest.
    pub is_module: bool,
}

/// Judges a kernel (ELF vmlinux, bzImage, arm64 Image) by the configuration that it carries or that lies beside it, or a
/// configuration (`.config`) itself. Nothing is run. What cannot be found out is part of the answer.
pub fn check_kernel(path: &Path, purposes: &[Purpose]) -> KernelCheck {
    let config = fs::read(path).ok().and_then(configuration);
    let kernel = match &config {
        Some(config) => KernelReport {
            path: path.to_owned(),
            format: None,
            problems: Vec::new(),
            release: release(config),
            config_from: Some(ConfigSource::Itself),
            config_unknown: None,
            options: kernel::options(config),
        },
        None => kernel::look(None, path),
    };
    let architecture = config.as_deref().map_or(std::env::consts::ARCH, architecture).to_owned();
    let mut purposes = purposes.to_vec();
    purposes.sort_unstable();
    purposes.dedup();
    let mut missing = Vec::new();
    if kernel.config_from.is_some() {
        let asked = needs(&architecture).filter(|need| need.purpose.is_none_or(|purpose| purposes.contains(&purpose)));
        for (need, option) in asked.flat_map(|need| need.options.iter().map(move |option| (need, *option))) {
            let value = kernel.options.get(option).copied().unwrap_or('n');
            if value != 'y' {
                let option = format!("CONFIG_{option}");
                let (purpose, what) = (need.purpose, need.what);
                missing.push(MissingOption { option, purpose, what, is_module: value == 'm' });
            }
        }
    }
    KernelCheck { kernel, architecture, purposes, missing }
}

/// The text of a file that is a configuration.
fn configuration(bytes: Vec<u8>) -> Option<String> {
    let text = String::from_utf8(bytes).ok()?;
    text.lines().any(|line| line.starts_with("CONFIG_") && line.contains('=')).then_some(text)
}

/// `# Linux/x86 6.1.192 Kernel Configuration`.
fn release(config: &str) -> Option<String> {
    let line = config
        .lines()
        .take(10)
        .find_map(|line| line.strip_prefix("# Linux/")?.strip_suffix(" Kernel Configuration"))?;
    line.split(' ').nth(1).map(str::to_owned)
}

fn architecture(config: &str) -> &'static str {
    let has = |line: &str| config.lines().any(|other| other == line);
    if has("CONFIG_X86_64=y") {
        "x86_64"
    } else if has("CONFIG_ARM64=y") {
        "aarch64"
    } else {
        // A fragment does not say.
        std::env::consts::ARCH
    }
}

impl KernelCheck {
    /// Whether libkrun takes it here, and it is known to lack nothing.
    pub fn is_good(&self) -> bool {
        self.kernel.problems.is_empty() && self.kernel.config_from.is_some() && self.missing.is_empty()
    }
}

impl fmt::Display for KernelCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KernelReport { path, format, problems, release, config_from, config_unknown, .. } = &self.kernel;
        let release = release.as_ref().map_or(String::new(), |release| format!(" Linux {release},"));
        let format = format.and_then(|format| serde_json::to_value(format).ok());
        let kind = format.as_ref().and_then(|format| format.as_str()).unwrap_or(match config_from {
            Some(ConfigSource::Itself) => "a configuration",
            _ => "no kernel that libkrun takes here",
        });
        writeln!(f, "{}:{release} {kind}, for {}", path.display(), self.architecture)?;
        for problem in problems {
            writeln!(f, "  {problem}")?;
        }
        match config_from {
            None => {
                writeln!(f, "  what it was built with is unknown: {}", config_unknown.as_deref().unwrap_or_default())?
            }
            Some(ConfigSource::Beside(file)) => {
                writeln!(f, "  judged by {}, which only its name ties to it", file.display())?;
            }
            Some(ConfigSource::Carried | ConfigSource::Itself) => {}
        }
        for MissingOption { option, what, is_module, .. } in &self.missing {
            let why = if *is_module { "is a module, which nobody loads in a guest" } else { "is not set" };
            writeln!(f, "  {what}: {option} {why}")?;
        }
        if !self.missing.is_empty() {
            let lines: Vec<String> = self.missing.iter().map(|missing| format!("{}=y", missing.option)).collect();
            writeln!(f, "fix: build it with\n{}", lines.join("\n"))?;
        } else if config_from.is_some() {
            let asked: Vec<&str> = self.purposes.iter().map(|purpose| purpose.name()).collect();
            let beside = if asked.is_empty() { String::new() } else { format!(", and for {}", asked.join(", ")) };
            writeln!(f, "  it has what every VM takes{beside}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(config: &str, purposes: &[Purpose]) -> KernelCheck {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join(".config");
        fs::write(&file, config).unwrap();
        check_kernel(&file, purposes)
    }

    const X86: &str = "#\n# Automatically generated file; DO NOT EDIT.\n# Linux/x86 6.12.85 Kernel Configuration\n#\n\
        CONFIG_X86_64=y\nCONFIG_VIRTIO_MMIO=y\nCONFIG_DEVTMPFS=y\nCONFIG_VIRTIO_CONSOLE=y\n\
        CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES=y\nCONFIG_FUSE_FS=y\nCONFIG_VIRTIO_BLK=m\n# CONFIG_VIRTIO_FS is not set\n";

    #[test]
    fn a_configuration_is_judged_for_what_was_asked_and_no_more() {
        let plain = check(X86, &[]);
        assert!(plain.is_good(), "{plain}");
        assert_eq!(plain.kernel.release.as_deref(), Some("6.12.85"));
        assert!(plain.to_string().ends_with("it has what every VM takes\n"), "{plain}");

        let asked = check(X86, &[Purpose::Disk, Purpose::Mounts, Purpose::Disk]);
        let missing: Vec<_> =
            asked.missing.iter().map(|one| (one.option.as_str(), one.purpose, one.is_module)).collect();
        let expected =
            [("CONFIG_VIRTIO_FS", Some(Purpose::Mounts), false), ("CONFIG_VIRTIO_BLK", Some(Purpose::Disk), true)];
        assert_eq!(missing, expected);
        assert!(!asked.is_good());
        let text = asked.to_string();
        assert!(text.contains("Linux 6.12.85, a configuration, for x86_64\n"), "{text}");
        assert!(text.contains("disks: CONFIG_VIRTIO_BLK is a module, which nobody loads in a guest\n"), "{text}");
        assert!(text.ends_with("fix: build it with\nCONFIG_VIRTIO_FS=y\nCONFIG_VIRTIO_BLK=y\n"), "{text}");
    }

    #[test]
    fn only_x86_has_its_devices_on_the_command_line() {
        let arm = X86.replace("X86_64", "ARM64").replace("CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES=y\n", "");
        let arm = check(&arm, &[]);
        assert_eq!((arm.is_good(), arm.architecture.as_str()), (true, "aarch64"));
        let x86 = check(&X86.replace("CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES=y\n", ""), &[]);
        assert_eq!(x86.missing[0].option, "CONFIG_VIRTIO_MMIO_CMDLINE_DEVICES");
    }

    #[test]
    fn what_is_neither_a_kernel_nor_a_configuration_is_unknown_and_not_good() {
        let check = check("# CONFIG_ is mentioned\n", &[]);
        assert!(!check.is_good() && check.missing.is_empty(), "{check}");
        assert!(check.to_string().contains("no kernel that libkrun takes here"), "{check}");
        let none = check_kernel(Path::new("/there/is/no/such/file"), &[]);
        assert!(!none.is_good() && none.to_string().contains("/there/is/no/such/file"), "{none}");
    }

    /// The project's own fragments have what they are for.
    #[test]
    fn the_fragments_have_everything() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernel");
        for architecture in ["x86_64", "arm64"] {
            let parts = ["common", "virtiofs", "dax", architecture];
            let read = |part: &&str| fs::read_to_string(dir.join(format!("{part}.fragment"))).unwrap();
            let says = if architecture == "arm64" { "CONFIG_ARM64=y\n" } else { "CONFIG_X86_64=y\n" };
            let all = parts.iter().map(read).collect::<String>() + says;
            let check = check(&all, Purpose::ALL);
            assert!(check.is_good(), "{check}");
        }
    }
}
