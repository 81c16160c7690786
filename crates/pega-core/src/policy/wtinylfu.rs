//! W-TinyLFU: a small window takes everything in; what leaves it must be used more than what it would displace.
//!
//! G. Einziger, R. Friedman and B. Manes, "TinyLFU: A Highly Efficient Cache Admission Policy", ACM TOS 2017.

use super::frequency::Frequencies;
use super::list::{Queues, RELEASED};
use super::{EvictionPolicy, Hint, PolicyLimits};

const WINDOW: usize = 1;
const PROBATION: usize = 2;
const PROTECTED: usize = 3;

/// Share of the capacity given to the window, as in the paper.
const WINDOW_PERCENT: u64 = 1;
/// Share of the rest kept for entries used since they left the window, as in the paper.
const PROTECTED_PERCENT: u64 = 80;

pub(super) struct WTinyLfu {
    queues: Queues<4>,
    hashes: Vec<u64>,
    frequencies: Frequencies,
    window_weight: u64,
    protected_weight: u64,
}

impl WTinyLfu {
    pub(super) fn new(limits: PolicyLimits) -> Self {
        let window_weight = (limits.capacity_weight * WINDOW_PERCENT / 100).max(1);
        Self {
            queues: Queues::new(limits.max_entries),
            hashes: vec![0; limits.max_entries as usize],
            frequencies: Frequencies::new(limits.max_entries),
            window_weight,
            protected_weight: limits.capacity_weight.saturating_sub(window_weight) * PROTECTED_PERCENT / 100,
        }
    }

    fn uses(&mut self, id: u32) -> u32 {
        self.frequencies.estimate(self.hashes[id as usize])
    }

    fn protect(&mut self, id: u32) {
        self.queues.move_front(PROTECTED, id);
        while self.queues.weight_of(PROTECTED) > self.protected_weight {
            let Some(demoted) = self.queues.back(PROTECTED) else { break };
            self.queues.move_front(PROBATION, demoted);
        }
    }

    /// Of the entries not yet asked about, the queue whose rearmost one should go; `left` counts them per queue.
    fn loser(&mut self, left: &[usize; 4]) -> Option<usize> {
        let resident = [PROBATION, PROTECTED].into_iter().find(|&queue| left[queue] > 0);
        let window = (left[WINDOW] > 0).then_some(WINDOW);
        let (Some(resident), Some(window)) = (resident, window) else {
            return resident.or(window);
        };
        if self.queues.weight_of(WINDOW) < self.window_weight {
            return Some(resident);
        }
        let (newcomer, settled) = (self.queues.back(window)?, self.queues.back(resident)?);
        Some(if self.uses(newcomer) > self.uses(settled) { resident } else { window })
    }

    /// Lets the window shed what it holds beyond its share.
    fn shrink_window(&mut self) {
        while self.queues.weight_of(WINDOW) > self.window_weight && self.queues.len_of(WINDOW) > 1 {
            let Some(graduate) = self.queues.back(WINDOW) else { break };
            self.queues.move_front(PROBATION, graduate);
        }
    }
}

impl EvictionPolicy for WTinyLfu {
    fn announce(&mut self, key_hash: u64) {
        self.frequencies.record(key_hash, self.queues.len());
    }

    fn insert(&mut self, id: u32, key_hash: u64, weight: u32) {
        self.queues.insert_front(WINDOW, id, weight);
        super::list::put(&mut self.hashes, id, key_hash);
        self.shrink_window();
    }

    fn touch(&mut self, id: u32) {
        let Some(queue) = self.queues.queue_of(id) else { return };
        self.frequencies.record(self.hashes[id as usize], self.queues.len());
        match queue {
            RELEASED | WINDOW => self.queues.move_front(WINDOW, id),
            _ => self.protect(id),
        }
    }

    fn arrange(&mut self, id: u32) {
        if !self.queues.settle(id) {
            self.touch(id);
        }
    }

    fn remove(&mut self, id: u32) {
        self.queues.unlink(id);
    }

    fn reweigh(&mut self, id: u32, weight: u32) {
        self.queues.reweigh(id, weight);
    }

    fn victim(&mut self, may_evict: &mut dyn FnMut(u32) -> bool) -> Option<u32> {
        if let Some(id) = self.queues.take(RELEASED, may_evict) {
            return Some(id);
        }
        let mut left = [0, WINDOW, PROBATION, PROTECTED].map(|queue| self.queues.len_of(queue));
        while let Some(queue) = self.loser(&left) {
            let id = self.queues.back(queue)?;
            if may_evict(id) {
                self.queues.unlink(id);
                return Some(id);
            }
            left[queue] -= 1;
            self.queues.move_front(queue, id);
        }
        None
    }

    fn hint(&mut self, id: u32, hint: Hint) {
        if hint == Hint::Release && !matches!(self.queues.queue_of(id), None | Some(RELEASED)) {
            self.queues.move_front(RELEASED, id);
        }
    }

    fn len(&self) -> usize {
        self.queues.len()
    }
}
