//! File systems: the root, shares, disks, and what is laid over the root.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::spec::Text;

/// The guest's root file system: exactly one of a directory of the host, shared over virtio-fs, and a disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Root {
    /// The directory.
    #[serde(default)]
    pub dir: Option<PathBuf>,
    /// The file system on one of the spec's disks.
    #[serde(default)]
    pub disk: Option<RootDisk>,
    /// Whether the guest may not write to it. For a directory enforced on the host's side; it must then have `dev`,
    /// `proc` and `sys`. A disk is mounted with `ro`, and only its own `read_only` keeps the guest from changing that.
    #[serde(default)]
    pub read_only: bool,
    /// Size of a directory's DAX window in MiB, a multiple of 2; 0 for none.
    #[serde(default)]
    pub dax_mib: u32,
}

/// A root on a disk.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct RootDisk {
    /// The block device in the guest: `/dev/vda` is the first of the spec's disks, `/dev/vda1` its first partition.
    #[serde(default = "first_disk")]
    pub device: String,
    /// The file system's type; where absent, all that the guest's kernel knows are tried in turn.
    #[serde(default)]
    pub fstype: Option<String>,
    /// Mount options, as `mount -o` takes them: printable ASCII without blanks and quotation marks.
    #[serde(default)]
    pub options: Option<String>,
}

fn first_disk() -> String {
    "/dev/vda".to_owned()
}

impl Default for RootDisk {
    fn default() -> RootDisk {
        RootDisk { device: first_disk(), fstype: None, options: None }
    }
}

/// A directory of the host that the guest sees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Mount {
    /// The directory on the host.
    pub host: PathBuf,
    /// Where the guest sees it: absolute, not `/`.
    #[serde(default = "default_guest")]
    pub guest: String,
    /// The virtio-fs tag, at most 36 bytes; chosen by krundl where absent.
    #[serde(default)]
    pub tag: Option<String>,
    /// Whether the guest may not write; enforced on the host's side, so it needs `krun_add_virtiofs3`.
    #[serde(default)]
    pub read_only: bool,
    /// Whether the guest may write without changing anything on the host: what it writes stays in its memory and is
    /// gone with it. Needs libkrun 1.19.6, and a guest's kernel with overlayfs.
    #[serde(default)]
    pub overlay: bool,
    /// Size of the DAX window in MiB, a multiple of 2; 0 for none.
    #[serde(default)]
    pub dax_mib: u32,
    /// Who owns what, as libkrun calls it; the library's default where absent.
    #[serde(default)]
    pub semantics: Option<Semantics>,
}

/// Where a mount appears when its spec does not say.
pub const DEFAULT_GUEST: &str = "/workspace";

fn default_guest() -> String {
    DEFAULT_GUEST.to_owned()
}

/// Ownership semantics of a share (`krun_add_virtiofs4`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Semantics {
    /// Full Linux semantics, libkrun's default.
    Complete,
    /// libkrun's simplified semantics.
    Simplified,
}

/// A disk: a file or block device of the host that the guest has as `/dev/vda`, `/dev/vdb` and so on, in the spec's
/// order. The guest mounts it itself, unless it is the root.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// The image or block device.
    pub path: PathBuf,
    /// What newer releases show as the disk's serial number, at most 20 bytes, unique; `disk0` and so on where absent.
    #[serde(default)]
    pub id: Option<String>,
    /// The image's format.
    #[serde(default)]
    pub format: DiskFormat,
    /// Whether the guest may not write to it. Required for `vmdk`, which libkrun only reads.
    #[serde(default)]
    pub read_only: bool,
    /// Whether the host's page cache is passed by; needs `krun_add_disk3`.
    #[serde(default)]
    pub direct_io: bool,
    /// What the guest's flushes do; the library's default where absent, else needs `krun_add_disk3`.
    #[serde(default)]
    pub sync: Option<DiskSync>,
}

/// The format of a disk image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DiskFormat {
    /// The disk's bytes as they are.
    #[default]
    Raw,
    /// QEMU's format. The image may name further files, which libkrun opens relative to it.
    Qcow2,
    /// VMware's format. The image may name further files, which libkrun opens relative to it.
    Vmdk,
}

/// What the flushes of a guest do to a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum DiskSync {
    /// Nothing: the guest is told that there are none.
    None,
    /// On macOS they do not reach the medium; elsewhere as `full`.
    Relaxed,
    /// They reach the medium.
    Full,
}

/// Files and directories that only this guest sees, laid over a root directory (`krun_fs_add_overlay_*`). They cannot
/// be listed or written to; they hide what the directory has under the same name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Overlay {
    /// The files. Directories that a path needs are made; they may not be ones that the root has.
    #[serde(default)]
    pub files: Vec<OverlayFile>,
    /// Empty directories.
    #[serde(default)]
    pub dirs: Vec<OverlayDir>,
}

/// A file of the overlay: exactly one of `text` and `from`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct OverlayFile {
    /// Where the guest sees it: absolute.
    pub path: String,
    /// Its contents.
    #[serde(default)]
    pub text: Option<Text>,
    /// The host's file with its contents; read when the VM starts.
    #[serde(default)]
    pub from: Option<PathBuf>,
    /// Its permissions, 0 to 4095 (decimal: 420 is 0644).
    #[serde(default = "file_mode")]
    pub mode: u32,
}

fn file_mode() -> u32 {
    0o644
}

/// A directory of the overlay.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct OverlayDir {
    /// Where the guest sees it: absolute.
    pub path: String,
    /// Its permissions, 0 to 4095 (decimal: 493 is 0755).
    #[serde(default = "dir_mode")]
    pub mode: u32,
}

fn dir_mode() -> u32 {
    0o755
}
