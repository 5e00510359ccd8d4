//! For guests that mount by themselves: the commands to run in them, and what their kernel must know.

use super::Mount;
use crate::error::{Error, Problem, ProblemKind, Result};

/// The file systems that [`mount_commands`] may use.
pub const FILESYSTEMS: [&str; 2] = ["virtiofs", "overlay"];

/// How a guest puts a share in its place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Layout {
    /// The share itself: read-only if the mount is, else both sides see what the other writes.
    Direct,
    /// An overlay over the share, which is mounted read-only: the guest may write, and the host never sees it.
    Overlay(OverlayPaths),
}

/// Where the parts of an overlay are in the guest; `{tag}` stands for the mount's tag. The default is SmolVM's layout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OverlayPaths {
    /// The share.
    pub lower: String,
    /// What the guest writes.
    pub upper: String,
    /// overlayfs's own, on the same file system as `upper`.
    pub work: String,
}

impl Default for OverlayPaths {
    fn default() -> OverlayPaths {
        OverlayPaths {
            lower: "/mnt/.smolvm-ws-{tag}".to_owned(),
            upper: "/tmp/.smolvm-ws-{tag}-upper".to_owned(),
            work: "/tmp/.smolvm-ws-{tag}-work".to_owned(),
        }
    }
}

impl Layout {
    /// SmolVM's: an overlay for a read-only mount, the share itself for a writable one.
    pub fn of(mount: &Mount) -> Layout {
        if mount.read_only { Layout::Overlay(OverlayPaths::default()) } else { Layout::Direct }
    }
}

/// The commands, for a POSIX shell of root in the guest, that put a share in its place; each is to succeed before the
/// next. Guests whose root krundl's own program prepares need none of this.
///
/// # Errors
/// [`Error::InvalidSpec`] where the mount has no tag, or its place is not absolute: the commands could not be right.
pub fn mount_commands(mount: &Mount, layout: &Layout) -> Result<Vec<String>> {
    let invalid = |field: &str, reason: &str, fix: &str| {
        let problem = Problem::new(ProblemKind::Invalid, field, reason).fix(fix);
        Error::InvalidSpec { problems: vec![problem] }
    };
    let Some(tag) = mount.tag.as_deref().filter(|tag| !tag.is_empty()) else {
        return Err(invalid(
            "tag",
            "is absent, and a guest that mounts by itself knows a share by nothing else",
            "give the mount a tag of its own, at most 36 bytes",
        ));
    };
    if !mount.guest.starts_with('/') || mount.guest.contains('\0') || tag.contains('\0') {
        return Err(invalid(
            "guest",
            "must be an absolute path",
            "write it as the guest sees it, /workspace for example",
        ));
    }
    // Without the option the window is there and not used.
    let dax = if mount.dax_mib == 0 { "" } else { ",dax=always" };
    let (place, source) = (quoted(&mount.guest), quoted(tag));
    Ok(match layout {
        Layout::Direct => {
            let mode = if mount.read_only { "ro" } else { "rw" };
            vec![format!("mkdir -p -- {place}"), format!("mount -t virtiofs -o {mode}{dax} -- {source} {place}")]
        }
        Layout::Overlay(paths) => {
            let of = |path: &str| path.replace("{tag}", tag);
            let (lower, upper, work) = (of(&paths.lower), of(&paths.upper), of(&paths.work));
            let parts: Vec<String> = [&lower, &upper, &work].map(|path| option_value(path)).into();
            let options = format!("lowerdir={},upperdir={},workdir={}", parts[0], parts[1], parts[2]);
            let lower = quoted(&lower);
            vec![
                format!("mkdir -p -- {lower} {} {} {place}", quoted(&upper), quoted(&work)),
                format!("mount -t virtiofs -o ro{dax} -- {source} {lower}"),
                format!("mount -t overlay -o {} -- overlay {place}", quoted(&options)),
            ]
        }
    })
}

/// Which of [`FILESYSTEMS`] a kernel does not know, by the text of its `/proc/filesystems`. One that is a module and not
/// loaded is missing there, too.
pub fn missing_filesystems(proc_filesystems: &str) -> Vec<&'static str> {
    let known: Vec<&str> = proc_filesystems.lines().filter_map(|line| line.split_whitespace().last()).collect();
    FILESYSTEMS.into_iter().filter(|name| !known.contains(name)).collect()
}

