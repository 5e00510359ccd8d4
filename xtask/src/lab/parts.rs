//! What the lab's machine starts from: a kernel and the archive with its first programs, kept in the cache.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::cpio::Archive;
use super::modules::Modules;
use crate::cache::{Cache, fingerprint};
use crate::command::filter;
use crate::debian;
use crate::guest_root::busybox;

/// Raised when the parts are put together differently, so that older ones are not used any more.
const RECIPE: &str = "1";

const INIT: &str = include_str!("init.sh");

/// The applets of busybox that the first program uses.
const APPLETS: [&str; 11] =
    ["sh", "mount", "mkdir", "insmod", "ip", "cat", "echo", "sed", "printf", "switch_root", "poweroff"];

/// The lab cannot work without these.
const MODULES: [&str; 6] = ["virtio_pci", "virtio_console", "9pnet_virtio", "9p", "overlay", "kvm_amd"];

/// Devices that tests may want.
const EXTRA_MODULES: [&str; 6] = ["tun", "dummy", "veth", "vsock", "vhost_vsock", "vsock_loopback"];

/// Files that the machine is started with.
#[derive(Clone, Debug)]
pub struct Parts {
    /// The kernel, in a form that QEMU boots.
    pub kernel: PathBuf,
    /// The archive that the kernel unpacks as its first file system.
    pub initramfs: PathBuf,
}

/// Gives the parts, fetched and put together if the cache lacks them.
pub fn parts(cache: &Cache) -> Result<Parts> {
    if cfg!(not(target_arch = "x86_64")) {
        bail!(
            "the lab emulates an x86-64 machine that runs this machine's own programs, so it needs an x86-64 machine"
        );
    }
    let busybox = busybox(cache)?;
    let package = debian::unpacked(cache, "linux-image-amd64", Some(|text| debian::depends_on(text, "linux-image-")))?;
    let (release, packed) = kernel(&package)?;
    let recipe: Vec<&[u8]> = [RECIPE, &release, INIT]
        .iter()
        .chain(&APPLETS)
        .chain(&MODULES)
        .chain(&EXTRA_MODULES)
        .map(|text| text.as_bytes())
        .collect();
    let dir = cache.entry(&format!("lab/{release}-{}", fingerprint(recipe)), |dir| {
        fs::write(dir.join("kernel"), unpacked_kernel(&packed)?)?;
        fs::write(dir.join("initramfs"), initramfs(&package, &release, &busybox)?)?;
        Ok(())
    })?;
    Ok(Parts { kernel: dir.join("kernel"), initramfs: dir.join("initramfs") })
}

/// The kernel's release and its file in an unpacked package.
fn kernel(package: &Path) -> Result<(String, PathBuf)> {
    let boot = package.join("boot");
    let entries = fs::read_dir(&boot).with_context(|| format!("could not read {}", boot.display()))?;
    for path in entries.filter_map(|entry| Some(entry.ok()?.path())) {
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some(release) = name.and_then(|name| name.strip_prefix("vmlinuz-")) {
            return Ok((release.to_owned(), path.clone()));
        }
    }
    bail!("there is no kernel in {}", boot.display())
}

fn initramfs(package: &Path, release: &str, busybox: &Path) -> Result<Vec<u8>> {
    let places = ["lib/modules", "usr/lib/modules"].map(|place| package.join(place).join(release));
    let Some(dir) = places.iter().find(|dir| dir.is_dir()) else {
        bail!("there are no modules of the kernel {release} in {}", package.display());
    };
    let modules = Modules::open(dir, busybox)?.load_order(&MODULES, &EXTRA_MODULES)?;
    let mut archive = Archive::default();
    for dir in ["bin", "dev", "host", "lower", "modules", "proc", "scratch", "sys"] {
        archive.directory(dir);
    }
    archive.device("dev/console", (5, 1));
    archive.file("init", INIT.as_bytes());
    archive.file("bin/busybox", &fs::read(busybox).with_context(|| format!("could not read {}", busybox.display()))?);
    for applet in APPLETS {
        archive.symlink(&format!("bin/{applet}"), "busybox");
    }
    let mut order = String::new();
    for module in &modules {
        archive.file(&format!("modules/{}.ko", module.name), &module.content);
        // Otherwise it comes with an interface that nobody asked for.
        let options = if module.name == "dummy" { " numdummies=0" } else { "" };
        order += &format!("{}{options}\n", module.name);
    }
    archive.file("modules/order", order.as_bytes());
    Ok(archive.finish())
}

/// Unpacks xz data from stdin to stdout. Busybox cannot: the kernel's is filtered for x86 code.
const UNPACK: &str = "import lzma, sys; sys.stdout.buffer.write(lzma.decompress(sys.stdin.buffer.read()))";

/// The kernel without its compression, which the emulated processor would take three seconds to undo at every start;
/// the kernel as it is where that cannot be done.
fn unpacked_kernel(packed: &Path) -> Result<Vec<u8>> {
    let image = fs::read(packed).with_context(|| format!("could not read {}", packed.display()))?;
    let Some(payload) = xz_payload(&image) else { return Ok(image) };
    let python = debian::program("python3", "python3")?;
    let unpacked = filter(Command::new(python).args(["-c", UNPACK]), payload);
    Ok(unpacked.ok().filter(|kernel| kernel.starts_with(b"\x7fELF")).unwrap_or(image))
}

/// The compressed kernel in a bzImage, if xz compressed it. Offsets: the kernel's x86 boot protocol, version 2.08.
fn xz_payload(image: &[u8]) -> Option<&[u8]> {
    let field = |at: usize| Some(u32::from_le_bytes(image.get(at..at + 4)?.try_into().ok()?) as usize);
    if image.get(0x202..0x206)? != b"HdrS" {
        return None;
    }
    let start = (usize::from(image[0x1f1]) + 1) * 512 + field(0x248)?;
    // The last four bytes are the size of what comes out.
    let payload = image.get(start..start.checked_add(field(0x24c)?)?.checked_sub(4)?)?;
    payload.starts_with(b"\xfd7zXZ\0").then_some(payload)
}
