//! One pass of one policy over a trace.

use crate::error::to_python;
use crate::trace::PyTrace;
use pega_core::policy::PolicyKind;
use pega_core::replay::{Foresight, Replay};
use pyo3::prelude::*;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// A replay of a trace through an eviction policy, in steps.
#[pyclass(name = "Replay", module = "pegaflow._native", frozen)]
pub struct PyReplay {
    /// A policy may move between threads but not be shared by them.
    replay: Mutex<Replay>,
}

impl PyReplay {
    fn lock(&self) -> MutexGuard<'_, Replay> {
        self.replay.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl PyReplay {
    /// `released_after_ms` releases blocks that nothing will use again; `exact` tells the policy every next use.
    #[new]
    #[pyo3(signature = (trace, policy, capacity_blocks, *, released_after_ms=None, exact=false))]
    fn new(
        trace: &PyTrace,
        policy: &str,
        capacity_blocks: u32,
        released_after_ms: Option<u64>,
        exact: bool,
    ) -> PyResult<Self> {
        let kind = policy.parse::<PolicyKind>().map_err(to_python)?;
        let foresight = match released_after_ms {
            _ if exact => Foresight::Exact,
            Some(delay_ms) => Foresight::Ended { delay_ms },
            None => Foresight::None,
        };
        let replay = Replay::new(trace.share(), kind, capacity_blocks, foresight);
        Ok(Self { replay: Mutex::new(replay) })
    }

    /// Replay up to `requests` more requests and return how many are left.
    fn advance(&self, py: Python<'_>, requests: usize) -> usize {
        py.detach(|| self.lock().advance(requests))
    }

    /// References, hits, and what an infinite cache would have hit, so far.
    fn score(&self, py: Python<'_>) -> (u64, u64, u64) {
        let score = py.detach(|| self.lock().score());
        (score.references, score.hits, score.ideal_hits)
    }
}

/// The names of the eviction policies, in the order of the documentation.
#[pyfunction]
pub fn policy_names() -> Vec<&'static str> {
    PolicyKind::ALL.iter().map(|kind| kind.name()).collect()
}
