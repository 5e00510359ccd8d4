//! Files looked at without opening them.

use std::ffi::{CString, c_char};
use std::path::PathBuf;
use std::sync::OnceLock;

use super::boundary::{asked, fallible, free, give, infallible, optional_path, owned, paths, shown, text};
use super::error::word;
use super::{krundl_error, krundl_feature_state, krundl_status};
use crate::doctor::{Inspected, Part, inspect, inspect_root, inspected_as_text};
use crate::error::Error;
use crate::symbols::{Feature, Function};

/// What files say about themselves that were read and not opened: an item for each architecture in each of them, and
/// one for each file that could not be read. It does not change, so any thread may ask it.
pub struct krundl_inspection {
    files: Vec<Inspected>,
    pub(super) items: Vec<Item>,
    text: OnceLock<CString>,
    json: OnceLock<CString>,
}

/// One architecture's part of a file, or a file that could not be read.
pub(super) struct Item {
    path: CString,
    real_path: Option<CString>,
    /// Kind and message.
    error: Option<(CString, CString)>,
    pub(super) part: Option<PartTexts>,
}

pub(super) struct PartTexts {
    pub(super) part: Part,
    architecture: CString,
    format: CString,
    soname: Option<CString>,
    build_id: Option<CString>,
    flavour: Option<CString>,
    version: Option<CString>,
    /// Kind, requirement, reason.
    pub(super) evidence: Vec<(CString, CString, CString)>,
    pub(super) conflicts: Vec<CString>,
    pub(super) needed: Vec<CString>,
    pub(super) run_paths: Vec<CString>,
    pub(super) firmware: Vec<CString>,
    pub(super) unknown_functions: Vec<CString>,
}

impl PartTexts {
    fn new(part: &Part) -> PartTexts {
        let all = |texts: &[String]| texts.iter().map(|text| owned(text)).collect::<Vec<_>>();
        let version = part.version.as_ref();
        let evidence = version.iter().flat_map(|version| &version.evidence);
        PartTexts {
            architecture: owned(&part.architecture),
            format: word(&part.format),
            soname: part.soname.as_deref().map(owned),
            build_id: part.build_id.as_deref().map(owned),
            flavour: part.flavour.as_ref().map(word),
            version: version.map(|version| owned(&version.range)),
            evidence: evidence.map(|e| (word(&e.kind), owned(&e.says.to_string()), owned(&e.because))).collect(),
            conflicts: version.map(|version| all(&version.conflicts)).unwrap_or_default(),
            needed: all(&part.needed),
            run_paths: all(&part.run_paths),
            firmware: all(&part.firmware),
            unknown_functions: all(&part.unknown_functions),
            part: part.clone(),
        }
    }
}

impl krundl_inspection {
    fn new(files: Vec<Inspected>) -> krundl_inspection {
        let items = files.iter().flat_map(|file| {
            let item = |part: Option<&Part>| Item {
                path: owned(&file.path.display().to_string()),
                real_path: file.real_path.as_ref().map(|path| owned(&path.display().to_string())),
                error: file.error.as_ref().map(|error| (word(&error.kind), owned(&error.message))),
                part: part.map(PartTexts::new),
            };
            match &file.parts[..] {
                [] => vec![item(None)],
                parts => parts.iter().map(|part| item(Some(part))).collect(),
            }
        });
        let items = items.collect();
        krundl_inspection { files, items, text: OnceLock::new(), json: OnceLock::new() }
    }
}

/// Asks an item; `otherwise` for NULL and an index that there is not.
///
/// # Safety
/// `inspection` is NULL or a live handle.
unsafe fn of_item<A: Copy>(
    inspection: *const krundl_inspection,
    index: usize,
    otherwise: A,
    answer: impl FnOnce(&Item) -> A,
) -> A {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(inspection, otherwise, |inspection| inspection.items.get(index).map_or(otherwise, answer)) }
}

/// Asks a part; `otherwise` also for a file that could not be read.
///
/// # Safety
/// `inspection` is NULL or a live handle.
pub(super) unsafe fn of_part<A: Copy>(
    inspection: *const krundl_inspection,
    index: usize,
    otherwise: A,
    answer: impl FnOnce(&PartTexts) -> A,
) -> A {
    // SAFETY: the caller's promise is the same.
    unsafe { of_item(inspection, index, otherwise, |item| item.part.as_ref().map_or(otherwise, answer)) }
}

