//! The control port: further commands in a running guest, figures, the request to end.

use std::collections::BTreeMap;
use std::ffi::{CString, c_char};
use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use super::boundary::{
    asked, bytes, fallible, free, give, infallible, items, needed, needed_options, optional_path, options, owned,
    shown, text,
};
use super::launch::copy;
use super::vm::{timeout, write_exit};
use super::{krundl_error, krundl_exit, krundl_spec, krundl_status, krundl_vm};
use crate::control::{CONNECT_TIMEOUT, Command, Ended, Exec, Figures, Sink, Size, Source, Streams, socket_of};
use crate::error::{Error, Result};
use crate::spec::{Control, Text};

/// Gives the VM a control port: the way for further commands, figures and the request to end, from libkrun 1.10.0 on.
/// Whoever can connect to its socket can do anything in the guest.
///
/// spec: not NULL. socket: its path, at most 107 bytes, in a directory with mode 0700; NULL: in a directory that krundl
/// makes for this VM alone, where krundl_vm_control finds it.
///
/// Threads: any, one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT.
///
/// # Safety
/// `spec` is NULL or a live handle; `socket` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_set_control(spec: *mut krundl_spec, socket: *const c_char) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        super::spec::edit(spec, |spec| {
            spec.control = Some(optional_path(socket).map_or(Control::Private, Control::Socket));
            Ok(())
        })
    }
}

/// The path of the control port's socket; NULL for NULL, and where the spec has none. The text is the handle's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `vm` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_vm_control(vm: *const krundl_vm) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(vm, std::ptr::null(), |vm| shown(vm.control())) }
}

/// A command in a guest. Data flows while somebody waits for it. Any thread may call anything at any time, but
/// krundl_exec_free.
pub struct krundl_exec {
    exec: Exec,
    text: OnceLock<CString>,
}

/// How a command is run. Zeroes are the defaults: `krundl_exec_options options = {.struct_size = sizeof options};`.
/// Descriptors are copied and stay the caller's.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct krundl_exec_options {
    /// sizeof(krundl_exec_options), so that fields can be added.
    pub struct_size: usize,
    /// Variables, each NAME=value, up to a NULL; on top of the workload's. NULL for none.
    pub env: *const *const c_char,
    /// The working directory in the guest; NULL for the workload's.
    pub workdir: *const c_char,
    /// The user that it runs as.
    pub uid: u32,
    /// The group; 0 for a user other than 0: that of the user in the guest's /etc/passwd.
    pub gid: u32,
    /// Standard input: KRUNDL_STREAM_INHERIT, _NULL or _DESCRIPTOR.
    pub input: i32,
    /// Its descriptor.
    pub input_fd: i32,
    /// Standard output: the same.
    pub output: i32,
    /// Its descriptor.
    pub output_fd: i32,
    /// Standard error: the same.
    pub error: i32,
    /// Its descriptor.
    pub error_fd: i32,
    /// How long a guest that does not answer yet is waited for, in milliseconds; 0: 10 seconds.
    pub connect_timeout_ms: u64,
    /// The lines of its terminal.
    pub rows: u16,
    /// The characters in each.
    pub columns: u16,
    /// Whether it has a terminal of its own, of that size, instead of three streams: output and errors are one.
    pub terminal: bool,
    /// Whether its environment has those variables alone.
    pub clear_env: bool,
}

impl Default for krundl_exec_options {
    fn default() -> krundl_exec_options {
        krundl_exec_options {
            struct_size: 0,
            env: std::ptr::null(),
            workdir: std::ptr::null(),
            uid: 0,
            gid: 0,
            input: 0,
            input_fd: 0,
            output: 0,
            output_fd: 0,
            error: 0,
            error_fd: 0,
            connect_timeout_ms: 0,
            rows: 0,
            columns: 0,
            terminal: false,
            clear_env: false,
        }
    }
}

