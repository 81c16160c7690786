//! `pegaflow.PegaEngine`.

use std::path::PathBuf;
use std::ptr::NonNull;

use pega_core::Handle;
use pega_core::handle::BatchWrite;
use pyo3::exceptions::PyKeyError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyMapping, PyMemoryView};

use crate::bytes::{DETACH_BYTES, Source, Target};
use crate::change::Change;
use crate::error::to_python;
use crate::follow::{Snapshot, Subscription};
use crate::key::Key;
use crate::many;
use crate::options::{Settings, Size, put_options, seconds};
use crate::view::ValueView;

/// A key-value engine; see the stubs for its contract.
#[pyclass(frozen, subclass, module = "pegaflow._native")]
pub(crate) struct PegaEngine {
    engine: Handle,
    /// Operations may wait: for another process, or a disk.
    waits: bool,
}

/// An engine that was found elsewhere, on its way into a `PegaEngine`.
#[pyclass(frozen, module = "pegaflow._native")]
pub(crate) struct EngineHandle(pub(crate) Handle);

impl PegaEngine {
    /// The class for an engine, wherever it runs.
    fn of(engine: Handle) -> Self {
        let waits = engine.is_remote() || matches!(&engine, Handle::Here(engine) if engine.is_logged());
        Self { engine, waits }
    }

    pub(crate) fn handle(&self) -> &Handle {
        &self.engine
    }

    /// Runs `work`, without the GIL if it may wait, or copies enough for that to be worth it.
    #[inline]
    fn detached<T: Send>(
        &self,
        py: Python<'_>,
        size_bytes: usize,
        work: impl FnOnce() -> pega_core::Result<T> + Send,
    ) -> PyResult<T> {
        if size_bytes >= DETACH_BYTES || self.waits { py.detach(work) } else { work() }.map_err(to_python)
    }
}

