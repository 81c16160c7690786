//! A cache used by another process: what is held for it while it copies, and what it has written itself.

use std::sync::Arc;

use super::BlockCache;
use super::fill::{self, is_lack_of_room};
use super::hashes::Hashes;
use super::lease::{Blocks, Kept, Lease};
use super::namespace::count;
use crate::error::Result;
use crate::index::Hashed;
use crate::store::{Change, Found, Held, Payload, Staged, Store};

/// What became of a block that is to be stored.
pub(crate) enum Lent<'a> {
    /// It is there already.
    Present,
    /// There is no room for it.
    Refused,
    /// Room to be filled.
    Room(Staged<'a>),
}

impl BlockCache {
    pub(crate) fn store_of(&self) -> &Arc<Store> {
        &self.store
    }

    /// The blocks of a lease, kept for one load.
    ///
    /// # Errors
    /// `LeaseLost`.
    pub(crate) fn keep_for_load(&self, lease: &Lease) -> Result<Arc<Blocks>> {
        lease.state.blocks()
    }

    /// Holds a leased block in memory, bringing it there from disk; none for one that cannot be had.
    pub(crate) fn hold_for_load(&self, blocks: &Blocks, position: usize) -> Option<Held<'_>> {
        let held = blocks.leased.get(position).and_then(|leased| match leased.kept {
            Kept::Absent => None,
            Kept::InMemory { extent, checksum } => {
                // The lease holds it, so that one more hold may be taken.
                self.store.arena.hold(extent);
                Some(Held::adopt(&self.store.arena, extent, checksum))
            }
            Kept::OnDisk { .. } => match self.store.find(self.hashed(&leased.hash)) {
                Ok(Some(Found::Held(held))) => Some(held),
                Ok(Some(Found::OnDisk { .. }) | None) | Err(_) => None,
            },
        });
        let traffic = &self.namespace.traffic;
        match &held {
            Some(held) => {
                count(&traffic.loaded_blocks, 1);
                count(&traffic.loaded_bytes, held.len());
            }
            None => count(&traffic.load_failures, 1),
        }
        held
    }

    /// The key of the block at a position of a lease.
    pub(crate) fn key_of<'a>(&self, blocks: &'a Blocks, position: usize) -> Option<Hashed<'a>> {
        Some(self.hashed(&blocks.leased.get(position)?.hash))
    }

    fn hashed<'a>(&self, hash: &'a [u8]) -> Hashed<'a> {
        self.namespace.hashed(&self.store, hash)
    }

    /// Makes this the size of every block of the namespace.
    ///
    /// # Errors
    /// `InvalidArgument` if it is another.
    pub(crate) fn fix_block_bytes(&self, block_bytes: usize) -> Result<()> {
        self.namespace.fix_block_bytes(block_bytes)
    }

    /// Takes room for a block, unless it is there or there is no room for it.
    ///
    /// # Errors
    /// `Io`, `Closed`.
    pub(crate) fn lend_room(&self, hash: &[u8], block_bytes: usize) -> Result<Lent<'_>> {
        let hashed = self.hashed(hash);
        self.namespace.distinct.add(hashed.hash);
        if self.store.contains(hashed) {
            count(&self.namespace.traffic.present_blocks, 1);
            return Ok(Lent::Present);
        }
        let room = self.namespace.make_room(&self.store, block_bytes).and_then(|()| {
            self.store.announce_if_absent(hashed);
            self.store.make_room(block_bytes)
        });
        match room {
            Ok(staged) => Ok(Lent::Room(staged)),
            Err(error) if is_lack_of_room(&error) => {
                count(&self.namespace.traffic.refused_blocks, 1);
                Ok(Lent::Refused)
            }
            Err(error) => Err(error),
        }
    }

    /// Enters blocks whose bytes are in their room, together; false if there was no room on disk for them.
    ///
    /// # Errors
    /// `Io`, `Closed`.
    pub(crate) fn enter(&self, written: Vec<(&[u8], Staged<'_>, u64)>) -> Result<bool> {
        let mut changes = Vec::with_capacity(written.len());
        let mut bytes = 0;
        for (hash, staged, checksum) in written {
            let hashed = self.hashed(hash);
            // Somebody else may have stored it since the room was taken.
            if self.store.contains(hashed) {
                count(&self.namespace.traffic.present_blocks, 1);
                continue;
            }
            bytes += staged.extent().len();
            changes.push(Change::put(hashed, Payload::Staged(staged), checksum, 0));
        }
        let blocks = changes.len();
        let traffic = &self.namespace.traffic;
        match self.store.commit(&mut changes) {
            Ok(()) => {
                count(&traffic.stored_blocks, blocks);
                count(&traffic.stored_bytes, bytes);
                Ok(true)
            }
            Err(error) if is_lack_of_room(&error) => {
                count(&traffic.refused_blocks, blocks);
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }

    /// Counts a use of blocks, from the end of their chain to its start.
    pub(crate) fn touch(&self, hashes: Hashes<'_>) {
        fill::touch(&self.store, &self.namespace, hashes);
    }
}
