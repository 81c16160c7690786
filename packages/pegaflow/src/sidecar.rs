//! `pegaflow._native.SidecarServer` and `pegaflow._native.connect`.

use std::collections::BTreeMap;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::Duration;

use pega_core::arena::Sharing;
use pega_core::log::{Codec, Durability, OnFull};
use pega_core::sidecar::{Client, ServeOptions, Server, prometheus_text};
use pega_core::{Error, Handle, Options};
use pyo3::prelude::*;

use crate::engine::PegaEngine;
use crate::error::to_python;

/// An engine that other processes use; see the stubs for its contract.
#[pyclass(frozen, module = "pegaflow._native")]
pub(crate) struct SidecarServer {
    server: Server,
}

/// What an engine is opened with, as Python says it.
#[derive(FromPyObject)]
struct Asked {
    #[pyo3(item)]
    memory_bytes: Option<u64>,
    #[pyo3(item)]
    path: Option<PathBuf>,
    #[pyo3(item)]
    disk_bytes: Option<u64>,
    #[pyo3(item)]
    policy: Option<String>,
    #[pyo3(item)]
    durability: Option<String>,
    #[pyo3(item)]
    compression: Option<String>,
    #[pyo3(item)]
    on_full: Option<String>,
}

impl Asked {
    fn options(self) -> pega_core::Result<Options> {
        let defaults = Options { sharing: Sharing::Shared, ..Options::default() };
        Ok(Options {
            path: self.path,
            memory_bytes: self.memory_bytes.unwrap_or(defaults.memory_bytes),
            disk_bytes: self.disk_bytes.unwrap_or(defaults.disk_bytes),
            policy: self.policy.map_or(Ok(defaults.policy), |name| name.parse())?,
            durability: self.durability.map_or(Ok(defaults.durability), |name| durability(&name))?,
            compression: self.compression.map(|name| codec(&name)).transpose()?,
            on_full: self.on_full.map(|name| on_full(&name)).transpose()?,
            ..defaults
        })
    }
}

fn durability(name: &str) -> pega_core::Result<Durability> {
    match name {
        "batched" => Ok(Durability::Batched),
        "sync" => Ok(Durability::Sync),
        "none" => Ok(Durability::None),
        other => Err(Error::invalid(format!("durability is 'batched', 'sync' or 'none', not {other:?}"))),
    }
}

fn codec(name: &str) -> pega_core::Result<Codec> {
    match name {
        "lz4" => Ok(Codec::Lz4),
        "zstd" => Ok(Codec::Zstd),
        other => Err(Error::invalid(format!("compression is 'lz4', 'zstd' or None, not {other:?}"))),
    }
}

fn on_full(name: &str) -> pega_core::Result<OnFull> {
    match name {
        "error" => Ok(OnFull::Error),
        "evict" => Ok(OnFull::Evict),
        other => Err(Error::invalid(format!("on_full is 'error' or 'evict', not {other:?}"))),
    }
}

#[pymethods]
impl SidecarServer {
    #[new]
    #[pyo3(signature = (socket, engine, settings, *, idle_exit_s = None, drain_s = 10.0))]
    fn new(
        py: Python<'_>,
        socket: PathBuf,
        engine: Asked,
        settings: BTreeMap<String, String>,
        idle_exit_s: Option<f64>,
        drain_s: f64,
    ) -> PyResult<Self> {
        let options = engine.options().map_err(to_python)?;
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

fn seconds(name: &str, seconds: f64) -> pega_core::Result<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| Error::invalid(format!("{name} must be a number of seconds from zero on, not {seconds}")))
}

/// Connects to a sidecar, which must have these settings.
#[pyfunction]
pub(crate) fn connect(py: Python<'_>, socket: PathBuf, settings: BTreeMap<String, String>) -> PyResult<PegaEngine> {
    let connect = || {
        let client = Client::connect(&socket)?;
        client.require_settings(&settings.into_iter().collect::<Vec<_>>())?;
        Ok(PegaEngine::of(Handle::There(client)))
    };
    py.detach(connect).map_err(to_python)
}
