//! Pieces of the arena that clients know by number, held here for as long as they may use them.

use std::sync::Arc;

use crate::arena::Extent;
use crate::sidecar::place::Place;
use crate::store::{Held, Staged, Store};

/// A hold on a piece of the arena that outlives the call that took it.
pub(super) struct Piece {
    store: Arc<Store>,
    extent: Option<Extent>,
    checksum: u64,
}

impl Piece {
    /// Takes `size_bytes` of room, evicting what it must.
    pub(super) fn reserve(store: &Arc<Store>, size_bytes: u64) -> crate::Result<Self> {
        let size_bytes = usize::try_from(size_bytes).unwrap_or(usize::MAX);
        Ok(Self::of(store, store.make_room(size_bytes)?))
    }

    /// Keeps room that was taken.
    pub(super) fn of(store: &Arc<Store>, staged: Staged<'_>) -> Self {
        Self::filled(store, staged, 0)
    }

    /// Keeps room that was taken and filled.
    pub(super) fn filled(store: &Arc<Store>, staged: Staged<'_>, checksum: u64) -> Self {
        Self { store: Arc::clone(store), extent: Some(staged.into_extent()), checksum }
    }

    /// Keeps what is held.
    pub(super) fn keep(store: &Arc<Store>, held: Held<'_>) -> Self {
        let checksum = held.checksum();
        Self { store: Arc::clone(store), extent: Some(held.into_extent()), checksum }
    }

    fn extent(&self) -> Extent {
        self.extent.expect("present until given to an entry")
    }

    /// Where it is.
    pub(super) fn place(&self) -> Place {
        let extent = self.extent();
        Place { offset: extent.offset_bytes(), size_bytes: extent.len() as u64, checksum: self.checksum }
    }

    /// The same hold, for the length of a call.
    pub(super) fn held(&self) -> Held<'_> {
        self.store.arena.hold(self.extent());
        Held::adopt(&self.store.arena, self.extent(), self.checksum)
    }

    /// Gives the hold to an entry.
    pub(super) fn into_extent(mut self) -> Extent {
        self.extent.take().expect("present until given to an entry")
    }

    /// The bytes from `start` on, as they are now; none if they do not lie within the piece.
    ///
    /// A client may write to what it reserved at any time: whoever reads must sum what it copied.
    pub(super) fn bytes(&self, start: u64, size_bytes: u64) -> Option<&[u8]> {
        let start = usize::try_from(start).ok()?;
        let end = start.checked_add(usize::try_from(size_bytes).ok()?)?;
        // SAFETY: held. The client to which the piece is lent is trusted not to write while its request is served;
        // one that does gets a value that fails its checksum.
        unsafe { self.store.arena.bytes(self.extent()) }.get(start..end)
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        if let Some(extent) = self.extent {
            self.store.arena.release(extent);
        }
    }
}
