//! The control port: commands in a running guest, its figures, names.

use std::os::fd::BorrowedFd;
use std::path::PathBuf;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

use super::convert::{Target, seconds, timeout, to_python};
use super::error::{detached, to_python_error};
use super::vm::{exit_json, interruptible};
use crate::control::{self, Command, Ended, Sink, Size, Source, Streams};
use crate::error::Error;

/// A command in a guest.
#[pyclass(frozen, module = "krundl._krundl")]
pub struct GuestCommand(control::Exec);

/// Starts a command, which is JSON. `input` are bytes for its standard input; with a pipe at an output that is captured.
#[pyfunction]
#[pyo3(signature = (socket, command, rows, columns, input, stdin, stdout, stderr, time))]
#[expect(clippy::too_many_arguments, reason = "Python names them")]
pub fn exec_start(
    py: Python<'_>,
    socket: PathBuf,
    command: &str,
    rows: u16,
    columns: u16,
    input: Option<Vec<u8>>,
    stdin: Option<Bound<'_, PyAny>>,
    stdout: Option<Bound<'_, PyAny>>,
    stderr: Option<Bound<'_, PyAny>>,
    time: f64,
) -> PyResult<GuestCommand> {
    let command: Command =
        serde_json::from_str(command).map_err(|error| PyValueError::new_err(format!("the command: {error}")))?;
    let stdin = match input {
        Some(bytes) => Source::Bytes(bytes),
        None => match Target::new("stdin", stdin.as_ref())? {
            Target::Inherit => Source::Fd(own(libc::STDIN_FILENO)?),
            Target::Null => Source::Null,
            Target::Fd(fd) => Source::Fd(fd),
            Target::Pipe | Target::Stdout => {
                return Err(PyValueError::new_err("stdin: give it as input, or a descriptor"));
            }
        },
    };
    let stdout = sink(Target::new("stdout", stdout.as_ref())?, libc::STDOUT_FILENO)?;
    let stderr = sink(Target::new("stderr", stderr.as_ref())?, libc::STDERR_FILENO)?;
    let time = seconds("connect_timeout", time)?;
    let streams = Streams { stdin, stdout, stderr };
    detached(py, || control::Exec::start(&socket, &command, Size { rows, columns }, streams, time)).map(GuestCommand)
}

fn sink(target: Target, inherited: i32) -> PyResult<Sink> {
    Ok(match target {
        Target::Inherit => Sink::Fd(own(inherited)?),
        Target::Null => Sink::Null,
        Target::Fd(fd) => Sink::Fd(fd),
        Target::Pipe => Sink::Capture,
        Target::Stdout => return Err(PyValueError::new_err("stderr: redirect it in the guest (2>&1)")),
    })
}

fn own(number: i32) -> PyResult<std::os::fd::OwnedFd> {
    // SAFETY: one that is closed makes the copy fail with EBADF and nothing else.
    Ok(unsafe { BorrowedFd::borrow_raw(number) }.try_clone_to_owned()?)
}

#[pymethods]
impl GuestCommand {
    #[getter]
    fn pid(&self) -> Option<u32> {
        self.0.pid()
    }

    fn signal(&self, number: i32) {
        self.0.signal(number);
    }

    fn resize(&self, rows: u16, columns: u16) {
        self.0.resize(Size { rows, columns });
    }

    /// How it ended; `None` when the time is over.
    fn wait<'py>(&self, py: Python<'py>, time: Option<f64>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let time = timeout(time)?;
        match interruptible(py, |interrupted| self.0.wait_with(time, interrupted))? {
            Ended::Exit(exit) => to_python(py, &exit_json(&exit)).map(Some),
            Ended::TimedOut | Ended::Interrupted => Ok(None),
        }
    }

    /// For event loops: a descriptor each, and whether it is waited for to be read and to be written to.
    fn interests(&self) -> Vec<(i32, bool, bool)> {
        self.0.interests().into_iter().map(|one| (one.fd, one.readable, one.writable)).collect()
    }

    /// How it ended, when it has.
    fn advance<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let exit = detached(py, || self.0.advance())?;
        exit.map(|exit| to_python(py, &exit_json(&exit))).transpose()
    }

    fn take_output(&self) -> Vec<u8> {
        self.0.take_output()
    }

    fn take_errors(&self) -> Vec<u8> {
        self.0.take_errors()
    }

    /// The error of having waited in vain.
    fn timed_out(&self, py: Python<'_>, after: f64) -> PyResult<PyErr> {
        let what = "the end of the command in the guest";
        let words = crate::error::Words::default();
        let error = Error::TimedOut { what, after: seconds("timeout", after)?, during: None, words };
        Ok(to_python_error(py, &error))
    }

    /// Closes the connection, upon which the guest kills the command.
    fn close(&self) {
        self.0.close();
    }
}

/// A guest's figures.
#[pyfunction]
pub fn figures<'py>(py: Python<'py>, socket: PathBuf, time: f64) -> PyResult<Bound<'py, PyAny>> {
    let time = seconds("connect_timeout", time)?;
    let figures = detached(py, || control::figures(&socket, time))?;
    to_python(py, &figures)
}

/// Asks a guest's workload to end.
#[pyfunction]
pub fn terminate(py: Python<'_>, socket: PathBuf, time: f64) -> PyResult<()> {
    let time = seconds("connect_timeout", time)?;
    detached(py, || control::terminate(&socket, time))
}

/// The control socket of a VM by its name, or by the socket's own path.
#[pyfunction]
pub fn control_socket(py: Python<'_>, name: &str) -> PyResult<PathBuf> {
    control::socket_of(name).map_err(|error| to_python_error(py, &error))
}

/// The VMs of this user that run under a name.
#[pyfunction]
pub fn named(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    let found = detached(py, control::named)?;
    to_python(py, &found)
}
