//! The builder of specs: it sets the fields of the model, and `krundl_plan_new` finds what is wrong with them.

use std::collections::BTreeMap;
use std::ffi::{CString, c_char};
use std::path::PathBuf;

use serde::de::DeserializeOwned;

use super::boundary::{
    bytes, fallible, free, give, infallible, needed, optional_path, optional_text, owned, shown, text,
};
use super::{krundl_error, krundl_status};
use crate::error::{Error, Problem, ProblemKind, Result};
use crate::spec::{Console, Exec, Kernel, Parsed, Rlimit, Text, VmSpec};

/// A microVM as its user describes it (docs/spec.md). It changes with every setter: one thread at a time.
pub struct krundl_spec {
    pub(super) parsed: Parsed,
    json: Option<CString>,
}

/// Makes a change; one that cannot be made is noted, so that the plan tells of it with the field's name.
///
/// # Safety
/// `spec` is null or a live handle that nobody else uses now.
pub(super) unsafe fn edit(spec: *mut krundl_spec, change: impl FnOnce(&mut VmSpec) -> Result<()>) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    let Some(spec) = (unsafe { spec.as_mut() }) else { return krundl_status::InvalidArgument };
    infallible(krundl_status::Internal, || match change(&mut spec.parsed.spec) {
        Ok(()) => krundl_status::Ok,
        Err(error) => {
            let (field, reason) = match &error {
                Error::InvalidArgument { argument, reason } => (argument.clone(), reason.clone()),
                other => ("(the spec)".to_owned(), other.to_string()),
            };
            spec.parsed.problems.push(Problem::new(ProblemKind::Invalid, field, reason));
            krundl_status::of(error.code())
        }
    })
}

/// A path that must be there.
///
/// # Safety
/// `path` is null or a C string.
pub(super) unsafe fn path(field: &str, path: *const c_char) -> Result<PathBuf> {
    // SAFETY: the caller's promise is the same.
    unsafe { optional_path(path) }.ok_or_else(|| Error::argument(field, "is NULL"))
}

/// Text of any bytes that must be there.
///
/// # Safety
/// `given` is null or a C string.
unsafe fn any_text(field: &str, given: *const c_char) -> Result<Text> {
    // SAFETY: the caller's promise is the same.
    let given = unsafe { bytes(given) }.ok_or_else(|| Error::argument(field, "is NULL"))?;
    Ok(given.to_vec().into())
}

/// A value by its name in JSON; the default for NULL.
///
/// # Safety
/// `name` is null or a C string.
pub(super) unsafe fn named<T: DeserializeOwned>(field: &str, name: *const c_char) -> Result<Option<T>> {
    // SAFETY: the caller's promise is the same.
    let name = unsafe { optional_text(field, name) }?;
    let value = name.map(|name| serde_json::from_value(name.into()));
    value.transpose().map_err(|error: serde_json::Error| Error::argument(field, error.to_string()))
}

fn exec(spec: &mut VmSpec) -> &mut Exec {
    spec.exec.get_or_insert_with(|| Exec {
        path: "".into(),
        args: Vec::new(),
        env: BTreeMap::new(),
        workdir: "/".into(),
    })
}

/// A new spec with these two fields and nothing else; NULL only by a mistake in krundl. vcpus: number of virtual CPUs.
/// memory_mib: memory of the guest in MiB (2^20 bytes). The spec is the caller's, to be freed with krundl_spec_free.
///
/// Threads: any. Errors: none; numbers that cannot be are told by krundl_plan_new.
#[unsafe(no_mangle)]
pub extern "C" fn krundl_spec_new(vcpus: u32, memory_mib: u32) -> *mut krundl_spec {
    infallible(std::ptr::null_mut(), || {
        let spec = VmSpec { vcpus, memory_mib, ..VmSpec::default() };
        Box::into_raw(Box::new(krundl_spec { parsed: Parsed { spec, problems: Vec::new() }, json: None }))
    })
}

/// A spec from JSON (docs/spec.md).
///
/// json: not NULL; it stays the caller's. out: gets the spec, which is the caller's, to be freed with krundl_spec_free;
/// NULL on failure. error: may be NULL; gets the failure, which is the caller's, to be freed with krundl_error_free, or
/// NULL.
///
/// Threads: any. Errors: KRUNDL_STATUS_INVALID_SPEC with every mistake of the text, KRUNDL_STATUS_INVALID_ARGUMENT.
///
/// # Safety
/// `json` is NULL or a C string; `out` and `error` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_from_json(
    json: *const c_char,
    out: *mut *mut krundl_spec,
    error: *mut *mut krundl_error,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        fallible(error, || {
            give(out, || {
                let spec = VmSpec::from_json(text("json", json)?)?;
                Ok(krundl_spec { parsed: Parsed { spec, problems: Vec::new() }, json: None })
            })
        })
    }
}

/// The spec as JSON, every field written out. The text is the spec's own and lives until the next call with that spec.
///
/// spec: not NULL. out: gets the text; NULL on failure. error: may be NULL; gets the failure, which is the caller's, to
/// be freed with krundl_error_free, or NULL.
///
/// Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT, also for a path that is not UTF-8, which JSON cannot
/// carry.
///
/// # Safety
/// `spec` is NULL or a live handle; `out` and `error` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_json(
    spec: *mut krundl_spec,
    out: *mut *const c_char,
    error: *mut *mut krundl_error,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        fallible(error, || {
            needed("out", out)?;
            out.write(std::ptr::null());
            let spec = spec.as_mut().ok_or_else(|| Error::argument("spec", "is NULL"))?;
            let json = serde_json::to_string_pretty(&spec.parsed.spec);
            let json = json.map_err(|error| Error::argument("spec", format!("JSON cannot carry it: {error}")))?;
            spec.json = Some(owned(&json));
            out.write(shown(spec.json.as_ref()));
            Ok(())
        })
    }
}

