//! The entry whose next use lies furthest ahead goes first, as far as hints tell; the others are taken by LRU.
//!
//! With a hint for every entry this is the optimum of L. A. Belady (IBM Systems Journal, 1966). An entry without a
//! hint is expected back after as long as it has been idle, so that both kinds compare on one scale. A hint whose
//! time has passed by is worth no more than a use at that time.

use super::heap::IndexedHeap;
use super::list::{Queues, RELEASED, put};
use super::{EvictionPolicy, Hint, PolicyLimits};

/// Entries without a hint that holds, by last use.
const RECENT: usize = 1;
/// Entries in the heaps.
const HINTED: usize = 2;

pub(super) struct NextUse {
    queues: Queues<3>,
    /// Hinted entries, furthest next use first (keys are complements).
    furthest: IndexedHeap,
    /// Hinted entries, soonest next use first: where hints run out.
    soonest: IndexedHeap,
    used_at_ms: Vec<u64>,
    now_ms: u64,
    /// Kept between calls for its room only.
    refused: Vec<(u64, u32)>,
}

impl NextUse {
    pub(super) fn new(limits: PolicyLimits) -> Self {
        Self {
            queues: Queues::new(limits.max_entries),
            furthest: IndexedHeap::new(limits.max_entries),
            soonest: IndexedHeap::new(limits.max_entries),
            used_at_ms: vec![0; limits.max_entries as usize],
            now_ms: 0,
            refused: Vec::new(),
        }
    }

    fn drop_hint(&mut self, id: u32) {
        self.furthest.remove(id);
        self.soonest.remove(id);
    }

    /// How far ahead the next use of the least recently used entry is expected.
    fn recent_distance_ms(&self) -> Option<u64> {
        let id = self.queues.back(RECENT)?;
        Some(self.now_ms.saturating_sub(self.used_at_ms[id as usize]))
    }

    /// How far ahead the furthest next use that a hint tells of lies.
    fn hinted_distance_ms(&self) -> Option<u64> {
        let (key, _) = self.furthest.first()?;
        Some((!key).saturating_sub(self.now_ms))
    }

    /// Takes the hinted entry with the furthest next use out; refused ones keep their hint.
    fn take_hinted(&mut self, may_evict: &mut dyn FnMut(u32) -> bool) -> Option<u32> {
        let mut refused = std::mem::take(&mut self.refused);
        let mut taken = None;
        while let Some((key, id)) = self.furthest.first() {
            self.furthest.remove(id);
            if may_evict(id) {
                self.soonest.remove(id);
                self.queues.unlink(id);
                taken = Some(id);
                break;
            }
            refused.push((key, id));
        }
        for (key, id) in refused.drain(..) {
            self.furthest.set(id, key);
        }
        self.refused = refused;
        taken
    }
}

impl EvictionPolicy for NextUse {
    fn insert(&mut self, id: u32, _key_hash: u64, weight: u32) {
        self.queues.insert_front(RECENT, id, weight);
        put(&mut self.used_at_ms, id, self.now_ms);
    }

    /// Uses up the hint of `id`.
    fn touch(&mut self, id: u32) {
        if self.queues.queue_of(id).is_some() {
            self.drop_hint(id);
            self.queues.move_front(RECENT, id);
            self.used_at_ms[id as usize] = self.now_ms;
        }
    }

    /// For an order by last use there is no difference.
    fn arrange(&mut self, id: u32) {
        self.touch(id);
    }

    fn remove(&mut self, id: u32) {
        self.drop_hint(id);
        self.queues.unlink(id);
    }

    fn reweigh(&mut self, id: u32, weight: u32) {
        self.queues.reweigh(id, weight);
    }

    fn victim(&mut self, may_evict: &mut dyn FnMut(u32) -> bool) -> Option<u32> {
        if let Some(id) = self.queues.take(RELEASED, may_evict) {
            return Some(id);
        }
        let hinted_first = self.hinted_distance_ms() >= self.recent_distance_ms();
        if hinted_first {
            self.take_hinted(may_evict).or_else(|| self.queues.take(RECENT, may_evict))
        } else {
            self.queues.take(RECENT, may_evict).or_else(|| self.take_hinted(may_evict))
        }
    }

    fn hint(&mut self, id: u32, hint: Hint) {
        if self.queues.queue_of(id).is_none() {
            return;
        }
        match hint {
            Hint::Release => {
                self.drop_hint(id);
                self.queues.move_front(RELEASED, id);
            }
            Hint::NextUse { at_ms } => {
                self.furthest.set(id, !at_ms);
                self.soonest.set(id, at_ms);
                self.queues.move_front(HINTED, id);
            }
        }
    }

    fn advance(&mut self, now_ms: u64) {
        self.now_ms = self.now_ms.max(now_ms);
        while let Some((at_ms, id)) = self.soonest.first()
            && at_ms < self.now_ms
        {
            self.drop_hint(id);
            self.queues.move_front(RECENT, id);
            self.used_at_ms[id as usize] = at_ms;
        }
    }

    fn len(&self) -> usize {
        self.queues.len()
    }
}
