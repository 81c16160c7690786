//! Runs of bytes that Python owns: values to read from, buffers to write to.

use std::ptr::NonNull;

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

use crate::buffer::{Buffer, Purpose};
use crate::dlpack::Tensor;

/// From here on a copy is worth handing the GIL over for.
pub(crate) const DETACH_BYTES: usize = 32 * 1024;

/// The bytes of a value, kept alive and in place by their owner.
pub(crate) enum Source<'py> {
    Bytes(Bound<'py, PyBytes>),
    Lent(Lent),
}

/// Memory that an object lends, by one protocol or the other.
pub(crate) enum Lent {
    Buffer(Buffer),
    Tensor(Tensor),
}

impl Lent {
    /// The memory of an object that lends any.
    pub(crate) fn of_if(object: &Bound<'_, PyAny>, purpose: Purpose) -> PyResult<Option<Self>> {
        if let Some(buffer) = Buffer::of(object, purpose)? {
            return Ok(Some(Self::Buffer(buffer)));
        }
        Ok(Tensor::of(object)?.map(Self::Tensor))
    }

    pub(crate) fn of(object: &Bound<'_, PyAny>, purpose: Purpose) -> PyResult<Self> {
        if let Some(lent) = Self::of_if(object, purpose)? {
            return Ok(lent);
        }
        let kind = object.get_type().name()?;
        Err(PyTypeError::new_err(format!("expected bytes, a contiguous buffer or a tensor on the CPU, not {kind}")))
    }

    pub(crate) fn start(&self) -> NonNull<u8> {
        match self {
            Self::Buffer(buffer) => buffer.start(),
            Self::Tensor(tensor) => tensor.start(),
        }
    }

    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Buffer(buffer) => buffer.len(),
            Self::Tensor(tensor) => tensor.len(),
        }
    }
}

impl Source<'_> {
    /// The bytes. Python may change those of a buffer meanwhile; what is stored then is what was copied.
    #[inline]
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes.as_bytes(),
            // SAFETY: lent until `self` is dropped.
            Self::Lent(lent) => unsafe { std::slice::from_raw_parts(lent.start().as_ptr(), lent.len()) },
        }
    }
}

impl<'py> FromPyObject<'_, 'py> for Source<'py> {
    type Error = PyErr;

    #[inline]
    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = object.cast::<PyBytes>() {
            return Ok(Self::Bytes(bytes.to_owned()));
        }
        if object.is_instance_of::<PyString>() {
            return Err(PyTypeError::new_err("a value is bytes, not str; pass value.encode()"));
        }
        Lent::of(&object, Purpose::Read).map(Self::Lent)
    }
}

/// Memory of Python's to write to.
pub(crate) struct Target(Lent);

impl Target {
    /// The memory.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: lent, writable, until `self` is dropped. Python code may look at it meanwhile, as it may at any
        // buffer that it lends; what it sees of a copy under way is up to it.
        unsafe { std::slice::from_raw_parts_mut(self.0.start().as_ptr(), self.0.len()) }
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

impl<'py> FromPyObject<'_, 'py> for Target {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        Lent::of(&object, Purpose::Write).map(Self)
    }
}
