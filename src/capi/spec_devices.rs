//! The builder's part for network and devices.

use std::ffi::c_char;
use std::net::{IpAddr, Ipv4Addr};

use super::boundary::{needed_options, optional_path, optional_text, text, texts};
use super::spec::{edit, path};
use super::{krundl_spec, krundl_status};
use crate::error::{Error, Result};
use crate::spec::{ConsolePort, Display, Forward, Gpu, Gvproxy, Nic, Passt, Port, Protocol, Serial, Tee, VsockPort};

/// A network card: exactly one of passt, gvproxy, unixstream, unixgram and tap. Zeroes are the defaults: `krundl_nic nic =
/// {sizeof nic};`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct krundl_nic {
    /// sizeof(krundl_nic), so that fields can be added.
    pub struct_size: usize,
    /// The stream socket on which a passt listens, or NULL.
    pub unixstream: *const c_char,
    /// The datagram socket of a gvproxy or vmnet-helper, or NULL.
    pub unixgram: *const c_char,
    /// The name of a tap interface of the host, or NULL.
    pub tap: *const c_char,
    /// The hardware address, such as "5a:94:ef:e4:0c:ee"; NULL: chosen by krundl.
    pub mac: *const c_char,
    /// What is offered to the guest's driver: an array that ends with NULL, of "csum", "guest_csum", "guest_tso4",
    /// "guest_tso6", "guest_ufo", "host_tso4", "host_tso6", "host_ufo"; NULL: libkrun's usual set.
    pub features: *const *const c_char,
    /// The card's IPv4 address and its network's prefix, such as "192.0.2.7/24"; NULL: with passt 10.0.2.15/24, else
    /// none.
    pub address: *const c_char,
    /// The way out of that network; NULL: with passt 10.0.2.2, or the network's first address, else none.
    pub gateway: *const c_char,
    /// The name servers: an array that ends with NULL; NULL: those that DHCP names, with passt the host's.
    pub dns: *const *const c_char,
    /// The program of passt; NULL: searched in PATH.
    pub passt_program: *const c_char,
    /// Whether the card has a passt of its own, which krundl starts, and which ends with the VM;
    /// krundl_spec_add_forward opens ports by it.
    pub passt: bool,
    /// With passt, whether the guest reaches what listens on this host's loopback, at the gateway's address.
    pub host_loopback: bool,
    /// Whether the other end of unixgram waits for vfkit's first word, as gvproxy does.
    pub vfkit: bool,
    /// Whether krundl's program in the guest asks for an address with DHCP.
    pub dhcp: bool,
    /// Whether the workload runs although the card could not be set up.
    pub optional: bool,
    /// Whether the card has a gvproxy of its own, which krundl starts, and which ends with the VM;
    /// krundl_spec_add_forward opens ports by it.
    pub gvproxy: bool,
    /// The program of gvproxy; NULL: searched in PATH and where podman keeps it.
    pub gvproxy_program: *const c_char,
}

impl Default for krundl_nic {
    fn default() -> krundl_nic {
        let none = std::ptr::null();
        krundl_nic {
            struct_size: 0,
            unixstream: none,
            unixgram: none,
            tap: none,
            mac: none,
            features: std::ptr::null(),
            address: none,
            gateway: none,
            dns: std::ptr::null(),
            passt_program: none,
            passt: false,
            host_loopback: false,
            vfkit: false,
            dhcp: false,
            optional: false,
            gvproxy: false,
            gvproxy_program: none,
        }
    }
}

/// A display of the graphics card. Zeroes are the defaults: `krundl_display display = {.struct_size = sizeof
/// display};`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct krundl_display {
    /// sizeof(krundl_display), so that fields can be added.
    pub struct_size: usize,
    /// A file with the display's whole EDID block instead of the fields below width and height, or NULL.
    pub edid: *const c_char,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Refresh rate in Hz; 0: libkrun's default.
    pub refresh_rate: u32,
    /// Dots per inch; 0: libkrun's default.
    pub dpi: u32,
    /// Width in millimetres; 0 with height_mm 0: libkrun's default.
    pub width_mm: u16,
    /// Height in millimetres.
    pub height_mm: u16,
}

impl Default for krundl_display {
    fn default() -> krundl_display {
        krundl_display {
            struct_size: 0,
            edid: std::ptr::null(),
            width: 0,
            height: 0,
            refresh_rate: 0,
            dpi: 0,
            width_mm: 0,
            height_mm: 0,
        }
    }
}

