//! How krundl's program and its orders get into the guest.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::orders::{Channel as OrderChannel, NicSetup as OrderNicSetup, OrderMount, OrderNic, OrderRoot, Orders};
use crate::plan::{CHANNEL_NAME, Channel, Guest, NicSetup};
use crate::system::{path_of, random};

/// krundl's program for the guest: static, for the guest's architecture, which is the host's.
static PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/krundl-guest"));

/// The beginning of the names of bootstrap directories.
const PREFIX: &str = "krundl-share-";

/// The program.
///
/// # Errors
/// It was left out when krundl was built.
pub(crate) fn program() -> io::Result<&'static [u8]> {
    if PROGRAM.is_empty() {
        return Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this krundl was built without its program for the guest (KRUNDL_GUEST_PROGRAM names one at build time)",
        ));
    }
    Ok(PROGRAM)
}

/// The orders as the program reads them. `ports`: for which standard streams libkrun makes a port, as a bit each.
pub(super) fn orders(guest: &Guest, ports: u32) -> Vec<u8> {
    let bytes = |text: &crate::spec::Text| text.as_bytes().to_vec();
    Orders {
        channel: match guest.channel {
            Channel::None => OrderChannel::None,
            Channel::Vsock { port } => OrderChannel::Vsock { port },
            Channel::Port => OrderChannel::Port { name: CHANNEL_NAME.as_bytes().to_vec() },
        },
        control: guest.control,
        reopen_stdio: guest.reopen_stdio,
        ports,
        root: guest.root.as_ref().map(|root| OrderRoot {
            device: root.device.clone().into_bytes(),
            fstype: root.fstype.clone().unwrap_or_default().into_bytes(),
            options: root.options.clone().unwrap_or_default().into_bytes(),
            read_only: root.read_only,
        }),
        settle: guest.root_on_disk,
        mounts: guest
            .mounts
            .iter()
            .map(|mount| OrderMount {
                tag: mount.tag.clone().into_bytes(),
                path: mount.path.clone().into_bytes(),
                create: mount.create,
                read_only: mount.read_only,
                overlay: mount.overlay,
                options: if mount.dax { b"dax=always".to_vec() } else { Vec::new() },
            })
            .collect(),
        nics: guest
            .nics
            .iter()
            .map(|nic| OrderNic {
                field: nic.field.clone().into_bytes(),
                // It was made by the plan.
                mac: super::mac::hardware_address(&nic.mac).unwrap_or_default(),
                setup: match nic.setup {
                    NicSetup::Dhcp => OrderNicSetup::Dhcp,
                    NicSetup::Static { address, prefix, gateway } => OrderNicSetup::Static {
                        address: address.octets(),
                        prefix,
                        gateway: gateway.map_or([0; 4], |gateway| gateway.octets()),
                    },
                },
                dns: nic.dns.as_ref().map(|dns| dns.iter().map(|server| server.to_string().into_bytes()).collect()),
                optional: nic.optional,
            })
            .collect(),
        exec: bytes(&guest.exec),
        args: guest.args.iter().map(bytes).collect(),
        env: guest.env.iter().map(bytes).collect(),
        workdir: bytes(&guest.workdir),
    }
    .encode()
}

/// The directory that brings program and orders in where there are no overlays.
///
/// It is locked as long as this process lives. The caller removes it when the guest is up or the VM has ended; if the
/// caller is killed before that, a VM that dies with it does, and else the next start of any VM.
pub(super) struct Share {
    pub path: PathBuf,
    dir: OwnedFd,
}

impl Share {
    /// `owner`: the user and group that the process becomes, where it changes.
    pub(super) fn make(guest: &Guest, ports: u32, owner: (Option<u32>, Option<u32>)) -> io::Result<Share> {
        let parent = std::env::temp_dir();
        sweep(&parent);
        let path = parent.join(format!("{PREFIX}{}-{:08x}", std::process::id(), u32::from_le_bytes(random()?)));
        std::fs::DirBuilder::new().mode(0o700).create(&path)?;
        match Share::fill(&path, guest, ports, owner) {
            Ok(dir) => Ok(Share { path, dir }),
            Err(error) => {
                // The caller does not know of it yet.
                let _ = std::fs::remove_dir_all(&path);
                Err(error)
            }
        }
    }

    fn fill(path: &Path, guest: &Guest, ports: u32, (uid, gid): (Option<u32>, Option<u32>)) -> io::Result<OwnedFd> {
        let dir = OwnedFd::from(File::open(path)?);
        flock(&dir, FlockOperation::LockShared)?;
        write(&path.join("guest"), 0o500, program()?)?;
        write(&path.join("orders"), 0o400, &orders(guest, ports))?;
        if uid.is_some() || gid.is_some() {
            for part in [path.join("guest"), path.join("orders"), path.to_owned()] {
                std::os::unix::fs::chown(part, uid, gid)?;
            }
        }
        Ok(dir)
    }

    /// The path to give to libkrun: this very directory, also after it has been removed by name.
    pub(super) fn shared_path(&self) -> io::Result<PathBuf> {
        Ok(path_of(self.dir.as_fd())?.join("."))
    }
}

fn write(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    File::options().write(true).create_new(true).mode(mode).open(path)?.write_all(bytes)
}

/// Removes the directories that nobody locks any more.
fn sweep(parent: &Path) {
    let Ok(entries) = std::fs::read_dir(parent) else { return };
    // SAFETY: geteuid only returns a number.
    let ours = unsafe { libc::geteuid() };
    for entry in entries.flatten() {
        if !entry.file_name().to_string_lossy().starts_with(PREFIX) {
            continue;
        }
        let Ok(dir) = File::options().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(entry.path())
        else {
            continue;
        };
        let owned = dir.metadata().is_ok_and(|metadata| metadata.uid() == ours);
        // A directory that its maker has not locked yet is younger than a second or so.
        let settled =
            dir.metadata().and_then(|m| m.modified()).is_ok_and(|t| t.elapsed().is_ok_and(|age| age.as_secs() > 60));
        if owned && settled && flock(&dir, FlockOperation::NonBlockingLockExclusive).is_ok() {
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
}
