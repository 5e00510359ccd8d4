//! probe, doctor, inspect, and the tables.

use std::path::PathBuf;

use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyTuple;

use super::convert::{seconds, to_python};
use super::error::{detached, to_python_error};
use crate::capabilities::Levels;
use crate::doctor::{self as doctors, Inspected, ProbeReport, Style};
use crate::error::{CODES, Error, Problem, ProblemKind};
use crate::library::Environment;
use crate::probe::{self as probes, ProbeOptions};
use crate::spec::{self, Layout, Mount, OverlayPaths};
use crate::symbols::Function;

/// A probe's result as Rust has it, for the plans that follow from it.
#[pyclass(frozen, module = "krundl._krundl")]
pub struct Probed(pub probes::Probed);

#[pymethods]
impl Probed {
    #[new]
    fn new(json: &str) -> PyResult<Probed> {
        serde_json::from_str(json).map(Probed).map_err(|error| PyValueError::new_err(error.to_string()))
    }

    /// Plain data, so that it can be pickled and sent to another process.
    fn __getnewargs__(&self) -> (String,) {
        (serde_json::to_string(&self.0).expect("it is plain data"),)
    }
}

pub fn options(
    library: Option<PathBuf>,
    directory: Option<PathBuf>,
    bundled: Option<PathBuf>,
    helper: Option<PathBuf>,
    timeout: f64,
    kernel_release: bool,
) -> PyResult<ProbeOptions> {
    let timeout = seconds("timeout", timeout)?;
    let bundled = bundled.map(PathBuf::into_os_string);
    let environment = Some(Environment { bundled, ..Environment::current() });
    Ok(ProbeOptions { library, directory, helper, timeout, environment, kernel_release })
}

/// The report and what it was made from.
#[pyfunction]
#[pyo3(signature = (library, directory, bundled, helper, timeout, kernel_release))]
pub fn probe<'py>(
    py: Python<'py>,
    library: Option<PathBuf>,
    directory: Option<PathBuf>,
    bundled: Option<PathBuf>,
    helper: Option<PathBuf>,
    timeout: f64,
    kernel_release: bool,
) -> PyResult<(Bound<'py, PyAny>, Probed)> {
    let options = options(library, directory, bundled, helper, timeout, kernel_release)?;
    let probed = detached(py, || probes::probe_isolated(&options))?;
    Ok((to_python(py, &ProbeReport::new(&probed))?, Probed(probed)))
}

/// The report, and the same as text.
#[pyfunction]
#[pyo3(signature = (library, directory, bundled, helper, timeout, mounts, kernel, compare, boot, only))]
#[expect(clippy::too_many_arguments, reason = "Python names them")]
pub fn doctor<'py>(
    py: Python<'py>,
    library: Option<PathBuf>,
    directory: Option<PathBuf>,
    bundled: Option<PathBuf>,
    helper: Option<PathBuf>,
    timeout: f64,
    mounts: &str,
    kernel: Option<PathBuf>,
    compare: Option<String>,
    boot: bool,
    only: Vec<String>,
) -> PyResult<(Bound<'py, PyAny>, String)> {
    let probe = options(library, directory, bundled, helper, timeout, true)?;
    let mounts = from_json("mounts", mounts).map_err(|error| to_python_error(py, &error))?;
    let options = doctors::Options { probe, mounts, kernel, compare, boot, only };
    let report =
        detached(py, || doctors::doctor(&options).map_err(|reason| Error::argument("the doctor's options", reason)))?;
    let text = report.as_text(Style { checks_only: !options.only.is_empty(), ..Style::default() });
    Ok((to_python(py, &report)?, text))
}

/// A report and a text for each file; without files, those in a root's usual places.
#[pyfunction]
pub fn inspect<'py>(
    py: Python<'py>,
    files: Vec<PathBuf>,
    root: Option<PathBuf>,
) -> PyResult<Vec<(Bound<'py, PyAny>, String)>> {
    let found: Vec<Inspected> = py.detach(|| match &root {
        Some(root) if files.is_empty() => doctors::inspect_root(root),
        root => doctors::inspect(&files, root.as_deref()),
    });
    let text = |file: &Inspected| doctors::inspected_as_text(std::slice::from_ref(file), false);
    found.iter().map(|file| Ok((to_python(py, file)?, text(file)))).collect()
}

/// The commands that put a mount in its place: with the paths of an overlay, or directly, or as fits the mount.
#[pyfunction]
pub fn mount_commands(
    py: Python<'_>,
    mount: &str,
    direct: bool,
    overlay: Option<std::collections::HashMap<String, String>>,
) -> PyResult<Vec<String>> {
    let overlay = overlay.map(paths).transpose()?;
    let commands = || {
        let mount: Mount = from_json("mount", mount)?;
        let layout = match overlay {
            Some(paths) => Layout::Overlay(paths),
            None if direct => Layout::Direct,
            None => Layout::of(&mount),
        };
        spec::mount_commands(&mount, &layout)
    };
    commands().map_err(|error| to_python_error(py, &error))
}

/// The paths of an overlay by their names; those that are not there are SmolVM's.
fn paths(given: std::collections::HashMap<String, String>) -> PyResult<OverlayPaths> {
    let mut paths = OverlayPaths::default();
    for (name, path) in given {
        match name.as_str() {
            "lower" => paths.lower = path,
            "upper" => paths.upper = path,
            "work" => paths.work = path,
            _ => return Err(PyValueError::new_err(format!("an overlay has lower, upper and work, not {name:?}"))),
        }
    }
    Ok(paths)
}

#[pyfunction]
pub fn missing_filesystems(text: &str) -> Vec<&'static str> {
    spec::missing_filesystems(text)
}

/// A part of a spec; what it gets wrong is a problem with the field's path below `name`.
fn from_json<T: serde::de::DeserializeOwned>(name: &str, text: &str) -> Result<T, Error> {
    let mut reader = serde_json::Deserializer::from_str(text);
    serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let path = error.path().to_string();
        let field = match path.as_str() {
            "." => name.to_owned(),
            path if path.starts_with('[') => format!("{name}{path}"),
            path => format!("{name}.{path}"),
        };
        let problem = Problem::new(ProblemKind::Invalid, field, error.into_inner().to_string());
        Error::InvalidSpec { problems: vec![problem] }
    })
}

#[pyfunction]
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// The table of codes: number, name, meaning, remedy.
#[pyfunction]
pub fn codes(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
    PyTuple::new(py, CODES.iter().map(|info| (info.code as u32, info.name, info.meaning.trim(), info.fix)))
}

/// The table of functions: name, group, first release.
#[pyfunction]
pub fn functions(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
    let row = |function: &Function| {
        let symbol = function.symbol();
        (symbol.name, symbol.group.name(), symbol.since)
    };
    PyTuple::new(py, Function::ALL.iter().map(row))
}

/// The groups that have levels, with their highest.
#[pyfunction]
pub fn levels(py: Python<'_>) -> PyResult<Bound<'_, PyTuple>> {
    PyTuple::new(py, Levels::default().named().map(|(name, _, top)| (name, top)))
}
