//! The proof that mounts work, run as the workload of a guest whose root has nothing but this program.
//!
//! `krundl-guest --selftest READ WRITE [ONLY]`: copies the number in `READ/nonce` to `WRITE/answer`, and tries to write
//! to ONLY, which is mounted read-only. The exit status says what failed, a bit each.
//!
//! In such a root it is also /bin/sh, as far as libkrun before 1.19.0 needs one: `sh -c "mount -t virtiofs TAG DIR &&
//! exec PROGRAM ARGUMENTS"`.

use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, OpenOptions};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use super::{NOT_EXECUTED, NOT_PREPARED, complain, sys};

/// The nonce could not be read.
pub const NOT_READ: i32 = 1;
/// The answer could not be written.
pub const NOT_WRITTEN: i32 = 2;
/// A write to the read-only mount was not refused with `EROFS`.
pub const NOT_REFUSED: i32 = 4;

/// What this start is: a self-test or a shell; nothing in an ordinary start. Returns the exit status.
pub fn instead(args: &[OsString]) -> Option<i32> {
    let name = Path::new(args.first()?).file_name()?;
    match args.get(1)?.as_bytes() {
        b"--selftest" => Some(prove(&args[2..])),
        b"-c" if name == OsStr::new("sh") => Some(shell(args.get(2)?.as_bytes())),
        _ => None,
    }
}

fn prove(args: &[OsString]) -> i32 {
    let [read, write, only @ ..] = args else {
        complain("usage: krundl-guest --selftest READ WRITE [ONLY]");
        return NOT_PREPARED;
    };
    let mut failed = 0;
    let mut note = |bit: i32, what: String| {
        complain(&what);
        failed |= bit;
    };
    let nonce = fs::read(Path::new(read).join("nonce"));
    match &nonce {
        Err(error) => note(NOT_READ, format!("the nonce cannot be read: {error}")),
        Ok(nonce) => {
            if let Err(error) = fs::write(Path::new(write).join("answer"), nonce) {
                note(NOT_WRITTEN, format!("the answer cannot be written: {error}"));
            }
        }
    }
    for dir in only {
        for name in ["nonce", "new"] {
            let path = Path::new(dir).join(name);
            match OpenOptions::new().write(true).create(true).truncate(false).open(&path) {
                Err(error) if error.raw_os_error() == Some(sys::EROFS) => {}
                Err(error) => {
                    note(NOT_REFUSED, format!("writing {} fails, but not as it should: {error}", path.display()))
                }
                Ok(_) => note(NOT_REFUSED, format!("{} can be written", path.display())),
            }
        }
    }
    failed
}

/// Two commands, and no more of a shell than that.
fn shell(command: &[u8]) -> i32 {
    let Some((mount, exec)) = std::str::from_utf8(command).ok().and_then(|text| text.split_once(" && exec ")) else {
        complain("this sh only mounts and executes");
        return NOT_EXECUTED;
    };
    let ["mount", "-t", "virtiofs", tag, dir] = mount.split(' ').collect::<Vec<_>>()[..] else {
        complain("this sh only mounts shares");
        return NOT_EXECUTED;
    };
    if let Err(error) = sys::mount_virtiofs(tag.as_bytes(), dir.as_bytes(), false, b"") {
        complain(&format!("mount of tag \"{tag}\" on {dir}: {error}"));
        return NOT_PREPARED;
    }
    let words: Vec<CString> = exec.split(' ').filter_map(|word| sys::c_string(word.as_bytes()).ok()).collect();
    let Some(program) = words.first().cloned() else { return NOT_EXECUTED };
    let errno = sys::execute(&program, &sys::Strings::new(words), &sys::Strings::new(Vec::new()));
    complain(&format!("cannot run {program:?}: error {errno}"));
    NOT_EXECUTED
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(words: &[&str]) -> Vec<OsString> {
        words.iter().map(OsString::from).collect()
    }

    #[test]
    fn the_nonce_goes_through_and_a_writable_directory_is_not_read_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in ["in", "out", "only"] {
            fs::create_dir(path(name)).unwrap();
        }
        let [read, write, only] = ["in", "out", "only"].map(|name| path(name).display().to_string());
        let run = |args: &[&str]| instead(&words(&[&["guest", "--selftest"], args].concat()));
        assert_eq!(run(&[&read, &write]), Some(NOT_READ), "there is no nonce yet");
        fs::write(path("in/nonce"), "4711").unwrap();
        assert_eq!(run(&[&read, &write]), Some(0));
        assert_eq!(fs::read_to_string(path("out/answer")).unwrap(), "4711");
        assert_eq!(run(&[&read, "/nowhere"]), Some(NOT_WRITTEN));
        assert_eq!(run(&[&read, &write, &only]), Some(NOT_REFUSED));
    }

    #[test]
    fn an_ordinary_start_is_none_of_this() {
        assert_eq!(instead(&words(&["/.krundl/guest", "/.krundl/orders"])), None);
        assert_eq!(instead(&words(&["guest", "-c", "mount"])), None);
        assert_eq!(instead(&words(&["/bin/sh", "-c", "ls"])), Some(NOT_EXECUTED));
    }
}
