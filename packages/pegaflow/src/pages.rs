//! `pegaflow.BlockPages`: memory that is cut into pages, as the KV cache of a model server is.

use std::sync::Arc;

use pega_core::Error;
use pega_core::cache::Span;
use pyo3::prelude::*;

use crate::buffer::Purpose;
use crate::bytes::Lent;
use crate::error::to_python;

/// Layers of equally many pages; see the stubs.
#[pyclass(frozen, module = "pegaflow")]
pub(crate) struct BlockPages {
    layers: Arc<[Layer]>,
    pages: usize,
}

struct Layer {
    lent: Arc<Lent>,
    page_bytes: usize,
}

/// Some of the pages, in place of the buffers of as many blocks; see the stubs.
#[pyclass(frozen, module = "pegaflow")]
pub(crate) struct PageList {
    layers: Arc<[Layer]>,
    /// Each lower than the number of pages.
    pages: Vec<Option<usize>>,
}

#[pymethods]
impl BlockPages {
    #[new]
    fn new(layers: &Bound<'_, PyAny>, pages: usize) -> PyResult<Self> {
        let mut taken = Vec::new();
        for (index, layer) in layers.try_iter()?.enumerate() {
            let lent = Lent::of(&layer?, Purpose::Write)?;
            if pages == 0 || lent.len() % pages != 0 || lent.len() == 0 {
                let error = Error::invalid("the memory of a layer cannot be cut into so many pages");
                return Err(to_python(error.with("layer", index).with("size_bytes", lent.len()).with("pages", pages)));
            }
            taken.push(Layer { page_bytes: lent.len() / pages, lent: Arc::new(lent) });
        }
        Ok(Self { layers: taken.into(), pages })
    }

    #[getter]
    fn block_bytes(&self) -> usize {
        self.layers.iter().map(|layer| layer.page_bytes).sum()
    }

    fn __len__(&self) -> usize {
        self.pages
    }

    fn at(&self, pages: Vec<Option<usize>>) -> PyResult<PageList> {
        if let Some(outside) = pages.iter().flatten().find(|page| **page >= self.pages) {
            let error = Error::invalid("there is no such page").with("page", *outside).with("pages", self.pages);
            return Err(to_python(error));
        }
        Ok(PageList { layers: Arc::clone(&self.layers), pages })
    }
}

#[pymethods]
impl PageList {
    fn __len__(&self) -> usize {
        self.pages.len()
    }
}

/// The runs of each block, none for one that is not wanted, and what keeps them in place.
type Memory = (Vec<Option<Vec<Span>>>, Vec<Arc<Lent>>);

impl PageList {
    /// The memory, to be read or written to.
    pub(crate) fn memory(&self, purpose: Purpose) -> PyResult<Memory> {
        if purpose == Purpose::Read && self.pages.iter().any(Option::is_none) {
            return Err(to_python(Error::invalid("a block that is stored needs a page, not None")));
        }
        let block = |page: usize| {
            // SAFETY: the page is lower than the number of pages, which together are as long as the layer.
            let start = |layer: &Layer| unsafe { layer.lent.start().add(page * layer.page_bytes) };
            self.layers.iter().map(|layer| Span::new(start(layer), layer.page_bytes)).collect()
        };
        let spans = self.pages.iter().map(|page| page.map(block)).collect();
        Ok((spans, self.layers.iter().map(|layer| Arc::clone(&layer.lent)).collect()))
    }
}
