//! launch, and the VM that comes of it.

use std::ops::ControlFlow;
use std::os::fd::{BorrowedFd, IntoRawFd, OwnedFd, RawFd};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use serde_json::{Value, json};

use super::convert::{Target, log_file, python_file, seconds, timeout, to_python};
use super::error::{detached, guarded, to_python_error};
use super::look::Probed;
use crate::error::Error;
use crate::launch::{self as launching, Asked, Watch};
use crate::{Exit, LaunchOptions, LogTarget, Stream, prepare_json};

type File<'py> = Option<Bound<'py, PyAny>>;

/// A VM and the files at its streams. With `wait` once libkrun is entered, else as soon as its process is started.
#[pyfunction]
#[pyo3(signature = (
    spec, probed, wait, stdin, stdout, stderr, log, helper, die_with_parent, new_session, start_timeout
))]
#[expect(clippy::too_many_arguments, reason = "Python names them")]
pub fn launch<'py>(
    py: Python<'py>,
    spec: &str,
    probed: &Probed,
    wait: bool,
    stdin: Option<Bound<'py, PyAny>>,
    stdout: Option<Bound<'py, PyAny>>,
    stderr: Option<Bound<'py, PyAny>>,
    log: Option<Bound<'py, PyAny>>,
    helper: Option<PathBuf>,
    die_with_parent: bool,
    new_session: bool,
    start_timeout: f64,
) -> PyResult<(Vm, File<'py>, File<'py>, File<'py>)> {
    let stdin = Target::new("stdin", stdin.as_ref())?;
    let stdout = Target::new("stdout", stdout.as_ref())?;
    let stderr = Target::new("stderr", stderr.as_ref())?;
    let (stdout, stderr, both) = outputs(stdout, stderr)?;
    let options = LaunchOptions {
        helper,
        stdin: stream(stdin),
        stdout,
        stderr,
        log: log.as_ref().map(log_file).transpose()?.map_or(LogTarget::Captured, LogTarget::File),
        die_with_parent,
        new_session,
        start_timeout: seconds("start_timeout", start_timeout)?,
    };
    let vm = detached(py, || {
        let prepared = prepare_json(spec, &probed.0.capabilities)?;
        if wait { launching::launch(prepared, options) } else { launching::start(prepared, options) }
    })?;
    let file = |fd: Option<OwnedFd>, mode| fd.map(|fd| python_file(py, fd, mode)).transpose();
    let stdin = file(vm.take_stdin().map(OwnedFd::from), "wb")?;
    let stdout = file(both.or_else(|| vm.take_stdout().map(OwnedFd::from)), "rb")?;
    let stderr = file(vm.take_stderr().map(OwnedFd::from), "rb")?;
    Ok((Vm(Mutex::new(Some(Arc::new(vm)))), stdin, stdout, stderr))
}

fn stream(target: Target) -> Stream {
    match target {
        Target::Inherit | Target::Stdout => Stream::Inherit,
        Target::Pipe => Stream::Piped,
        Target::Null => Stream::Null,
        Target::Fd(fd) => Stream::Fd(fd),
    }
}

/// Standard output and error; where both share a pipe, the end to read from.
fn outputs(stdout: Target, stderr: Target) -> PyResult<(Stream, Stream, Option<OwnedFd>)> {
    if !matches!(stderr, Target::Stdout) {
        return Ok((stream(stdout), stream(stderr), None));
    }
    Ok(match stdout {
        Target::Pipe => {
            let (reader, writer) = std::io::pipe()?;
            let copy = writer.try_clone()?;
            (Stream::Fd(writer.into()), Stream::Fd(copy.into()), Some(reader.into()))
        }
        Target::Fd(fd) => {
            let copy = fd.try_clone()?;
            (Stream::Fd(fd), Stream::Fd(copy), None)
        }
        Target::Null => (Stream::Null, Stream::Null, None),
        Target::Inherit | Target::Stdout => {
            // SAFETY: a standard output that is closed makes the copy fail with EBADF and nothing else.
            let own = unsafe { BorrowedFd::borrow_raw(libc::STDOUT_FILENO) };
            (Stream::Inherit, Stream::Fd(own.try_clone_to_owned()?), None)
        }
    })
}

/// A VM.
#[pyclass(frozen, module = "krundl._krundl")]
pub struct Vm(
    /// `None` once it was let go.
    Mutex<Option<Arc<crate::Vm>>>,
);