/// A guest's figures at one moment; one that its kernel does not have is 0.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct krundl_figures {
    /// sizeof(krundl_figures), so that fields can be added.
    pub struct_size: usize,
    /// Since the guest's kernel started, in milliseconds.
    pub uptime_ms: u64,
    /// Processors that are running.
    pub cpus: u64,
    /// Their time in programs since then, in milliseconds, all together.
    pub cpu_user_ms: u64,
    /// In the kernel.
    pub cpu_system_ms: u64,
    /// With nothing to do.
    pub cpu_idle_ms: u64,
    /// With nothing to do but to wait for a disk.
    pub cpu_wait_ms: u64,
    /// Taken away by the host, as far as it says so.
    pub cpu_stolen_ms: u64,
    /// Memory that the guest's kernel has to give, in bytes.
    pub memory_total: u64,
    /// In use for nothing.
    pub memory_free: u64,
    /// What programs could still get, by the kernel's estimate.
    pub memory_available: u64,
    /// Files kept in memory.
    pub memory_cached: u64,
    /// Processes that run or wait for a disk, on average over a minute.
    pub load_1: f64,
    /// Over 5 minutes.
    pub load_5: f64,
    /// Over 15 minutes.
    pub load_15: f64,
    /// Processes that there are.
    pub processes: u64,
}

/// Starts a command in a running guest. That its program is not there, or cannot be executed, is no failure but how it
/// ended: krundl_exec_wait says KRUNDL_EXIT_NOT_EXECUTED.
///
/// guest: the VM's name (krundl run --name), or the path of its control socket, with a slash (krundl_vm_control); not
/// NULL. path: the program, in the guest; a name is searched in the PATH of its environment; not NULL. args: its
/// arguments without its own name, up to a NULL; may be NULL. options: may be NULL. out: gets the command, which is the
/// caller's, to be freed with krundl_exec_free. error: may be NULL; gets the failure, which is the caller's, to be freed
/// with krundl_error_free, or NULL.
///
/// Threads: any. Errors: KRUNDL_STATUS_CONTROL_LOST; KRUNDL_STATUS_GUEST_SETUP when the guest cannot prepare it (working
/// directory, user, terminal); KRUNDL_STATUS_OS, KRUNDL_STATUS_INVALID_ARGUMENT.
///
/// # Safety
/// `guest` and `path` are NULL or C strings, `args` NULL or such an array, `options` NULL or a structure with its size in
/// it; `out` and `error` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_exec_new(
    guest: *const c_char,
    path: *const c_char,
    args: *const *const c_char,
    options: *const krundl_exec_options,
    out: *mut *mut krundl_exec,
    error: *mut *mut krundl_error,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        fallible(error, || {
            give(out, || {
                let socket = socket(guest)?;
                let wanted = self::options("options", options)?;
                let command = command(path, args, &wanted)?;
                let size = Size { rows: wanted.rows, columns: wanted.columns };
                let time = match wanted.connect_timeout_ms {
                    0 => CONNECT_TIMEOUT,
                    ms => Duration::from_millis(ms),
                };
                let exec = Exec::start(&socket, &command, size, streams(&wanted)?, time)?;
                Ok(krundl_exec { exec, text: OnceLock::new() })
            })
        })
    }
}

/// # Safety
/// `guest` is NULL or a C string.
unsafe fn socket(guest: *const c_char) -> Result<PathBuf> {
    // SAFETY: the caller's promise is the same.
    let bytes = unsafe { bytes(guest) }.ok_or_else(|| Error::argument("guest", "is NULL"))?;
    if bytes.contains(&b'/') {
        return Ok(PathBuf::from(<std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(bytes)));
    }
    // SAFETY: as above.
    socket_of(unsafe { text("guest", guest) }?)
}

