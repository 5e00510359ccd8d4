//! A plan as people read it.

use std::fmt;

use super::{Guest, NicSetup, Plan};

/// The library, each call on a numbered line, and what happens in the guest and at the end.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "library: {}", self.library.display())?;
        if let Some(firmware) = &self.firmware {
            writeln!(f, "firmware, loaded first: {}", firmware.display())?;
        }
        for network in &self.networks {
            writeln!(
                f,
                "started first, for {}: {} {}",
                network.field,
                network.program.display(),
                network.args.join(" ")
            )?;
            for port in &network.ports {
                writeln!(f, "     {port}")?;
            }
        }
        for (n, call) in self.calls.iter().enumerate() {
            writeln!(f, "{:>3}. {call}", n + 1)?;
        }
        if let Some(guest) = &self.guest {
            in_guest(guest, f)?;
        }
        for socket in &self.sockets {
            writeln!(f, "at the end: remove {}", socket.display())?;
        }
        for note in &self.notes {
            writeln!(f, "note: {note}")?;
        }
        Ok(())
    }
}

fn in_guest(guest: &Guest, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    writeln!(f, "in the guest:")?;
    if let Some(root) = &guest.root {
        let fstype = root.fstype.as_deref().unwrap_or("auto");
        let mode = if root.read_only { "ro" } else { "rw" };
        let options = root.options.as_ref().map(|options| format!(",{options}")).unwrap_or_default();
        writeln!(f, "     mount -t {fstype} -o {mode}{options} {} /", root.device)?;
    }
    for mount in &guest.mounts {
        let make = if mount.create { ", which it makes where it is missing" } else { "" };
        let mode = if mount.read_only { "ro" } else { "rw" };
        writeln!(f, "     mount -t virtiofs -o {mode} {} {}{make}", mount.tag, mount.path)?;
    }
    for nic in &guest.nics {
        write!(f, "     network card {}: ", nic.mac)?;
        match nic.setup {
            NicSetup::Dhcp => write!(f, "address by DHCP")?,
            NicSetup::Static { address, prefix, gateway } => {
                write!(f, "address {address}/{prefix}")?;
                gateway.map_or(Ok(()), |gateway| write!(f, ", gateway {gateway}"))?;
            }
        }
        let servers = nic.dns.iter().flatten().map(|server| format!(", name server {server}"));
        writeln!(f, "{}", servers.collect::<String>())?;
    }
    writeln!(f, "     cd {}", guest.workdir)?;
    let words: Vec<String> = std::iter::once(&guest.exec).chain(&guest.args).map(|word| format!("{word:?}")).collect();
    writeln!(f, "     exec {}", words.join(" "))
}
