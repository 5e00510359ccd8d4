//! The distribution at hand, and its commands.

use super::check::Remedy;

/// The newest release that krundl knows, for those who build it.
const NEWEST: &str = "1.19.7";

/// A distribution, by os-release.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Distribution {
    /// Debian and its descendants but Ubuntu.
    Debian,
    /// Ubuntu.
    Ubuntu,
    /// Fedora and its descendants.
    Fedora,
    /// Arch Linux and its descendants.
    Arch,
    /// openSUSE and SUSE.
    OpenSuse,
    /// Alpine Linux.
    Alpine,
    /// NixOS.
    Nix,
    /// macOS.
    MacOs,
    /// Another one, by its own name.
    Other(String),
}

/// What can be installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Package<'a> {
    Libkrun,
    /// The one of this soname.
    Libkrunfw(&'a str),
    Passt,
    Gvproxy,
}

/// The libkrunfw that the newest libkrun asks for.
const NEWEST_FIRMWARE: &str = "libkrunfw.so.5";

impl Distribution {
    /// By the text of os-release.
    pub(super) fn of(text: &str) -> Distribution {
        let value = |key: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
            line.unwrap_or("").trim_matches(['"', '\'']).to_owned()
        };
        let (id, like) = (value("ID"), value("ID_LIKE"));
        // What it calls itself counts before what it descends from.
        for word in [id.as_str()].into_iter().chain(like.split_whitespace()) {
            return match word {
                "debian" => Distribution::Debian,
                "ubuntu" => Distribution::Ubuntu,
                "fedora" | "rhel" | "centos" => Distribution::Fedora,
                "arch" => Distribution::Arch,
                "opensuse" | "suse" | "sles" | "opensuse-tumbleweed" | "opensuse-leap" => Distribution::OpenSuse,
                "alpine" => Distribution::Alpine,
                "nixos" => Distribution::Nix,
                _ => continue,
            };
        }
        Distribution::Other(if id.is_empty() { String::new() } else { value("NAME") })
    }

    /// How to install something. `sudo` is left out for root.
    pub(super) fn install(&self, package: Package<'_>, is_root: bool) -> Remedy {
        use Distribution as D;
        let sudo = if is_root { "" } else { "sudo " };
        // Asking for the soname finds the package whatever it is called.
        let file = match package {
            Package::Libkrun => "libkrun.so.1",
            Package::Libkrunfw(name) => name,
            Package::Passt => "passt",
            Package::Gvproxy => "gvproxy",
        };
        let is_library = matches!(package, Package::Libkrun | Package::Libkrunfw(_));
        let plain = match package {
            Package::Libkrun => "libkrun",
            Package::Libkrunfw(_) => "libkrunfw",
            Package::Passt => "passt",
            Package::Gvproxy => "gvisor-tap-vsock",
        };
        let install = Remedy::words(match package {
            Package::Libkrunfw(name) => format!("install {name}, of libkrunfw"),
            _ => format!("install {plain}"),
        });
        match self {
            D::Debian | D::Ubuntu if is_library => self.build(package, sudo),
            // Not every release of these has it, or not under a name that is known.
            D::Debian if package == Package::Gvproxy => {
                Remedy::words("install gvproxy, which Debian has from 13 on, or use passt")
            }
            D::Ubuntu | D::OpenSuse | D::Alpine | D::MacOs if package == Package::Gvproxy => {
                Remedy::words("install gvproxy, of gvisor-tap-vsock")
            }
            D::Debian | D::Ubuntu => install.command(format!("{sudo}apt-get install {plain}")),
            D::Fedora if is_library => install.command(format!("{sudo}dnf install '{file}()(64bit)'")),
            D::Fedora => install.command(format!("{sudo}dnf install {plain}")),
            D::OpenSuse if is_library => {
                install.command(format!("{sudo}zypper install --capability '{file}()(64bit)'"))
            }
            D::OpenSuse => install.command(format!("{sudo}zypper install {plain}")),
            D::Arch => install.command(format!("{sudo}pacman -S {plain}")),
            D::Alpine if is_library => install.command(format!("{sudo}apk add so:{file}")),
            D::Alpine => install.command(format!("{sudo}apk add {plain}")),
            D::Nix => {
                let name = if package == Package::Gvproxy { "gvproxy" } else { plain };
                install.command(format!("nix profile install nixpkgs#{name}"))
            }
            D::MacOs => install.command(format!("brew install {plain}")),
            D::Other(_) if is_library => self.build(package, sudo),
            D::Other(_) => install,
        }
    }

    /// How to install libkrun and the guest's kernel, which packages of libkrun do not always bring along.
    pub(super) fn install_libkrun(&self, is_root: bool) -> Remedy {
        let mut remedy = self.install(Package::Libkrun, is_root);
        // There the one depends on the other.
        if *self == Distribution::MacOs {
            return remedy;
        }
        for command in self.install(Package::Libkrunfw(NEWEST_FIRMWARE), is_root).commands {
            if !remedy.commands.contains(&command) {
                remedy.commands.push(command);
            }
        }
        remedy
    }

    /// Without a package: krundl's own tasks build libkrun from its published crate, and fetch libkrunfw.
    fn build(&self, package: Package<'_>, sudo: &str) -> Remedy {
        let who = match self {
            Distribution::Debian => "Debian has",
            Distribution::Ubuntu => "Ubuntu has",
            _ => "where there is",
        };
        if let Package::Libkrunfw(name) = package
            && name != NEWEST_FIRMWARE
        {
            let words = format!(
                "{who} no package of {name}: install the libkrunfw of the release of your libkrun, or a newer libkrun"
            );
            return Remedy::words(words);
        }
        let (what, task) = match package {
            Package::Libkrun => ("libkrun", format!("cargo xtask libkrun --release {NEWEST}")),
            _ => ("libkrunfw", "cargo xtask firmware".to_owned()),
        };
        let python = match package {
            Package::Libkrun => "for Python on x86-64, pip install 'krundl[bundled]' brings it (docs/python.md); else ",
            _ => "",
        };
        Remedy::words(format!("{who} no package of {what}: {python}build it, in a checkout of krundl"))
            .command(format!("{sudo}mkdir -p /usr/local/lib"))
            .command(format!("{sudo}cp -P \"$({task})\"/{what}.so* /usr/local/lib/"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_distribution_is_told_by_its_id_and_then_by_what_it_is_like() {
        for (text, distribution) in [
            ("ID=debian\nVERSION_ID=\"12\"", Distribution::Debian),
            ("NAME=\"Linux Mint\"\nID=linuxmint\nID_LIKE=\"ubuntu debian\"", Distribution::Ubuntu),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"", Distribution::Fedora),
            ("ID='opensuse-tumbleweed'\nID_LIKE='opensuse suse'", Distribution::OpenSuse),
            ("ID=manjaro\nID_LIKE=arch", Distribution::Arch),
            ("ID=alpine", Distribution::Alpine),
            ("ID=nixos", Distribution::Nix),
            ("NAME=Gentoo\nID=gentoo", Distribution::Other("Gentoo".to_owned())),
            ("", Distribution::Other(String::new())),
        ] {
            assert_eq!(Distribution::of(text), distribution, "{text}");
        }
    }

    #[test]
    fn root_needs_no_sudo() {
        let commands = |is_root| Distribution::Fedora.install(Package::Libkrun, is_root).commands;
        assert_eq!(commands(false), ["sudo dnf install 'libkrun.so.1()(64bit)'"]);
        assert_eq!(commands(true), ["dnf install 'libkrun.so.1()(64bit)'"]);
    }
}
