//! A value that lies in the arena and that no entry names yet.

use std::ptr::NonNull;

use crate::arena::{Arena, Extent};
use crate::cache::{Span, total_bytes};
use crate::checksum::SummedCopy;

/// Room in the arena, given back when dropped unless an entry takes it over.
pub(crate) struct Staged<'a> {
    arena: &'a Arena,
    extent: Option<Extent>,
}

impl<'a> Staged<'a> {
    pub(crate) fn new(arena: &'a Arena, extent: Extent) -> Self {
        Self { arena, extent: Some(extent) }
    }

    pub(crate) fn extent(&self) -> Extent {
        self.extent.expect("present until taken over")
    }

    /// Fills the room and gives the checksum of what it then holds.
    ///
    /// # Safety
    /// `source` is valid for reads of the extent's length.
    pub(crate) unsafe fn fill(&mut self, source: NonNull<u8>) -> u64 {
        // SAFETY: staged room has one holder, this; the source is the caller's promise.
        unsafe { self.arena.fill(self.extent(), source) }
    }

    /// Fills the room from several runs and gives the checksum of what it then holds.
    ///
    /// # Safety
    /// The runs are valid for reads, and together as long as the extent.
    pub(crate) unsafe fn fill_from(&mut self, spans: &[Span]) -> u64 {
        debug_assert_eq!(total_bytes(spans), self.extent().len());
        let mut copy = SummedCopy::default();
        let mut target = self.arena.address(self.extent());
        for span in spans {
            // SAFETY: staged room has one holder, this; the runs are the caller's promise and fit into it.
            unsafe {
                copy.copy(target, span.start(), span.len());
                target = target.add(span.len());
            }
        }
        copy.finish()
    }

    /// The room, to be filled by a read.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: staged room has one holder, this.
        unsafe { self.arena.bytes_mut(self.extent()) }
    }

    /// What the room holds.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: staged room has one holder, this, and writing to it takes `&mut self`.
        unsafe { self.arena.bytes(self.extent()) }
    }

    /// Hands the room to whoever releases it later.
    pub(crate) fn into_extent(mut self) -> Extent {
        self.extent.take().expect("present until taken over")
    }
}

impl Drop for Staged<'_> {
    fn drop(&mut self) {
        if let Some(extent) = self.extent {
            self.arena.release(extent);
        }
    }
}

/// A value in the arena, held so that it stays where it is.
pub(crate) struct Held<'a> {
    arena: &'a Arena,
    extent: Extent,
    checksum: u64,
}

impl<'a> Held<'a> {
    /// Takes over one hold of `extent`.
    pub(crate) fn adopt(arena: &'a Arena, extent: Extent, checksum: u64) -> Self {
        Self { arena, extent, checksum }
    }

    pub(crate) fn len(&self) -> usize {
        self.extent.len()
    }

    pub(crate) fn extent(&self) -> Extent {
        self.extent
    }

    pub(crate) fn checksum(&self) -> u64 {
        self.checksum
    }

    /// Copies the value out and says whether what arrived has the value's checksum.
    ///
    /// # Safety
    /// `target` is valid for writes of the value's length and nothing else writes there meanwhile.
    #[must_use]
    pub(crate) unsafe fn copy_to(&self, target: NonNull<u8>) -> bool {
        // SAFETY: the source is held; the target is the caller's promise.
        let found = unsafe { crate::checksum::copy_raw(target, self.arena.address(self.extent), self.len()) };
        found == self.checksum
    }

    /// Copies the value out to several runs and says whether what arrived has the value's checksum.
    ///
    /// # Safety
    /// The runs are valid for writes and together as long as the value, and nothing else writes there meanwhile.
    #[must_use]
    pub(crate) unsafe fn scatter_to(&self, spans: &[Span]) -> bool {
        debug_assert_eq!(total_bytes(spans), self.len());
        let mut copy = SummedCopy::default();
        let mut source = self.arena.address(self.extent);
        for span in spans {
            // SAFETY: the source is held; the runs are the caller's promise.
            unsafe {
                copy.copy(span.start(), source, span.len());
                source = source.add(span.len());
            }
        }
        copy.finish() == self.checksum
    }

    /// As [`Self::copy_to`], to a slice of the value's length.
    ///
    /// # Panics
    /// If the slice has another length.
    #[must_use]
    pub(crate) fn copy_into(&self, target: &mut [u8]) -> bool {
        assert_eq!(target.len(), self.len(), "the target has the value's length");
        // SAFETY: a slice of the value's length, borrowed mutably.
        unsafe { self.copy_to(NonNull::from(target).cast()) }
    }

    /// Whether the bytes in the arena match their checksum; looked at once for as long as they stay in memory.
    #[must_use]
    pub(crate) fn verify_once(&self) -> bool {
        if self.arena.is_verified(self.extent) {
            return true;
        }
        // SAFETY: held, and nobody writes to a value that an entry names.
        let is_whole = crate::checksum::of(unsafe { self.arena.bytes(self.extent) }) == self.checksum;
        if is_whole {
            self.arena.set_verified(self.extent);
        }
        is_whole
    }

    /// Gives the hold to whoever releases it later.
    pub(crate) fn into_extent(self) -> Extent {
        let extent = self.extent;
        std::mem::forget(self);
        extent
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.arena.release(self.extent);
    }
}