/// Reads what libraries say about themselves, of any system and architecture, and opens none of them: nothing of theirs
/// runs. A file that cannot be read is no failure: its item says why.
///
/// files: the files to read, an array that ends with NULL; NULL or empty: those in the places of `root` where libkrun is
/// looked for, which may be none. root: a directory that the files are in, as of an image: their paths are those in it,
/// and links do not lead out of it; NULL: the machine's own. One of the two must be given, and both stay the caller's.
/// out: gets the inspection, which is the caller's, to be freed with krundl_inspection_free; NULL on failure. error: may
/// be NULL; gets the failure, which is the caller's, to be freed with krundl_error_free, or NULL.
///
/// Threads: any, also at the same time. It starts no process. Errors: KRUNDL_STATUS_INVALID_ARGUMENT.
///
/// # Safety
/// `files` is NULL or such an array of C strings, `root` NULL or a C string; `out` and `error` can be written to.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_inspect(
    files: *const *const c_char,
    root: *const c_char,
    out: *mut *mut krundl_inspection,
    error: *mut *mut krundl_error,
) -> krundl_status {
    // SAFETY: the caller's promise is the same.
    unsafe {
        fallible(error, || {
            give(out, || {
                let (files, root): (Vec<PathBuf>, _) = (paths(files), optional_path(root));
                let found = match &root {
                    None if files.is_empty() => return Err(Error::argument("files", "there are none, and no root")),
                    Some(root) if files.is_empty() => inspect_root(root),
                    root => inspect(&files, root.as_deref()),
                };
                Ok(krundl_inspection::new(found))
            })
        })
    }
}

/// Frees an inspection; its texts go with it. inspection: may be NULL.
///
/// Threads: any, one that no other one uses it with.
///
/// # Safety
/// `inspection` is NULL or was given by krundl and not freed yet.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_inspection_free(inspection: *mut krundl_inspection) {
    // SAFETY: the caller's promise is the same.
    unsafe { free(inspection) }
}

/// All of it for people, as `krundl inspect` prints it. NULL for NULL. The text is the inspection's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `inspection` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_inspection_text(inspection: *const krundl_inspection) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(inspection, std::ptr::null(), |inspection| {
            inspection.text.get_or_init(|| owned(&inspected_as_text(&inspection.files, false))).as_ptr()
        })
    }
}

/// All of it as JSON, as `krundl inspect --json` prints it: an array with an object for each file, which has `parts`.
/// NULL for NULL. The text is the inspection's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `inspection` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_inspection_json(inspection: *const krundl_inspection) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe {
        asked(inspection, std::ptr::null(), |inspection| {
            let json = || serde_json::to_string_pretty(&inspection.files).map(|json| owned(&json)).unwrap_or_default();
            inspection.json.get_or_init(json).as_ptr()
        })
    }
}

/// The number of items; 0 for NULL.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `inspection` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_inspection_count(inspection: *const krundl_inspection) -> usize {
    // SAFETY: the caller's promise is the same.
    unsafe { asked(inspection, 0, |inspection| inspection.items.len()) }
}

/// The file that an item is of, as it was named. NULL for NULL and an index that there is not. index: from 0. The text
/// is the inspection's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `inspection` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_inspection_path(inspection: *const krundl_inspection, index: usize) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { of_item(inspection, index, std::ptr::null(), |item| item.path.as_ptr()) }
}

/// The same without links, within the root; NULL where there is no such file. NULL for NULL and an index that there is
/// not. index: from 0. The text is the inspection's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `inspection` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_inspection_real_path(
    inspection: *const krundl_inspection,
    index: usize,
) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { of_item(inspection, index, std::ptr::null(), |item| shown(item.real_path.as_ref())) }
}

/// Why a file could not be read: "missing", "unreadable", "not_a_library", "refused"; NULL for one that was read. NULL
/// for NULL and an index that there is not. index: from 0. The text is the inspection's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `inspection` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_inspection_error_kind(
    inspection: *const krundl_inspection,
    index: usize,
) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { of_item(inspection, index, std::ptr::null(), |item| shown(item.error.as_ref().map(|error| &error.0))) }
}

/// The same in words; NULL for one that was read. NULL for NULL and an index that there is not. index: from 0. The text
/// is the inspection's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `inspection` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_inspection_error_message(
    inspection: *const krundl_inspection,
    index: usize,
) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { of_item(inspection, index, std::ptr::null(), |item| shown(item.error.as_ref().map(|error| &error.1))) }
}

/// The architecture that it is for, such as "x86_64" or "aarch64". NULL for a file that could not be read, for NULL and
/// an index that there is not. index: from 0. The text is the inspection's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `inspection` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_inspection_architecture(
    inspection: *const krundl_inspection,
    index: usize,
) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { of_part(inspection, index, std::ptr::null(), |part| part.architecture.as_ptr()) }
}

