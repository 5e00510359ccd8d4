//! The builder's part for consoles and devices.

use std::ffi::c_char;

use super::boundary::{needed_options, optional_path, text};
use super::spec::{edit, path};
use super::{krundl_spec, krundl_status};
use crate::spec::{ConsolePort, Display, Gpu, Serial, Tee};

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
