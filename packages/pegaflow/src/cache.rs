//! `pegaflow.BlockCache` and `pegaflow.Lease`.

use std::mem::ManuallyDrop;
use std::sync::Arc;

use pega_core::Error;
use pega_core::cache::{Action, CacheOptions, DEFAULT_LEASE_AGE, Hashes, Span, Target as CoreTarget};
use pega_core::handle::{CacheHandle, LeaseHandle};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use crate::buffer::Purpose;
use crate::bytes::Lent;
use crate::engine::PegaEngine;
use crate::error::to_python;
use crate::job::Job;
use crate::options::{Size, seconds};
use crate::pages::PageList;

/// The blocks of one namespace; see the stubs.
#[pyclass(frozen, subclass, module = "pegaflow._native")]
pub(crate) struct BlockCache {
    cache: CacheHandle,
    /// Names packed into one buffer have this size.
    hash_bytes: usize,
}

/// Blocks kept for loading; see the stubs.
#[pyclass(frozen, module = "pegaflow")]
pub(crate) struct Lease {
    lease: ManuallyDrop<LeaseHandle>,
}

/// The names of blocks as Python gives them: a sequence of bytes, or one buffer of packed ones.
enum Names {
    Each(Vec<Py<PyBytes>>),
    Packed(Lent),
}

impl Names {
    fn of(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        if object.is_instance_of::<PyString>() {
            return Err(PyTypeError::new_err("hashes are bytes, not str"));
        }
        if object.is_instance_of::<PyList>() || object.is_instance_of::<PyTuple>() {
            return Ok(Self::Each(object.extract()?));
        }
        match Lent::of_if(object, Purpose::Read)? {
            Some(lent) => Ok(Self::Packed(lent)),
            None => {
                let hashes = object.try_iter()?.map(|hash| Ok(hash?.cast_into::<PyBytes>()?.unbind()));
                Ok(Self::Each(hashes.collect::<PyResult<_>>()?))
            }
        }
    }

    /// Lends the names to `work`.
    fn with<T>(
        &self,
        py: Python<'_>,
        hash_bytes: usize,
        work: impl FnOnce(Hashes<'_>) -> pega_core::Result<T>,
    ) -> PyResult<T> {
        match self {
            Self::Each(hashes) => {
                let hashes: Vec<&[u8]> = hashes.iter().map(|hash| hash.as_bytes(py)).collect();
                Hashes::each(&hashes).and_then(work)
            }
            Self::Packed(lent) => {
                // SAFETY: lent until `self` is dropped, for reads.
                let bytes = unsafe { std::slice::from_raw_parts(lent.start().as_ptr(), lent.len()) };
                Hashes::packed(bytes, hash_bytes).and_then(work)
            }
        }
        .map_err(to_python)
    }
}

/// The memory of some blocks: each a buffer, or a sequence of them.
struct Memory {
    spans: Vec<Option<Vec<Span>>>,
    lent: Vec<Arc<Lent>>,
}

impl Memory {
    fn of(blocks: &Bound<'_, PyAny>, purpose: Purpose) -> PyResult<Self> {
        let mut memory = Self { spans: Vec::new(), lent: Vec::new() };
        if let Ok(pages) = blocks.cast::<PageList>() {
            (memory.spans, memory.lent) = pages.get().memory(purpose)?;
            return Ok(memory);
        }
        for block in blocks.try_iter()? {
            let block = block?;
            if block.is_none() && purpose == Purpose::Write {
                memory.spans.push(None);
                continue;
            }
            let mut spans = Vec::new();
            if block.is_instance_of::<PyList>() || block.is_instance_of::<PyTuple>() {
                for piece in block.try_iter()? {
                    spans.push(memory.lend(&piece?, purpose)?);
                }
            } else {
                spans.push(memory.lend(&block, purpose)?);
            }
            memory.spans.push(Some(spans));
        }
        Ok(memory)
    }

