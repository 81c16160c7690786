//! What a block cache needs of the store beyond reading and writing.

use super::{Store, now_ms};
use crate::arena::Extent;
use crate::index::{Entry, Hashed, Index, ShardSet, SlotId};
use crate::policy::Hint;

/// Keys looked up under one set of locks: long enough to pay for taking them, short enough that writers hardly wait.
const LOOKUPS: usize = 256;

/// Where a block was when it was leased.
pub(crate) enum Lookup {
    /// In memory, and held there once: whoever gets this releases it.
    InMemory(Extent, u64),
    /// On disk, its entry marked: whoever gets this ends the mark by the number of the change.
    OnDisk(SlotId, u64),
    /// Nowhere.
    Absent,
}

fn is_there(entry: &Entry) -> bool {
    (entry.extent.is_some() || entry.at.is_some()) && (!entry.is_timed() || !entry.is_expired(now_ms()))
}

impl Store {
    /// How many of the first `len` keys are there before the first that is not.
    pub(crate) fn count_leading<'a>(&self, len: usize, hashed: impl Fn(usize) -> Hashed<'a>) -> usize {
        for start in (0..len).step_by(LOOKUPS) {
            let shards = self.index.read_set(ShardSet::ALL);
            for i in start..len.min(start + LOOKUPS) {
                let key = hashed(i);
                let shard = shards.shard(key.shard());
                if !shard.find(key.hash, key.key).is_some_and(|slot| is_there(shard.entry(slot))) {
                    return i;
                }
            }
        }
        len
    }

    /// Keeps a block where it is.
    pub(crate) fn lease_one(&self, hashed: Hashed<'_>) -> Lookup {
        {
            let shard = self.index.read(hashed.shard());
            let Some(slot) = shard.find(hashed.hash, hashed.key) else { return Lookup::Absent };
            if let Some(held) = self.hold_slot(&shard, slot) {
                let checksum = held.checksum();
                return Lookup::InMemory(held.into_extent(), checksum);
            }
        }
        let mut shard = self.index.write(hashed.shard());
        let Some(slot) = shard.find(hashed.hash, hashed.key) else { return Lookup::Absent };
        if let Some(held) = self.hold_slot(&shard, slot) {
            let checksum = held.checksum();
            return Lookup::InMemory(held.into_extent(), checksum);
        }
        let id = Index::id(hashed.shard(), slot);
        match shard.get_mut(slot).filter(|entry| is_there(entry)) {
            Some(entry) => {
                entry.leases += 1;
                Lookup::OnDisk(id, entry.seq)
            }
            None => Lookup::Absent,
        }
    }

    /// Ends a mark of [`Self::lease_one`]. Replacing the value has ended it already.
    pub(crate) fn end_lease_of(&self, id: SlotId, seq: u64) {
        let mut shard = self.index.write(id.shard());
        if let Some(entry) = shard.get_mut(id.slot()).filter(|entry| entry.seq == seq) {
            entry.leases = entry.leases.saturating_sub(1);
        }
    }

    /// Whether a block is on disk and not in memory.
    pub(crate) fn is_on_disk_only(&self, hashed: Hashed<'_>) -> bool {
        let shard = self.index.read(hashed.shard());
        shard.find(hashed.hash, hashed.key).is_some_and(|slot| {
            let entry = shard.entry(slot);
            entry.extent.is_none() && is_there(entry)
        })
    }

    /// Tells a policy that wants to know of a key that is about to come.
    pub(crate) fn announce_if_absent(&self, hashed: Hashed<'_>) {
        if self.gate.announces() && !self.contains(hashed) {
            self.gate.announce(hashed.hash);
        }
    }

    /// Records uses, in the order given.
    pub(crate) fn touch_all(&self, ids: &[SlotId]) {
        self.gate.touch_all(ids.iter().copied());
    }

    /// Tells the policy what is known about an entry.
    pub(crate) fn hint(&self, id: SlotId, hint: Hint) {
        self.gate.hint(id, hint, now_ms());
    }
}
