//! Makes the calls of API generation one.

use std::ffi::{CString, c_char};
use std::io;
use std::os::fd::{IntoRawFd, RawFd};

use super::bootstrap::{self, Share};
use super::streams::Streams;
use crate::plan::{Call, Content, Fd, Guest, Shared};
use crate::spec::HostPath;
use crate::symbols::Functions;

/// What the calls of one VM work on.
pub(super) struct Caller<'a> {
    pub functions: &'a Functions,
    pub streams: &'a Streams,
    pub guest: &'a Guest,
    pub share: Option<&'a Share>,
    /// The context number that libkrun gave.
    context: u32,
    /// The number of the console that was made last.
    console: u32,
}

/// Why a call was not made.
pub(super) enum NotMade {
    /// The library lacks the function: the plan is not for this library.
    Missing,
    /// Something of our own.
    Os(io::Error),
}

impl From<io::Error> for NotMade {
    fn from(error: io::Error) -> NotMade {
        NotMade::Os(error)
    }
}

impl<'a> Caller<'a> {
    pub(super) fn new(
        functions: &'a Functions,
        streams: &'a Streams,
        guest: &'a Guest,
        share: Option<&'a Share>,
    ) -> Caller<'a> {
        Caller { functions, streams, guest, share, context: 0, console: 0 }
    }

    /// Makes one call and returns what libkrun returned.
    ///
    /// # Safety
    /// The functions must be those of a library of generation one that stays loaded. `krun_start_enter` ends the
    /// process.
    pub(super) unsafe fn call(&mut self, call: &Call) -> Result<i32, NotMade> {
        let functions = self.functions;
        let ctx = self.context;
        macro_rules! made {
            ($name:ident($($arg:expr),*)) => {
                // SAFETY: the pointer has the table's type, which is compared with libkrun's own signatures; strings
                // are NUL-terminated and live across the call, and libkrun copies them; what it keeps (overlay data)
                // is leaked.
                unsafe { functions.$name.ok_or(NotMade::Missing)?($($arg),*) }
            };
        }
        Ok(match call {
            Call::InitLog { target, level, style, options } => {
                let function = functions.krun_init_log.ok_or(NotMade::Missing)?;
                let target = match target {
                    Fd::Log => self.streams.log_to_give()?.into_raw_fd(),
                    other => self.streams.number(*other),
                };
                // SAFETY: as in `made`; libkrun owns the descriptor from here on.
                unsafe { function(target, *level, *style, *options) }
            }
            Call::SetLogLevel { level } => made!(krun_set_log_level(*level)),
            Call::CreateCtx {} => {
                let context = made!(krun_create_ctx());
                self.context = u32::try_from(context).unwrap_or_default();
                context
            }
            Call::SetVmConfig { vcpus, ram_mib } => made!(krun_set_vm_config(ctx, *vcpus, *ram_mib)),
            Call::DisableImplicitConsole {} => made!(krun_disable_implicit_console(ctx)),
            Call::AddVirtioConsoleDefault { input, output, error } => {
                made!(krun_add_virtio_console_default(ctx, self.fd(*input), self.fd(*output), self.fd(*error)))
            }
            Call::AddVirtioConsoleMultiport {} => {
                let console = made!(krun_add_virtio_console_multiport(ctx));
                self.console = u32::try_from(console).unwrap_or_default();
                console
            }
            Call::AddConsolePortInout { name, input, output } => {
                let name = c_string(name)?;
                let fd = |fd: &Option<Fd>| fd.map_or(-1, |fd| self.fd(fd));
                made!(krun_add_console_port_inout(ctx, self.console, name.as_ptr(), fd(input), fd(output)))
            }
            Call::DisableImplicitVsock {} => made!(krun_disable_implicit_vsock(ctx)),
            Call::AddVsock { tsi_features } => made!(krun_add_vsock(ctx, *tsi_features)),
            Call::AddVsockPort { port, socket } => {
                let path = c_string(format!("/proc/self/fd/{}", self.fd(*socket)))?;
                made!(krun_add_vsock_port(ctx, *port, path.as_ptr()))
            }
            Call::SetRoot { dir } => {
                let dir = self.shared(dir)?;
                made!(krun_set_root(ctx, dir.as_ptr()))
            }
            Call::AddVirtiofs { tag, dir } => {
                let (tag, dir) = (c_string(tag)?, self.shared(dir)?);
                made!(krun_add_virtiofs(ctx, tag.as_ptr(), dir.as_ptr()))
            }
            Call::AddVirtiofs2 { tag, dir, shm_size } => {
                let (tag, dir) = (c_string(tag)?, self.shared(dir)?);
                made!(krun_add_virtiofs2(ctx, tag.as_ptr(), dir.as_ptr(), *shm_size))
            }
            Call::AddVirtiofs3 { tag, dir, shm_size, read_only } => {
                let (tag, dir) = (c_string(tag)?, self.shared(dir)?);
                made!(krun_add_virtiofs3(ctx, tag.as_ptr(), dir.as_ptr(), *shm_size, *read_only))
            }
            Call::AddVirtiofs4 { tag, dir, shm_size, read_only, semantics } => {
                let (tag, dir) = (c_string(tag)?, self.shared(dir)?);
                made!(krun_add_virtiofs4(ctx, tag.as_ptr(), dir.as_ptr(), *shm_size, *read_only, *semantics))
            }
            Call::FsAddOverlayDir { fs_tag, path, mode } => {
                let (fs_tag, path) = (c_string(fs_tag)?, c_string(path)?);
                made!(krun_fs_add_overlay_dir(ctx, fs_tag.as_ptr(), path.as_ptr(), *mode))
            }
            Call::FsAddOverlayFile { fs_tag, path, content, mode, one_shot } => {
                let (fs_tag, path) = (c_string(fs_tag)?, c_string(path)?);
                // libkrun reads it for as long as the VM lives, which is as long as this process does.
                let data: &'static [u8] = match content {
                    Content::GuestProgram => bootstrap::program()?,
                    Content::Orders => Vec::leak(bootstrap::orders(self.guest)),
                };
                made!(krun_fs_add_overlay_file(
                    ctx,
                    fs_tag.as_ptr(),
                    path.as_ptr(),
                    data.as_ptr(),
                    data.len(),
                    *mode,
                    *one_shot
                ))
            }
            Call::SetKernel { file, format, initrd, cmdline } => {
                let file = self.host_file(file)?;
                let initrd = initrd.as_ref().map(|initrd| self.host_file(initrd)).transpose()?;
                let cmdline = cmdline.as_ref().map(c_string).transpose()?;
                let (initrd, cmdline) = (pointer(initrd.as_ref()), pointer(cmdline.as_ref()));
                made!(krun_set_kernel(ctx, file.as_ptr(), *format, initrd, cmdline))
            }
            Call::SetExec { path, args, env } => {
                let (path, args, env) = (c_string(path)?, Strings::new(args)?, Strings::new(env)?);
                made!(krun_set_exec(ctx, path.as_ptr(), args.as_ptr(), env.as_ptr()))
            }
            Call::StartEnter {} => made!(krun_start_enter(ctx)),
        })
    }

    fn fd(&self, fd: Fd) -> RawFd {
        self.streams.number(fd)
    }

    /// A directory as libkrun gets it: the one that was checked, not its name again. The dot at the end makes the
    /// kernel follow the link although libkrun opens with O_NOFOLLOW.
    fn shared(&self, dir: &Shared) -> Result<CString, NotMade> {
        match dir {
            Shared::Host(HostPath { held: Some(n), .. }) => c_string(format!("/proc/self/fd/{}/.", self.held(*n)?)),
            Shared::Host(HostPath { path, held: None }) => c_string(path.as_bytes()),
            Shared::Bootstrap { .. } => {
                c_string(self.share.ok_or(io::ErrorKind::InvalidInput).map_err(io::Error::from)?.shared_path())
            }
        }
    }

    fn host_file(&self, file: &HostPath) -> Result<CString, NotMade> {
        match file.held {
            Some(n) => c_string(format!("/proc/self/fd/{}", self.held(n)?)),
            None => c_string(file.path.as_bytes()),
        }
    }

    fn held(&self, n: u32) -> io::Result<RawFd> {
        self.streams.held(n).ok_or_else(|| {
            io::Error::new(io::ErrorKind::InvalidInput, "the plan names a descriptor that was not given")
        })
    }
}

fn c_string(text: impl AsRef<[u8]>) -> Result<CString, NotMade> {
    Ok(CString::new(text.as_ref()).map_err(io::Error::from)?)
}

fn pointer(text: Option<&CString>) -> *const c_char {
    text.map_or(std::ptr::null(), |text| text.as_ptr())
}

/// A NULL-terminated array of strings.
struct Strings {
    _strings: Vec<CString>,
    pointers: Vec<*const c_char>,
}

impl Strings {
    fn new(strings: &[String]) -> Result<Strings, NotMade> {
        let strings = strings.iter().map(c_string).collect::<Result<Vec<_>, _>>()?;
        // A CString's bytes stay where they are when the vector moves.
        let pointers = strings.iter().map(|s| s.as_ptr()).chain([std::ptr::null()]).collect();
        Ok(Strings { _strings: strings, pointers })
    }

    fn as_ptr(&self) -> *const *const c_char {
        self.pointers.as_ptr()
    }
}
