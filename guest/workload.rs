//! The workload: started, watched, and its end told.

use std::ffi::{CStr, CString, OsStr};
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::ExitStatus;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};

use super::failure::{Failure, shown, text};
use super::orders::Orders;
use super::ports::CONSOLE;
use super::sys;

/// Runs scripts that do not name an interpreter, as execvp does.
const SHELL: &CStr = c"/bin/sh";

/// Where a name is searched when the environment has no `PATH`, as execvp does.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// The running workload, for the signal handler; 0 before and after.
static RUNNING: AtomicI32 = AtomicI32::new(0);
/// A request to terminate came before the workload ran.
static TERMINATE: AtomicBool = AtomicBool::new(false);

extern "C" fn pass_on(signal: i32) {
    match RUNNING.load(Ordering::SeqCst) {
        0 => TERMINATE.store(true, Ordering::SeqCst),
        pid => sys::send_signal(pid, signal),
    }
}

/// Passes on a request to terminate that came from the host.
pub fn terminate() {
    pass_on(sys::SIGTERM);
}

/// Makes this process outlive what ends the workload: keys of the terminal, and requests to terminate, which it passes on.
pub fn guard_supervisor() {
    for signal in [sys::SIGINT, sys::SIGQUIT, sys::SIGTSTP, sys::SIGTTIN, sys::SIGTTOU, sys::SIGHUP] {
        sys::ignore(signal);
    }
    sys::on_signal(sys::SIGTERM, pass_on);
    // Where it is ignored there is nothing to wait for.
    sys::default_signal(sys::SIGCHLD);
    sys::unblock_signals();
}

/// Why there is no workload.
pub enum StartError {
    /// The process could not be made; nothing was executed.
    Prepare(Failure),
    /// The program could not be executed.
    Exec(Failure),
}

/// A workload whose program runs.
pub struct Workload {
    pid: i32,
    terminal: Option<File>,
}

impl Workload {
    /// Starts the workload in its own process group, which the terminal's keys go to if there is a terminal.
    ///
    /// A group of its own keeps `kill 0` away from this process and makes `kill -- -$$` mean what scripts expect.
    pub fn start(orders: &Orders) -> Result<Workload, StartError> {
        let prepare = |error| StartError::Prepare(Failure::new("cannot start a process", &error));
        let mut program = Program::new(&orders.exec, &orders.args, &orders.env).map_err(prepare)?;
        let terminal = terminal(orders.reopen_stdio);
        let (mut failed, mut report) = io::pipe().map_err(prepare)?;
        let pid = sys::split().map_err(prepare)?;
        if pid == 0 {
            if sys::new_group().is_ok()
                && let Some(terminal) = &terminal
            {
                // This process ignores TTOU until the next line, or it would stop here.
                let _ = sys::give_terminal(terminal.as_fd(), std::process::id() as i32);
            }
            sys::default_signals();
            sys::unblock_signals();
            let errno = program.execute();
            let _ = report.write_all(&errno.to_ne_bytes());
            sys::exit_now(126);
        }
        drop(report);
        // The descriptor closes itself when the program is executed.
        let mut errno = [0; 4];
        if failed.read_exact(&mut errno).is_ok() {
            let _ = sys::wait_for(pid);
            return Err(StartError::Exec(program.failure(i32::from_ne_bytes(errno))));
        }
        RUNNING.store(pid, Ordering::SeqCst);
        if TERMINATE.swap(false, Ordering::SeqCst) {
            sys::send_signal(pid, sys::SIGTERM);
        }
        Ok(Workload { pid, terminal })
    }

    /// Waits until the workload ends.
    pub fn wait(self) -> io::Result<ExitStatus> {
        loop {
            let status = sys::wait_for(self.pid)?;
            match status.stopped_signal() {
                None => {
                    RUNNING.store(0, Ordering::SeqCst);
                    return Ok(status);
                }
                // Nobody is there to type `fg`, so this is done here. A STOP came from a process that means to go on
                // with it, and is left alone.
                Some(sys::SIGTSTP) => {
                    self.foreground();
                    sys::send_signal(-self.pid, sys::SIGCONT);
                }
                // The terminal was taken away by a job that is gone. Without it these signals would come for ever.
                Some(sys::SIGTTIN | sys::SIGTTOU) if self.foreground() => sys::send_signal(-self.pid, sys::SIGCONT),
                Some(_) => {}
            }
        }
    }

    fn foreground(&self) -> bool {
        self.terminal.as_ref().is_some_and(|terminal| sys::give_terminal(terminal.as_fd(), self.pid).is_ok())
    }
}

