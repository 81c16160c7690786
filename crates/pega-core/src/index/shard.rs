//! One shard: a hash table of slots over a slab of entries that never move.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use hashbrown::HashTable;

use super::entry::{Entry, Value};
use super::key_store::KeyStore;
use crate::key::{Key, Space};

const CHUNK_ENTRIES: usize = 1024;

/// Due times kept beyond twice the entries that have one are swept out, so that putting one key again and again with
/// a time to live costs no memory.
const SPARE_DUE_TIMES: usize = 1024;

#[derive(Default)]
pub(crate) struct Shard {
    table: HashTable<u32>,
    chunks: Vec<Box<[Option<Entry>]>>,
    free: Vec<u32>,
    used: u32,
    keys: KeyStore,
    due: BinaryHeap<Reverse<(u64, u32)>>,
    timed: usize,
    user_entries: usize,
}

impl Shard {
    /// The slot of `key`.
    #[inline]
    pub(crate) fn find(&self, hash: u64, key: Key<'_>) -> Option<u32> {
        self.table.find(hash, |slot| self.entry(*slot).has_key(hash, key, &self.keys)).copied()
    }

    #[inline]
    pub(crate) fn entry(&self, slot: u32) -> &Entry {
        self.get(slot).expect("the table names slots in use only")
    }

    #[inline]
    pub(crate) fn get(&self, slot: u32) -> Option<&Entry> {
        self.chunks.get(slot as usize / CHUNK_ENTRIES)?[slot as usize % CHUNK_ENTRIES].as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut Entry> {
        self.chunks.get_mut(slot as usize / CHUNK_ENTRIES)?[slot as usize % CHUNK_ENTRIES].as_mut()
    }

    /// The bytes of the key in `slot`.
    pub(crate) fn key(&self, slot: u32) -> Key<'_> {
        let entry = self.entry(slot);
        Key::of(entry.space, self.keys.bytes(&entry.key)).expect("keys were checked when they came in")
    }

    /// Makes an entry for a key that has none.
    pub(crate) fn insert(&mut self, hash: u64, key: Key<'_>, value: Value) -> u32 {
        let slot = self.vacant_slot();
        let entry = Entry {
            hash,
            seq: value.seq,
            checksum: value.checksum,
            expires_at_ms: value.expires_at_ms,
            extent: value.extent,
            at: value.at,
            value_bytes: value.value_bytes,
            leases: 0,
            is_retired: false,
            space: key.space(),
            key: self.keys.store(key.bytes()),
        };
        self.chunks[slot as usize / CHUNK_ENTRIES][slot as usize % CHUNK_ENTRIES] = Some(entry);
        let chunks = &self.chunks;
        self.table.insert_unique(hash, slot, |slot| {
            chunks[*slot as usize / CHUNK_ENTRIES][*slot as usize % CHUNK_ENTRIES].as_ref().map_or(0, Entry::hash)
        });
        self.note_due(slot, value.expires_at_ms);
        self.user_entries += usize::from(key.space() == Space::USER);
        slot
    }

    fn vacant_slot(&mut self) -> u32 {
        if let Some(slot) = self.free.pop() {
            return slot;
        }
        if self.used as usize == self.chunks.len() * CHUNK_ENTRIES {
            self.chunks.push((0..CHUNK_ENTRIES).map(|_| None).collect());
        }
        self.used += 1;
        self.used - 1
    }

    /// Gives the entry in `slot` a new value and returns what it was before.
    pub(crate) fn replace(&mut self, slot: u32, value: Value) -> Value {
        let entry = self.get_mut(slot).expect("the caller found the slot under this lock");
        let before = Value {
            seq: entry.seq,
            checksum: entry.checksum,
            expires_at_ms: entry.expires_at_ms,
            extent: entry.extent,
            at: entry.at,
            value_bytes: entry.value_bytes,
        };
        entry.seq = value.seq;
        entry.checksum = value.checksum;
        entry.expires_at_ms = value.expires_at_ms;
        entry.extent = value.extent;
        entry.at = value.at;
        entry.value_bytes = value.value_bytes;
        entry.leases = 0;
        self.user_entries += usize::from(std::mem::take(&mut entry.is_retired) && entry.space == Space::USER);
        if before.expires_at_ms != value.expires_at_ms {
            self.timed -= usize::from(before.expires_at_ms != 0);
            self.note_due(slot, value.expires_at_ms);
        }
        before
    }

    /// Takes the entry in `slot` out.
    pub(crate) fn remove(&mut self, slot: u32) -> Option<Entry> {
        let entry = self.chunks.get_mut(slot as usize / CHUNK_ENTRIES)?[slot as usize % CHUNK_ENTRIES].take()?;
        if let Ok(occupied) = self.table.find_entry(entry.hash, |other| *other == slot) {
            occupied.remove();
        }
        self.keys.discard(&entry.key);
        self.timed -= usize::from(entry.expires_at_ms != 0);
        self.user_entries -= usize::from(entry.space == Space::USER && !entry.is_retired);
        self.free.push(slot);
        Some(entry)
    }

    /// Keeps the entry in `slot` as a mark that its key has no value any more.
    pub(crate) fn retire(&mut self, slot: u32) {
        if let Some(entry) = self.get_mut(slot) {
            let counted = !std::mem::replace(&mut entry.is_retired, true) && entry.space == Space::USER;
            self.user_entries -= usize::from(counted);
        }
    }

    fn note_due(&mut self, slot: u32, expires_at_ms: u64) {
        if expires_at_ms == 0 {
            return;
        }
        self.timed += 1;
        if self.due.len() > 2 * self.timed + SPARE_DUE_TIMES {
            let mut due = std::mem::take(&mut self.due);
            due.retain(|Reverse((at, slot))| self.get(*slot).is_some_and(|entry| entry.expires_at_ms == *at));
            self.due = due;
        }
        self.due.push(Reverse((expires_at_ms, slot)));
    }

    /// The slot of an entry whose time is over, if there is one.
    pub(crate) fn next_expired(&mut self, now_ms: u64) -> Option<u32> {
        while let Some(Reverse((at, slot))) = self.due.peek().copied() {
            if at > now_ms {
                return None;
            }
            self.due.pop();
            if self.get(slot).is_some_and(|entry| entry.expires_at_ms == at) {
                return Some(slot);
            }
        }
        None
    }

    /// Whether [`Self::next_expired`] may find something.
    pub(crate) fn has_due(&self, now_ms: u64) -> bool {
        self.due.peek().is_some_and(|Reverse((at, _))| *at <= now_ms)
    }

    /// How many entries of the general engine there are.
    pub(crate) fn user_entries(&self) -> usize {
        self.user_entries
    }

    /// The slots in use.
    pub(crate) fn slots(&self) -> impl Iterator<Item = u32> + '_ {
        self.table.iter().copied()
    }

    /// The heap that the shard takes, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        self.table.allocation_size()
            + self.chunks.len() * CHUNK_ENTRIES * size_of::<Option<Entry>>()
            + self.free.capacity() * size_of::<u32>()
            + self.due.capacity() * size_of::<(u64, u32)>()
            + self.keys.heap_bytes()
    }
}
