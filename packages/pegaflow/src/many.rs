//! Values of many keys, by few round trips.

use pega_core::Handle;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::engine::fresh_bytes;
use crate::error::to_python;

/// The values of `keys` in their order, none for those that are not there.
pub(crate) fn get<'py>(py: Python<'py>, engine: &Handle, keys: &[&[u8]]) -> PyResult<Vec<Option<Bound<'py, PyBytes>>>> {
    let mut objects: Vec<Option<Py<PyBytes>>> = keys.iter().map(|_| None).collect();
    let mut failure = None;
    let room = |index: usize, size_bytes: usize| {
        Python::attach(|py| match fresh_bytes(py, size_bytes) {
            Ok((object, target)) => {
                objects[index] = Some(object.unbind());
                Some(target.get())
            }
            Err(error) => {
                failure = Some(error);
                None
            }
        })
    };
    // SAFETY: fresh memory of the size asked for, which nobody else knows yet.
    let sizes = py.detach(|| unsafe { engine.read_many(keys, room) }).map_err(to_python)?;
    match failure {
        Some(error) => Err(error),
        // An object whose copy failed is not shown.
        None => Ok(objects
            .into_iter()
            .zip(sizes)
            .map(|(object, size)| object.filter(|_| size.is_some()).map(|object| object.into_bound(py)))
            .collect()),
    }
}
