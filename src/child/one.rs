//! Makes the calls of API generation one.

use std::ffi::{CString, c_char};
use std::io;
use std::os::fd::{BorrowedFd, IntoRawFd, RawFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;

use super::bootstrap::{self, Share};
use super::mac::hardware_address;
use super::streams::Streams;
use crate::plan::{Call, Content, Fd, Guest, NetSocket, Shared, Socket};
use crate::sockets::CONTROL_NAME;
use crate::spec::HostPath;
use crate::symbols::Functions;
use crate::system::{path_of, private_path};

/// What the calls of one VM work on.
pub(super) struct Caller<'a> {
    pub functions: &'a Functions,
    pub streams: &'a Streams,
    pub guest: Option<&'a Guest>,
    pub share: Option<&'a Share>,
    /// The context number that libkrun gave.
    context: u32,
    /// The number of the console that was made last.
    console: u32,
    /// The number of the display that was made last.
    display: u32,
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
        guest: Option<&'a Guest>,
        share: Option<&'a Share>,
    ) -> Caller<'a> {
        Caller { functions, streams, guest, share, context: 0, console: 0, display: 0 }
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
                let target = self.streams.to_give(*target)?.into_raw_fd();
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
            Call::SetRlimits { rlimits } => {
                let rlimits = Strings::new(rlimits)?;
                made!(krun_set_rlimits(ctx, rlimits.as_ptr()))
            }
            Call::Setuid { uid } => made!(krun_setuid(ctx, *uid)),
            Call::Setgid { gid } => made!(krun_setgid(ctx, *gid)),
            Call::SetNestedVirt { enabled } => made!(krun_set_nested_virt(ctx, *enabled)),
            Call::SplitIrqchip { enable } => made!(krun_split_irqchip(ctx, *enable)),
            Call::SetSmbiosOemStrings { oem_strings } => {
                let oem_strings = Strings::new(oem_strings)?;
                made!(krun_set_smbios_oem_strings(ctx, oem_strings.as_ptr()))
            }
            Call::DisableImplicitConsole {} => made!(krun_disable_implicit_console(ctx)),
            Call::AddVirtioConsoleDefault { input, output, error } => {
                made!(krun_add_virtio_console_default(ctx, self.fd(*input), self.fd(*output), self.fd(*error)))
            }
            Call::SetConsoleOutput { file } => {
                let file = self.host_file(file)?;
                made!(krun_set_console_output(ctx, file.as_ptr()))
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
            Call::AddConsolePortTty { name, tty } => {
                let name = c_string(name)?;
                made!(krun_add_console_port_tty(ctx, self.console, name.as_ptr(), self.fd(*tty)))
            }
            Call::AddSerialConsoleDefault { input, output } => {
                let input = self.given(*input)?;
                let output = self.given(*output)?;
                made!(krun_add_serial_console_default(ctx, input, output))
            }
            Call::SetKernelConsole { console } => {
                let console = c_string(console)?;
                made!(krun_set_kernel_console(ctx, console.as_ptr()))
            }
            Call::DisableImplicitVsock {} => made!(krun_disable_implicit_vsock(ctx)),
            Call::AddVsock { tsi_features } => made!(krun_add_vsock(ctx, *tsi_features)),
            Call::SetPortMap { ports } => {
                let ports = Strings::new(ports)?;
                made!(krun_set_port_map(ctx, ports.as_ptr()))
            }
            Call::AddVsockPort { port, socket } => {
                let path = self.socket(socket)?;
                made!(krun_add_vsock_port(ctx, *port, path.as_ptr()))
            }
            Call::AddVsockPort2 { port, socket, listen } => {
                let path = self.socket(socket)?;
                made!(krun_add_vsock_port2(ctx, *port, path.as_ptr(), *listen))
            }
            Call::AddNetUnixstream { socket, mac, features, flags } => {
                let mac = hardware_address(mac)?;
                let (path, fd) = match socket {
                    NetSocket::Ours(fd) => (None, self.given(Some(*fd))?),
                    NetSocket::Host(socket) => (Some(self.host_file(socket)?), -1),
                };
                made!(krun_add_net_unixstream(ctx, pointer(path.as_ref()), fd, mac.as_ptr(), *features, *flags))
            }
            Call::AddNetUnixgram { socket, mac, features, flags } => {
                let (socket, mac) = (self.host_file(socket)?, hardware_address(mac)?);
                made!(krun_add_net_unixgram(ctx, socket.as_ptr(), -1, mac.as_ptr(), *features, *flags))
            }
            Call::AddNetTap { name, mac, features, flags } => {
                let (name, mac) = (c_string(name)?, hardware_address(mac)?);
                made!(krun_add_net_tap(ctx, name.as_ptr(), mac.as_ptr(), *features, *flags))
            }
            Call::SetPasstFd { socket } => {
                let fd = match socket {
                    NetSocket::Ours(fd) => self.given(Some(*fd))?,
                    NetSocket::Host(socket) => {
                        let path = self.host_file(socket)?;
                        UnixStream::connect(std::ffi::OsStr::from_bytes(path.as_bytes()))?.into_raw_fd()
                    }
                };
                made!(krun_set_passt_fd(ctx, fd))
            }
            Call::SetGvproxyPath { socket } => {
                let socket = self.host_file(socket)?;
                made!(krun_set_gvproxy_path(ctx, socket.as_ptr()))
            }
            Call::SetNetMac { mac } => {
                let mac = hardware_address(mac)?;
                made!(krun_set_net_mac(ctx, mac.as_ptr()))
            }
            Call::AddDisk { id, disk, read_only } => {
                let (id, disk) = (c_string(id)?, self.host_file(disk)?);
                made!(krun_add_disk(ctx, id.as_ptr(), disk.as_ptr(), *read_only))
            }
            Call::AddDisk2 { id, disk, format, read_only } => {
                let (id, disk) = (c_string(id)?, self.host_file(disk)?);
                made!(krun_add_disk2(ctx, id.as_ptr(), disk.as_ptr(), *format, *read_only))
            }
            Call::AddDisk3 { id, disk, format, read_only, direct_io, sync_mode } => {
                let (id, disk) = (c_string(id)?, self.host_file(disk)?);
                let (id, disk) = (id.as_ptr(), disk.as_ptr());
                made!(krun_add_disk3(ctx, id, disk, *format, *read_only, *direct_io, *sync_mode))
            }
            Call::SetRootDiskRemount { device, fstype, options } => {
                let device = c_string(device)?;
                let fstype = fstype.as_ref().map(c_string).transpose()?;
                let options = options.as_ref().map(c_string).transpose()?;
                let (fstype, options) = (pointer(fstype.as_ref()), pointer(options.as_ref()));
                made!(krun_set_root_disk_remount(ctx, device.as_ptr(), fstype, options))
            }
            Call::SetRoot { dir } => {
                let dir = self.shared(dir)?;
                made!(krun_set_root(ctx, pointer(dir.as_ref())))
            }
            Call::AddVirtiofs { tag, dir } => {
                let (tag, dir) = (c_string(tag)?, self.shared(dir)?);
                made!(krun_add_virtiofs(ctx, tag.as_ptr(), pointer(dir.as_ref())))
            }
            Call::AddVirtiofs2 { tag, dir, shm_size } => {
                let (tag, dir) = (c_string(tag)?, self.shared(dir)?);
                made!(krun_add_virtiofs2(ctx, tag.as_ptr(), pointer(dir.as_ref()), *shm_size))
            }
            Call::AddVirtiofs3 { tag, dir, shm_size, read_only } => {
                let (tag, dir) = (c_string(tag)?, self.shared(dir)?);
                made!(krun_add_virtiofs3(ctx, tag.as_ptr(), pointer(dir.as_ref()), *shm_size, *read_only))
            }
            Call::AddVirtiofs4 { tag, dir, shm_size, read_only, semantics } => {
                let (tag, dir) = (c_string(tag)?, self.shared(dir)?);
                made!(krun_add_virtiofs4(ctx, tag.as_ptr(), pointer(dir.as_ref()), *shm_size, *read_only, *semantics))
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
                    Content::Orders => {
                        let guest = self.guest.ok_or(io::ErrorKind::InvalidInput).map_err(io::Error::from)?;
                        Vec::leak(bootstrap::orders(guest, self.streams.ports()))
                    }
                    Content::Text(text) => Vec::leak(text.as_bytes().to_vec()),
                    Content::File(file) => {
                        let path = self.host_file(file)?;
                        Vec::leak(std::fs::read(std::ffi::OsStr::from_bytes(path.as_bytes()))?)
                    }
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
            Call::SetFirmware { file } => {
                let file = self.host_file(file)?;
                made!(krun_set_firmware(ctx, file.as_ptr()))
            }
            Call::SetTeeConfigFile { file } => {
                let file = self.host_file(file)?;
                made!(krun_set_tee_config_file(ctx, file.as_ptr()))
            }
            Call::SetGpuOptions { virgl_flags } => made!(krun_set_gpu_options(ctx, *virgl_flags)),
            Call::SetGpuOptions2 { virgl_flags, shm_size } => {
                made!(krun_set_gpu_options2(ctx, *virgl_flags, *shm_size))
            }
            Call::AddDisplay { width, height } => {
                let display = made!(krun_add_display(ctx, *width, *height));
                self.display = u32::try_from(display).unwrap_or_default();
                display
            }
            Call::DisplaySetEdid { file } => {
                let path = self.host_file(file)?;
                let edid = std::fs::read(std::ffi::OsStr::from_bytes(path.as_bytes()))?;
                made!(krun_display_set_edid(ctx, self.display, edid.as_ptr(), edid.len()))
            }
            Call::DisplaySetPhysicalSize { width_mm, height_mm } => {
                made!(krun_display_set_physical_size(ctx, self.display, *width_mm, *height_mm))
            }
            Call::DisplaySetRefreshRate { refresh_rate } => {
                made!(krun_display_set_refresh_rate(ctx, self.display, *refresh_rate))
            }
            Call::DisplaySetDpi { dpi } => made!(krun_display_set_dpi(ctx, self.display, *dpi)),
            // Borrowed until the end: the original stays open as long as this process lives.
            Call::AddInputDeviceFd { device } => made!(krun_add_input_device_fd(ctx, self.fd(*device))),
            Call::SetSndDevice { enable } => made!(krun_set_snd_device(ctx, *enable)),
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
    fn shared(&self, dir: &Shared) -> Result<Option<CString>, NotMade> {
        let path = match dir {
            Shared::Host(HostPath { held: Some(n), .. }) => in_bytes(path_of(self.held(*n)?)?.join(".")),
            Shared::Host(HostPath { path, held: None }) => c_string(path.as_bytes()),
            Shared::Bootstrap { .. } => {
                in_bytes(self.share.ok_or(io::ErrorKind::InvalidInput).map_err(io::Error::from)?.shared_path()?)
            }
            Shared::Nothing { .. } => return Ok(None),
        };
        path.map(Some)
    }

    /// A copy that libkrun may keep; -1 for none.
    fn given(&self, fd: Option<Fd>) -> Result<RawFd, NotMade> {
        Ok(fd.map(|fd| self.streams.to_give(fd)).transpose()?.map_or(-1, IntoRawFd::into_raw_fd))
    }

    /// A socket by the directory that was checked, so that its path is short wherever that is.
    fn socket(&self, socket: &Socket) -> Result<CString, NotMade> {
        match socket {
            Socket::Ours(Fd::Control) => in_bytes(path_of(self.streams.borrowed(Fd::Control)?)?.join(CONTROL_NAME)),
            Socket::Ours(fd) => in_bytes(private_path(self.streams.borrowed(*fd)?)?),
            Socket::Host(socket) => {
                let mut path = self.host_file(&socket.dir)?.into_bytes();
                path.push(b'/');
                path.extend_from_slice(socket.name.as_bytes());
                c_string(path)
            }
        }
    }

    fn host_file(&self, file: &HostPath) -> Result<CString, NotMade> {
        match file.held {
            Some(n) => in_bytes(path_of(self.held(n)?)?),
            None => c_string(file.path.as_bytes()),
        }
    }

    fn held(&self, n: u32) -> io::Result<BorrowedFd<'_>> {
        self.streams
            .borrowed(Fd::Held(n))
            .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "the plan names a descriptor that was not given"))
    }
}

fn in_bytes(path: PathBuf) -> Result<CString, NotMade> {
    c_string(path.into_os_string().into_vec())
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
