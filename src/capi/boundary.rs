//! What every function does first and last: nothing of the caller's is believed, and no panic leaves.

use std::ffi::{CStr, CString, c_char};
use std::os::unix::ffi::OsStrExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use super::{krundl_error, krundl_status};
use crate::error::{Error, Result};

/// Runs a function that can fail: a failure becomes a status and, where the caller wants one, an object.
///
/// # Safety
/// `error` is null or can be written to.
pub(super) unsafe fn fallible(error: *mut *mut krundl_error, body: impl FnOnce() -> Result<()>) -> krundl_status {
    let failure = match catch_unwind(AssertUnwindSafe(body)) {
        Ok(Ok(())) => None,
        Ok(Err(failure)) => Some(failure),
        Err(panic) => Some(Error::Internal { message: words(panic.as_ref()) }),
    };
    let status = failure.as_ref().map_or(krundl_status::Ok, |failure| krundl_status::of(failure.code()));
    if !error.is_null() {
        let object =
            failure.map_or(std::ptr::null_mut(), |failure| Box::into_raw(Box::new(krundl_error::new(failure))));
        // SAFETY: the caller of this function promised that it can be written to.
        unsafe { error.write(object) };
    }
    status
}

/// Runs a function that cannot fail, except by a mistake in krundl: then it answers `otherwise`.
pub(super) fn infallible<T>(otherwise: T, body: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(body)).unwrap_or(otherwise)
}

