//! The disk tier under the store: who may write a key, and what cleaning asks.

use std::sync::atomic::Ordering;

use parking_lot::{Mutex, MutexGuard};

use super::{Store, now_ms};
use crate::error::Result;
use crate::index::{Hashed, Index, Value};
use crate::key::{Key, Space};
use crate::log::{Log, LogStats, RecordAt, RecordKind, Recovery, Residents, Verdict, Write};

use super::changes::{Change, Op};

/// A power of two: few enough to lock all of them, enough that writers of different keys rarely meet.
const STRIPES: usize = 256;

/// The log, and the order in which changes of one key reach it.
pub(super) struct Disk {
    pub(super) log: Log,
    /// Held from the append of a change to its appearance in the index, so that the log and the index agree on which
    /// change of a key was the last.
    stripes: Box<[Mutex<()>]>,
}

impl Disk {
    pub(super) fn new(log: Log) -> Self {
        Self { log, stripes: (0..STRIPES).map(|_| Mutex::new(())).collect() }
    }

    fn stripe(hashed: &Hashed<'_>) -> usize {
        hashed.hash as usize & (STRIPES - 1)
    }

    /// Keeps others from writing these keys.
    pub(super) fn hold_off<'a>(&'a self, changes: &[Change<'_>]) -> HeldOff<'a> {
        if let [change] = changes {
            return HeldOff::One(self.stripes[Self::stripe(&change.hashed)].lock());
        }
        let mut numbers: Vec<_> = changes.iter().map(|change| Self::stripe(&change.hashed)).collect();
        numbers.sort_unstable();
        numbers.dedup();
        HeldOff::Many(numbers.into_iter().map(|number| self.stripes[number].lock()).collect())
    }

    /// Keeps everybody from writing.
    pub(super) fn hold_all_off(&self) -> HeldOff<'_> {
        HeldOff::Many(self.stripes.iter().map(Mutex::lock).collect())
    }
}

/// Writers of some keys wait while this lives.
pub(super) enum HeldOff<'a> {
    One(#[expect(dead_code, reason = "held for its drop")] MutexGuard<'a, ()>),
    Many(#[expect(dead_code, reason = "held for its drop")] Vec<MutexGuard<'a, ()>>),
}

/// A change as the log takes it. `key` is its key on disk.
pub(super) fn to_write<'a>(change: &'a Change<'_>, key: &'a [u8]) -> Write<'a> {
    match &change.op {
        Op::Put { payload, checksum, expires_at_ms } => {
            Write::Put { key, value: payload.bytes(), checksum: *checksum, expires_at_ms: *expires_at_ms }
        }
        Op::Remove => Write::Remove { key },
    }
}

impl Store {
    /// Fills the index with what the log holds.
    pub(super) fn recover(&self, disk: &Disk, recovery: &Recovery) {
        for entry in recovery.entries() {
            let Some(key) = Key::from_stored(entry.key) else { continue };
            let hashed = self.index.hashed(key);
            let mut shard = self.index.write(hashed.shard());
            let found = shard.find(hashed.hash, key);
            let before = found.and_then(|slot| shard.entry(slot).at);
            if let Some(at) = before {
                disk.log.mark_dead(at);
            }
            let value = Value {
                seq: entry.seq,
                checksum: 0,
                expires_at_ms: entry.expires_at_ms,
                extent: None,
                at: Some(entry.at),
                value_bytes: entry.value_bytes,
            };
            match (entry.kind, found) {
                (RecordKind::Put, Some(slot)) => {
                    let before = shard.replace(slot, value).value_bytes;
                    self.accounts.came(key.space(), Index::id(hashed.shard(), slot), value.value_bytes, Some(before));
                }
                (RecordKind::Put, None) => {
                    let slot = shard.insert(hashed.hash, key, value);
                    self.accounts.came(key.space(), Index::id(hashed.shard(), slot), value.value_bytes, None);
                }
                (RecordKind::Remove | RecordKind::Forget, Some(slot)) => {
                    if let Some(entry) = shard.remove(slot) {
                        self.accounts.went(Index::id(hashed.shard(), slot), &entry);
                    }
                }
                (RecordKind::Remove | RecordKind::Forget, None) => {}
            }
        }
    }
}

impl Residents for Store {
    fn visit(&self, key: &[u8], step: &mut dyn FnMut(Option<RecordAt>) -> Verdict) {
        let (Some(disk), Some(key)) = (&self.disk, Key::from_stored(key)) else {
            step(None);
            return;
        };
        let hashed = self.index.hashed(key);
        let _stripe = disk.stripes[Disk::stripe(&hashed)].lock();
        let find = || {
            let shard = self.index.read(hashed.shard());
            shard.find(hashed.hash, key).and_then(|slot| shard.entry(slot).at)
        };
        let verdict = step(find());
        if verdict == Verdict::Keep {
            return;
        }
        let mut shard = self.index.write(hashed.shard());
        let Some(slot) = shard.find(hashed.hash, key) else { return };
        match verdict {
            Verdict::Keep => {}
            Verdict::MovedTo(at) => {
                if let Some(entry) = shard.get_mut(slot)
                    && let Some(before) = entry.at.replace(at)
                {
                    disk.log.mark_dead(before);
                }
            }
            Verdict::Dropped => {
                self.drop_entry(&mut shard, Index::id(hashed.shard(), slot));
                self.counters.evictions.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    fn may_drop(&self, key: &[u8], _at: RecordAt) -> bool {
        let Some(key) = Key::from_stored(key) else { return true };
        let hashed = self.index.hashed(key);
        let shard = self.index.read(hashed.shard());
        let Some(slot) = shard.find(hashed.hash, key) else { return true };
        let entry = shard.entry(slot);
        if entry.space() == Space::INTERNAL || entry.space() == Space::POSITION {
            return false;
        }
        // What somebody holds, or used since it came to memory, is worth writing again.
        entry.leases == 0 && entry.extent.is_none_or(|extent| self.arena.holders(extent.run()) == 1)
    }
}

/// Waits for what durability promises, once for several commits.
pub(crate) type Receipt = Option<crate::log::Ticket>;

impl Store {
    /// Waits until what a receipt stands for is as safe as the engine's durability promises.
    pub(crate) fn settle(&self, receipt: Receipt) -> Result<()> {
        match (&self.disk, receipt) {
            (Some(disk), Some(ticket)) => disk.log.commit(ticket),
            _ => Ok(()),
        }
    }

    /// What the log holds and did, if there is one.
    pub(crate) fn log_stats(&self) -> Option<LogStats> {
        self.disk.as_ref().map(|disk| disk.log.stats())
    }

    /// Waits until everything written so far is synced.
    pub(crate) fn flush(&self) -> Result<()> {
        self.check_open()?;
        self.disk.as_ref().map_or(Ok(()), |disk| disk.log.flush())
    }

    /// Drops the entries of a shard whose time is over. The caller holds the shard's lock.
    pub(super) fn drop_expired(&self, shard: &mut crate::index::Shard, number: usize) {
        let now = now_ms();
        while let Some(slot) = shard.next_expired(now) {
            let id = Index::id(number, slot);
            self.counters.expirations.fetch_add(1, Ordering::Relaxed);
            if shard.entry(slot).at.is_none() {
                self.drop_entry(shard, id);
                continue;
            }
            shard.retire(slot);
            if let Some(extent) = shard.get_mut(slot).and_then(|entry| entry.extent.take()) {
                self.gate.depart(id);
                self.arena.release(extent);
            }
        }
    }
}
