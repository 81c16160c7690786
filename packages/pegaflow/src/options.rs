//! What an engine is opened with, as Python says it.

use std::path::PathBuf;
use std::time::Duration;

use pega_core::log::{Codec, Durability, OnFull};
use pega_core::{Error, Options, PutOptions, Result};
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;
use pyo3::types::PyInt;

use crate::error::to_python;

/// A number of bytes.
#[derive(Clone, Copy)]
pub(crate) struct Size(pub(crate) u64);

impl<'py> FromPyObject<'_, 'py> for Size {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Self> {
        if !object.is_instance_of::<PyInt>() {
            return Err(PyTypeError::new_err(format!("a size is an int, not {}", object.get_type().name()?)));
        }
        let size = object.extract::<u64>().map(Self);
        size.map_err(|_| {
            to_python(Error::invalid(format!("a size is between 0 and 2**64 - 1 bytes, not {}", &*object)))
        })
    }
}

/// The settings of an engine. Names and sizes are checked when they become [`Options`].
#[derive(Default, FromPyObject)]
pub(crate) struct Settings {
    #[pyo3(item)]
    pub(crate) path: Option<PathBuf>,
    #[pyo3(item)]
    pub(crate) memory_bytes: Option<Size>,
    #[pyo3(item)]
    pub(crate) disk_bytes: Option<Size>,
    #[pyo3(item)]
    pub(crate) policy: Option<String>,
    #[pyo3(item)]
    pub(crate) durability: Option<String>,
    #[pyo3(item)]
    pub(crate) compression: Option<String>,
    #[pyo3(item)]
    pub(crate) on_full: Option<String>,
}

impl Settings {
    pub(crate) fn options(self) -> Result<Options> {
        let defaults = Options::default();
        Ok(Options {
            path: self.path,
            memory_bytes: self.memory_bytes.map_or(defaults.memory_bytes, |size| size.0),
            disk_bytes: self.disk_bytes.map_or(defaults.disk_bytes, |size| size.0),
            policy: self.policy.map_or(Ok(defaults.policy), |name| name.parse())?,
            durability: self.durability.map_or(Ok(defaults.durability), |name| durability(&name))?,
            compression: self.compression.map(|name| codec(&name)).transpose()?,
            on_full: self.on_full.map(|name| on_full(&name)).transpose()?,
            ..defaults
        })
    }
}

fn durability(name: &str) -> Result<Durability> {
    match name {
        "batched" => Ok(Durability::Batched),
        "sync" => Ok(Durability::Sync),
        "none" => Ok(Durability::None),
        other => Err(Error::invalid(format!("durability is 'batched', 'sync' or 'none', not {other:?}"))),
    }
}

fn codec(name: &str) -> Result<Codec> {
    match name {
        "lz4" => Ok(Codec::Lz4),
        "zstd" => Ok(Codec::Zstd),
        other => Err(Error::invalid(format!("compression is 'lz4', 'zstd' or None, not {other:?}"))),
    }
}

fn on_full(name: &str) -> Result<OnFull> {
    match name {
        "error" => Ok(OnFull::Error),
        "evict" => Ok(OnFull::Evict),
        other => Err(Error::invalid(format!("on_full is 'error' or 'evict', not {other:?}"))),
    }
}

/// A number of seconds from zero on.
pub(crate) fn seconds(name: &str, seconds: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| Error::invalid(format!("{name} must be a number of seconds from zero on, not {seconds}")))
}

/// Options from a time to live in seconds.
#[inline]
pub(crate) fn put_options(ttl_s: Option<f64>) -> PyResult<PutOptions> {
    let Some(ttl_s) = ttl_s else { return Ok(PutOptions::default()) };
    let ttl = seconds("ttl_s", ttl_s).map_err(to_python)?;
    if ttl.is_zero() {
        return Err(to_python(Error::invalid("ttl_s must be above zero; leave it out for a value that stays")));
    }
    Ok(PutOptions { ttl: Some(ttl) })
}
