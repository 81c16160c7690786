//! `pegaflow.PegaEngine`.

use std::ptr::NonNull;
use std::time::Duration;

use pega_core::{Handle, Options, PutOptions};
use pyo3::exceptions::{PyKeyError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyMapping, PyMemoryView};

use crate::bytes::{DETACH_BYTES, Source, Target};
use crate::error::to_python;
use crate::key::Key;
use crate::view::ValueView;

/// A key-value engine; see the stubs for its contract.
#[pyclass(frozen, subclass, module = "pegaflow._native")]
pub(crate) struct PegaEngine {
    engine: Handle,
}

impl PegaEngine {
    /// The same class for an engine that runs elsewhere.
    pub(crate) fn of(engine: Handle) -> Self {
        Self { engine }
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.engine
    }

    /// Runs `work`, without the GIL if it waits for a sidecar, or copies enough for that to be worth it.
    #[inline]
    fn detached<T: Send>(
        &self,
        py: Python<'_>,
        size_bytes: usize,
        work: impl FnOnce() -> pega_core::Result<T> + Send,
    ) -> PyResult<T> {
        if size_bytes >= DETACH_BYTES || self.engine.is_remote() { py.detach(work) } else { work() }.map_err(to_python)
    }
}

/// Options from a time to live in seconds.
pub(crate) fn put_options(ttl_s: Option<f64>) -> PyResult<PutOptions> {
    let Some(ttl_s) = ttl_s else { return Ok(PutOptions::default()) };
    let ttl = Duration::try_from_secs_f64(ttl_s).ok().filter(|ttl| !ttl.is_zero());
    match ttl {
        Some(ttl) => Ok(PutOptions { ttl: Some(ttl) }),
        None => Err(PyValueError::new_err(format!("ttl_s must be a number of seconds above zero, not {ttl_s}"))),
    }
}

#[pymethods]
impl PegaEngine {
    #[new]
    #[pyo3(signature = (*, memory_bytes = None, policy = "lru"))]
    fn new(py: Python<'_>, memory_bytes: Option<u64>, policy: &str) -> PyResult<Self> {
        let defaults = Options::default();
        let options = Options {
            memory_bytes: memory_bytes.unwrap_or(defaults.memory_bytes),
            policy: policy.parse().map_err(to_python)?,
            ..defaults
        };
        let engine = py.detach(|| pega_core::PegaEngine::open(options)).map_err(to_python)?;
        Ok(Self::of(Handle::Here(engine)))
    }

    #[pyo3(signature = (key, value, /, *, ttl_s = None))]
    fn put(&self, py: Python<'_>, key: Key<'_>, value: Source<'_>, ttl_s: Option<f64>) -> PyResult<()> {
        let (key, value) = (key.bytes()?, value.bytes());
        let options = put_options(ttl_s)?;
        self.detached(py, value.len(), || self.engine.put_with(key, value, options))
    }

