//! The kernel that was asked about: its format, and the configuration that it carries.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::boot::plain_spec;
use super::ground::Ground;
use crate::capabilities::Capabilities;
use crate::error::{Problem, ProblemKind};
use crate::plan::negotiate;
use crate::spec::{self, Kernel, KernelFormat};
use crate::symbols::named;

/// The largest kernel that is unpacked, in bytes.
const MAX_UNPACKED: usize = 512 << 20;
/// The largest configuration.
const MAX_CONFIG: usize = 4 << 20;
/// What stands before and behind the configuration in a kernel with CONFIG_IKCONFIG.
const MARK: &[u8] = b"IKCFG_ST";

/// What was found out about a kernel.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct KernelReport {
    /// The file.
    pub path: PathBuf,
    /// Its format; `None` if it is none that libkrun takes here.
    pub format: Option<KernelFormat>,
    /// What stands in the way of it.
    pub problems: Vec<Problem>,
    /// Its release, from its own banner, where that can be read.
    pub release: Option<String>,
    /// Where its configuration comes from; `None` if it is unknown.
    pub config_from: Option<ConfigSource>,
    /// Why it is unknown.
    pub config_unknown: Option<String>,
    /// The options that matter: `y`, `m` or `n`. Empty if the configuration is unknown.
    pub options: BTreeMap<String, char>,
}

/// Where a configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ConfigSource {
    /// The kernel carries it itself.
    Carried,
    /// A file beside it, which only by its name belongs to it.
    Beside(PathBuf),
    /// The file is a configuration itself, and no kernel.
    Itself,
}

named! {
    /// What a kernel is to serve for. What every VM of krundl's takes (devices, a console) is always looked at.
    pub enum Purpose {
        /// Directories of the host.
        Mounts => "mounts",
        /// Mounts that the guest may write to without changing anything on the host.
        Overlay => "overlay",
        /// Disks.
        Disk => "disk",
        /// Network cards.
        Net => "net",
        /// vsock ports.
        Vsock => "vsock",
        /// Mounts with a DAX window.
        Dax => "dax",
        /// An initial RAM disk.
        Initrd => "initrd",
    }
}

/// What options are for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Need {
    /// In words.
    pub what: &'static str,
    /// For whom; `None`: for everybody.
    pub purpose: Option<Purpose>,
    /// Without it there is no VM of krundl's at all.
    pub vital: bool,
    /// The options, without `CONFIG_`.
    pub options: &'static [&'static str],
}

/// What libkrun's machine takes, on every architecture.
pub(super) const NEEDS: &[Need] = &[
    Need { what: "devices", purpose: None, vital: true, options: &["VIRTIO_MMIO", "DEVTMPFS"] },
    Need { what: "mounts", purpose: Some(Purpose::Mounts), vital: true, options: &["FUSE_FS", "VIRTIO_FS"] },
    Need { what: "console", purpose: None, vital: true, options: &["VIRTIO_CONSOLE"] },
    Need { what: "vsock", purpose: Some(Purpose::Vsock), vital: false, options: &["VSOCKETS", "VIRTIO_VSOCKETS"] },
    Need { what: "disks", purpose: Some(Purpose::Disk), vital: false, options: &["VIRTIO_BLK"] },
    Need { what: "network", purpose: Some(Purpose::Net), vital: false, options: &["INET", "VIRTIO_NET"] },
    Need { what: "overlays", purpose: Some(Purpose::Overlay), vital: false, options: &["OVERLAY_FS", "TMPFS"] },
    Need { what: "an initial RAM disk", purpose: Some(Purpose::Initrd), vital: false, options: &["BLK_DEV_INITRD"] },
    Need { what: "DAX", purpose: Some(Purpose::Dax), vital: false, options: &["FUSE_DAX"] },
];
/// On x86-64 the devices stand on the command line.
pub(super) const ON_X86: Need =
    Need { what: "devices", purpose: None, vital: true, options: &["VIRTIO_MMIO_CMDLINE_DEVICES"] };

/// Those of an architecture.
pub(super) fn needs(architecture: &str) -> impl Iterator<Item = Need> {
    NEEDS.iter().copied().chain((architecture == "x86_64").then_some(ON_X86))
}

