//! A trace of requests, each a time and the blocks of its prompt.

use crate::error::{Error, Result};
use std::collections::HashMap;
use std::ops::Range;

/// Requests in order of time, with block names replaced by dense numbers.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    timestamps_ms: Vec<u64>,
    ends: Vec<usize>,
    blocks: Vec<u32>,
    numbers: HashMap<u64, u32>,
}

impl Trace {
    /// A trace without requests.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends a request that came at `timestamp_ms` and refers to `block_ids` in prompt order.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a request earlier than the one before it.
    pub fn push(&mut self, timestamp_ms: u64, block_ids: &[u64]) -> Result<()> {
        if self.timestamps_ms.last().is_some_and(|&last| timestamp_ms < last) {
            return Err(Error::invalid("the requests of a trace must be in order of time; sort them by timestamp")
                .with("request", self.len())
                .with("timestamp_ms", timestamp_ms));
        }
        for &id in block_ids {
            let next = self.numbers.len() as u32;
            self.blocks.push(*self.numbers.entry(id).or_insert(next));
        }
        self.timestamps_ms.push(timestamp_ms);
        self.ends.push(self.blocks.len());
        Ok(())
    }

    /// Number of requests.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are no requests.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Number of block references.
    #[must_use]
    pub fn references(&self) -> usize {
        self.blocks.len()
    }

    /// Number of different blocks.
    #[must_use]
    pub fn unique_blocks(&self) -> usize {
        self.numbers.len()
    }

    pub(super) fn timestamp_ms(&self, request: usize) -> u64 {
        self.timestamps_ms[request]
    }

    /// Positions in the trace of the references of `request`.
    pub(super) fn range(&self, request: usize) -> Range<usize> {
        let start = if request == 0 { 0 } else { self.ends[request - 1] };
        start..self.ends[request]
    }

    pub(super) fn blocks(&self, request: usize) -> &[u32] {
        &self.blocks[self.range(request)]
    }

    pub(super) fn block_at(&self, index: usize) -> u32 {
        self.blocks[index]
    }
}
