//! Pins: leases without an owner, that end by time or by a hint.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;

use super::BlockCache;
use super::hashes::Hashes;
use super::lease::{Blocks, Kept, Leased, Token};
use crate::error::Result;
use crate::store::Lookup;

/// The pins of a namespace: which lease keeps a block.
#[derive(Default)]
pub(super) struct Pins(Mutex<HashMap<Box<[u8]>, Token>>);

impl BlockCache {
    /// Keeps blocks for a time, each by itself, so that each can be let go of by itself. A new pin takes the place of
    /// an older one.
    pub(super) fn pin(&self, hashes: Hashes<'_>, for_: Duration) -> Result<()> {
        self.store.leases.end_overdue();
        for hash in hashes.iter() {
            let kept = match self.store.lease_one(self.namespace.hashed(&self.store, hash)) {
                Lookup::InMemory(extent, checksum) => Kept::InMemory { extent, checksum },
                Lookup::OnDisk(id, seq) => Kept::OnDisk { id, seq },
                Lookup::Absent => continue,
            };
            let blocks = Blocks::new(&self.store, vec![Leased { hash: hash.into(), kept }]);
            let state = self.store.leases.enter(&self.namespace, blocks, for_)?;
            let before = self.namespace.pins.0.lock().insert(hash.into(), state.token());
            if let Some(token) = before {
                self.store.leases.leave(token);
            }
        }
        self.forget_ended();
        Ok(())
    }

    /// Ends the pins of these blocks.
    pub(super) fn unpin(&self, hashes: Hashes<'_>) {
        for hash in hashes.iter() {
            let token = self.namespace.pins.0.lock().remove(hash);
            if let Some(token) = token {
                self.store.leases.leave(token);
            }
        }
    }

    /// Forgets pins that ended by time, when there are many.
    fn forget_ended(&self) {
        let mut pins = self.namespace.pins.0.lock();
        if pins.len() > 2 * self.store.leases.count() + 64 {
            pins.retain(|_, token| self.store.leases.find(*token).is_some());
        }
    }
}