#[pymethods]
impl PegaEngine {
    #[new]
    #[pyo3(signature = (
        path = None, *, memory_bytes = None, disk_bytes = None, policy = None, durability = None, compression = None,
        on_full = None, segment_bytes = None, flush_interval_s = None, feed_bytes = None, _handle = None,
    ))]
    #[expect(clippy::too_many_arguments, reason = "the settings of an engine, by name")]
    fn new(
        py: Python<'_>,
        path: Option<PathBuf>,
        memory_bytes: Option<Size>,
        disk_bytes: Option<Size>,
        policy: Option<String>,
        durability: Option<String>,
        compression: Option<String>,
        on_full: Option<String>,
        segment_bytes: Option<Size>,
        flush_interval_s: Option<f64>,
        feed_bytes: Option<Size>,
        _handle: Option<PyRef<'_, EngineHandle>>,
    ) -> PyResult<Self> {
        if let Some(handle) = _handle {
            return Ok(Self::of(handle.0.clone()));
        }
        let settings = Settings { path, memory_bytes, disk_bytes, policy, durability, compression, on_full };
        let open = || {
            let mut options = settings.options()?;
            options.segment_bytes = segment_bytes.map(|size| size.0);
            if let Some(interval_s) = flush_interval_s {
                options.flush_interval = seconds("flush_interval_s", interval_s)?;
            }
            if let Some(feed_bytes) = feed_bytes {
                options.feed_bytes = feed_bytes.0;
            }
            pega_core::PegaEngine::open(options)
        };
        Ok(Self::of(Handle::Here(py.detach(open).map_err(to_python)?)))
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
        if !self.engine.is_remote() {
            return keys.try_iter()?.map(|key| self.get(py, key?.extract()?)).collect();
        }
        let keys = keys.try_iter()?.map(|key| key?.extract()).collect::<PyResult<Vec<Key<'_>>>>()?;
        many::get(py, &self.engine, &keys.iter().map(Key::bytes).collect::<PyResult<Vec<_>>>()?)
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

    /// Applies `(key, value or None, ttl_s)` as one transaction.
    fn _commit(&self, py: Python<'_>, writes: Vec<Written<'_>>) -> PyResult<Vec<bool>> {
        let mut batch: Vec<BatchWrite<'_>> = Vec::with_capacity(writes.len());
        for (key, value, ttl_s) in &writes {
            let options = put_options(*ttl_s)?;
            batch.push((key.bytes()?, value.as_ref().map(|value| (value.bytes(), options))));
        }
        py.detach(|| self.engine.commit(&batch)).map_err(to_python)
    }

    /// The value if it can be had without waiting and is small: `(True, value or None)`, or `(False, None)`.
    fn _get_now<'py>(&self, py: Python<'py>, key: Key<'_>) -> PyResult<(bool, Option<Bound<'py, PyBytes>>)> {
        let Handle::Here(engine) = &self.engine else { return Ok((false, None)) };
        let key = key.bytes()?;
        if self.waits && !engine.is_resident(key).map_err(to_python)? {
            return Ok((false, None));
        }
        let Some(value) = engine.find(key).map_err(to_python)? else { return Ok((true, None)) };
        if value.len() >= DETACH_BYTES {
            return Ok((false, None));
        }
        let (object, target) = fresh_bytes(py, value.len())?;
        // SAFETY: fresh memory of the value's length that nobody else knows yet.
        unsafe { value.copy_to(target.get()) }.map_err(to_python)?;
        Ok((true, Some(object)))
    }

    /// Whether operations may wait for a disk or another process.
    #[getter]
    fn _waits(&self) -> bool {
        self.waits
    }

    #[getter]
    fn last_seq(&self, py: Python<'_>) -> PyResult<u64> {
        self.detached(py, 0, || self.engine.last_seq())
    }

    #[getter]
    fn applied_seq(&self, py: Python<'_>) -> PyResult<u64> {
        let engine = &self.engine;
        py.detach(|| engine.applied_seq()).map_err(to_python)
    }

    #[pyo3(signature = (from_seq = None))]
    fn subscribe(&self, py: Python<'_>, from_seq: Option<u64>) -> PyResult<Subscription> {
        let engine = &self.engine;
        py.detach(|| engine.subscribe(from_seq)).map(Subscription::of).map_err(to_python)
    }

    fn snapshot(&self, py: Python<'_>) -> PyResult<Snapshot> {
        let engine = &self.engine;
        py.detach(|| engine.snapshot()).map(Snapshot::of).map_err(to_python)
    }

    fn apply(&self, py: Python<'_>, changes: Vec<PyRef<'_, Change>>) -> PyResult<()> {
        let engine = &self.engine;
        let events: Vec<_> = changes.iter().map(|change| change.event().clone()).collect();
        py.detach(|| engine.apply(&events)).map_err(to_python)
    }

    fn restore(&self, py: Python<'_>, changes: &Bound<'_, PyAny>, seq: u64) -> PyResult<()> {
        let engine = &self.engine;
        let changes = changes.try_iter()?.unbind();
        let mut failure = None;
        let restored = py.detach(|| {
            let next = || {
                let next = Python::attach(|py| {
                    let next = changes.bind(py).clone().next()?;
                    Some(next.and_then(|change| Ok(change.extract::<PyRef<'_, Change>>()?.event().clone())))
                })?;
                Some(next.map_err(|error| {
                    failure = Some(error);
                    pega_core::Error::invalid("the changes to restore could not be had")
                }))
            };
            engine.restore(seq, std::iter::from_fn(next))
        });
        match failure {
            Some(error) => Err(error),
            None => restored.map_err(to_python),
        }
    }

    fn flush(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.engine.flush()).map_err(to_python)
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

/// A key, its value or none to remove it, and its time to live.
type Written<'py> = (Key<'py>, Option<Source<'py>>, Option<f64>);

/// The pairs of a mapping, or of anything that iterates over pairs.
fn pairs<'py>(items: &Bound<'py, PyAny>) -> PyResult<Vec<(Key<'py>, Source<'py>)>> {
    match items.cast::<PyMapping>() {
        Ok(mapping) => mapping.items()?.iter().map(|pair| pair.extract()).collect(),
        Err(_) => items.try_iter()?.map(|pair| pair?.extract()).collect(),
    }
}

/// An address that may go to another thread.
#[derive(Clone, Copy)]
pub(crate) struct Address(NonNull<u8>);

// SAFETY: an address alone does nothing.
unsafe impl Send for Address {}

impl Address {
    pub(crate) fn get(self) -> NonNull<u8> {
        self.0
    }
}

/// A `bytes` object of this length, not initialised, and where its bytes go.
pub(crate) fn fresh_bytes(py: Python<'_>, len: usize) -> PyResult<(Bound<'_, PyBytes>, Address)> {
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