    fn lend(&mut self, object: &Bound<'_, PyAny>, purpose: Purpose) -> PyResult<Span> {
        let lent = Lent::of(object, purpose)?;
        let span = Span::new(lent.start(), lent.len());
        self.lent.push(Arc::new(lent));
        Ok(span)
    }

    fn sources(self) -> (Vec<Vec<Span>>, Vec<Arc<Lent>>) {
        (self.spans.into_iter().flatten().collect(), self.lent)
    }

    fn targets(self) -> (Vec<CoreTarget>, Vec<Arc<Lent>>) {
        (self.spans, self.lent)
    }
}

fn action(name: &str, for_s: Option<f64>, next_use_s: Option<f64>) -> pega_core::Result<Action> {
    let needs = |name: &str, value: Option<f64>| match value {
        Some(value) => seconds(name, value),
        None => Err(Error::invalid(format!("this hint needs {name}"))),
    };
    match name {
        "pin" => Ok(Action::Pin { for_: needs("for_s", for_s)? }),
        "prefetch" => Ok(Action::Prefetch),
        "demote" => Ok(Action::Demote),
        "release" => Ok(Action::Release),
        "next_use" => Ok(Action::NextUse { after: needs("next_use_s", next_use_s)? }),
        other => Err(Error::invalid(format!(
            "a hint is 'pin', 'prefetch', 'demote', 'release' or 'next_use', not {other:?}"
        ))),
    }
}

#[pymethods]
impl BlockCache {
    #[new]
    #[pyo3(signature = (engine, namespace, *, block_bytes = None, quota_bytes = None, hash_bytes = 32))]
    fn new(
        py: Python<'_>,
        engine: PyRef<'_, PegaEngine>,
        namespace: &str,
        block_bytes: Option<Size>,
        quota_bytes: Option<Size>,
        hash_bytes: usize,
    ) -> PyResult<Self> {
        let options = CacheOptions {
            block_bytes: block_bytes.map(|size| usize::try_from(size.0).unwrap_or(usize::MAX)),
            quota_bytes: quota_bytes.map(|size| size.0),
        };
        let handle = engine.handle();
        let cache = py.detach(|| CacheHandle::open(handle, namespace, options)).map_err(to_python)?;
        Hashes::packed(&[], hash_bytes).map_err(to_python)?;
        Ok(Self { cache, hash_bytes })
    }

    #[getter]
    fn namespace(&self) -> &str {
        self.cache.namespace()
    }

    #[getter]
    fn block_bytes(&self, py: Python<'_>) -> PyResult<Option<usize>> {
        py.detach(|| self.cache.block_bytes()).map_err(to_python)
    }

    #[pyo3(signature = (quota_bytes))]
    fn set_quota_bytes(&self, py: Python<'_>, quota_bytes: Option<Size>) -> PyResult<()> {
        py.detach(|| self.cache.set_quota_bytes(quota_bytes.map(|size| size.0))).map_err(to_python)
    }

    fn match_prefix(&self, py: Python<'_>, hashes: &Bound<'_, PyAny>) -> PyResult<usize> {
        let names = Names::of(hashes)?;
        names.with(py, self.hash_bytes, |hashes| match self.cache.is_remote() {
            true => py.detach(|| self.cache.match_prefix(hashes)),
            false => self.cache.match_prefix(hashes),
        })
    }

    #[pyo3(signature = (hashes, *, max_age_s = None))]
    fn lease(&self, py: Python<'_>, hashes: &Bound<'_, PyAny>, max_age_s: Option<f64>) -> PyResult<Lease> {
        let max_age = max_age_s.map_or(Ok(DEFAULT_LEASE_AGE), |age| seconds("max_age_s", age)).map_err(to_python)?;
        let lease =
            Names::of(hashes)?.with(py, self.hash_bytes, |hashes| py.detach(|| self.cache.lease(hashes, max_age)))?;
        Ok(Lease { lease: ManuallyDrop::new(lease) })
    }

    fn attach(&self, py: Python<'_>, token: u128) -> PyResult<Lease> {
        let lease = py.detach(|| self.cache.attach(token)).map_err(to_python)?;
        Ok(Lease { lease: ManuallyDrop::new(lease) })
    }

