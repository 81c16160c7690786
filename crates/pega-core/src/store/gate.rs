//! The eviction policy behind its lock, and what can be known about residents without it.
//!
//! Writers take the lock; readers try to, and leave a note where another thread has it. So the order is exact while
//! nobody contends, and a read never waits for it.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use parking_lot::{Mutex, MutexGuard};

use crate::arena::{Arena, Extent, Table};
use crate::index::SlotId;
use crate::policy::{EvictionPolicy, Hint, PolicyKind, PolicyLimits};

/// Notes kept while another thread holds the lock. Beyond them uses go unrecorded: they tell little about a policy's
/// order when this many came within one operation.
const NOTES: usize = 256;

/// No run: the entry has no value in memory.
const NOWHERE: u32 = u32::MAX;

/// The run that an entry's value lies in, plus one so that zero means none.
#[derive(Default)]
struct Resident(AtomicU32);

struct Listed {
    policy: Box<dyn EvictionPolicy>,
    /// Which ids the policy holds, one bit each: the engine's own account, so that an insertion can be repeated.
    bits: Vec<u64>,
}

pub(super) struct Gate {
    listed: Mutex<Listed>,
    residents: Table<Resident>,
    notes: Mutex<Vec<u32>>,
    has_notes: AtomicBool,
    announces: bool,
}

/// An entry that the policy gave up, and the run its value was in when it did.
#[derive(Clone, Copy)]
pub(super) struct Victim {
    pub(super) id: SlotId,
    pub(super) run: u32,
}

impl Gate {
    pub(super) fn new(kind: PolicyKind, capacity_granules: u32) -> Self {
        // Tables are zeroed and touched as they fill, so sizing them for small values costs address space only.
        let max_entries = (capacity_granules / 4).clamp(1024, 1 << 24);
        let limits = PolicyLimits { capacity_weight: u64::from(capacity_granules), max_entries };
        Self {
            listed: Mutex::new(Listed {
                policy: kind.build(limits),
                bits: vec![0; (max_entries as usize).div_ceil(64)],
            }),
            residents: Table::new(),
            notes: Mutex::new(Vec::with_capacity(NOTES)),
            has_notes: AtomicBool::new(false),
            announces: !matches!(kind, PolicyKind::Fifo | PolicyKind::Lru),
        }
    }

    /// Whether the policy wants to hear of keys before room is made for them.
    pub(super) fn announces(&self) -> bool {
        self.announces
    }

    pub(super) fn announce(&self, key_hash: u64) {
        self.lock().policy.announce(key_hash);
    }

    fn lock(&self) -> MutexGuard<'_, Listed> {
        let mut listed = self.listed.lock();
        self.settle(&mut listed);
        listed
    }

    fn settle(&self, listed: &mut Listed) {
        if self.has_notes.load(Ordering::Relaxed) {
            let mut notes = self.notes.lock();
            self.has_notes.store(false, Ordering::Relaxed);
            notes.drain(..).for_each(|id| listed.policy.touch(id));
        }
    }

    /// Records a use.
    #[inline]
    pub(super) fn touch(&self, id: SlotId) {
        if let Some(mut listed) = self.listed.try_lock() {
            self.settle(&mut listed);
            listed.policy.touch(id.0);
            return;
        }
        let mut notes = self.notes.lock();
        if notes.len() < NOTES {
            notes.push(id.0);
            self.has_notes.store(true, Ordering::Relaxed);
        }
    }

    /// Records uses in the order given, without leaving one out. For one that has just come, its coming is the use.
    pub(super) fn touch_all(&self, ids: impl IntoIterator<Item = SlotId>) {
        let mut listed = self.lock();
        ids.into_iter().for_each(|id| listed.policy.arrange(id.0));
    }

    /// Says that the value of `id` is in memory at `extent`: a new resident, or a new value of one.
    ///
    /// The caller holds the lock of the entry's shard, here and in [`Self::depart`].
    pub(super) fn arrive(&self, id: SlotId, key_hash: u64, extent: Extent) {
        self.residents.get_or_grow(id.0).0.store(extent.run() + 1, Ordering::Release);
        let mut listed = self.lock();
        if listed.mark(id.0) {
            listed.policy.insert(id.0, key_hash, extent.weight());
        } else {
            listed.policy.reweigh(id.0, extent.weight());
            listed.policy.touch(id.0);
        }
    }

    /// Says that the value of `id` is no longer in memory, or the entry no longer there.
    pub(super) fn depart(&self, id: SlotId) {
        self.residents.get_or_grow(id.0).0.store(0, Ordering::Release);
        let mut listed = self.lock();
        if listed.unmark(id.0) {
            listed.policy.remove(id.0);
        }
    }

    pub(super) fn hint(&self, id: SlotId, hint: Hint, now_ms: u64) {
        let mut listed = self.lock();
        listed.policy.advance(now_ms);
        listed.policy.hint(id.0, hint);
    }

    /// The next entry to go, among those that nobody but the index holds.
    pub(super) fn victim(&self, arena: &Arena, now_ms: impl FnOnce() -> u64) -> Option<Victim> {
        let mut listed = self.lock();
        if self.announces {
            listed.policy.advance(now_ms());
        }
        let mut run = NOWHERE;
        let id = listed.policy.victim(&mut |id| {
            run = self.residents.get(id).map_or(0, |resident| resident.0.load(Ordering::Acquire)).wrapping_sub(1);
            run != NOWHERE && arena.holders(run) == 1
        })?;
        listed.unmark(id);
        Some(Victim { id: SlotId(id), run })
    }
}

impl Listed {
    /// Marks `id` as held by the policy; false if it was.
    fn mark(&mut self, id: u32) -> bool {
        let word = id as usize / 64;
        if self.bits.len() <= word {
            self.bits.resize(word + 1, 0);
        }
        let before = self.bits[word];
        self.bits[word] |= 1 << (id % 64);
        self.bits[word] != before
    }

    /// Marks `id` as not held by the policy; false if it was not.
    fn unmark(&mut self, id: u32) -> bool {
        let Some(word) = self.bits.get_mut(id as usize / 64) else { return false };
        let before = *word;
        *word &= !(1 << (id % 64));
        *word != before
    }
}