/// The controlling terminal, on which ^C arrives even where standard input is something else. With `take_console` the
/// console becomes it, for kernels that left process 1 without one, or with one that is silent.
fn terminal(take_console: bool) -> Option<File> {
    let open = |path| OpenOptions::new().read(true).write(true).custom_flags(sys::O_NOCTTY).open(path).ok();
    let console = open(CONSOLE).filter(|console| take_console && !sys::is_control_terminal(console.as_fd()));
    let taken = console.filter(|console| {
        // Fails for the leader of a session, who may take a terminal without it.
        let _ = sys::new_session();
        sys::control_terminal(console.as_fd()).is_ok()
    });
    taken.or_else(|| open("/dev/tty"))
}

/// What is executed, in the form that execve wants: what a child of a program with threads may do allocates nothing.
pub struct Program {
    name: Vec<u8>,
    /// The paths to try, in order.
    candidates: Vec<CString>,
    argv: sys::Strings,
    /// The shell, a place for the path, and the arguments: for a file that names no interpreter.
    script: sys::Strings,
    env: sys::Strings,
}

impl Program {
    /// The program with this name or path; `PATH` is that of its environment.
    pub fn new(exec: &[u8], args: &[Vec<u8>], env: &[Vec<u8>]) -> io::Result<Program> {
        let c_strings = |list: &[Vec<u8>]| list.iter().map(|item| sys::c_string(item)).collect::<io::Result<Vec<_>>>();
        let path = env.iter().find_map(|entry| entry.strip_prefix(b"PATH="));
        let (name, args) = (sys::c_string(exec)?, c_strings(args)?);
        let with = |first: &[CString]| sys::Strings::new([first, &args].concat());
        Ok(Program {
            name: exec.to_vec(),
            candidates: c_strings(&candidates(exec, path))?,
            argv: with(&[name]),
            script: with(&[SHELL.to_owned(), CString::default()]),
            env: sys::Strings::new(c_strings(env)?),
        })
    }

    /// Becomes the program; returns the error number if that failed.
    pub fn execute(&mut self) -> i32 {
        let is_search = !self.name.contains(&b'/');
        let mut denied = false;
        for candidate in &self.candidates {
            match sys::execute(candidate, &self.argv, &self.env) {
                sys::ENOENT | sys::ENOTDIR if is_search => {}
                sys::EACCES if is_search => denied = true,
                // A shell would read it as a script.
                sys::ENOEXEC if sys::begins_with(candidate, *b"\x7fELF") => return sys::ENOEXEC,
                sys::ENOEXEC => {
                    sys::execute_with(SHELL, &mut self.script, 1, candidate, &self.env);
                    // Whatever the shell lacks, the fault is the file's.
                    return sys::ENOEXEC;
                }
                errno => return errno,
            }
        }
        if denied { sys::EACCES } else { sys::ENOENT }
    }

    /// Why it did not become the program.
    pub fn failure(&self, errno: i32) -> Failure {
        let mut message = format!("cannot run '{}': {}", shown(&self.name), text(&io::Error::from_raw_os_error(errno)));
        let is_there = |path: &CString| Path::new(OsStr::from_bytes(path.as_bytes())).exists();
        if errno == sys::ENOENT && self.candidates.iter().any(is_there) {
            message.push_str(" (the file is there, but not the interpreter or loader that it names)");
        }
        Failure { errno, message }
    }
}

/// The paths that execvp would try for a name.
fn candidates(name: &[u8], path: Option<&[u8]>) -> Vec<Vec<u8>> {
    if name.is_empty() {
        return Vec::new();
    }
    if name.contains(&b'/') {
        return vec![name.to_vec()];
    }
    let in_directory = |dir: &[u8]| if dir.is_empty() { name.to_vec() } else { [dir, b"/", name].concat() };
    path.unwrap_or(DEFAULT_PATH).split(|&byte| byte == b':').map(in_directory).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_searched_as_execvp_does() {
        let of = |name: &str, path: Option<&str>| -> Vec<String> {
            let found = candidates(name.as_bytes(), path.map(str::as_bytes));
            found.into_iter().map(|path| String::from_utf8(path).unwrap()).collect()
        };
        assert_eq!(of("x", Some("/a:/b/")), ["/a/x", "/b//x"]);
        assert_eq!(of("x", Some(":/a::b:")), ["x", "/a/x", "x", "b/x", "x"]);
        assert_eq!(of("x", Some("")), ["x"]);
        assert_eq!(of("x", None), ["/bin/x", "/usr/bin/x"]);
        assert_eq!(of("./x", Some("/a")), ["./x"]);
        assert_eq!(of("a/", Some("/a")), ["a/"]);
        assert!(of("", Some("/a")).is_empty());
    }
}
