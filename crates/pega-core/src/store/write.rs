//! Changes: how a batch becomes visible.

use std::ptr::NonNull;
use std::sync::atomic::Ordering;

use parking_lot::MutexGuard;

use super::changes::{Change, Op};
use super::feed::Ring;
use super::{Staged, Store, now_ms};
use crate::arena::Extent;
use crate::error::{Error, Result};
use crate::index::{Hashed, Index, Shard, ShardSet, SlotId, Value};
use crate::key::Space;

impl Store {
    /// Brings a value into memory: takes room, copies it there and sums it.
    pub(crate) fn stage<'a>(&'a self, hashed: Hashed<'a>, source: &'a [u8], expires_at_ms: u64) -> Result<Change<'a>> {
        if self.gate.announces() && !self.contains(hashed) {
            self.gate.announce(hashed.hash);
        }
        let mut staged = self.make_room(source.len())?;
        // SAFETY: a slice is valid for reads of its length, and the room has that length.
        let checksum = unsafe { staged.fill(NonNull::from(source).cast()) };
        let value_bytes = value_bytes(source.len())?;
        let op = Op::Put { staged: Some(staged), source, checksum, value_bytes, expires_at_ms };
        Ok(Change { hashed, op, existed: false })
    }

    /// Applies one change.
    pub(crate) fn commit_one(&self, change: Change<'_>) -> Result<bool> {
        let mut changes = [change];
        self.commit(&mut changes)?;
        Ok(changes[0].existed)
    }

    /// Applies all changes, in their order; no reader sees some of them without the others.
    pub(crate) fn commit(&self, changes: &mut [Change<'_>]) -> Result<()> {
        self.check_open()?;
        if let [change] = changes {
            let mut shard = self.index.write(change.hashed.shard());
            let ring = self.feed.writer();
            self.apply(&mut shard, change, ring, false);
            return Ok(());
        }
        let mut shards = self.index.write_set(ShardSet::of(changes.iter().map(|change| &change.hashed)));
        let mut ring = self.feed.writer();
        let last = changes.len().saturating_sub(1);
        for (i, change) in changes.iter_mut().enumerate() {
            ring = self.apply(shards.shard(change.hashed.shard()), change, ring, i < last);
        }
        Ok(())
    }

    fn apply<'a>(
        &self,
        shard: &mut Shard,
        change: &mut Change<'_>,
        mut ring: Option<MutexGuard<'a, Ring>>,
        more: bool,
    ) -> Option<MutexGuard<'a, Ring>> {
        let seq = self.next_seq.fetch_add(1, Ordering::Relaxed);
        if let Some(ring) = &mut ring {
            if change.hashed.key.space() == Space::USER {
                self.feed.push(ring, change.to_event(seq, more));
            }
        }
        let found = shard.find(change.hashed.hash, change.hashed.key);
        change.existed = found.is_some_and(|slot| !shard.entry(slot).is_expired(now_ms()));
        match std::mem::replace(&mut change.op, Op::Remove) {
            Op::Put { staged, checksum, value_bytes, expires_at_ms, .. } => {
                let extent = staged.map(Staged::into_extent);
                let value = Value { seq, checksum, expires_at_ms, extent, at: None, value_bytes };
                self.apply_put(shard, change.hashed, found, value);
                self.counters.puts.fetch_add(1, Ordering::Relaxed);
            }
            Op::Remove => {
                if let Some(slot) = found {
                    self.drop_entry(shard, Index::id(change.hashed.shard(), slot));
                }
                self.counters.removes.fetch_add(u64::from(change.existed), Ordering::Relaxed);
            }
        }
        ring
    }

    fn apply_put(&self, shard: &mut Shard, hashed: Hashed<'_>, found: Option<u32>, value: Value) {
        let (slot, before) = match found {
            Some(slot) => (slot, shard.replace(slot, value).extent),
            None => (shard.insert(hashed.hash, hashed.key, value), None),
        };
        self.move_in(Index::id(hashed.shard(), slot), hashed.hash, before, value.extent);
    }

    /// Tells the policy where an entry's value lies now, and lets go of where it lay.
    fn move_in(&self, id: SlotId, key_hash: u64, before: Option<Extent>, now: Option<Extent>) {
        match now {
            Some(extent) => self.gate.arrive(id, key_hash, extent),
            None if before.is_some() => self.gate.depart(id),
            None => {}
        }
        if let Some(extent) = before {
            self.arena.release(extent);
        }
    }

    /// Removes a key; false if it was not there.
    pub(crate) fn remove(&self, hashed: Hashed<'_>) -> Result<bool> {
        self.check_open()?;
        if !self.contains(hashed) {
            return Ok(false);
        }
        self.commit_one(Change::remove(hashed))
    }
}

pub(super) fn value_bytes(len: usize) -> Result<u32> {
    u32::try_from(len).map_err(|_| {
        Error::new(crate::ErrorKind::TooLarge, "a value has 4 GiB or more; store it in parts").with("value_bytes", len)
    })
}