/// Reads a kernel.
pub(super) fn look(capabilities: Option<&Capabilities>, path: &Path) -> KernelReport {
    let (format, problems) = judged(capabilities, path);
    let mut report = KernelReport {
        path: path.to_owned(),
        format,
        problems,
        release: None,
        config_from: None,
        config_unknown: None,
        options: BTreeMap::new(),
    };
    if format.is_none() {
        report.config_unknown = Some("it is no kernel that libkrun takes here".to_owned());
        return report;
    }
    let image = fs::read(path).map_err(|error| format!("it cannot be read: {error}")).and_then(unpack);
    let carried = match &image {
        Ok(image) => {
            report.release = crate::library::kernel_release(image);
            carried(image).ok_or_else(|| "it carries none (CONFIG_IKCONFIG)".to_owned())
        }
        Err(reason) => Err(reason.clone()),
    };
    let config = match carried {
        Ok(config) => Some((ConfigSource::Carried, config)),
        Err(reason) => {
            report.config_unknown = Some(reason);
            beside(path).map(|(path, config)| (ConfigSource::Beside(path), config))
        }
    };
    if let Some((source, config)) = config {
        report.config_unknown = None;
        report.config_from = Some(source);
        report.options = options(&config);
    }
    report
}

fn judged(capabilities: Option<&Capabilities>, path: &Path) -> (Option<KernelFormat>, Vec<Problem>) {
    let ground = match Ground::new(None) {
        Ok(ground) => ground,
        Err(error) => return (None, vec![Problem::new(ProblemKind::Host, "kernel", error.to_string())]),
    };
    let mut spec = plain_spec(ground.root());
    // As much as any kernel takes: how much the guest will have is not asked here.
    spec.memory_mib = 1 << 20;
    spec.kernel = Some(Kernel { path: path.to_owned(), format: KernelFormat::Auto, initrd: None, cmdline: None });
    let checked = spec::check(&spec);
    let mut problems = checked.problems;
    if let Some(Err(refusals)) = capabilities.map(|capabilities| negotiate(&spec, &checked.findings, capabilities)) {
        problems.extend(refusals);
    }
    problems.retain(|problem| problem.field.starts_with("kernel"));
    (checked.findings.kernel.map(|kernel| kernel.format), problems)
}

/// The kernel itself, out of whatever it is packed in.
///
/// # Errors
/// Why not.
fn unpack(bytes: Vec<u8>) -> Result<Vec<u8>, String> {
    let word = |at: usize| Some(u32::from_le_bytes(*bytes.get(at..)?.first_chunk()?) as usize);
    let payload = if bytes.get(0x202..0x206) == Some(b"HdrS") {
        let sectors = usize::from(bytes[0x1f1]);
        let start = (if sectors == 0 { 4 } else { sectors } + 1) * 512 + word(0x248).unwrap_or(0);
        bytes.get(start..).and_then(|rest| rest.get(..word(0x24c)?))
    } else if bytes.starts_with(b"MZ") && bytes.get(4..8) == Some(b"zimg") {
        word(8).and_then(|start| bytes.get(start..)).and_then(|rest| rest.get(..word(12)?))
    } else {
        return Ok(bytes);
    };
    match payload {
        Some([0x1f, 0x8b, ..]) => gunzip(payload.unwrap_or_default(), MAX_UNPACKED),
        Some([0x28, 0xb5, 0x2f, 0xfd, ..]) => unzstd(payload.unwrap_or_default(), MAX_UNPACKED),
        Some([b'B', b'Z', b'h', ..]) => Err("it is packed with bzip2, which krundl does not unpack".to_owned()),
        Some(_) => Err("it is packed in a way that krundl does not unpack".to_owned()),
        None => Err("its header names a payload that the file does not have".to_owned()),
    }
}

fn gunzip(bytes: &[u8], max: usize) -> Result<Vec<u8>, String> {
    let bad = || "it is packed with gzip, and damaged".to_owned();
    let body = skip_gzip_header(bytes).ok_or_else(bad)?;
    miniz_oxide::inflate::decompress_to_vec_with_limit(body, max).map_err(|_| bad())
}

/// The kernel's own length stands behind the frame, which ends where it says itself.
fn unzstd(bytes: &[u8], max: usize) -> Result<Vec<u8>, String> {
    let bad = || "it is packed with zstd, and damaged".to_owned();
    let mut unpacked = Vec::new();
    let frame = ruzstd::decoding::StreamingDecoder::new(bytes).map_err(|_| bad())?;
    let size = frame.take(max as u64 + 1).read_to_end(&mut unpacked).map_err(|_| bad())?;
    if size > max { Err(format!("it is packed with zstd, and unpacked larger than {max} bytes")) } else { Ok(unpacked) }
}

/// RFC 1952, section 2.3.
fn skip_gzip_header(bytes: &[u8]) -> Option<&[u8]> {
    const CRC: u8 = 2;
    const EXTRA: u8 = 4;
    const NAME: u8 = 8;
    const COMMENT: u8 = 16;
    let flags = match bytes {
        [0x1f, 0x8b, 8, flags, ..] => *flags,
        _ => return None,
    };
    let mut rest = bytes.get(10..)?;
    if flags & EXTRA != 0 {
        let length = usize::from(u16::from_le_bytes(*rest.first_chunk()?));
        rest = rest.get(2 + length..)?;
    }
    for flag in [NAME, COMMENT] {
        if flags & flag != 0 {
            rest = rest.get(rest.iter().position(|byte| *byte == 0)? + 1..)?;
        }
    }
    if flags & CRC != 0 { rest.get(2..) } else { Some(rest) }
}

