//! A bare Debian: the essential packages and apt, in a directory; what is done in it is thrown away.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

use crate::cache::{Cache, fingerprint};
use crate::command::{is_root, last_lines, output, with_retries};
use crate::debian;

/// Mounts the layers and what programs expect in /dev and /proc, and runs a command there: $1 the bare root, $2 a
/// directory for what changes, $3 who runs the command, $4 directories of this machine that are seen there, a line each;
/// the command follows.
const ENTER: &str = r#"
set -e
base=$1 change=$2 user=$3 seen=$4; shift 4
mkdir -p "$change/upper" "$change/work" "$change/root"
mount -t overlay overlay -o "lowerdir=$base,upperdir=$change/upper,workdir=$change/work" "$change/root"
cd "$change/root"
mount -t proc proc proc
mount -t tmpfs -o mode=755 dev dev
for node in null zero full random urandom; do touch dev/$node; mount --bind /dev/$node dev/$node; done
ln -s /proc/self/fd dev/fd
printf '%s' "$seen" | while read -r path; do
    mkdir -p ".$path"
    mount --rbind "$path" ".$path"
    mount -o remount,bind,ro ".$path"
done
chmod 755 root
exec chroot --userspec="$user" . /usr/bin/env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    HOME=/root DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8 "$@"
"#;

/// Whom this machine trusts.
const CERTIFICATES: &str = "/etc/ssl/certs/ca-certificates.crt";

/// A machine of its own kind: what is installed in it stays until it is made anew.
pub struct Bare {
    base: PathBuf,
    change: PathBuf,
    user: &'static str,
    seen: String,
    online: bool,
}

impl Bare {
    /// A fresh one with these Debian packages besides, of this machine's release, whose changes lie in `change`. Needs root.
    ///
    /// # Errors
    /// What could not be fetched.
    pub fn new(cache: &Cache, packages: &[&str], change: &Path) -> Result<Bare> {
        Bare::of(cache, &suite()?, packages, change)
    }

    /// The same of another release.
    ///
    /// # Errors
    /// What could not be fetched.
    pub fn of(cache: &Cache, suite: &str, packages: &[&str], change: &Path) -> Result<Bare> {
        if !is_root() {
            bail!("a bare Debian is made and entered by root only");
        }
        let program = debian::program("mmdebstrap", "mmdebstrap")?;
        let list = packages.join(",");
        let key = format!("bare/{suite}-{}", fingerprint([list.as_bytes()]));
        let base = cache.entry(&key, |dir| {
            eprintln!("making a bare Debian {suite} with {list:?} (a minute, once) ...");
            let mut command = Command::new(&program);
            command.args(["--mode=root", "--variant=minbase", "--quiet"]);
            // The lists of a release to come are good for days only, and a mirror may lag behind.
            command.arg("--aptopt=Acquire::Check-Valid-Until \"false\"");
            command.arg(suite).arg(dir.join("root"));
            if !list.is_empty() {
                command.arg(format!("--include={list}"));
            }
            with_retries("making a bare Debian", || {
                crate::cache::remove_dir(&dir.join("root"))?;
                output(&mut command)
            })
            .map(drop)
        })?;
        crate::cache::remove_dir(change)?;
        fs::create_dir_all(change).with_context(|| format!("could not create {}", change.display()))?;
        Ok(Bare { base: base.join("root"), change: change.to_owned(), user: "0:0", seen: String::new(), online: false })
    }

    /// With this machine's network, and the certificates that are trusted here.
    ///
    /// # Errors
    /// Its settings cannot be copied.
    pub fn online(mut self) -> Result<Bare> {
        for file in ["/etc/resolv.conf", "/etc/hosts", CERTIFICATES] {
            self.put(Path::new(file), file)?;
        }
        self.online = true;
        Ok(self)
    }

    /// A directory of this machine is seen there, under its own name, and cannot be changed.
    #[must_use]
    pub fn see(mut self, directory: &Path) -> Bare {
        self.seen += &format!("{}\n", directory.display());
        self
    }

    /// The same machine for an ordinary user.
    #[must_use]
    pub fn as_nobody(&self) -> Bare {
        let Bare { base, change, seen, online, .. } = self;
        Bare { base: base.clone(), change: change.clone(), user: "65534:65534", seen: seen.clone(), online: *online }
    }

    /// Puts a file of this machine there.
    ///
    /// # Errors
    /// It cannot be copied.
    pub fn put(&self, file: &Path, place: &str) -> Result<()> {
        let to = self.change.join("upper").join(place.trim_start_matches('/'));
        let dir = to.parent().context("a file needs a directory")?;
        fs::create_dir_all(dir).with_context(|| format!("could not create {}", dir.display()))?;
        fs::copy(file, &to).with_context(|| format!("could not copy {} to {}", file.display(), to.display()))?;
        Ok(())
    }

    /// Puts files of this machine there, with their names, into a directory.
    ///
    /// # Errors
    /// One cannot be copied.
    pub fn put_all(&self, files: &[PathBuf], directory: &str) -> Result<()> {
        files.iter().try_for_each(|file| {
            let name = file.file_name().context("a file without a name")?.to_string_lossy();
            self.put(file, &format!("{directory}/{name}"))
        })
    }

    /// Runs a line of the shell there.
    ///
    /// # Errors
    /// It cannot be started; its own failure is no error.
    pub fn run(&self, line: &str) -> Result<Output> {
        let mut command = Command::new("unshare");
        command.args(["--mount", "--pid", "--fork", "--kill-child"]);
        if !self.online {
            command.arg("--net");
        }
        command.args(["sh", "-c", ENTER, "enter"]);
        command.arg(&self.base).arg(&self.change).arg(self.user).arg(&self.seen);
        command.args(["sh", "-c", line]);
        command.stdin(Stdio::null()).output().context("could not start unshare")
    }

    /// As [`Bare::run`], and it must succeed. Gives back what it wrote to stdout.
    ///
    /// # Errors
    /// It failed.
    pub fn succeed(&self, line: &str) -> Result<String> {
        let result = self.run(line)?;
        let (out, err) = (String::from_utf8_lossy(&result.stdout), String::from_utf8_lossy(&result.stderr));
        if !result.status.success() {
            bail!(
                "`{line}` failed in a bare Debian ({}):\n{}",
                result.status,
                last_lines(&format!("{out}\n{err}"), 30)
            );
        }
        Ok(out.into_owned())
    }
}

/// The release of Debian that this machine has, so that what is built here runs there.
fn suite() -> Result<String> {
    let text = fs::read_to_string("/etc/os-release").context("could not read /etc/os-release")?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        line.map(|value| value.trim_matches('"').to_owned())
    };
    match (field("ID"), field("VERSION_CODENAME")) {
        (Some(id), Some(codename)) if id == "debian" => Ok(codename),
        (id, _) => bail!("a bare Debian is made on Debian only; this is {}", id.as_deref().unwrap_or("something else")),
    }
}

/// The words of a command line that a message can show.
pub fn said(result: &Output) -> String {
    let both = [&result.stdout[..], &result.stderr[..]].map(|text| String::from_utf8_lossy(text).into_owned());
    format!("{}\n{}\n{}", result.status, both[0], both[1])
}

/// Whether a program is there.
///
/// # Errors
/// The machine cannot be entered.
pub fn has(bare: &Bare, program: impl AsRef<OsStr>) -> Result<bool> {
    let line = format!("command -v {}", program.as_ref().to_string_lossy());
    Ok(bare.run(&line)?.status.success())
}
