//! Making room in memory.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::gate::Victim;
use super::staged::Staged;
use super::{Store, now_ms};
use crate::arena::Extent;
use crate::error::{Error, ErrorKind, Result};

/// How long room is waited for that other threads hold only while they copy.
const PATIENCE: Duration = Duration::from_millis(20);

impl Store {
    /// Takes room for `len` bytes, evicting what must go.
    ///
    /// # Errors
    /// `TooLarge` if the arena is smaller, `MemoryFull` if everything in it is held or may not be evicted.
    pub(crate) fn make_room(&self, len: usize) -> Result<Staged<'_>> {
        if let Some(extent) = self.arena.take(len) {
            return Ok(Staged::new(&self.arena, extent));
        }
        self.make_room_slowly(len).map(|extent| Staged::new(&self.arena, extent))
    }

    #[cold]
    fn make_room_slowly(&self, len: usize) -> Result<Extent> {
        self.check_size(len)?;
        let mut waiting_since = None;
        loop {
            if let Some(extent) = self.arena.take(len) {
                return Ok(extent);
            }
            if self.evict_one() {
                continue;
            }
            let since = *waiting_since.get_or_insert_with(Instant::now);
            if !self.may_evict || since.elapsed() > PATIENCE {
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
            self.gate.depart(id);
            self.arena.release(extent);
            self.counters.demotions.fetch_add(1, Ordering::Relaxed);
        } else {
            self.drop_entry(&mut shard, id);
            self.counters.evictions.fetch_add(1, Ordering::Relaxed);
        }
    }
}