/// Frees a spec; plans made with it stay. spec: may be NULL.
///
/// Threads: any, one that no other one uses it with.
///
/// # Safety
/// `spec` is NULL or was given by krundl and not freed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_free(spec: *mut krundl_spec) {
    // SAFETY: the caller's promise is the same.
    unsafe { free(spec) }
}

/// The workload: its path in the guest, of any bytes; without a slash it is searched in the PATH of its
/// environment. path: not NULL.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle; `path` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_set_exec(spec: *mut krundl_spec, path: *const c_char) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            let path = any_text("exec.path", path)?;
            exec(spec).path = path;
            Ok(())
        })
    }
}

/// One more argument of the workload, which does not count its own name, of any bytes. arg: not NULL.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle; `arg` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_add_arg(spec: *mut krundl_spec, arg: *const c_char) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            let field = format!("exec.args[{}]", exec(spec).args.len());
            let arg = any_text(&field, arg)?;
            exec(spec).args.push(arg);
            Ok(())
        })
    }
}

/// A variable of the workload's environment, which has nothing of the host's; PATH and HOME are added where they
/// are not set. name: not NULL, UTF-8. value: not NULL, of any bytes.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle; `name`, `value` NULL or C strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_set_env(
    spec: *mut krundl_spec,
    name: *const c_char,
    value: *const c_char,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            let name = text("exec.env", name)?;
            let value = any_text(&format!("exec.env.{name}"), value)?;
            exec(spec).env.insert(name.to_owned(), value);
            Ok(())
        })
    }
}

/// The workload's working directory, absolute; "/" where it is not set. dir: not NULL, of any bytes.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle; `dir` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_set_workdir(spec: *mut krundl_spec, dir: *const c_char) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            let dir = any_text("exec.workdir", dir)?;
            exec(spec).workdir = dir;
            Ok(())
        })
    }
}

/// A kernel of the caller's own instead of libkrunfw's. path: not NULL. format: "auto", "raw", "elf", "pe_gz",
/// "image_bz2", "image_gz", "image_zstd"; NULL for "auto". initrd: an initial RAM disk, or NULL. cmdline: the
/// kernel's command line in ASCII, or NULL for libkrun's.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle; `path`, `format`, `initrd`, `cmdline` NULL or C strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_set_kernel(
    spec: *mut krundl_spec,
    path: *const c_char,
    format: *const c_char,
    initrd: *const c_char,
    cmdline: *const c_char,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            let kernel = Kernel {
                path: self::path("kernel.path", path)?,
                format: named("kernel.format", format)?.unwrap_or_default(),
                initrd: optional_path(initrd),
                cmdline: optional_text("kernel.cmdline", cmdline)?.map(str::to_owned),
            };
            spec.kernel = Some(kernel);
            Ok(())
        })
    }
}

/// The console of the guest's kernel: "hvc0" or "ttyS0"; NULL for that of its command line.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle; `console` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_set_kernel_console(
    spec: *mut krundl_spec,
    console: *const c_char,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            spec.kernel_console = named("kernel_console", console)?;
            Ok(())
        })
    }
}

/// A firmware file to boot instead of a kernel; there is no root, workload or mount then. path: not NULL.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle; `path` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_set_firmware(spec: *mut krundl_spec, path: *const c_char) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            spec.firmware = Some(self::path("firmware", path)?);
            Ok(())
        })
    }
}

/// The workload's standard streams and the console go nowhere.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_set_console_none(spec: *mut krundl_spec) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            spec.console = Console::None;
            Ok(())
        })
    }
}

/// Output of the workload and of the console goes into this file, which is truncated. path: not NULL.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle; `path` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_set_console_file(spec: *mut krundl_spec, path: *const c_char) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            spec.console = Console::File(self::path("console", path)?);
            Ok(())
        })
    }
}

/// A resource limit of the workload. name: Linux's name without RLIMIT_, such as "NOFILE"; not NULL. soft, hard: in
/// the resource's own unit; UINT64_MAX for none.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle; `name` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_set_rlimit(
    spec: *mut krundl_spec,
    name: *const c_char,
    soft: u64,
    hard: u64,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            let name = text("rlimits", name)?;
            spec.rlimits.insert(name.to_owned(), Rlimit { soft, hard: Some(hard) });
            Ok(())
        })
    }
}

/// The user that the VM's process becomes, which takes root. uid: the user's number.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_set_uid(spec: *mut krundl_spec, uid: u32) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            spec.uid = Some(uid);
            Ok(())
        })
    }
}

/// The group that the VM's process becomes, which takes root. gid: the group's number.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_set_gid(spec: *mut krundl_spec, gid: u32) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            spec.gid = Some(gid);
            Ok(())
        })
    }
}

/// What libkrun logs, and where. level: "off", "error", "warn", "info", "debug", "trace"; NULL for "warn". file:
/// the file that the log is added to, or NULL to keep it for krundl_vm_log.
///
/// spec: not NULL. Nothing is kept of what is given. Threads: one at a time. Errors: KRUNDL_STATUS_INVALID_ARGUMENT,
/// told again by krundl_plan_new with the field's name.
///
/// # Safety
/// `spec` is NULL or a live handle; `level`, `file` NULL or C strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_spec_set_log(
    spec: *mut krundl_spec,
    level: *const c_char,
    file: *const c_char,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        edit(spec, |spec| {
            spec.log_level = named("log_level", level)?.unwrap_or_default();
            spec.log_file = optional_path(file);
            Ok(())
        })
    }
}
