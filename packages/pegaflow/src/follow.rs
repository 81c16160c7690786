//! `pegaflow.Subscription` and `pegaflow.Snapshot`.

use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pega_core::FeedEvent;
use pega_core::handle::{SnapshotHandle, SubscriptionHandle};
use pyo3::prelude::*;

use crate::change::Change;
use crate::error::to_python;
use crate::options::seconds;

/// How long a wait goes on before Python's signals are looked at.
const SLICE: Duration = Duration::from_millis(100);

/// The changes of an engine; see the stubs.
#[pyclass(frozen, module = "pegaflow")]
pub(crate) struct Subscription(Mutex<SubscriptionHandle>);

impl Subscription {
    pub(crate) fn of(subscription: SubscriptionHandle) -> Self {
        Self(Mutex::new(subscription))
    }

    fn next_within(&self, py: Python<'_>, timeout: Option<Duration>) -> PyResult<Option<FeedEvent>> {
        let deadline = timeout.map(|timeout| Instant::now() + timeout.min(Duration::from_secs(1 << 30)));
        loop {
            let left = deadline.map_or(SLICE, |deadline| deadline.saturating_duration_since(Instant::now()).min(SLICE));
            let found = py.detach(|| self.0.lock().next(Some(left))).map_err(to_python)?;
            if found.is_some() || deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(found);
            }
            py.check_signals()?;
        }
    }
}

#[pymethods]
impl Subscription {
    #[pyo3(signature = (timeout_s = None))]
    fn poll(&self, py: Python<'_>, timeout_s: Option<f64>) -> PyResult<Option<Change>> {
        let timeout = timeout_s.map(|timeout_s| seconds("timeout_s", timeout_s)).transpose().map_err(to_python)?;
        Ok(self.next_within(py, timeout)?.map(Change::of))
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Change>> {
        Ok(self.next_within(py, None)?.map(Change::of))
    }
}

/// Everything in an engine; see the stubs.
#[pyclass(frozen, module = "pegaflow")]
pub(crate) struct Snapshot {
    seq: u64,
    snapshot: Mutex<SnapshotHandle>,
}

impl Snapshot {
    pub(crate) fn of(snapshot: SnapshotHandle) -> Self {
        Self { seq: snapshot.seq(), snapshot: Mutex::new(snapshot) }
    }
}

#[pymethods]
impl Snapshot {
    #[getter]
    fn seq(&self) -> u64 {
        self.seq
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Change>> {
        let next = py.detach(|| self.snapshot.lock().next()).map_err(to_python)?;
        Ok(next.map(Change::of))
    }
}
