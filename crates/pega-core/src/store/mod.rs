//! The engine itself: arena, index, eviction and disk as one.
//!
//! Locks are taken in this order, and none is held while a value is copied: writers of one key (`stripes`), shards of
//! the index in the order of their numbers, then the eviction policy, the change feed and the allocator, each alone.

mod blocks;
mod changes;
mod counters;
mod disk;
mod feed;
mod gate;
mod read;
mod replica;
mod room;
mod spaces;
mod staged;
mod write;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;

use crate::arena::{Arena, Table};
use crate::cache::{Leases, Namespace};
use crate::error::{Error, ErrorKind, Result};
use crate::index::{Entry, Index, Shard, SlotId};
use crate::key::Space;
use crate::log::Log;

pub(crate) use blocks::Lookup;
pub(crate) use changes::{Change, Op, Payload};
use counters::Counters;
pub use counters::Counts;
use disk::Disk;
pub(crate) use disk::Receipt;
use feed::Feed;
pub use feed::{FeedEvent, FeedOp};
use gate::Gate;
pub(crate) use read::{Found, corrupt_in_memory, no_room};
pub(crate) use replica::Cursor;
pub(crate) use spaces::Account;
use spaces::Accounts;
pub(crate) use staged::{Held, Staged};

use crate::engine::Options;
use crate::work::Pool;

/// Everything behind an engine; shared by its handles, views, block caches and background work.
pub(crate) struct Store {
    pub(crate) arena: Arena,
    pub(crate) index: Index,
    gate: Gate,
    feed: Feed,
    disk: Option<Disk>,
    pub(crate) accounts: Accounts,
    pub(crate) namespaces: Mutex<HashMap<String, Arc<Namespace>>>,
    pub(crate) leases: Leases,
    pub(crate) pool: Pool,
    times: Table<Times>,
    opened: Instant,
    counters: Counters,
    next_seq: AtomicU64,
    /// The newest change of another engine that was applied here.
    applied_seq: AtomicU64,
    /// Whether memory that is full is a reason to evict rather than to refuse.
    may_evict: bool,
    is_closed: AtomicBool,
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
            accounts: Accounts::new(),
            namespaces: Mutex::default(),
            leases: Leases::default(),
            pool: Pool::new("pega-blocks"),
            times: Table::new(),
            opened: Instant::now(),
            counters: Counters::default(),
            next_seq: AtomicU64::new(1),
            applied_seq: AtomicU64::new(0),
            may_evict: options.evicts_from_memory(),
            is_closed: AtomicBool::new(false),
            arena,
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

    pub(crate) fn is_logged(&self) -> bool {
        self.disk.is_some()
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
        self.leases.end_all();
        self.disk.as_ref().map_or(Ok(()), |disk| disk.log.close())
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.is_closed.load(Ordering::Relaxed)
    }

    /// Takes the entry in a slot out of the index and lets go of what it held. The caller holds the shard's lock.
    fn drop_entry(&self, shard: &mut Shard, id: SlotId) {
        let Some(entry) = shard.remove(id.slot()) else { return };
        self.note_drop(id, &entry);
        self.accounts.went(id, &entry);
        if let Some(extent) = entry.extent {
            self.gate.depart(id);
            self.arena.release(extent);
        }
        if let (Some(disk), Some(at)) = (&self.disk, entry.at) {
            disk.log.mark_dead(at);
        }
    }
}

/// When a block of a namespace came, in ticks since the engine was opened.
#[derive(Default)]
struct Times {
    stored: AtomicU32,
    arrived: AtomicU32,
}

/// A power of two near a hundredth of a second, so that 32 bits last for two years.
const TICK_MS: u64 = 16;

impl Store {
    fn ticks(&self) -> u32 {
        (self.opened.elapsed().as_millis() as u64 / TICK_MS) as u32
    }

    /// Notes that a block of a namespace was stored, or came back to memory.
    fn note_arrival(&self, space: Space, id: SlotId, is_new: bool) {
        if !space.is_namespace() {
            return;
        }
        let now = self.ticks();
        let times = self.times.get_or_grow(id.0);
        times.arrived.store(now, Ordering::Relaxed);
        if is_new {
            times.stored.store(now, Ordering::Relaxed);
        }
    }

    /// Notes that the value of an entry left memory.
    fn note_departure(&self, space: Space, id: SlotId) {
        if let (Some(account), Some(times)) = (self.accounts.of(space), self.times.get(id.0)) {
            let ticks = self.ticks().saturating_sub(times.arrived.load(Ordering::Relaxed));
            account.departures.fetch_add(1, Ordering::Relaxed);
            account.resident_ms.fetch_add(u64::from(ticks) * TICK_MS, Ordering::Relaxed);
        }
    }

    fn note_drop(&self, id: SlotId, entry: &Entry) {
        if let (Some(account), Some(times)) = (self.accounts.of(entry.space()), self.times.get(id.0)) {
            let ticks = self.ticks().saturating_sub(times.stored.load(Ordering::Relaxed));
            account.drops.fetch_add(1, Ordering::Relaxed);
            account.lifetime_ms.fetch_add(u64::from(ticks) * TICK_MS, Ordering::Relaxed);
            if entry.extent.is_some() {
                self.note_departure(entry.space(), id);
            }
        }
    }
}

/// The wall clock in milliseconds of unix time: times to live outlast the process, so no other clock will do.
pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}
