//! From key to entry: shards by the upper bits of the hash, each a table behind its own lock.
//!
//! An entry takes 112 bytes, its place in the table 5 to 10, its node in the eviction policy 16 and its state 12:
//! [`Index::heap_bytes`] tells what is really used. Entries do not move, tables grow by doubling, and slots of removed
//! entries are used again, so a put into an engine of steady size allocates nothing.

mod entry;
mod key_store;
mod shard;

use crossbeam_utils::CachePadded;
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};

pub(crate) use entry::{Entry, Value};
pub(crate) use shard::Shard;

use crate::key::{Key, Space};

/// A power of two. Sixteen shards keep two threads apart fifteen times of sixteen; more would cost small engines
/// memory and operations on all shards time.
const SHARDS: u32 = 16;
const SHARD_BITS: u32 = SHARDS.trailing_zeros();

/// The number of an entry among all shards, as eviction policies know it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct SlotId(pub(crate) u32);

impl SlotId {
    fn new(shard: usize, slot: u32) -> Self {
        Self(slot << SHARD_BITS | shard as u32)
    }

    /// The number of its shard.
    pub(crate) fn shard(self) -> usize {
        (self.0 & (SHARDS - 1)) as usize
    }

    /// Its slot within the shard.
    pub(crate) fn slot(self) -> u32 {
        self.0 >> SHARD_BITS
    }
}

/// A key with its hash.
#[derive(Clone, Copy)]
pub(crate) struct Hashed<'a> {
    pub(crate) key: Key<'a>,
    pub(crate) hash: u64,
}

impl Hashed<'_> {
    /// The shard of the key: the upper bits, since tables use the lower ones and seven from the top for tags.
    pub(crate) fn shard(&self) -> usize {
        (self.hash >> 32) as usize & (SHARDS as usize - 1)
    }
}

/// The index of an engine.
pub(crate) struct Index {
    shards: Box<[CachePadded<RwLock<Shard>>]>,
    seed: u64,
}

impl Index {
    pub(crate) fn new() -> Self {
        let shards = (0..SHARDS).map(|_| CachePadded::new(RwLock::new(Shard::default()))).collect();
        // A random seed, so that nobody can choose keys that fall into one place.
        Self { shards, seed: rand::random() }
    }

    #[inline]
    pub(crate) fn hashed<'a>(&self, key: Key<'a>) -> Hashed<'a> {
        Hashed { key, hash: key.hash(self.seed) }
    }

    pub(crate) fn read(&self, shard: usize) -> RwLockReadGuard<'_, Shard> {
        self.shards[shard].read()
    }

    pub(crate) fn write(&self, shard: usize) -> RwLockWriteGuard<'_, Shard> {
        self.shards[shard].write()
    }

    /// Locks the shards of a set for writing, in order, so that no two sets wait for each other.
    pub(crate) fn write_set(&self, set: ShardSet) -> WriteSet<'_> {
        WriteSet { guards: std::array::from_fn(|i| set.contains(i).then(|| self.write(i))) }
    }

    /// Locks the shards of a set for reading, in order.
    pub(crate) fn read_set(&self, set: ShardSet) -> ReadSet<'_> {
        ReadSet { guards: std::array::from_fn(|i| set.contains(i).then(|| self.read(i))) }
    }

    pub(crate) fn id(shard: usize, slot: u32) -> SlotId {
        SlotId::new(shard, slot)
    }

    /// The numbers of all shards.
    pub(crate) fn shards() -> std::ops::Range<usize> {
        0..SHARDS as usize
    }

    /// How many entries of the general engine there are, expired ones included.
    pub(crate) fn user_entries(&self) -> usize {
        Self::shards().map(|i| self.read(i).user_entries()).sum()
    }

    /// How many entries of a space there are; looks at every entry.
    pub(crate) fn count_of(&self, space: Space) -> usize {
        let count = |shard: &Shard| shard.slots().filter(|slot| shard.entry(*slot).space() == space).count();
        Self::shards().map(|i| count(&self.read(i))).sum()
    }

    /// The heap that the index takes, in bytes.
    pub(crate) fn heap_bytes(&self) -> usize {
        Self::shards().map(|i| self.read(i).heap_bytes()).sum::<usize>()
            + self.shards.len() * size_of::<CachePadded<RwLock<Shard>>>()
    }
}

/// Some of the shards.
#[derive(Clone, Copy, Default)]
pub(crate) struct ShardSet(u32);

impl ShardSet {
    pub(crate) const ALL: Self = Self((1 << SHARDS) - 1);

    pub(crate) fn of<'a>(keys: impl IntoIterator<Item = &'a Hashed<'a>>) -> Self {
        Self(keys.into_iter().fold(0, |set, key| set | 1 << key.shard()))
    }

    fn contains(self, shard: usize) -> bool {
        self.0 >> shard & 1 == 1
    }
}

/// Shards locked for writing.
pub(crate) struct WriteSet<'a> {
    guards: [Option<RwLockWriteGuard<'a, Shard>>; SHARDS as usize],
}

impl WriteSet<'_> {
    pub(crate) fn shard(&mut self, shard: usize) -> &mut Shard {
        self.guards[shard].as_mut().expect("the set was made of the keys it is used for")
    }
}

/// Shards locked for reading.
pub(crate) struct ReadSet<'a> {
    guards: [Option<RwLockReadGuard<'a, Shard>>; SHARDS as usize],
}

impl ReadSet<'_> {
    pub(crate) fn shard(&self, shard: usize) -> &Shard {
        self.guards[shard].as_ref().expect("the set was made of the keys it is used for")
    }
}

#[cfg(test)]
mod tests;
