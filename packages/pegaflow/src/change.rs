//! `pegaflow.Change`: a put or remove, as those who follow an engine see it.

use pega_core::{FeedEvent, FeedOp};
use pyo3::basic::CompareOp;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

/// A put or remove; see the stubs.
#[pyclass(frozen, module = "pegaflow")]
pub(crate) struct Change(FeedEvent);

impl Change {
    pub(crate) fn of(event: FeedEvent) -> Self {
        Self(event)
    }

    pub(crate) fn event(&self) -> &FeedEvent {
        &self.0
    }
}

type Fields<'py> = (u64, Bound<'py, PyBytes>, Option<Bound<'py, PyBytes>>, u64, bool);

#[pymethods]
impl Change {
    #[new]
    #[pyo3(signature = (seq, key, value = None, expires_at_ms = 0, more = false))]
    fn new(seq: u64, key: Vec<u8>, value: Option<Vec<u8>>, expires_at_ms: u64, more: bool) -> Self {
        let op = value.map_or(FeedOp::Remove, |value| FeedOp::Put { value, expires_at_ms });
        Self(FeedEvent { seq, key, op, more })
    }

    #[getter]
    fn seq(&self) -> u64 {
        self.0.seq
    }

    #[getter]
    fn key<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.0.key)
    }

    #[getter]
    fn value<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
        match &self.0.op {
            FeedOp::Put { value, .. } => Some(PyBytes::new(py, value)),
            FeedOp::Remove => None,
        }
    }

    #[getter]
    fn expires_at_ms(&self) -> u64 {
        match self.0.op {
            FeedOp::Put { expires_at_ms, .. } => expires_at_ms,
            FeedOp::Remove => 0,
        }
    }

    #[getter]
    fn more(&self) -> bool {
        self.0.more
    }

    fn __getnewargs__<'py>(&self, py: Python<'py>) -> Fields<'py> {
        (self.seq(), self.key(py), self.value(py), self.expires_at_ms(), self.more())
    }

    fn __richcmp__(&self, other: &Self, op: CompareOp, py: Python<'_>) -> Py<PyAny> {
        let answer = match op {
            CompareOp::Eq => self.0 == other.0,
            CompareOp::Ne => self.0 != other.0,
            _ => return py.NotImplemented(),
        };
        answer.into_pyobject(py).map_or_else(|never| match never {}, |answer| answer.to_owned().into_any().unbind())
    }

    fn __hash__(&self) -> u64 {
        self.0.seq
    }

    fn __repr__(&self) -> String {
        let what = match &self.0.op {
            FeedOp::Put { value, .. } => format!("value of {} bytes", value.len()),
            FeedOp::Remove => "removed".to_owned(),
        };
        format!("Change(seq={}, key=b\"{}\", {what})", self.0.seq, self.0.key.escape_ascii())
    }
}
