//! From Python's values to ours.

use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd};
use std::time::Duration;

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde::Serialize;

/// What `subprocess.PIPE` and its neighbours stand for.
const PIPE: RawFd = -1;
const STDOUT: RawFd = -2;
const DEVNULL: RawFd = -3;

/// Plain data as Python's dictionaries and lists.
pub fn to_python<'py>(py: Python<'py>, data: &impl Serialize) -> PyResult<Bound<'py, PyAny>> {
    Ok(pythonize::pythonize(py, data)?)
}

/// A number of seconds that Python's own time-outs would take.
pub fn seconds(name: &str, value: f64) -> PyResult<Duration> {
    // What is more than time itself, infinity included, is for ever.
    if value.is_nan() {
        return Err(PyValueError::new_err(format!("{name} must be a number of seconds")));
    }
    Ok(Duration::try_from_secs_f64(value.max(0.0)).unwrap_or(Duration::MAX))
}

/// The same where `None` is for ever.
pub fn timeout(value: Option<f64>) -> PyResult<Option<Duration>> {
    value.map(|value| seconds("timeout", value)).transpose()
}

/// Where a standard stream goes.
#[derive(Debug)]
pub enum Target {
    Inherit,
    Pipe,
    Null,
    /// Where standard output goes.
    Stdout,
    Fd(OwnedFd),
}

impl Target {
    /// `None`, one of subprocess's constants, a descriptor, or something that has one.
    pub fn new(name: &str, value: Option<&Bound<'_, PyAny>>) -> PyResult<Target> {
        let Some(value) = value else { return Ok(Target::Inherit) };
        Ok(match descriptor(value)? {
            PIPE => Target::Pipe,
            DEVNULL => Target::Null,
            STDOUT if name == "stderr" => Target::Stdout,
            fd if fd < 0 => return Err(PyValueError::new_err(format!("{name}: {fd} is no descriptor"))),
            fd => Target::Fd(copy(fd)?),
        })
    }
}

fn descriptor(value: &Bound<'_, PyAny>) -> PyResult<RawFd> {
    match value.extract::<RawFd>() {
        Ok(fd) => Ok(fd),
        Err(_) => value.call_method0("fileno")?.extract(),
    }
}

/// A copy, so that the caller's stays the caller's.
fn copy(fd: RawFd) -> PyResult<OwnedFd> {
    // SAFETY: a descriptor that is not open makes the copy fail with EBADF and nothing else; it is not kept.
    let borrowed = unsafe { BorrowedFd::borrow_raw(fd) };
    Ok(borrowed.try_clone_to_owned()?)
}

/// A file to append to: its path, a descriptor, or something that has one.
pub fn log_file(value: &Bound<'_, PyAny>) -> PyResult<File> {
    if let Ok(path) = value.extract::<std::path::PathBuf>() {
        let opened = File::options().create(true).append(true).read(true).open(&path);
        return opened.map_err(|error| {
            let errno = error.raw_os_error();
            PyOSError::new_err((errno, error.to_string(), path))
        });
    }
    Ok(copy(descriptor(value)?)?.into())
}

/// Hands a descriptor over to a Python file.
pub fn python_file<'py>(py: Python<'py>, fd: OwnedFd, mode: &str) -> PyResult<Bound<'py, PyAny>> {
    use std::os::fd::IntoRawFd;
    let arguments = PyDict::new(py);
    arguments.set_item("mode", mode)?;
    let open = py.import("io")?.getattr("open")?;
    let raw = fd.as_fd().try_clone_to_owned()?.into_raw_fd();
    let file = open.call((raw,), Some(&arguments));
    if file.is_err() {
        // SAFETY: the call failed, so the copy is still ours and nobody else has it.
        drop(unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(raw) });
    }
    file
}