/// The configuration in the kernel. The mark stands in the code that looks for it, too; only one is followed by gzip.
fn carried(image: &[u8]) -> Option<String> {
    memchr::memmem::find_iter(image, MARK).find_map(|at| {
        let config = gunzip(&image[at + MARK.len()..], MAX_CONFIG).ok()?;
        String::from_utf8(config).ok().filter(|text| text.contains("CONFIG_"))
    })
}

/// As distributions have it: `config-6.1.0-18-amd64` beside `vmlinuz-6.1.0-18-amd64`.
fn beside(path: &Path) -> Option<(PathBuf, String)> {
    let (_, release) = path.file_name()?.to_str()?.split_once('-')?;
    let file = path.with_file_name(format!("config-{release}"));
    fs::read_to_string(&file).ok().map(|text| (file, text))
}

pub(super) fn options(config: &str) -> BTreeMap<String, char> {
    let all = NEEDS.iter().chain([&ON_X86]).flat_map(|need| need.options);
    let value = |name: &str| {
        let line = config.lines().find_map(|line| line.strip_prefix("CONFIG_")?.strip_prefix(name)?.strip_prefix('='));
        line.and_then(|value| value.chars().next()).unwrap_or('n')
    };
    all.map(|name| ((*name).to_owned(), value(name))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ruzstd::encoding::CompressionLevel;

    const CONFIG: &str = "CONFIG_VIRTIO_FS=m\nCONFIG_FUSE_FS=y\n# CONFIG_FUSE_DAX is not set\nCONFIG_VIRTIO_FSX=y\n";

    fn gzip(bytes: &[u8], flags: u8, between: &[u8]) -> Vec<u8> {
        let packed = miniz_oxide::deflate::compress_to_vec(bytes, 6);
        [&[0x1f, 0x8b, 8, flags, 0, 0, 0, 0, 0, 3][..], between, &packed, &[0; 8]].concat()
    }

    #[test]
    fn a_configuration_is_found_behind_its_mark() {
        let image = [&b"the code: IKCFG_ST, and "[..], MARK, &gzip(CONFIG.as_bytes(), 0, b""), b"IKCFG_ED"].concat();
        let config = carried(&image).unwrap();
        let options = options(&config);
        assert_eq!((options["VIRTIO_FS"], options["FUSE_FS"], options["FUSE_DAX"]), ('m', 'y', 'n'));
        assert_eq!(carried(b"a kernel without one IKCFG_ST"), None);
    }

    #[test]
    fn a_gzip_header_may_have_a_name() {
        assert_eq!(gunzip(&gzip(b"x", 8, b"vmlinux\0"), 10).unwrap(), b"x");
        assert!(gunzip(&gzip(b"longer than allowed", 0, b""), 3).is_err());
        assert!(gunzip(b"\x1f\x8b\x08", 10).is_err());
    }

    #[test]
    fn a_packed_kernel_is_unpacked_where_that_can_be_done() {
        let bz_image = |payload: &[u8]| {
            let mut bytes = vec![0; 1024 + 0x40];
            bytes[0x1f1] = 1;
            bytes[0x202..0x206].copy_from_slice(b"HdrS");
            bytes[0x248..0x24c].copy_from_slice(&0x40u32.to_le_bytes());
            bytes[0x24c..0x250].copy_from_slice(&u32::try_from(payload.len()).unwrap().to_le_bytes());
            [&bytes[..], payload].concat()
        };
        assert_eq!(unpack(bz_image(&gzip(b"inside", 0, b""))).unwrap(), b"inside");
        // As the kernel's build does it: the length of what is inside follows.
        let zstd = [&ruzstd::encoding::compress_to_vec(&b"inside"[..], CompressionLevel::Fastest)[..], &[6, 0, 0, 0]];
        assert_eq!(unpack(bz_image(&zstd.concat())).unwrap(), b"inside");
        assert!(unpack(bz_image(b"\x28\xb5\x2f\xfd....")).unwrap_err().contains("damaged"));
        let zeros = ruzstd::encoding::compress_to_vec(&[0; 5000][..], CompressionLevel::Fastest);
        assert!(unzstd(&zeros, 4999).unwrap_err().contains("larger") && unzstd(&zeros, 5000).is_ok());
        let mut cut = bz_image(&gzip(b"inside", 0, b""));
        cut.pop();
        assert!(unpack(cut).unwrap_err().contains("does not have"));
        assert_eq!(unpack(b"\x7fELF plain".to_vec()).unwrap(), b"\x7fELF plain");
    }
}
