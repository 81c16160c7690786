//! The Python module `pegaflow._native`: convert, release the GIL, call the core, map the error.

mod buffer;
mod bytes;
mod cache;
mod change;
mod dlpack;
mod engine;
mod error;
mod follow;
mod job;
mod key;
mod many;
mod options;
mod pages;
mod replay;
#[cfg(target_os = "linux")]
mod sidecar;
mod trace;
mod view;

use pyo3::prelude::*;

#[pymodule(gil_used = true)]
mod _native {
    #[pymodule_export]
    use super::cache::{BlockCache, Lease};
    #[pymodule_export]
    use super::change::Change;
    #[pymodule_export]
    use super::engine::{EngineHandle, PegaEngine};
    #[pymodule_export]
    use super::follow::{Snapshot, Subscription};
    #[pymodule_export]
    use super::job::Job;
    #[pymodule_export]
    use super::pages::{BlockPages, PageList};
    #[pymodule_export]
    use super::replay::{PyReplay, policy_names};
    #[cfg(target_os = "linux")]
    #[pymodule_export]
    use super::sidecar::{SidecarServer, connect};
    #[pymodule_export]
    use super::trace::PyTrace;
    #[pymodule_export]
    use super::view::ValueView;

    use super::{Bound, PyModule, PyModuleMethods, PyResult};

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("MAX_KEY_BYTES", pega_core::MAX_KEY_BYTES)
    }
}
