//! `pegaflow._native.SidecarServer` and `pegaflow._native.connect`.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use pega_core::arena::Sharing;
use pega_core::sidecar::{Client, ServeOptions, Server, prometheus_text};
use pega_core::{Handle, Options};
use pyo3::prelude::*;

use crate::engine::EngineHandle;
use crate::error::to_python;
use crate::options::{Settings, seconds};

/// An engine that other processes use; see the stubs for its contract.
#[pyclass(frozen, module = "pegaflow._native")]
pub(crate) struct SidecarServer {
    server: Server,
}

#[pymethods]
impl SidecarServer {
    #[new]
    #[pyo3(signature = (socket, engine, settings, *, idle_exit_s = None, drain_s = 10.0))]
    fn new(
        py: Python<'_>,
        socket: PathBuf,
        engine: Settings,
        settings: BTreeMap<String, String>,
        idle_exit_s: Option<f64>,
        drain_s: f64,
    ) -> PyResult<Self> {
        let options = Options { sharing: Sharing::Shared, ..engine.options().map_err(to_python)? };
        let serve = ServeOptions {
            idle_exit: idle_exit_s.map(|idle_s| seconds("idle_exit_s", idle_s)).transpose().map_err(to_python)?,
            drain: seconds("drain_s", drain_s).map_err(to_python)?,
            settings: settings.into_iter().collect(),
            ..ServeOptions::new(socket)
        };
        let start = || Server::open(options, serve);
        py.detach(start).map(|server| Self { server }).map_err(to_python)
    }

    /// A descriptor to which a byte other than zero is written to end the server.
    fn waker(&self) -> i32 {
        self.server.waker().as_raw_fd()
    }

    fn stop(&self) {
        self.server.stop();
    }

    fn wait(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.server.wait()).map_err(to_python)
    }

    fn prometheus(&self, py: Python<'_>) -> String {
        py.detach(|| prometheus_text(&self.server.figures()))
    }
}

/// Connects to a sidecar, which must have these settings.
#[pyfunction]
#[pyo3(signature = (socket, settings, *, reply_timeout_s = None))]
pub(crate) fn connect(
    py: Python<'_>,
    socket: PathBuf,
    settings: BTreeMap<String, String>,
    reply_timeout_s: Option<f64>,
) -> PyResult<EngineHandle> {
    let reply_time = reply_timeout_s.map(|time_s| seconds("reply_timeout_s", time_s)).transpose().map_err(to_python)?;
    let connect = || {
        let client = Client::connect_within(&socket, reply_time)?;
        client.require_settings(&settings.into_iter().collect::<Vec<_>>())?;
        Ok(EngineHandle(Handle::There(client)))
    };
    py.detach(connect).map_err(to_python)
}