/// Answers a question about a handle; `otherwise` for NULL.
///
/// # Safety
/// `handle` is null or points to a live one.
pub(super) unsafe fn asked<'a, T: 'a, A: Copy>(handle: *const T, otherwise: A, answer: impl FnOnce(&'a T) -> A) -> A {
    // SAFETY: the caller's promise is the same.
    infallible(otherwise, || unsafe { handle.as_ref() }.map_or(otherwise, answer))
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("a panic without words").to_owned()
}

/// Gives the caller a handle.
///
/// # Safety
/// `out` is null or can be written to.
pub(super) unsafe fn give<T>(out: *mut *mut T, make: impl FnOnce() -> Result<T>) -> Result<()> {
    if out.is_null() {
        return Err(Error::argument("out", "is NULL"));
    }
    // SAFETY: it is not null, and the caller promised that it can be written to.
    unsafe { out.write(std::ptr::null_mut()) };
    let made = Box::into_raw(Box::new(make()?));
    // SAFETY: as above.
    unsafe { out.write(made) };
    Ok(())
}

/// Takes a handle back and drops it.
///
/// # Safety
/// `handle` is null or was given by [`give`] and not taken back yet.
pub(super) unsafe fn free<T>(handle: *mut T) {
    if !handle.is_null() {
        // SAFETY: the caller promised where it comes from.
        infallible((), || drop(unsafe { Box::from_raw(handle) }));
    }
}

/// A handle that must be there.
///
/// # Safety
/// `handle` is null or points to a live one.
pub(super) unsafe fn needed<'a, T>(argument: &str, handle: *const T) -> Result<&'a T> {
    // SAFETY: the caller promised it.
    unsafe { handle.as_ref() }.ok_or_else(|| Error::argument(argument, "is NULL"))
}

/// The bytes of a text; `None` for NULL.
///
/// # Safety
/// `text` is null or a C string.
pub(super) unsafe fn bytes<'a>(text: *const c_char) -> Option<&'a [u8]> {
    // SAFETY: the caller promised it.
    (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_bytes())
}

/// A text that may be NULL and otherwise must be UTF-8.
///
/// # Safety
/// `text` is null or a C string.
pub(super) unsafe fn optional_text<'a>(argument: &str, text: *const c_char) -> Result<Option<&'a str>> {
    // SAFETY: the caller's promise is the same.
    let bytes = unsafe { bytes(text) };
    bytes.map(std::str::from_utf8).transpose().map_err(|_| Error::argument(argument, "is not UTF-8"))
}

/// A text that must be there and UTF-8.
///
/// # Safety
/// `text` is null or a C string.
pub(super) unsafe fn text<'a>(argument: &str, text: *const c_char) -> Result<&'a str> {
    // SAFETY: the caller's promise is the same.
    unsafe { optional_text(argument, text) }?.ok_or_else(|| Error::argument(argument, "is NULL"))
}

/// A path, of any bytes; `None` for NULL.
///
/// # Safety
/// `path` is null or a C string.
pub(super) unsafe fn optional_path(path: *const c_char) -> Option<PathBuf> {
    // SAFETY: the caller's promise is the same.
    unsafe { bytes(path) }.map(|bytes| Path::new(std::ffi::OsStr::from_bytes(bytes)).to_owned())
}

/// The items of an array that ends with NULL; none for NULL.
///
/// # Safety
/// `array` is null or such an array.
pub(super) unsafe fn items(array: *const *const c_char) -> Vec<*const c_char> {
    let mut list = Vec::new();
    while !array.is_null() {
        // SAFETY: the array goes on up to its NULL, which has not come yet.
        let item = unsafe { *array.add(list.len()) };
        if item.is_null() {
            break;
        }
        list.push(item);
    }
    list
}

/// The texts of an array that ends with NULL; none for NULL.
///
/// # Safety
/// `array` is null or such an array of C strings.
pub(super) unsafe fn texts<'a>(argument: &str, array: *const *const c_char) -> Result<Vec<&'a str>> {
    // SAFETY: the caller's promise is the same, and an item of the array is a C string.
    unsafe { items(array).into_iter().map(|item| text(argument, item)).collect() }
}

/// The same as paths, of any bytes.
///
/// # Safety
/// As for [`texts`].
pub(super) unsafe fn paths(array: *const *const c_char) -> Vec<PathBuf> {
    // SAFETY: the caller's promise is the same, and an item of the array is a C string.
    unsafe { items(array).into_iter().filter_map(|item| optional_path(item)).collect() }
}

/// The fields of a structure of the caller's, who may know fewer of them than we do: the rest is zero.
///
/// # Safety
/// `theirs` is null or points to a structure whose first field is its size, of which that many bytes can be read; all
/// zeroes is a value of `T`.
pub(super) unsafe fn options<T: Default>(argument: &str, theirs: *const T) -> Result<T> {
    let mut ours = T::default();
    if theirs.is_null() {
        return Ok(ours);
    }
    // SAFETY: the structure begins with its size.
    let size = unsafe { theirs.cast::<usize>().read() };
    if size < size_of::<usize>() {
        return Err(Error::argument(argument, "its struct_size is not set"));
    }
    // A newer program may set what this library does not know: that must not be ignored.
    let known = size_of::<T>().min(size);
    // SAFETY: so many bytes can be read, as the caller promised.
    let beyond = unsafe { std::slice::from_raw_parts(theirs.cast::<u8>().add(known), size - known) };
    if beyond.iter().any(|byte| *byte != 0) {
        return Err(Error::argument(argument, "it sets fields that this version of krundl does not have"));
    }
    // SAFETY: `known` bytes can be read there and written here, and the two do not overlap.
    unsafe { std::ptr::copy_nonoverlapping(theirs.cast::<u8>(), (&raw mut ours).cast::<u8>(), known) };
    Ok(ours)
}

/// As [`options`], of a structure that must be there.
///
/// # Safety
/// As for [`options`].
pub(super) unsafe fn needed_options<T: Default>(argument: &str, theirs: *const T) -> Result<T> {
    if theirs.is_null() {
        return Err(Error::argument(argument, "is NULL"));
    }
    // SAFETY: the caller's promise is the same.
    unsafe { options(argument, theirs) }
}

/// Text for C. A NUL, which C's text cannot have, is shown as U+FFFD.
pub(super) fn owned(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{fffd}")).expect("there is no NUL left")
}

/// A pointer to a text of a handle's, NULL where there is none.
pub(super) fn shown(text: Option<&CString>) -> *const c_char {
    text.map_or(std::ptr::null(), |text| text.as_ptr())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_becomes_a_status_and_an_object() {
        let mut error = std::ptr::null_mut();
        // SAFETY: the pointer is to a variable of ours.
        let status = unsafe { fallible(&mut error, || panic!("on {}", "purpose")) };
        assert_eq!(status, krundl_status::Internal);
        // SAFETY: it was made by the call above.
        let error = unsafe { Box::from_raw(error) };
        assert!(error.message.to_str().unwrap().contains("on purpose"));
        assert_eq!(infallible(7, || panic!("again")), 7);
    }

    #[test]
    fn a_shorter_structure_is_filled_up_and_a_longer_one_may_set_nothing() {
        #[repr(C)]
        #[derive(Clone, Copy, Debug, Default, PartialEq)]
        struct Three {
            size: usize,
            a: u64,
            b: u64,
        }
        // SAFETY: the structures below have the sizes that they tell, or more.
        let read = |theirs: &Three| unsafe { options("options", theirs) };
        let known = Three { size: 16, a: 1, b: 2 };
        assert_eq!(read(&known).unwrap(), Three { size: 16, a: 1, b: 0 });
        for size in [0, 1, 7] {
            assert!(read(&Three { size, ..known }).is_err());
        }
        for (beyond, taken) in [(0u64, true), (1, false)] {
            let newer = [32u64, 1, 2, beyond];
            // SAFETY: it tells its size in bytes first.
            let read = unsafe { options::<Three>("options", newer.as_ptr().cast()) };
            assert_eq!(read.is_ok(), taken);
        }
    }
}