/// # Safety
/// As for [`krundl_exec_new`].
unsafe fn command(path: *const c_char, args: *const *const c_char, wanted: &krundl_exec_options) -> Result<Command> {
    let text_of = |bytes: &[u8]| Text::from(bytes.to_vec());
    // SAFETY: the caller's promise is the same, and an item of an array is a C string.
    let (path, args, variables, workdir) = unsafe {
        let all = |array| items(array).into_iter().filter_map(|item| bytes(item)).collect::<Vec<_>>();
        (bytes(path), all(args), all(wanted.env), bytes(wanted.workdir))
    };
    let mut env = BTreeMap::new();
    for entry in variables {
        let at = entry.iter().position(|byte| *byte == b'=');
        let at = at.ok_or_else(|| Error::argument("env", "holds an entry that is not NAME=value"))?;
        let name =
            std::str::from_utf8(&entry[..at]).map_err(|_| Error::argument("env", "holds a name that is not UTF-8"))?;
        env.insert(name.to_owned(), text_of(&entry[at + 1..]));
    }
    let (uid, gid) = (wanted.uid, wanted.gid);
    Ok(Command {
        path: text_of(path.ok_or_else(|| Error::argument("path", "is NULL"))?),
        args: args.into_iter().map(text_of).collect(),
        env,
        clear_env: wanted.clear_env,
        workdir: workdir.map(text_of),
        uid: Some(uid).filter(|uid| *uid != 0),
        gid: Some(gid).filter(|gid| *gid != 0),
        terminal: wanted.terminal,
    })
}

fn streams(wanted: &krundl_exec_options) -> Result<Streams> {
    let own =
        |fd: BorrowedFd<'_>| fd.try_clone_to_owned().map_err(|error| Error::os("copying a standard stream", error));
    let stream = |option: &str, kind: i32, fd: i32, own: &dyn Fn() -> Result<OwnedFd>| match kind {
        0 => own().map(Some),
        1 => Ok(None),
        3 => copy(option, fd).map(Some),
        kind => Err(Error::argument(option, format!("of a command in a guest it cannot be the krundl_stream {kind}"))),
    };
    let stdin = stream("input", wanted.input, wanted.input_fd, &|| own(std::io::stdin().as_fd()))?;
    let stdout = stream("output", wanted.output, wanted.output_fd, &|| own(std::io::stdout().as_fd()))?;
    let stderr = stream("error", wanted.error, wanted.error_fd, &|| own(std::io::stderr().as_fd()))?;
    Ok(Streams {
        stdin: stdin.map_or(Source::Null, Source::Fd),
        stdout: stdout.map_or(Sink::Null, Sink::Fd),
        stderr: stderr.map_or(Sink::Null, Sink::Fd),
    })
}

/// Frees the command; if it still runs, the guest kills it with its process group. exec: may be NULL.
///
/// Threads: any, one that no other one uses it with.
///
/// # Safety
/// `exec` is NULL or was given by krundl and not freed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_exec_free(exec: *mut krundl_exec) {
    // SAFETY: the caller's promise is the same.
    unsafe { free(exec) }
}

/// The command's number in the guest; 0 for NULL, and where it was not executed.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `exec` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_exec_pid(exec: *const krundl_exec) -> i64 {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(exec, 0, |exec| exec.exec.pid().map_or(0, i64::from)) }
}

/// Waits until the command has ended and everything that it wrote is where it belongs, and says how. When the time is
/// over, that is no failure: kind is KRUNDL_EXIT_RUNNING. Its streams flow meanwhile; writing to one whose reader has
/// gone raises SIGPIPE, as it does everywhere.
///
/// exec: not NULL. timeout_ms: how long, in milliseconds; negative: without end; 0: not at all. kind: may be NULL; gets
/// how it ended. status: may be NULL; gets the status as a shell would put it, -1 while it runs. error: may be NULL; gets
/// the failure, which is the caller's, to be freed with krundl_error_free, or NULL.
///
/// Threads: any, also at the same time. It can be asked again afterwards. Errors: KRUNDL_STATUS_CONTROL_LOST when the
/// guest or its VM ends first; KRUNDL_STATUS_OS, KRUNDL_STATUS_INVALID_ARGUMENT.
///
/// # Safety
/// `exec` is NULL or a live handle; `kind`, `status` and `error` are NULL or can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_exec_wait(
    exec: *const krundl_exec,
    timeout_ms: i64,
    kind: *mut krundl_exit,
    status: *mut i32,
    error: *mut *mut krundl_error,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        fallible(error, || {
            let exec = needed("exec", exec)?;
            let ended = exec.exec.wait_with(timeout(timeout_ms), &mut || ControlFlow::Continue(()))?;
            let exit = match ended {
                Ended::Exit(exit) => Some(exit),
                Ended::TimedOut | Ended::Interrupted => None,
            };
            if let Some(exit) = &exit {
                exec.text.get_or_init(|| owned(&exit.to_string()));
            }
            write_exit(exit.as_ref(), kind, status);
            Ok(())
        })
    }
}

