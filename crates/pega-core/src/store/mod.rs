//! The engine itself: arena, index, eviction and disk as one.
//!
//! Locks are taken in this order, and none is held while a value is copied: writers of one key (`stripes`), shards of
//! the index in the order of their numbers, then the eviction policy, the change feed and the allocator, each alone.

mod changes;
mod counters;
mod disk;
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
use crate::log::Log;

pub(crate) use changes::{Change, Op, Payload};
use counters::Counters;
pub use counters::Counts;
use disk::Disk;
use feed::Feed;
pub use feed::{FeedEvent, FeedOp};
use gate::Gate;
pub(crate) use read::{Found, corrupt_in_memory, no_room};
pub(crate) use staged::{Held, Staged};

use crate::engine::Options;

/// Everything behind an engine; shared by its handles, views, block caches and background work.
pub(crate) struct Store {
    pub(crate) arena: Arena,
    pub(crate) index: Index,
    gate: Gate,
    feed: Feed,
    disk: Option<Disk>,
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
        // The log first: a directory that is taken is refused before memory is.
        let opened = options.path.as_ref().map(|path| Log::open(path, options.log_options())).transpose()?;
        let arena = Arena::new(options.memory_bytes, options.sharing)?;
        let (log, recovery) = opened.unzip();
        let store = Self {
            index: Index::new(),
            gate: Gate::new(options.policy, arena.capacity_granules()),
            feed: Feed::new(options.feed_bytes),
            disk: log.map(Disk::new),
            counters: Counters::default(),
            next_seq: AtomicU64::new(1),
            may_evict: options.evicts_from_memory(),
            is_closed: AtomicBool::new(false),
            arena,
            options,
        };
        if let (Some(disk), Some(recovery)) = (&store.disk, recovery) {
            store.recover(disk, &recovery);
        }
        Ok(store)
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
        self.disk.as_ref().map_or(Ok(()), |disk| disk.log.close())
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
        if let (Some(disk), Some(at)) = (&self.disk, entry.at) {
            disk.log.mark_dead(at);
        }
    }
}

/// The wall clock in milliseconds of unix time: times to live outlast the process, so no other clock will do.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
