//! Memory that records are gathered in on their way to the file.

use std::sync::Arc;

use super::file::{PAGE_BYTES, PageBuf};
use super::segment::Segment;
use crate::error::{Error, Result};

/// The size of a stage, in bytes: one write of this size comes within 5 % of the disk's best.
pub(super) const STAGE_BYTES: usize = 4 << 20;

/// A run of bytes of one segment file, from a page boundary on.
///
/// When a stage is handed on before it is full, the next one begins with a copy of its last, partial page: every
/// write is of whole pages, and the page is written again with the same bytes and more.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) segment: Arc<Segment>,
    pub(super) start: u64,
    len: usize,
    /// How much of `len` an earlier stage carried too.
    carried: usize,
    /// The last record that ends in this stage or before it.
    pub(super) last_seq: u64,
    pages: PageBuf,
}

impl Stage {
    /// A stage that goes on where the segment's records end.
    pub(super) fn at_end_of(segment: Arc<Segment>, end: u64, pages: PageBuf, tail: &[u8], last_seq: u64) -> Self {
        let start = end - end % PAGE_BYTES as u64;
        debug_assert_eq!((end - start) as usize, tail.len());
        let mut stage = Self { segment, start, len: tail.len(), carried: tail.len(), last_seq, pages };
        stage.pages.bytes_mut()[..tail.len()].copy_from_slice(tail);
        stage
    }

    /// Where in the file the next byte goes.
    pub(super) fn end(&self) -> u64 {
        self.start + self.len as u64
    }

    /// How many more bytes fit.
    pub(super) fn room_bytes(&self) -> usize {
        self.pages.bytes().len() - self.len
    }

    pub(super) fn is_full(&self) -> bool {
        self.len == self.pages.bytes().len()
    }

    /// Whether it holds anything that no earlier stage carried.
    pub(super) fn has_news(&self) -> bool {
        self.len > self.carried
    }

    /// Takes as much of `bytes` as fits, and gives the rest.
    pub(super) fn fill<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let fits = bytes.len().min(self.pages.bytes().len() - self.len);
        let (now, rest) = bytes.split_at(fits);
        self.pages.bytes_mut()[self.len..self.len + fits].copy_from_slice(now);
        self.len += fits;
        rest
    }

    /// The bytes of the last page, if it is not whole.
    pub(super) fn tail(&self) -> &[u8] {
        &self.pages.bytes()[self.len - self.len % PAGE_BYTES..self.len]
    }

    /// Zeros what is left of the last page, as it will be written.
    pub(super) fn pad(&mut self) {
        let whole = self.len.next_multiple_of(PAGE_BYTES);
        self.pages.bytes_mut()[self.len..whole].fill(0);
    }

    /// Writes everything in whole pages. Call [`Self::pad`] first.
    pub(super) fn write(&self) -> Result<()> {
        let whole = self.len.next_multiple_of(PAGE_BYTES);
        let written = self.segment.file.write_pages(&self.pages.bytes()[..whole], self.start);
        written.map_err(|error| {
            Error::io("cannot write to a segment of the log", error).with("path", self.segment.path.display())
        })
    }

    /// Copies the part of the file range at `offset` that lies in this stage to its place in `target`.
    pub(super) fn copy_overlap(&self, segment: u32, offset: u64, target: &mut [u8]) {
        if segment != self.segment.id {
            return;
        }
        let from = offset.max(self.start);
        let to = (offset + target.len() as u64).min(self.end());
        if from < to {
            let source = &self.pages.bytes()[(from - self.start) as usize..(to - self.start) as usize];
            target[(from - offset) as usize..(to - offset) as usize].copy_from_slice(source);
        }
    }

    pub(super) fn size_bytes(&self) -> usize {
        self.pages.bytes().len()
    }

    pub(super) fn into_pages(self) -> PageBuf {
        self.pages
    }
}
