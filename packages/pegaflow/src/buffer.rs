//! The buffer protocol: contiguous bytes that a Python object lends, whatever its element type.

use std::ptr::NonNull;

use pyo3::exceptions::PyTypeError;
use pyo3::ffi;
use pyo3::prelude::*;

/// What is to be done with the bytes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Read,
    Write,
}

/// A lent run of bytes, given back when dropped.
pub(crate) struct Buffer(Box<ffi::Py_buffer>);

// SAFETY: what is lent stays in place until it is given back; giving back attaches to the interpreter first.
unsafe impl Send for Buffer {}
// SAFETY: as above.
unsafe impl Sync for Buffer {}

impl Buffer {
    /// Borrows the bytes of `object`; none if it does not lend any.
    pub(crate) fn of(object: &Bound<'_, PyAny>, purpose: Purpose) -> PyResult<Option<Self>> {
        // SAFETY: a live object, and attached to the interpreter.
        if unsafe { ffi::PyObject_CheckBuffer(object.as_ptr()) } == 0 {
            return Ok(None);
        }
        let flags = match purpose {
            Purpose::Read => ffi::PyBUF_SIMPLE,
            Purpose::Write => ffi::PyBUF_WRITABLE,
        };
        let mut view = Box::new(ffi::Py_buffer::new());
        // SAFETY: a live object and a fresh view in a place of its own.
        if unsafe { ffi::PyObject_GetBuffer(object.as_ptr(), &raw mut *view, flags) } != 0 {
            let cause = PyErr::fetch(object.py());
            let need = if purpose == Purpose::Read { "contiguous" } else { "contiguous and writable" };
            let error = PyTypeError::new_err(format!("the buffer is not {need}"));
            error.set_cause(object.py(), Some(cause));
            return Err(error);
        }
        Ok(Some(Self(view)))
    }

    /// The first byte; any address if there is none.
    pub(crate) fn start(&self) -> NonNull<u8> {
        NonNull::new(self.0.buf.cast()).unwrap_or(NonNull::dangling())
    }

    pub(crate) fn len(&self) -> usize {
        usize::try_from(self.0.len).unwrap_or(0)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // SAFETY: the view was filled when this was made and is released once.
        Python::attach(|_| unsafe { ffi::PyBuffer_Release(&raw mut *self.0) });
    }
}
