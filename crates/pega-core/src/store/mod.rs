//! The engine itself: arena, index, eviction and disk as one.
//!
//! Locks are taken in this order, and none is held while a value is copied: writers of one key (`stripes`), shards of
//! the index in the order of their numbers, then the eviction policy, the change feed and the allocator, each alone.

mod changes;
mod counters;
mod feed;
mod gate;
mod read;
mod room;
mod staged;
mod write;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::arena::Arena;
use crate::error::{Error, ErrorKind, Result};
use crate::index::{Index, Shard, SlotId};

pub(crate) use changes::{Change, Op};
use counters::Counters;
pub use counters::Counts;
use feed::Feed;
pub use feed::{FeedEvent, FeedOp};
use gate::Gate;
pub(crate) use staged::{Held, Staged};

use crate::engine::Options;

/// Everything behind an engine; shared by its handles, views, block caches and background work.
pub(crate) struct Store {
    pub(crate) arena: Arena,
    pub(crate) index: Index,
    gate: Gate,
    feed: Feed,
    counters: Counters,
    next_seq: AtomicU64,
    /// Whether memory that is full is a reason to evict rather than to refuse.
    may_evict: bool,
    is_closed: AtomicBool,
    options: Options,
}

impl Store {
    pub(crate) fn open(options: Options) -> Result<Self> {
        options.check()?;
        let arena = Arena::new(options.memory_bytes, options.sharing)?;
        let gate = Gate::new(options.policy, arena.capacity_granules());
        Ok(Self {
            index: Index::new(),
            gate,
            feed: Feed::new(options.feed_bytes),
            counters: Counters::default(),
            next_seq: AtomicU64::new(1),
            may_evict: options.evicts_from_memory(),
            is_closed: AtomicBool::new(false),
            arena,
            options,
        })
    }

    #[inline]
    pub(crate) fn check_open(&self) -> Result<()> {
        if self.is_closed.load(Ordering::Relaxed) {
            return Err(Error::new(ErrorKind::Closed, "the engine is closed; open a new one"));
        }
        Ok(())
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counters.read()
    }

    /// Refuses every later operation. Views and leases keep their bytes.
    pub(crate) fn close(&self) -> Result<()> {
        if self.is_closed.swap(true, Ordering::AcqRel) {
            return Ok(());
        }
        self.feed.wake();
        Ok(())
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// Takes the entry in a slot out of the index and lets go of what it held. The caller holds the shard's lock.
    fn drop_entry(&self, shard: &mut Shard, id: SlotId) {
        let Some(entry) = shard.remove(id.slot()) else { return };
        if let Some(extent) = entry.extent {
            self.gate.depart(id);
            self.arena.release(extent);
        }
    }

    /// Drops the entries of a shard whose time is over. The caller holds the shard's lock.
    fn drop_expired(&self, shard: &mut Shard, number: usize) {
        let now = now_ms();
        while let Some(slot) = shard.next_expired(now) {
            self.drop_entry(shard, Index::id(number, slot));
            self.counters.expirations.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The wall clock in milliseconds of unix time: times to live outlast the process, so no other clock will do.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