/// As one word of a POSIX shell.
fn quoted(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"/._-+@%:=,".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// As overlayfs reads the value of an option: commas separate options, colons layers.
fn option_value(path: &str) -> String {
    path.chars().flat_map(|c| [Some('\\').filter(|_| matches!(c, ',' | ':' | '\\')), Some(c)]).flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(guest: &str, tag: Option<&str>, read_only: bool) -> Mount {
        let json = serde_json::json!({"host": "/h", "guest": guest, "tag": tag, "read_only": read_only});
        serde_json::from_value(json).unwrap()
    }

    fn commands(mount: &Mount) -> Vec<String> {
        mount_commands(mount, &Layout::of(mount)).unwrap()
    }

    #[test]
    fn a_writable_mount_is_the_share_itself() {
        assert_eq!(
            commands(&mount("/workspace", Some("ws"), false)),
            ["mkdir -p -- /workspace", "mount -t virtiofs -o rw -- ws /workspace"]
        );
    }

    #[test]
    fn a_read_only_mount_is_an_overlay_where_smolvm_has_it() {
        assert_eq!(
            commands(&mount("/workspace", Some("ws"), true)),
            [
                "mkdir -p -- /mnt/.smolvm-ws-ws /tmp/.smolvm-ws-ws-upper /tmp/.smolvm-ws-ws-work /workspace",
                "mount -t virtiofs -o ro -- ws /mnt/.smolvm-ws-ws",
                "mount -t overlay -o lowerdir=/mnt/.smolvm-ws-ws,upperdir=/tmp/.smolvm-ws-ws-upper,\
                 workdir=/tmp/.smolvm-ws-ws-work -- overlay /workspace",
            ]
        );
        let with_dax = Mount { dax_mib: 2, ..mount("/workspace", Some("ws"), true) };
        assert_eq!(commands(&with_dax)[1], "mount -t virtiofs -o ro,dax=always -- ws /mnt/.smolvm-ws-ws");
        let direct = mount_commands(&with_dax, &Layout::Direct).unwrap();
        assert_eq!(direct[1], "mount -t virtiofs -o ro,dax=always -- ws /workspace");
        let direct = mount_commands(&mount("/w", Some("ws"), true), &Layout::Direct).unwrap();
        assert_eq!(direct[1], "mount -t virtiofs -o ro -- ws /w");
    }

    #[test]
    fn a_shell_gets_the_words_as_they_were_meant() {
        for name in ["a b", "it's", "$(reboot)", "-o", "a;b", "\n", "ü", "a\\b"] {
            let guest = format!("/w/{name}");
            let script = format!("printf '%s\\0' {}", quoted(&guest));
            let output = std::process::Command::new("sh").args(["-c", &script]).output().unwrap();
            assert_eq!(String::from_utf8(output.stdout).unwrap(), format!("{guest}\0"), "{script}");
        }
        let first = &commands(&mount("/w", Some("a,b:c"), true))[2];
        assert!(first.contains(r"lowerdir=/mnt/.smolvm-ws-a\,b\:c,upperdir="), "{first}");
    }

    #[test]
    fn what_would_be_a_wrong_command_is_refused() {
        for (mount, field) in [
            (mount("/w", None, false), "tag"),
            (mount("/w", Some(""), false), "tag"),
            (mount("w", Some("ws"), false), "guest"),
            (mount("/w\0", Some("ws"), true), "guest"),
        ] {
            let error = mount_commands(&mount, &Layout::of(&mount)).unwrap_err();
            assert_eq!(error.problems()[0].field, field);
        }
    }

    #[test]
    fn filesystems_are_told_by_whole_names() {
        let text = "nodev\tsysfs\n\text4\n\tvirtiofs\nnodev\toverlayx\n";
        assert_eq!(missing_filesystems(text), ["overlay"]);
        assert_eq!(missing_filesystems(""), FILESYSTEMS);
        assert_eq!(missing_filesystems("nodev\tvirtiofs\nnodev\toverlay\n"), [""; 0]);
    }
}
