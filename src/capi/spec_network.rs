//! The builder's part for everything that goes over a network, a socket or vsock.

use std::ffi::c_char;

use super::boundary::{needed_options, optional_path, optional_text, texts};
use super::spec::{edit, path};
use super::{krundl_spec, krundl_status};
use crate::error::{Error, Result};
use crate::spec::{Control, Forward, Nic, Passt, Port, VsockPort};

/// A network card: exactly one of passt, unixstream, unixgram and tap. Zeroes are the defaults: `krundl_nic nic = {sizeof
/// nic};`.
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
    /// Whether the other end of unixgram waits for vfkit's first word, as gvproxy does.
    pub vfkit: bool,
    /// Whether krundl's program in the guest asks for an address with DHCP.
    pub dhcp: bool,
    /// Whether krundl starts a passt for this card alone, before the VM; it ends with the VM, and takes no root.
    pub passt: bool,
    /// Whether the guest reaches what listens on this host's loopback, at the gateway's address, with passt.
    pub passt_host_loopback: bool,
    /// Whether the workload runs although the card could not be set up; else that ends the VM.
    pub optional: bool,
    /// The program, with passt; NULL: searched in PATH.
    pub passt_program: *const c_char,
    /// The card's IPv4 address and the length of its network's prefix, such as "192.0.2.7/24", which krundl's program in
    /// the guest sets; NULL: none, with passt 10.0.2.15/24.
    pub address: *const c_char,
    /// The IPv4 address of the way out of that network; NULL: none, with passt one of the network's own.
    pub gateway: *const c_char,
    /// The addresses of the name servers in the guest's /etc/resolv.conf, an array that ends with NULL; NULL: those that
    /// DHCP names, with passt this host's.
    pub dns: *const *const c_char,
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
            vfkit: false,
            dhcp: false,
            passt: false,
            passt_host_loopback: false,
            optional: false,
            passt_program: none,
            address: none,
            gateway: none,
            dns: std::ptr::null(),
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
            let gateway = optional_text(&field("gateway"), nic.gateway)?;
            let dns = if nic.dns.is_null() { None } else { Some(texts(&field("dns"), nic.dns)?) };
            let nic = Nic {
                passt: nic.passt.then(|| Passt {
                    ports: Vec::new(),
                    program: optional_path(nic.passt_program),
                    host_loopback: nic.passt_host_loopback,
                }),
                unixstream: optional_path(nic.unixstream),
                unixgram: optional_path(nic.unixgram),
                vfkit: nic.vfkit,
                tap: optional_text(&field("tap"), nic.tap)?.map(str::to_owned),
                mac: optional_text(&field("mac"), nic.mac)?.map(str::to_owned),
                features,
                address: optional_text(&field("address"), nic.address)?.map(str::to_owned),
                gateway: gateway.map(|text| ip(&field("gateway"), text)).transpose()?,
                dns: dns.map(|list| list.iter().map(|text| ip(&field("dns"), text)).collect()).transpose()?,
                dhcp: nic.dhcp,
                optional: nic.optional,
            };
            spec.nics.push(nic);
            Ok(())
        })
    }
}

fn ip<T: std::str::FromStr>(field: &str, text: &str) -> Result<T> {
    text.parse().map_err(|_| Error::argument(field, format!("{text:?} is no IP address")))
}

/// A port of the host that leads to the guest, through the passt of the card that was added last. host: its number on the
/// host; 0: any that is free when the VM starts. guest: its number in the guest. address: the host's IPv4 address on which
/// it is open; NULL: 127.0.0.1, which only this host reaches. protocol: "tcp", "udp"; NULL: "tcp".
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT, also
/// where there is no such card, told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle; `address`, `protocol` NULL or C strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_add_forward(
    spec: *mut krundl_spec,
    host: u16,
    guest: u16,
    address: *const c_char,
    protocol: *const c_char,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            let at = spec.nics.len().saturating_sub(1);
            let card = format!("nics[{at}].passt");
            let Some(passt) = spec.nics.last_mut().and_then(|nic| nic.passt.as_mut()) else {
                return Err(Error::argument(card, "the card that was added last has none"));
            };
            let field = |name: &str| format!("{card}.ports[{}].{name}", passt.ports.len());
            let address = optional_text(&field("address"), address)?.unwrap_or("127.0.0.1");
            let protocol = optional_text(&field("protocol"), protocol)?.unwrap_or("tcp");
            let protocol = serde_json::from_value(protocol.into());
            let protocol = protocol.map_err(|error| Error::argument(field("protocol"), error.to_string()))?;
            let address = ip(&field("address"), address)?;
            passt.ports.push(Forward { host, guest, address, protocol });
            Ok(())
        })
    }
}

/// The control port, over which further commands come into the running guest. socket: the socket, which libkrun makes in a
/// directory that is closed to everybody else (mode 0700); NULL: in a directory that krundl makes for this VM alone.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle; `socket` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_set_control(spec: *mut krundl_spec, socket: *const c_char) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            spec.control = Some(optional_path(socket).map_or(Control::Private, Control::Socket));
            Ok(())
        })
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
