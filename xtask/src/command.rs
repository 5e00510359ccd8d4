//! Running other programs so that a failure says what was run and what it said.

use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// How many times something that needs the network is tried.
pub const TRIES: u32 = 4;

/// Runs a command to its end and gives back what it wrote to stdout; its stderr is kept for the error message.
pub fn output(command: &mut Command) -> Result<Vec<u8>> {
    let text = shown(command);
    let output = command.stdin(Stdio::null()).output().with_context(|| format!("could not start `{text}`"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = if said.trim().is_empty() { String::from_utf8_lossy(&output.stdout) } else { said };
        bail!("`{text}` failed ({}):\n{}", output.status, last_lines(&said, 30));
    }
    Ok(output.stdout)
}

/// Runs a command that reads `input` from its stdin, and gives back what it wrote to stdout.
pub fn filter(command: &mut Command, input: &[u8]) -> Result<Vec<u8>> {
    let text = shown(command);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit());
    let mut child = command.spawn().with_context(|| format!("could not start `{text}`"))?;
    let mut stdin = child.stdin.take().expect("stdin is a pipe");
    let output = std::thread::scope(|scope| {
        // A command that reads no further says why by its status.
        scope.spawn(move || drop(stdin.write_all(input)));
        child.wait_with_output()
    });
    let output = output.with_context(|| format!("could not wait for `{text}`"))?;
    if !output.status.success() {
        bail!("`{text}` failed ({})", output.status);
    }
    Ok(output.stdout)
}

/// Runs `attempt` up to [`TRIES`] times with growing pauses: mirrors and registries have their hiccups.
pub fn with_retries<T>(what: &str, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let mut pause = Duration::from_secs(2);
    for tried in 1.. {
        match attempt() {
            Ok(value) => return Ok(value),
            Err(error) if tried == TRIES => {
                return Err(error.context(format!("{what} failed {TRIES} times; is the network up?")));
            }
            Err(error) => {
                eprintln!("{what} failed, trying again in {} s: {error:#}", pause.as_secs());
                std::thread::sleep(pause);
                pause *= 3;
            }
        }
    }
    unreachable!("the loop ends by returning")
}

/// The program called `name`, where `PATH` finds it.
pub fn find_program(name: &str) -> Option<PathBuf> {
    // Administrators' tools live in directories that an ordinary user's PATH often lacks.
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin".into(), "/sbin".into()])
        .map(|dir| dir.join(name))
        .find(|file| is_executable(file))
}

/// Whether this process is root.
pub fn is_root() -> bool {
    // SAFETY: geteuid takes nothing and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(OsStr::to_string_lossy).collect::<Vec<_>>().join(" ")
}

/// The last `count` lines of a text.
pub fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_says_what_was_run_and_what_it_said() {
        let error = output(Command::new("sh").args(["-c", "echo out; echo why >&2; exit 3"])).unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("sh -c") && text.contains("exit status: 3") && text.contains("why"), "{text}");
    }

    #[test]
    fn a_filter_gets_its_input_and_gives_its_output() {
        let input = vec![b'x'; 1 << 20];
        assert_eq!(filter(&mut Command::new("cat"), &input).unwrap(), input);
        assert!(filter(&mut Command::new("false"), &input).is_err());
    }

    #[test]
    fn the_last_lines() {
        assert_eq!(last_lines("a\nb\nc\n", 2), "b\nc");
        assert_eq!(last_lines("a", 2), "a");
        assert_eq!(last_lines("", 2), "");
    }
}
