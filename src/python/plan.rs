//! Specs, and what becomes of them.

use pyo3::prelude::*;

use super::convert::to_python;
use super::error::detached;
use super::look::Probed;
use crate::error::Error;
use crate::spec::VmSpec;
use crate::{Prepared, prepare_json};

/// The spec with every field, if nothing is wrong with its text.
#[pyfunction]
pub fn parse<'py>(py: Python<'py>, spec: &str) -> PyResult<Bound<'py, PyAny>> {
    let spec = detached(py, || VmSpec::from_json(spec))?;
    to_python(py, &spec)
}

/// Everything that stands in the way.
#[pyfunction]
pub fn check<'py>(py: Python<'py>, spec: &str, probed: &Probed) -> PyResult<Bound<'py, PyAny>> {
    let problems = detached(py, || match prepare_json(spec, &probed.0.capabilities) {
        Ok(_) => Ok(Vec::new()),
        Err(Error::InvalidSpec { problems } | Error::Unsupported { problems }) => Ok(problems),
        Err(error) => Err(error),
    })?;
    to_python(py, &problems)
}

/// The plan, its calls as a person would write them, and all of it as text.
#[pyfunction]
pub fn plan<'py>(py: Python<'py>, spec: &str, probed: &Probed) -> PyResult<(Bound<'py, PyAny>, Vec<String>, String)> {
    let Prepared { plan, .. } = detached(py, || prepare_json(spec, &probed.0.capabilities))?;
    let calls = plan.calls.iter().map(ToString::to_string).collect();
    Ok((to_python(py, &plan)?, calls, plan.to_string()))
}