    fn load_into(&self, py: Python<'_>, lease: &Lease, buffers: &Bound<'_, PyAny>) -> PyResult<Vec<usize>> {
        let (targets, _lent) = Memory::of(buffers, Purpose::Write)?.targets();
        // SAFETY: the memory is lent, writable, until after the call.
        py.detach(|| unsafe { self.cache.load_spans(&lease.lease, &targets) }).map_err(to_python)
    }

    fn start_load(&self, py: Python<'_>, lease: &Lease, buffers: &Bound<'_, PyAny>) -> PyResult<Job> {
        let (targets, lent) = Memory::of(buffers, Purpose::Write)?.targets();
        // SAFETY: the job that is given out keeps the memory lent until the work is done.
        let job = py.detach(|| unsafe { self.cache.load_in_background(&lease.lease, targets) }).map_err(to_python)?;
        Ok(Job::new(job, lent))
    }

    fn store(&self, py: Python<'_>, hashes: &Bound<'_, PyAny>, buffers: &Bound<'_, PyAny>) -> PyResult<Vec<usize>> {
        let (sources, _lent) = Memory::of(buffers, Purpose::Read)?.sources();
        Names::of(hashes)?.with(py, self.hash_bytes, |hashes| {
            // SAFETY: the memory is lent until after the call.
            py.detach(|| unsafe { self.cache.store_spans(hashes, &sources) })
        })
    }

    fn start_store(&self, py: Python<'_>, hashes: &Bound<'_, PyAny>, buffers: &Bound<'_, PyAny>) -> PyResult<Job> {
        let (sources, lent) = Memory::of(buffers, Purpose::Read)?.sources();
        let job = Names::of(hashes)?.with(py, self.hash_bytes, |hashes| {
            // SAFETY: the job that is given out keeps the memory lent until the work is done.
            py.detach(|| unsafe { self.cache.store_in_background(hashes, sources) })
        })?;
        Ok(Job::new(job, lent))
    }

    #[pyo3(signature = (hashes, action, *, for_s = None, next_use_s = None))]
    fn hint(
        &self,
        py: Python<'_>,
        hashes: &Bound<'_, PyAny>,
        action: &str,
        for_s: Option<f64>,
        next_use_s: Option<f64>,
    ) -> PyResult<()> {
        let action = self::action(action, for_s, next_use_s).map_err(to_python)?;
        Names::of(hashes)?.with(py, self.hash_bytes, |hashes| py.detach(|| self.cache.hint(hashes, action)))
    }

    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let stats = py.detach(|| self.cache.stats()).map_err(to_python)?;
        let figures = PyDict::new(py);
        for (name, figure) in stats.counts() {
            figures.set_item(name, figure)?;
        }
        figures.set_item("quota_bytes", stats.quota_bytes)?;
        for (name, figure) in stats.measures() {
            figures.set_item(name, figure)?;
        }
        Ok(figures)
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // SAFETY: taken once, as nothing uses it after this.
        let lease = unsafe { ManuallyDrop::take(&mut self.lease) };
        // A sidecar is told, and may be slow to answer: other threads go on meanwhile.
        Python::attach(|py| py.detach(|| drop(lease)));
    }
}

#[pymethods]
impl Lease {
    #[getter]
    fn token(&self) -> u128 {
        self.lease.token()
    }

    #[getter]
    fn present(&self) -> Vec<bool> {
        self.lease.present().to_vec()
    }

    #[getter]
    fn on_disk(&self) -> Vec<bool> {
        self.lease.on_disk().to_vec()
    }

    fn __len__(&self) -> usize {
        self.lease.present().len()
    }

    /// Whether blocks can still be loaded by it.
    #[getter]
    fn held(&self, py: Python<'_>) -> bool {
        py.detach(|| self.lease.is_held())
    }

    fn release(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.lease.release()).map_err(to_python)
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) -> PyResult<()> {
        self.release(py)
    }
}
