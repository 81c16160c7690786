//! A value where it lies, as a read-only buffer.

use std::ffi::c_int;

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;

/// What a `memoryview` of `get_view` keeps alive.
#[pyclass(frozen, module = "pegaflow._native")]
pub(crate) struct ValueView(pega_core::FoundView);

impl ValueView {
    pub(crate) fn memoryview(py: Python<'_>, view: pega_core::FoundView) -> PyResult<Bound<'_, PyMemoryView>> {
        PyMemoryView::from(Bound::new(py, Self(view))?.as_any())
    }
}

#[pymethods]
impl ValueView {
    /// # Safety
    /// `view` is the structure that the interpreter wants filled.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        if flags & ffi::PyBUF_WRITABLE == ffi::PyBUF_WRITABLE {
            return Err(PyBufferError::new_err("a stored value is read-only"));
        }
        let bytes: &[u8] = &slf.get().0;
        let (start, len) = (bytes.as_ptr().cast_mut().cast(), bytes.len() as ffi::Py_ssize_t);
        // SAFETY: the bytes live as long as the object, of which the buffer takes a reference.
        if unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start, len, 1, flags) } != 0 {
            return Err(PyErr::fetch(slf.py()));
        }
        Ok(())
    }
}
