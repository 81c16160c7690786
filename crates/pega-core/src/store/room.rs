//! Making room in memory.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::gate::Victim;
use super::staged::Staged;
use super::{Store, now_ms};
use crate::arena::Extent;
use crate::error::{Error, ErrorKind, Result};
use crate::index::{Hashed, Index, SlotId};
use crate::key::Space;

/// How long room is waited for that other threads hold only while they copy.
const PATIENCE: Duration = Duration::from_millis(20);

impl Store {
    /// Takes room for `len` bytes, evicting what must go.
    ///
    /// # Errors
    /// `TooLarge` if the arena is smaller, `MemoryFull` if everything in it is held or may not be evicted.
    pub(crate) fn make_room(&self, len: usize) -> Result<Staged<'_>> {
        self.make_room_within(len, PATIENCE)
    }

    /// As [`Self::make_room`], waiting no longer than `patience` for what others hold.
    pub(crate) fn make_room_within(&self, len: usize, patience: Duration) -> Result<Staged<'_>> {
        if let Some(extent) = self.arena.take(len) {
            return Ok(Staged::new(&self.arena, extent));
        }
        self.make_room_slowly(len, patience).map(|extent| Staged::new(&self.arena, extent))
    }

    #[cold]
    fn make_room_slowly(&self, len: usize, patience: Duration) -> Result<Extent> {
        self.check_size(len)?;
        let mut waiting_since = None;
        loop {
            if let Some(extent) = self.arena.take(len) {
                return Ok(extent);
            }
            if self.evict_one() || self.leases.end_overdue() {
                continue;
            }
            let since = *waiting_since.get_or_insert_with(Instant::now);
            if !self.may_evict || since.elapsed() >= patience {
                return Err(Error::new(ErrorKind::MemoryFull, "no room in memory, and nothing in it may be evicted")
                    .with("value_bytes", len)
                    .with("memory_bytes", self.arena.capacity_bytes()));
            }
            std::thread::yield_now();
        }
    }

    /// Refuses values that no eviction could make room for.
    pub(crate) fn check_size(&self, len: usize) -> Result<()> {
        let limit = self.arena.capacity_bytes().min(u64::from(u32::MAX));
        if len as u64 > limit {
            return Err(Error::new(ErrorKind::TooLarge, "a value is larger than the arena; raise memory_bytes")
                .with("value_bytes", len)
                .with("limit_bytes", limit));
        }
        Ok(())
    }

    /// Evicts one value; false if there is none that may go.
    fn evict_one(&self) -> bool {
        if !self.may_evict {
            return false;
        }
        let Some(victim) = self.gate.victim(&self.arena, now_ms) else { return false };
        self.expel(victim);
        true
    }

    /// Takes the value of a block out of memory, if it is on disk too and nobody holds it.
    pub(crate) fn demote(&self, hashed: Hashed<'_>) -> bool {
        let mut shard = self.index.write(hashed.shard());
        let Some(slot) = shard.find(hashed.hash, hashed.key) else { return false };
        let id = Index::id(hashed.shard(), slot);
        let Some(entry) = shard.get_mut(slot).filter(|entry| entry.at.is_some()) else { return false };
        let Some(extent) = entry.extent.filter(|extent| self.arena.holders(extent.run()) == 1) else { return false };
        entry.extent = None;
        self.note_departure(entry.space(), id);
        self.gate.depart(id);
        self.arena.release(extent);
        self.counters.demotions.fetch_add(1, Ordering::Relaxed);
        true
    }

    /// Drops a block of a namespace in memory and on disk, unless somebody holds it. After reopening it may be back:
    /// what a hash names never changes.
    pub(crate) fn give_up(&self, id: SlotId, space: Space) -> bool {
        let mut shard = self.index.write(id.shard());
        let Some(entry) = shard.get(id.slot()).filter(|entry| entry.space() == space) else { return false };
        let is_held = entry.extent.is_some_and(|extent| self.arena.holders(extent.run()) > 1);
        if is_held || entry.leases > 0 {
            return false;
        }
        self.drop_entry(&mut shard, id);
        true
    }

    /// Takes a victim's value out of memory. Where it is nowhere else, that is the end of the entry.
    fn expel(&self, Victim { id, run }: Victim) {
        let mut shard = self.index.write(id.shard());
        let Some(entry) = shard.get_mut(id.slot()) else { return };
        let Some(extent) = entry.extent else { return };
        // Since the policy chose it, the entry may have got another value or a reader: then it stays.
        if extent.run() != run || self.arena.holders(run) != 1 {
            let hash = entry.hash();
            self.gate.arrive(id, hash, extent);
            return;
        }
        if entry.at.is_some() {
            entry.extent = None;
            self.note_departure(entry.space(), id);
            self.gate.depart(id);
            self.arena.release(extent);
            self.counters.demotions.fetch_add(1, Ordering::Relaxed);
        } else {
            self.drop_entry(&mut shard, id);
            self.counters.evictions.fetch_add(1, Ordering::Relaxed);
        }
    }
}
