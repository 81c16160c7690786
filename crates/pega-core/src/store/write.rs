//! Changes: how a batch becomes visible and lasting.

use std::ptr::NonNull;
use std::sync::atomic::Ordering;

use parking_lot::MutexGuard;

use super::changes::{Change, Op, Payload};
use super::disk::{Disk, Receipt, to_write};
use super::feed::Ring;
use super::{Store, now_ms};
use crate::arena::Extent;
use crate::checksum;
use crate::error::{ErrorKind, Result};
use crate::index::{Hashed, Index, Shard, ShardSet, SlotId, Value, WriteSet};
use crate::key::Space;
use crate::log::RecordAt;

/// Where a batch stands in the order of all changes, and in the log if there is one.
struct Numbered<'a> {
    first_seq: u64,
    places: Option<&'a [RecordAt]>,
}

impl Store {
    /// Brings a value into memory: takes room, copies it there and sums it.
    pub(crate) fn stage<'a>(&'a self, hashed: Hashed<'a>, source: &[u8], expires_at_ms: u64) -> Result<Change<'a>> {
        self.announce_if_absent(hashed);
        let (payload, checksum) = self.bring_in(source)?;
        Ok(Change::put(hashed, payload, checksum, expires_at_ms))
    }

    fn bring_in(&self, source: &[u8]) -> Result<(Payload<'_>, u64)> {
        match self.make_room(source.len()) {
            Ok(mut staged) => {
                // SAFETY: a slice is valid for reads of its length, and the room has that length.
                let checksum = unsafe { staged.fill(NonNull::from(source).cast()) };
                Ok((Payload::Staged(staged), checksum))
            }
            // With a log, memory is a cache: what finds no room there is on disk all the same.
            Err(error) if error.kind() == ErrorKind::MemoryFull && self.disk.is_some() => {
                let mut bytes = vec![0; source.len()];
                let checksum = checksum::copy(&mut bytes, source);
                Ok((Payload::Owned(bytes), checksum))
            }
            Err(error) => Err(error),
        }
    }

    /// Applies one change and waits until it is as safe as it should be.
    pub(crate) fn commit_one(&self, change: Change<'_>) -> Result<bool> {
        let mut changes = [change];
        let receipt = self.apply_batch(&mut changes)?;
        self.settle(receipt)?;
        Ok(changes[0].existed)
    }

    /// Applies all changes, in their order, and waits until they are as safe as they should be.
    pub(crate) fn commit(&self, changes: &mut [Change<'_>]) -> Result<()> {
        let receipt = self.apply_batch(changes)?;
        self.settle(receipt)
    }

    /// Applies all changes, in their order; no reader sees some of them without the others.
    ///
    /// # Errors
    /// Nothing was applied then.
    pub(crate) fn apply_batch(&self, changes: &mut [Change<'_>]) -> Result<Receipt> {
        self.check_open()?;
        match &self.disk {
            Some(disk) => self.apply_logged(disk, changes),
            None => {
                self.apply_in_memory(changes);
                Ok(None)
            }
        }
    }

    fn apply_in_memory(&self, changes: &mut [Change<'_>]) {
        if let [change] = changes {
            let mut shard = self.index.write(change.hashed.shard());
            let ring = self.feed.writer();
            let seq = self.next_seq.fetch_add(1, Ordering::Relaxed);
            self.publish(ring, std::slice::from_ref(change), seq);
            self.apply(&mut shard, change, seq, None);
            return;
        }
        let mut shards = self.lock_shards(changes);
        let ring = self.feed.writer();
        let first_seq = self.next_seq.fetch_add(changes.len() as u64, Ordering::Relaxed);
        self.publish(ring, changes, first_seq);
        self.apply_all(&mut shards, changes, &Numbered { first_seq, places: None });
    }

    #[cold]
    fn apply_logged(&self, disk: &Disk, changes: &mut [Change<'_>]) -> Result<Receipt> {
        let keys: Vec<_> = changes.iter().map(|change| change.hashed.key.to_stored()).collect();
        let mut places = vec![RecordAt::default(); changes.len()];
        let (ticket, held_off) = {
            let group = changes.iter().zip(&keys).map(|(change, key)| disk.log.prepare(to_write(change, key)));
            let group = group.collect::<Result<Vec<_>>>()?;
            loop {
                disk.log.make_room(&group, self)?;
                let held_off = disk.hold_off(changes);
                if let Some(ticket) = disk.log.append(&group, &mut places)? {
                    break (ticket, held_off);
                }
            }
        };
        let numbered = Numbered { first_seq: ticket.first_seq, places: Some(&places) };
        self.apply_all(&mut self.lock_shards(changes), changes, &numbered);
        drop(held_off);
        Ok(Some(ticket))
    }

    fn lock_shards(&self, changes: &[Change<'_>]) -> WriteSet<'_> {
        self.index.write_set(ShardSet::of(changes.iter().map(|change| &change.hashed)))
    }

    /// Notes changes for those who follow the engine.
    fn publish(&self, ring: Option<MutexGuard<'_, Ring>>, changes: &[Change<'_>], first_seq: u64) {
        let Some(mut ring) = ring else { return };
        let users = |change: &&Change<'_>| change.hashed.key.space() == Space::USER;
        let mut left = changes.iter().filter(users).count();
        for (change, seq) in changes.iter().zip(first_seq..) {
            if users(&change) {
                left -= 1;
                self.feed.push(&mut ring, change.to_event(seq, left > 0));
            }
        }
    }

    fn apply_all(&self, shards: &mut WriteSet<'_>, changes: &mut [Change<'_>], numbered: &Numbered<'_>) {
        for (i, change) in changes.iter_mut().enumerate() {
            let at = numbered.places.map(|places| places[i]);
            self.apply(shards.shard(change.hashed.shard()), change, numbered.first_seq + i as u64, at);
        }
    }

    fn apply(&self, shard: &mut Shard, change: &mut Change<'_>, seq: u64, at: Option<RecordAt>) {
        let found = shard.find(change.hashed.hash, change.hashed.key);
        change.existed = found.is_some_and(|slot| {
            let entry = shard.entry(slot);
            !entry.is_timed() || !entry.is_expired(now_ms())
        });
        match std::mem::replace(&mut change.op, Op::Remove) {
            Op::Put { payload, checksum, expires_at_ms } => {
                let value_bytes = payload.bytes().len() as u32;
                let extent = match payload {
                    Payload::Staged(staged) => Some(staged.into_extent()),
                    Payload::Owned(_) => None,
                };
                let value = Value { seq, checksum, expires_at_ms, extent, at, value_bytes };
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
    }

    fn apply_put(&self, shard: &mut Shard, hashed: Hashed<'_>, found: Option<u32>, value: Value) {
        let (slot, before) = match found {
            Some(slot) => (slot, Some(shard.replace(slot, value))),
            None => (shard.insert(hashed.hash, hashed.key, value), None),
        };
        let id = Index::id(hashed.shard(), slot);
        let space = hashed.key.space();
        self.accounts.came(space, id, value.value_bytes, before.map(|before| before.value_bytes));
        self.note_arrival(space, id, true);
        self.move_in(id, hashed.hash, before.and_then(|before| before.extent), value.extent);
        if let (Some(disk), Some(at)) = (&self.disk, before.and_then(|before| before.at)) {
            disk.log.mark_dead(at);
        }
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
