//! The Python module `pegaflow._native`: convert, release the GIL, call the core, map the error.

use pyo3::prelude::*;

#[pymodule]
mod _native {}
