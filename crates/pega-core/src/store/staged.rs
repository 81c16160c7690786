//! A value that lies in the arena and that no entry names yet.

use std::ptr::NonNull;

use crate::arena::{Arena, Extent};

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