/// libkrun's network without a card: the guest's sockets are the host's. inet: those of IPv4 and IPv6.
/// unix_sockets: those of the unix family. only_ports: whether ports that krundl_spec_add_port does not name stay
/// closed on the host.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_set_tsi(
    spec: *mut krundl_spec,
    inet: bool,
    unix_sockets: bool,
    only_ports: bool,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            let tsi = spec.tsi.get_or_insert_default();
            (tsi.inet, tsi.unix, tsi.only_ports) = (inet, unix_sockets, only_ports);
            Ok(())
        })
    }
}

/// A TCP port of the guest that is open on the host under a number of the caller's choice, with TSI. host, guest:
/// its numbers there.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_add_port(spec: *mut krundl_spec, host: u16, guest: u16) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            spec.tsi.get_or_insert_default().ports.push(Port { host, guest });
            Ok(())
        })
    }
}

/// A network card. nic: not NULL.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle; `nic` NULL or as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_add_nic(spec: *mut krundl_spec, nic: *const krundl_nic) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            let at = spec.nics.len();
            let nic = needed_options(&format!("nics[{at}]"), nic)?;
            let field = |name: &str| format!("nics[{at}].{name}");
            let features = if nic.features.is_null() {
                None
            } else {
                let names = texts(&field("features"), nic.features)?;
                let features = serde_json::from_value(names.into());
                Some(features.map_err(|error| Error::argument(field("features"), error.to_string()))?)
            };
            let parsed = |name: &str, text: &str| {
                text.parse().map_err(|_| Error::argument(field(name), format!("{text:?} is no address")))
            };
            let gateway = optional_text(&field("gateway"), nic.gateway)?;
            let gateway = gateway.map(|text| parsed("gateway", text)).transpose()?;
            let dns = (!nic.dns.is_null()).then(|| texts(&field("dns"), nic.dns)).transpose()?;
            let dns = dns.map(|dns| dns.into_iter().map(|text| parsed("dns", text)).collect()).transpose()?;
            let passt = nic.passt.then(|| Passt {
                ports: Vec::new(),
                program: optional_path(nic.passt_program),
                host_loopback: nic.host_loopback,
            });
            let gvproxy =
                nic.gvproxy.then(|| Gvproxy { ports: Vec::new(), program: optional_path(nic.gvproxy_program) });
            let gateway = match gateway {
                Some(IpAddr::V4(gateway)) => Some(gateway),
                Some(IpAddr::V6(_)) => return Err(Error::argument(field("gateway"), "is no IPv4 address")),
                None => None,
            };
            let nic = Nic {
                passt,
                gvproxy,
                unixstream: optional_path(nic.unixstream),
                unixgram: optional_path(nic.unixgram),
                vfkit: nic.vfkit,
                tap: optional_text(&field("tap"), nic.tap)?.map(str::to_owned),
                mac: optional_text(&field("mac"), nic.mac)?.map(str::to_owned),
                features,
                address: optional_text(&field("address"), nic.address)?.map(str::to_owned),
                gateway,
                dns,
                dhcp: nic.dhcp,
                optional: nic.optional,
            };
            spec.nics.push(nic);
            Ok(())
        })
    }
}

/// A port of the host that leads to one of the guest, by the last network card, which has passt or gvproxy. protocol: "tcp" or
/// "udp". address: the host's IPv4 address on which it is open; NULL: 127.0.0.1. host: its number on the host; 0 for any
/// that is free, which krundl_vm_host_port tells. guest: its number in the guest.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle; the texts are NULL or C strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_add_forward(
    spec: *mut krundl_spec,
    protocol: *const c_char,
    address: *const c_char,
    host: u16,
    guest: u16,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            let at = spec.nics.len().saturating_sub(1);
            let kind = if spec.nics.last().is_some_and(|nic| nic.gvproxy.is_some()) { "gvproxy" } else { "passt" };
            let field = |name: &str| format!("nics[{at}].{kind}.ports.{name}");
            let protocol = protocol_of(&field("protocol"), protocol)?;
            let address = match optional_text(&field("address"), address)? {
                None => Ipv4Addr::LOCALHOST,
                Some(text) => text
                    .parse()
                    .map_err(|_| Error::argument(field("address"), format!("{text:?} is no IPv4 address")))?,
            };
            let ports = spec.nics.last_mut().and_then(Nic::ports_mut);
            let none = || Error::argument("nics", "the last card has no passt or gvproxy that could open a port");
            ports.ok_or_else(none)?.push(Forward { host, guest, address, protocol });
            Ok(())
        })
    }
}

/// `tcp` or `udp`.
///
/// # Safety
/// `protocol` is null or a C string.
pub(super) unsafe fn protocol_of(field: &str, protocol: *const c_char) -> Result<Protocol> {
    // SAFETY: the caller's promise is the same.
    match unsafe { text(field, protocol) }? {
        "tcp" => Ok(Protocol::Tcp),
        "udp" => Ok(Protocol::Udp),
        other => Err(Error::argument(field, format!("{other:?} is neither tcp nor udp"))),
    }
}