/// The kind of file: "elf", "mach_o". NULL for a file that could not be read, for NULL and an index that there is not.
/// index: from 0. The text is the inspection's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `inspection` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_inspection_format(inspection: *const krundl_inspection, index: usize) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { of_part(inspection, index, std::ptr::null(), |part| part.format.as_ptr()) }
}

/// The name that it gives itself; NULL where it has none. NULL for a file that could not be read, for NULL and an index
/// that there is not. index: from 0. The text is the inspection's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `inspection` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_inspection_soname(inspection: *const krundl_inspection, index: usize) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { of_part(inspection, index, std::ptr::null(), |part| shown(part.soname.as_ref())) }
}

/// The mark that the linker left in it, in hexadecimal; NULL where it has none. NULL for a file that could not be read,
/// for NULL and an index that there is not. index: from 0. The text is the inspection's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `inspection` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_inspection_build_id(
    inspection: *const krundl_inspection,
    index: usize,
) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { of_part(inspection, index, std::ptr::null(), |part| shown(part.build_id.as_ref())) }
}

/// Its variant, by its names: "plain", "sev", "tdx", "aws_nitro", "efi"; NULL where it is no libkrun. NULL for a file
/// that could not be read, for NULL and an index that there is not. index: from 0. The text is the inspection's own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `inspection` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_inspection_flavour(
    inspection: *const krundl_inspection,
    index: usize,
) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { of_part(inspection, index, std::ptr::null(), |part| shown(part.flavour.as_ref())) }
}

/// The releases that it can be, by its functions and names, as a semver requirement such as "=1.18.0" or ">=1.18.0,
/// <1.19.0"; "*" where its functions fit none; NULL where it is no libkrun or its functions cannot be told. NULL for a
/// file that could not be read, for NULL and an index that there is not. index: from 0. The text is the inspection's
/// own.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `inspection` is NULL or a live handle.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_inspection_version(
    inspection: *const krundl_inspection,
    index: usize,
) -> *const c_char {
    // SAFETY: the caller's promise is the same.
    unsafe { of_part(inspection, index, std::ptr::null(), |part| shown(part.version.as_ref())) }
}

/// Whether it offers a function, such as "krun_add_virtiofs3": 1 or 0; -1 where its functions cannot be told, for names
/// that krundl does not know, for a file that could not be read, for NULL and an index that there is not. index: from 0.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `inspection` is NULL or a live handle, `function` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_inspection_has(
    inspection: *const krundl_inspection,
    index: usize,
    function: *const c_char,
) -> i32 {
    infallible(-1, || {
        // SAFETY: the caller's promise is the same.
        let Ok(function) = (unsafe { text("function", function) }) else { return -1 };
        let Some(function) = Function::from_name(function) else { return -1 };
        // SAFETY: the caller's promise is the same.
        unsafe {
            of_part(inspection, index, -1, |part| {
                part.part.functions.as_ref().map_or(-1, |functions| i32::from(functions[&function]))
            })
        }
    })
}

/// What its functions prove about a feature that it may be built with (the names are those of krundl_probe_feature):
/// KRUNDL_FEATURE_STATE_YES or KRUNDL_FEATURE_STATE_NO. KRUNDL_FEATURE_STATE_UNASKED where they prove nothing: only the
/// library itself can tell, when it is opened. KRUNDL_FEATURE_STATE_NO_SUCH_FEATURE for other names, for a file that
/// could not be read, for NULL and an index that there is not. index: from 0.
///
/// Threads: any. Cannot fail.
///
/// # Safety
/// `inspection` is NULL or a live handle, `feature` NULL or a C string.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn krundl_inspection_feature(
    inspection: *const krundl_inspection,
    index: usize,
    feature: *const c_char,
) -> krundl_feature_state {
    infallible(krundl_feature_state::NoSuchFeature, || {
        // SAFETY: the caller's promise is the same.
        let Ok(feature) = (unsafe { text("feature", feature) }) else { return krundl_feature_state::NoSuchFeature };
        let Some(feature) = Feature::from_name(feature) else { return krundl_feature_state::NoSuchFeature };
        // SAFETY: the caller's promise is the same.
        unsafe {
            of_part(inspection, index, krundl_feature_state::NoSuchFeature, |part| {
                match part.part.features.get(&feature) {
                    Some(true) => krundl_feature_state::Yes,
                    Some(false) => krundl_feature_state::No,
                    None => krundl_feature_state::Unasked,
                }
            })
        }
    })
}