    #[pyo3(signature = (key, /))]
    fn get<'py>(&self, py: Python<'py>, key: Key<'_>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let key = key.bytes()?;
        let Some(value) = self.detached(py, 0, || self.engine.find(key))? else { return Ok(None) };
        let (object, target) = fresh_bytes(py, value.len())?;
        // SAFETY: fresh memory of the value's length that nobody else knows yet.
        self.detached(py, value.len(), move || unsafe { value.copy_to(target.get()) })?;
        Ok(Some(object))
    }

    #[pyo3(signature = (key, buffer, /))]
    fn get_into(&self, py: Python<'_>, key: Key<'_>, mut buffer: Target) -> PyResult<usize> {
        let bytes = key.bytes()?;
        let size = buffer.len();
        let target = buffer.bytes_mut();
        match self.detached(py, size, || self.engine.get_into(bytes, target))? {
            Some(len) => Ok(len),
            None => Err(PyKeyError::new_err(key.into_object())),
        }
    }

    #[pyo3(signature = (key, /))]
    fn get_view<'py>(&self, py: Python<'py>, key: Key<'_>) -> PyResult<Option<Bound<'py, PyMemoryView>>> {
        let key = key.bytes()?;
        // Whether the value is large is not known before; the GIL is let go for its checksum in any case.
        let Some(view) = py.detach(|| self.engine.get_view(key)).map_err(to_python)? else { return Ok(None) };
        ValueView::memoryview(py, view).map(Some)
    }

    #[pyo3(signature = (key, /))]
    fn remove(&self, py: Python<'_>, key: Key<'_>) -> PyResult<bool> {
        let key = key.bytes()?;
        self.detached(py, 0, || self.engine.remove(key))
    }

    #[pyo3(signature = (items, /, *, ttl_s = None))]
    fn put_many(&self, py: Python<'_>, items: &Bound<'_, PyAny>, ttl_s: Option<f64>) -> PyResult<()> {
        let options = put_options(ttl_s)?;
        let items = pairs(items)?;
        let items = items.iter().map(|(key, value)| Ok((key.bytes()?, value.bytes()))).collect::<PyResult<Vec<_>>>()?;
        let size = items.iter().map(|(_, value)| value.len()).sum();
        self.detached(py, size, || self.engine.put_many(&items, options))
    }

    #[pyo3(signature = (keys, /))]
    fn get_many<'py>(&self, py: Python<'py>, keys: &Bound<'_, PyAny>) -> PyResult<Vec<Option<Bound<'py, PyBytes>>>> {
        keys.try_iter()?.map(|key| self.get(py, key?.extract()?)).collect()
    }

    #[pyo3(signature = (keys, /))]
    fn remove_many(&self, py: Python<'_>, keys: &Bound<'_, PyAny>) -> PyResult<usize> {
        let keys = keys.try_iter()?.map(|key| key?.extract()).collect::<PyResult<Vec<Key<'_>>>>()?;
        let keys = keys.iter().map(Key::bytes).collect::<PyResult<Vec<_>>>()?;
        let removed = self.detached(py, 0, || self.engine.remove_many(&keys))?;
        Ok(removed.into_iter().filter(|was_there| *was_there).count())
    }

    #[pyo3(signature = (prefix = None, /))]
    fn scan<'py>(&self, py: Python<'py>, prefix: Option<Key<'_>>) -> PyResult<Vec<Bound<'py, PyBytes>>> {
        let prefix = prefix.as_ref().map_or(Ok(&[][..]), Key::bytes)?;
        let keys = py.detach(|| self.engine.scan(prefix)).map_err(to_python)?;
        Ok(keys.iter().map(|key| PyBytes::new(py, key)).collect())
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let figures = PyDict::new(py);
        for (name, figure) in self.detached(py, 0, || self.engine.figures())? {
            figures.set_item(name, figure)?;
        }
        Ok(figures)
    }

    fn close(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.engine.close()).map_err(to_python)
    }

    #[getter]
    fn closed(&self) -> bool {
        self.engine.is_closed()
    }

    fn __contains__(&self, py: Python<'_>, key: Key<'_>) -> PyResult<bool> {
        let key = key.bytes()?;
        self.detached(py, 0, || self.engine.contains(key))
    }

    fn __len__(&self, py: Python<'_>) -> PyResult<usize> {
        Ok(self.detached(py, 0, || self.engine.count())? as usize)
    }
}

/// The pairs of a mapping, or of anything that iterates over pairs.
fn pairs<'py>(items: &Bound<'py, PyAny>) -> PyResult<Vec<(Key<'py>, Source<'py>)>> {
    match items.cast::<PyMapping>() {
        Ok(mapping) => mapping.items()?.iter().map(|pair| pair.extract()).collect(),
        Err(_) => items.try_iter()?.map(|pair| pair?.extract()).collect(),
    }
}

/// An address that may go to another thread.
#[derive(Clone, Copy)]
struct Address(NonNull<u8>);

// SAFETY: an address alone does nothing.
unsafe impl Send for Address {}

impl Address {
    fn get(self) -> NonNull<u8> {
        self.0
    }
}

/// A `bytes` object of this length, not initialised, and where its bytes go.
fn fresh_bytes(py: Python<'_>, len: usize) -> PyResult<(Bound<'_, PyBytes>, Address)> {
    let size = ffi::Py_ssize_t::try_from(len)?;
    // SAFETY: with no source, the interpreter makes an object whose bytes the caller fills before showing it.
    let object = unsafe {
        Bound::from_owned_ptr_or_err(py, ffi::PyBytes_FromStringAndSize(std::ptr::null(), size))?
            .cast_into_unchecked::<PyBytes>()
    };
    // SAFETY: a live bytes object.
    let start = unsafe { ffi::PyBytes_AsString(object.as_ptr()) };
    Ok((object, Address(NonNull::new(start.cast()).unwrap_or(NonNull::dangling()))))
}
