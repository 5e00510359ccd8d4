//! The one way from our errors to Python's.

use std::panic::{AssertUnwindSafe, catch_unwind};

use pyo3::prelude::*;
use serde_json::{Value, json};

use super::convert::to_python;
use crate::error::Error;

/// The class by the code's name, with everything that the error holds in `details`.
pub fn to_python_error(py: Python<'_>, error: &Error) -> PyErr {
    let made = || -> PyResult<Bound<'_, PyAny>> {
        let make = py.import("krundl._errors")?.getattr("make")?;
        let code = error.code();
        make.call1((code.info().name, code as u32, error.to_string(), to_python(py, &details(error))?))
    };
    match made() {
        Ok(exception) => PyErr::from_value(exception),
        Err(failure) => failure,
    }
}

/// Runs what may block without the GIL.
pub fn detached<T: Send>(py: Python<'_>, work: impl FnOnce() -> Result<T, Error> + Send) -> PyResult<T> {
    py.detach(|| guarded(work)).map_err(|error| to_python_error(py, &error))
}

/// A panic of ours is an error like others: what PyO3 would make of it passes by every `except Exception`.
pub fn guarded<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    // Nothing that it may have left half done is used again but a Vm, whose lock survives a panic.
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "a panic".to_owned());
        Err(Error::Internal { message })
    })
}

fn details(error: &Error) -> Value {
    let mut details = match error {
        Error::LibraryNotFound { attempts } => json!({"attempts": attempts}),
        Error::GenerationUnknown { path, reason } | Error::LibraryChanged { path, reason } => {
            json!({"path": path.to_string_lossy(), "reason": reason})
        }
        Error::InvalidSpec { problems } | Error::Unsupported { problems } => json!({"problems": problems}),
        Error::HelperNotFound { tried } => {
            json!({"tried": tried.iter().map(|path| path.to_string_lossy()).collect::<Vec<_>>()})
        }
        Error::HelperMismatch { helper, caller, reason } => {
            json!({"helper": helper.to_string_lossy(), "caller": caller.to_string_lossy(), "reason": reason})
        }
        Error::HelperFailed { helper, reason, .. } => json!({"helper": helper.to_string_lossy(), "reason": reason}),
        Error::Network { field, program, reason, .. } => {
            json!({"field": field, "program": program.to_string_lossy(), "reason": reason})
        }
        Error::Call { args, .. } => json!({"args": args}),
        Error::Start { .. } => json!({}),
        Error::Crashed { ended, .. } | Error::NeverUp { ended, .. } | Error::GuestLost { ended, .. } => {
            json!({"ended": ended})
        }
        Error::GuestSetup { message, .. } => json!({"reason": message}),
        Error::TimedOut { what, after, .. } => json!({"what": what, "after": after.as_secs_f64()}),
        Error::ControlLost { socket, reason } => json!({"socket": socket.to_string_lossy(), "reason": reason}),
        Error::ReadinessUnknown { reason } => json!({"reason": reason}),
        Error::Os { what, .. } => json!({"what": what}),
        Error::InvalidArgument { argument, reason } => json!({"argument": argument, "reason": reason}),
        Error::Internal { message } => json!({"reason": message}),
    };
    if let Some(function) = error.function() {
        details["function"] = json!(function);
    }
    if let Some(errno) = error.errno() {
        details["errno"] = json!(errno);
    }
    if let Some(words) = error.words() {
        details["log"] = json!(words.as_str());
    }
    details
}
