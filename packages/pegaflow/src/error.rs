//! Errors of the core as the exceptions of `pegaflow`.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyDict;

static FROM_CODE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();

/// The exception for an error of the core. Which class it is stands in one table, `pegaflow._errors`.
#[cold]
pub(crate) fn to_python(error: pega_core::Error) -> PyErr {
    Python::attach(|py| exception(py, &error).map_or_else(|failure| failure, PyErr::from_value))
}

fn exception<'py>(py: Python<'py>, error: &pega_core::Error) -> PyResult<Bound<'py, PyAny>> {
    let context = PyDict::new(py);
    for (name, value) in error.context() {
        match value.parse::<u64>() {
            Ok(number) => context.set_item(name, number)?,
            Err(_) => context.set_item(name, value)?,
        }
    }
    FROM_CODE
        .get_or_try_init(py, || py.import("pegaflow._errors")?.getattr("_from_native").map(Bound::unbind))?
        .bind(py)
        .call1((error.kind().code(), error.to_string(), context))
}
