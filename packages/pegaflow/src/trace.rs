//! A trace of block references, filled request by request.

use crate::error::to_python;
use pega_core::replay::Trace;
use pyo3::prelude::*;
use std::sync::Arc;

/// Requests in order of time, each naming the blocks of its prompt.
#[pyclass(name = "Trace", module = "pegaflow._native")]
#[derive(Default)]
pub struct PyTrace {
    trace: Arc<Trace>,
}

impl PyTrace {
    pub(crate) fn share(&self) -> Arc<Trace> {
        Arc::clone(&self.trace)
    }
}

#[pymethods]
impl PyTrace {
    #[new]
    fn new() -> Self {
        Self::default()
    }

    /// Append a request.
    fn push(&mut self, timestamp_ms: u64, block_ids: Vec<u64>) -> PyResult<()> {
        Arc::make_mut(&mut self.trace).push(timestamp_ms, &block_ids).map_err(to_python)
    }

    /// Number of requests.
    fn __len__(&self) -> usize {
        self.trace.len()
    }

    /// Number of different blocks.
    #[getter]
    fn unique_blocks(&self) -> usize {
        self.trace.unique_blocks()
    }

    /// Number of block references.
    #[getter]
    fn references(&self) -> usize {
        self.trace.references()
    }
}
