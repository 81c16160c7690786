//! `pegaflow.Job`: loading or storing blocks in the background.

use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use pega_core::work::Job as CoreJob;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;

use crate::bytes::Lent;
use crate::error::to_python;
use crate::options::seconds;

const SLICE: Duration = Duration::from_millis(100);

type Failed = Vec<usize>;

enum Outcome {
    Pending,
    Known(Result<Failed, Py<PyAny>>),
}

/// Work under way; see the stubs. It keeps the memory that it reads or writes.
#[pyclass(frozen, module = "pegaflow")]
pub(crate) struct Job {
    job: CoreJob<pega_core::Result<Failed>>,
    outcome: Mutex<Outcome>,
    lent: Mutex<Vec<Arc<Lent>>>,
}

impl Job {
    pub(crate) fn new(job: CoreJob<pega_core::Result<Failed>>, lent: Vec<Arc<Lent>>) -> Self {
        Self { job, outcome: Mutex::new(Outcome::Pending), lent: Mutex::new(lent) }
    }

    fn outcome(&self, py: Python<'_>) -> PyResult<Failed> {
        if let Some(taken) = self.job.take() {
            // What runs Python does so outside the lock: a thread that waits for it would keep the interpreter's.
            let known = taken.map_err(|error| to_python(error).into_value(py).into_any());
            let lent = std::mem::take(&mut *self.lent.lock());
            *self.outcome.lock() = Outcome::Known(known);
            drop(lent);
        }
        loop {
            match &*self.outcome.lock() {
                Outcome::Known(Ok(failed)) => return Ok(failed.clone()),
                Outcome::Known(Err(error)) => return Err(PyErr::from_value(error.bind(py).clone())),
                Outcome::Pending if !self.job.is_done() => {
                    return Err(PyRuntimeError::new_err("the job is not done; wait() for it"));
                }
                Outcome::Pending => {}
            }
            // Another thread has taken the outcome, and is about to put it where both find it.
            py.detach(std::thread::yield_now);
        }
    }
}

#[pymethods]
impl Job {
    fn done(&self) -> bool {
        self.job.is_done()
    }

    #[pyo3(signature = (timeout_s = None))]
    fn wait(&self, py: Python<'_>, timeout_s: Option<f64>) -> PyResult<bool> {
        let timeout = timeout_s.map(|timeout_s| seconds("timeout_s", timeout_s)).transpose().map_err(to_python)?;
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            let left = deadline.map_or(SLICE, |deadline| deadline.saturating_duration_since(Instant::now()).min(SLICE));
            if py.detach(|| self.job.wait(Some(left))) {
                return Ok(true);
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(false);
            }
            py.check_signals()?;
        }
    }

    #[pyo3(signature = (timeout_s = None))]
    fn result(&self, py: Python<'_>, timeout_s: Option<f64>) -> PyResult<Failed> {
        if !self.wait(py, timeout_s)? {
            let error = pega_core::Error::new(pega_core::ErrorKind::TimedOut, "the job was not done in time");
            return Err(to_python(error));
        }
        self.outcome(py)
    }

    /// Calls `tell()` when the job is done, from another thread unless it is done already.
    fn add_done_callback(&self, tell: Py<PyAny>) {
        self.job.when_done(move || {
            Python::attach(|py| {
                if let Err(error) = tell.call0(py) {
                    error.write_unraisable(py, Some(tell.bind(py)));
                }
            });
        });
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // The work goes on in memory that is lent here: it ends first.
        if !self.job.is_done() {
            Python::attach(|py| py.detach(|| self.job.wait(None)));
        }
    }
}
