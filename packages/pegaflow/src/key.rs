//! Keys from Python: `str` (as UTF-8) or `bytes`.

use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString};

pub(crate) enum Key<'py> {
    Bytes(Bound<'py, PyBytes>),
    /// Its UTF-8, which Python keeps with the string.
    Str(Bound<'py, PyString>),
}

impl Key<'_> {
    #[inline]
    pub(crate) fn bytes(&self) -> PyResult<&[u8]> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.as_bytes()),
            Self::Str(text) => text.to_str().map(str::as_bytes),
        }
    }

    /// The key as Python passed it.
    pub(crate) fn into_object(self) -> Py<PyAny> {
        match self {
            Self::Bytes(bytes) => bytes.into_any().unbind(),
            Self::Str(text) => text.into_any().unbind(),
        }
    }
}

impl<'py> FromPyObject<'_, 'py> for Key<'py> {
    type Error = PyErr;

    #[inline]
    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if let Ok(bytes) = object.cast::<PyBytes>() {
            return Ok(Self::Bytes(bytes.to_owned()));
        }
        if let Ok(text) = object.cast::<PyString>() {
            return Ok(Self::Str(text.to_owned()));
        }
        let kind = object.get_type().name()?;
        Err(PyTypeError::new_err(format!("a key is str or bytes, not {kind}")))
    }
}