/// A vsock port. port: its number. socket: the unix socket of the host; not NULL. listen: false: the guest connects
/// to the port, and somebody listens on the socket by then; true: the guest listens, and libkrun makes the socket.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle; `socket` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_add_vsock_port(
    spec: *mut krundl_spec,
    port: u32,
    socket: *const c_char,
    listen: bool,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            let path = path(&format!("vsock.ports[{}].path", spec.vsock.ports.len()), socket)?;
            spec.vsock.ports.push(VsockPort { port, path, listen });
            Ok(())
        })
    }
}

/// A serial console. input: what is read into it, or NULL. output: the file that its output is added to; not NULL.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle; `input`, `output` NULL or C strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_set_serial(
    spec: *mut krundl_spec,
    input: *const c_char,
    output: *const c_char,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            spec.serial = Some(Serial { input: optional_path(input), output: path("serial.output", output)? });
            Ok(())
        })
    }
}

/// A further port of a virtio console: tty, or one or both of input and output. name: its name in the guest; not
/// NULL. input: what is read into it, or NULL. output: the file that its output is added to, or NULL. tty: a
/// terminal for both, or NULL.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle; `name`, `input`, `output`, `tty` NULL or C strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_add_console_port(
    spec: *mut krundl_spec,
    name: *const c_char,
    input: *const c_char,
    output: *const c_char,
    tty: *const c_char,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            let name = text(&format!("console_ports[{}].name", spec.console_ports.len()), name)?.to_owned();
            let [input, output, tty] = [input, output, tty].map(|path| optional_path(path));
            spec.console_ports.push(ConsolePort { name, input, output, tty });
            Ok(())
        })
    }
}

/// Whether the guest may run virtual machines itself; x86-64 only.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_set_nested_virt(spec: *mut krundl_spec, enabled: bool) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            spec.nested_virt = enabled;
            Ok(())
        })
    }
}

/// Whether the interrupt controller is split between KVM and the process; x86-64 only.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_set_split_irqchip(spec: *mut krundl_spec, enabled: bool) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            spec.split_irqchip = enabled;
            Ok(())
        })
    }
}

/// An OEM string in the guest's SMBIOS tables; aarch64 only. string: not NULL, UTF-8.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle; `string` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_add_smbios_oem_string(
    spec: *mut krundl_spec,
    string: *const c_char,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            let string = text(&format!("smbios_oem_strings[{}]", spec.smbios_oem_strings.len()), string)?.to_owned();
            spec.smbios_oem_strings.push(string);
            Ok(())
        })
    }
}

/// A graphics card. virgl_flags: virglrenderer's flags, as libkrun.h has them. shm_mib: size of the window for
/// shared memory in MiB; 0 for libkrun's default.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_set_gpu(spec: *mut krundl_spec, virgl_flags: u32, shm_mib: u32) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            spec.gpu = Some(Gpu { virgl_flags, shm_mib: (shm_mib != 0).then_some(shm_mib) });
            Ok(())
        })
    }
}

/// A display of the graphics card, which krundl shows nowhere. display: not NULL.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle; `display` NULL or as described.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_add_display(
    spec: *mut krundl_spec,
    display: *const krundl_display,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            let field = format!("displays[{}]", spec.displays.len());
            let display = needed_options(&field, display)?;
            let given = |number: u32| (number != 0).then_some(number);
            let size = [display.width_mm, display.height_mm];
            spec.displays.push(Display {
                width: display.width,
                height: display.height,
                refresh_rate: given(display.refresh_rate),
                dpi: given(display.dpi),
                physical_size_mm: (size != [0, 0]).then_some(size),
                edid: optional_path(display.edid),
            });
            Ok(())
        })
    }
}

/// Whether there is a sound card.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_set_sound(spec: *mut krundl_spec, enabled: bool) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            spec.sound = enabled;
            Ok(())
        })
    }
}

/// An input device of the host that the guest has. path: such as "/dev/input/event0"; not NULL.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle; `path` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_add_input(spec: *mut krundl_spec, path: *const c_char) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            let path = self::path(&format!("inputs[{}]", spec.inputs.len()), path)?;
            spec.inputs.push(path);
            Ok(())
        })
    }
}

/// A confidential guest. config: the file with libkrun's configuration for it; not NULL.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle; `config` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_set_tee(spec: *mut krundl_spec, config: *const c_char) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            spec.tee = Some(Tee { config: path("tee.config", config)? });
            Ok(())
        })
    }
}