#[pymethods]
impl Vm {
    /// Waits until the VM ends; `None` when the time is over.
    fn wait<'py>(&self, py: Python<'py>, time: Option<f64>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let (vm, time) = (self.own(py)?, timeout(time)?);
        let exit = interruptible(py, |interrupted| vm.wait_with(time, interrupted))?;
        exit.map(|exit| to_python(py, &exit_json(&exit))).transpose()
    }

    fn wait_ready(&self, py: Python<'_>, time: Option<f64>) -> PyResult<()> {
        let (vm, time) = (self.own(py)?, timeout(time)?);
        interruptible(py, |interrupted| vm.wait_ready_with(time, interrupted))?;
        Ok(())
    }

    fn is_entered(&self, py: Python<'_>) -> PyResult<bool> {
        let vm = self.own(py)?;
        detached(py, || vm.is_entered())
    }

    /// Whether nothing is left to wait for. Looking takes what has come.
    fn has_ended(&self, py: Python<'_>) -> PyResult<bool> {
        let vm = self.own(py)?;
        Ok(py.detach(|| !matches!(vm.try_wait(), Ok(None))))
    }

    /// The error of waiting for `what` in vain, for waits that Rust does not make.
    fn timed_out(&self, py: Python<'_>, what: &str, after: f64) -> PyResult<PyErr> {
        let what = match what {
            "entered" => "entering libkrun",
            "ready" => "the guest's first word",
            _ => "the VM's end",
        };
        let error = self.own(py)?.timed_out(what, seconds("timeout", after)?);
        Ok(to_python_error(py, &error))
    }

    /// Whether the workload was asked, and not the VM's process.
    fn terminate(&self, py: Python<'_>) -> PyResult<bool> {
        let vm = self.own(py)?;
        Ok(detached(py, || vm.terminate())? == Asked::Workload)
    }

    fn interrupt(&self, py: Python<'_>) -> PyResult<()> {
        let vm = self.own(py)?;
        detached(py, || vm.interrupt())
    }

    fn kill(&self, py: Python<'_>) -> PyResult<()> {
        let vm = self.own(py)?;
        detached(py, || vm.kill())
    }

    fn log(&self, py: Python<'_>) -> PyResult<Vec<u8>> {
        let vm = self.own(py)?;
        Ok(py.detach(|| vm.log()))
    }

    fn ports<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_python(py, &json!(self.held()?.ports()))
    }

    #[getter]
    fn pid(&self) -> PyResult<u32> {
        Ok(self.held()?.pid())
    }

    /// The VM's own; `None` where the kernel has none.
    #[getter]
    fn pidfd(&self, py: Python<'_>) -> PyResult<Option<RawFd>> {
        use std::os::fd::AsRawFd;
        Ok(self.own(py)?.pidfd().map(|fd| fd.as_raw_fd()))
    }

    /// The control port's socket.
    #[getter]
    fn control(&self, py: Python<'_>) -> PyResult<Option<PathBuf>> {
        Ok(self.own(py)?.control())
    }

    /// Begins to wait on behalf of an event loop.
    fn watch(&self, py: Python<'_>) -> PyResult<Watcher> {
        Ok(Watcher(Watch::new(self.own(py)?)?))
    }

    /// Lets the VM run on.
    fn detach(&self, py: Python<'_>) -> PyResult<u32> {
        self.own(py)?;
        let mut place = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let vm = place.take().ok_or_else(gone)?;
        match Arc::try_unwrap(vm) {
            Ok(vm) => Ok(vm.detach()),
            Err(vm) => {
                *place = Some(vm);
                Err(PyRuntimeError::new_err("the VM cannot be let go while somebody waits for it"))
            }
        }
    }

    /// Kills the VM, if it runs, and reaps its process; how it ended is not judged.
    fn close(&self, py: Python<'_>) {
        if let Ok(vm) = self.own(py) {
            py.detach(|| {
                let _ = vm.kill();
                let _ = vm.wait();
            });
        }
    }
}

impl Vm {
    fn held(&self) -> PyResult<Arc<crate::Vm>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(gone)
    }

    /// The VM, in the process that launched it.
    fn own(&self, py: Python<'_>) -> PyResult<Arc<crate::Vm>> {
        let vm = self.held()?;
        vm.check_own().map_err(|error| to_python_error(py, &error))?;
        Ok(vm)
    }
}

fn gone() -> PyErr {
    PyRuntimeError::new_err("the VM was let go with detach()")
}

/// Waits without the GIL. A signal whose Python handler raises ends the waiting with that exception.
pub(super) fn interruptible<T: Send>(
    py: Python<'_>,
    wait: impl FnOnce(launching::Interrupted<'_>) -> Result<T, Error> + Send,
) -> PyResult<T> {
    let mut raised = None;
    let mut interrupted = || {
        raised = Python::attach(|py| py.check_signals()).err();
        if raised.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    };
    let waited = py.detach(|| guarded(|| wait(&mut interrupted)));
    match raised {
        Some(exception) => Err(exception),
        None => waited.map_err(|error| to_python_error(py, &error)),
    }
}

pub(super) fn exit_json(exit: &Exit) -> Value {
    let (kind, signal, reason) = match exit {
        Exit::Code(_) => ("code", None, None),
        Exit::Signal(signal) => ("signal", Some(*signal), None),
        Exit::NotExecuted { reason, .. } => ("not_executed", None, Some(reason.as_str())),
        Exit::Stopped(signal) => ("stopped", Some(*signal), None),
        Exit::Unproved(_) => ("unproved", None, None),
    };
    json!({
        "kind": kind, "status": exit.status(), "success": exit.success(), "signal": signal, "reason": reason,
        "text": exit.to_string(),
    })
}

/// Who waits with an event loop.
#[pyclass(frozen, module = "krundl._krundl")]
pub struct Watcher(Watch);

#[pymethods]
impl Watcher {
    /// Descriptors that may have news until the next look; the caller closes them.
    fn descriptors(&self) -> PyResult<Vec<RawFd>> {
        Ok(self.0.descriptors()?.into_iter().map(IntoRawFd::into_raw_fd).collect())
    }
}
