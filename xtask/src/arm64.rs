//! The guest's kernel for arm64, built on any machine and tried on an emulated one.
//!
//! Not with libkrun: an emulated arm64 machine whose KVM works would take an arm64 libkrun, and all of its world. QEMU's
//! `virt` has the same devices, virtio over MMIO in a device tree.

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::cache::Cache;
use crate::command::{last_lines, output};
use crate::lab::cpio::Archive;
use crate::{debian, kernel, project};

/// What builds it elsewhere, and what emulates the machine.
const PROGRAMS: [(&str, &str); 3] = [
    ("aarch64-linux-gnu-gcc", "gcc-aarch64-linux-gnu libc6-dev-arm64-cross"),
    ("qemu-system-aarch64", "qemu-system-arm"),
    ("mke2fs", "e2fsprogs"),
];
/// A boot takes a second or two.
const PATIENCE: Duration = Duration::from_secs(180);
/// What guests of libkrun need of it, but virtio-fs itself, which QEMU has only with a server.
const EXPECTED: [&str; 10] = [
    "machine: aarch64",
    "filesystem: virtiofs",
    "filesystem: overlay",
    "filesystem: tmpfs",
    "disk: of the host",
    "share: of the host",
    "card: 52:54:00:12:34:56",
    "vsock: yes",
    "packet: yes",
    "end",
];

/// Builds the kernel, looks at its configuration and boots it.
///
/// # Errors
/// It does not build, lacks something, or does not boot.
pub fn test(cache: &Cache) -> Result<()> {
    debian::require(&PROGRAMS)?;
    let built = kernel::of(cache, "arm64")?;
    let krundl = project::executables(&["build", "--package", "krundl", "--bins"])?;
    let krundl = project::executable(&krundl, "krundl")?;
    // A file for another processor is refused, whatever it was built with.
    let files = if cfg!(target_arch = "aarch64") { &["Image", "config"][..] } else { &["config"] };
    for file in files {
        let wanted = "mounts,overlay,disk,net,vsock,dax,initrd";
        let mut check = Command::new(&krundl);
        output(check.args(["kernel", "check", "--for", wanted]).arg(built.join(file)))?;
    }
    let said = boot(cache, built.join("Image"))?;
    let missing: Vec<&str> =
        EXPECTED.into_iter().filter(|line| !said.lines().any(|said| said.trim_end() == *line)).collect();
    ensure!(missing.is_empty(), "the arm64 kernel did not say {missing:?}, but:\n{}", last_lines(&said, 60));
    eprintln!("the arm64 kernel boots, with its disk, share and card");
    Ok(())
}

/// Returns what its console said.
fn boot(cache: &Cache, image: PathBuf) -> Result<String> {
    let dir = cache.root().join("kernel/arm64-boot");
    crate::cache::remove_dir(&dir)?;
    let share = dir.join("share");
    fs::create_dir_all(&share)?;
    fs::write(share.join("f"), "of the host\n")?;
    let (init, ram, disk) = (dir.join("init"), dir.join("initrd"), dir.join("disk"));
    let source = project::root().join("xtask/src/arm64-init.c");
    output(Command::new("aarch64-linux-gnu-gcc").args(["-O2", "-Wall", "-static", "-o"]).arg(&init).arg(source))?;
    let mut archive = Archive::default();
    archive.directory("dev");
    archive.device("dev/console", (5, 1));
    archive.file("init", &fs::read(&init)?);
    fs::write(&ram, archive.finish())?;
    output(Command::new("mke2fs").args(["-q", "-t", "ext4", "-d"]).arg(&share).arg(&disk).arg("16M"))?;
    let mut qemu = Command::new("timeout");
    qemu.arg(PATIENCE.as_secs().to_string()).arg("qemu-system-aarch64");
    qemu.args(["-M", "virt", "-cpu", "cortex-a57", "-m", "512", "-nodefaults", "-display", "none", "-no-reboot"]);
    qemu.arg("-kernel").arg(image).arg("-initrd").arg(&ram).args(["-append", "console=hvc0 panic=-1"]);
    qemu.args(["-chardev", "stdio,id=c", "-device", "virtio-serial-device", "-device", "virtconsole,chardev=c"]);
    let option = |before: &str, path: &std::path::Path, after: &str| {
        let path = path.to_str().context("the cache's path is not UTF-8")?.replace(',', ",,");
        Ok::<_, anyhow::Error>(format!("{before}{path}{after}"))
    };
    qemu.arg("-drive").arg(option("if=none,id=d,format=raw,readonly=on,file=", &disk, "")?);
    qemu.args(["-device", "virtio-blk-device,drive=d"]);
    qemu.arg("-fsdev").arg(option("local,id=s,readonly=on,security_model=none,path=", &share, "")?);
    qemu.args(["-device", "virtio-9p-device,fsdev=s,mount_tag=share"]);
    qemu.args(["-netdev", "user,id=n", "-device", "virtio-net-device,netdev=n,mac=52:54:00:12:34:56"]);
    let result = qemu.stdin(Stdio::null()).output().context("timeout, of coreutils")?;
    let said = String::from_utf8_lossy(&result.stdout).replace('\r', "");
    if !result.status.success() {
        let error = String::from_utf8_lossy(&result.stderr);
        bail!("the arm64 kernel did not come to its end ({}): {error}\n{}", result.status, last_lines(&said, 60));
    }
    crate::cache::remove_dir(&dir)?;
    Ok(said)
}