/// How the command ended, in words; NULL for NULL, and before krundl_exec_wait has told. The text is the handle's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `exec` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_exec_exit_text(exec: *const krundl_exec) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(exec, std::ptr::null(), |exec| shown(exec.text.get())) }
}

/// Sends a signal, by Linux's number, to the command and its process group. Nothing for NULL, or when it has ended.
///
/// Threads: any, also while others wait. Cannot fail.
///
/// # Safety
/// `exec` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_exec_signal(exec: *const krundl_exec, number: i32) {
    // SAFETY: the caller's promise is the same.
    infallible((), || unsafe { exec.as_ref() }.into_iter().for_each(|exec| exec.exec.signal(number)));
}

/// Tells the command's terminal its size. Nothing for NULL, or when it has ended.
///
/// Threads: any, also while others wait. Cannot fail.
///
/// # Safety
/// `exec` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_exec_resize(exec: *const krundl_exec, rows: u16, columns: u16) {
    // SAFETY: the caller's promise is the same.
    let exec = unsafe { exec.as_ref() };
    infallible((), || exec.into_iter().for_each(|exec| exec.exec.resize(Size { rows, columns })));
}

/// A guest's figures.
///
/// guest: as for krundl_exec_new. timeout_ms: how long a guest that does not answer yet is waited for, in milliseconds; not
/// at all where negative. out: not NULL, with its struct_size set; gets them. error: may be NULL; gets the failure, which
/// is the caller's, to be freed with krundl_error_free, or NULL.
///
/// Threads: any. Errors: KRUNDL_STATUS_CONTROL_LOST, KRUNDL_STATUS_INVALID_ARGUMENT.
///
/// # Safety
/// `guest` is NULL or a C string; `out` NULL or a structure with its size in it, of which that many bytes can be written;
/// `error` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_guest_figures(
    guest: *const c_char,
    timeout_ms: i64,
    out: *mut krundl_figures,
    error: *mut *mut krundl_error,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        fallible(error, || {
            let theirs = needed_options("out", out.cast_const())?.struct_size.min(size_of::<krundl_figures>());
            let found = crate::control::figures(&socket(guest)?, timeout(timeout_ms).unwrap_or_default())?;
            let found = krundl_figures { struct_size: theirs, ..krundl_figures::of(&found) };
            // So many bytes are there in both, and a program that knows fewer fields gets those.
            std::ptr::copy_nonoverlapping((&raw const found).cast::<u8>(), out.cast::<u8>(), theirs);
            Ok(())
        })
    }
}

impl krundl_figures {
    fn of(found: &Figures) -> krundl_figures {
        let [load_1, load_5, load_15] = found.load;
        krundl_figures {
            struct_size: 0,
            uptime_ms: found.uptime_ms,
            cpus: found.cpus,
            cpu_user_ms: found.cpu.user_ms,
            cpu_system_ms: found.cpu.system_ms,
            cpu_idle_ms: found.cpu.idle_ms,
            cpu_wait_ms: found.cpu.wait_ms,
            cpu_stolen_ms: found.cpu.stolen_ms,
            memory_total: found.memory.total,
            memory_free: found.memory.free,
            memory_available: found.memory.available,
            memory_cached: found.memory.cached,
            load_1,
            load_5,
            load_15,
            processes: found.processes,
        }
    }
}

/// Asks the workload of a guest to end: it gets SIGTERM, and whoever launched the VM hears what it made of that.
///
/// guest, timeout_ms: as for krundl_guest_figures. error: may be NULL; as for krundl_guest_figures.
///
/// Threads: any. Errors: KRUNDL_STATUS_CONTROL_LOST, KRUNDL_STATUS_INVALID_ARGUMENT.
///
/// # Safety
/// `guest` is NULL or a C string; `error` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_guest_terminate(
    guest: *const c_char,
    timeout_ms: i64,
    error: *mut *mut krundl_error,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe { fallible(error, || crate::control::terminate(&socket(guest)?, timeout(timeout_ms).unwrap_or_default())) }
}
