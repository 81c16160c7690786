//! Finding values, wherever they lie.

use std::sync::atomic::Ordering;

use super::staged::Held;
use super::{Store, now_ms};
use crate::error::{Error, ErrorKind, Result};
use crate::index::{Hashed, Index, Shard, SlotId};

impl Store {
    /// Whether there is a value under the key.
    pub(crate) fn contains(&self, hashed: Hashed<'_>) -> bool {
        let shard = self.index.read(hashed.shard());
        let slot = shard.find(hashed.hash, hashed.key);
        slot.is_some_and(|slot| shard.entry(slot).expires_at_ms == 0 || !shard.entry(slot).is_expired(now_ms()))
    }

    /// Holds a value in memory, bringing it there if it is on disk only.
    ///
    /// # Errors
    /// `MemoryFull` if it is on disk and there is no room, `Io` and `Corrupt` from the disk.
    pub(crate) fn hold(&self, hashed: Hashed<'_>) -> Result<Option<Held<'_>>> {
        self.check_open()?;
        let found = self.hold_resident(hashed);
        match &found {
            Some((_, id)) => {
                self.gate.touch(*id);
                self.counters.memory_hits.fetch_add(1, Ordering::Relaxed);
            }
            None => {
                self.counters.misses.fetch_add(1, Ordering::Relaxed);
            }
        }
        Ok(found.map(|(held, _)| held))
    }

    fn hold_resident(&self, hashed: Hashed<'_>) -> Option<(Held<'_>, SlotId)> {
        let shard = self.index.read(hashed.shard());
        let slot = shard.find(hashed.hash, hashed.key)?;
        let held = self.hold_slot(&shard, slot)?;
        Some((held, Index::id(hashed.shard(), slot)))
    }

    /// Holds the value in a slot, if it is in memory and its time is not over. The caller holds the shard's lock.
    pub(crate) fn hold_slot(&self, shard: &Shard, slot: u32) -> Option<Held<'_>> {
        let entry = shard.entry(slot);
        if entry.expires_at_ms != 0 && entry.is_expired(now_ms()) {
            return None;
        }
        let extent = entry.extent?;
        self.arena.hold(extent);
        Some(Held::adopt(&self.arena, extent, entry.checksum))
    }

    /// Takes a value out of service whose bytes are not what they were, and says so.
    #[cold]
    pub(crate) fn condemn(&self, hashed: Hashed<'_>, held: &Held<'_>) -> Error {
        self.counters.corruptions.fetch_add(1, Ordering::Relaxed);
        let mut shard = self.index.write(hashed.shard());
        if let Some(slot) = shard.find(hashed.hash, hashed.key) {
            if shard.entry(slot).extent == Some(held.extent()) {
                self.drop_entry(&mut shard, Index::id(hashed.shard(), slot));
            }
        }
        Error::new(ErrorKind::Corrupt, "a value in memory does not match its checksum, and was dropped")
            .with("value_bytes", held.len())
    }

    /// How many keys there are in a space of the index.
    pub(crate) fn drop_all_expired(&self) {
        let now = now_ms();
        for number in Index::shards() {
            let has_due = self.index.read(number).has_due(now);
            if has_due {
                self.drop_expired(&mut self.index.write(number), number);
            }
        }
    }
}
