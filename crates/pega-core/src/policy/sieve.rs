//! SIEVE: one queue, a hand that moves through it, and a mark for what was used since the hand came by.
//!
//! Y. Zhang et al., "SIEVE is simpler than LRU: an efficient turn-key eviction algorithm for web caches", NSDI 2024.

use super::list::{Queues, RELEASED};
use super::{EvictionPolicy, Hint, PolicyLimits};

const QUEUE: usize = 1;
const USED: u32 = 1;

pub(super) struct Sieve {
    queues: Queues<2>,
    /// Where the search for a victim goes on; `None` is the back of the queue.
    hand: Option<u32>,
}

impl Sieve {
    pub(super) fn new(limits: PolicyLimits) -> Self {
        Self { queues: Queues::new(limits.max_entries), hand: None }
    }

    /// Moves the hand on when it points at `id`, which is about to leave the queue.
    fn lift_hand_off(&mut self, id: u32) {
        if self.hand == Some(id) {
            self.hand = self.queues.frontward(id);
        }
    }
}

impl EvictionPolicy for Sieve {
    fn insert(&mut self, id: u32, _key_hash: u64, weight: u32) {
        self.queues.insert_front(QUEUE, id, weight);
    }

    fn touch(&mut self, id: u32) {
        let Some(queue) = self.queues.queue_of(id) else { return };
        if queue == RELEASED {
            self.queues.move_front(QUEUE, id);
        }
        self.queues.set_bits(id, USED);
    }

    fn arrange(&mut self, id: u32) {
        self.lift_hand_off(id);
        if !self.queues.settle(id) {
            self.touch(id);
        }
    }

    fn remove(&mut self, id: u32) {
        self.lift_hand_off(id);
        self.queues.unlink(id);
    }

    fn reweigh(&mut self, id: u32, weight: u32) {
        self.queues.reweigh(id, weight);
    }

    fn victim(&mut self, may_evict: &mut dyn FnMut(u32) -> bool) -> Option<u32> {
        if let Some(id) = self.queues.take(RELEASED, may_evict) {
            return Some(id);
        }
        // Twice round: the first turn takes the marks off, the second finds whatever may go at all.
        for _ in 0..self.queues.len_of(QUEUE) * 2 {
            let id = self.hand.or_else(|| self.queues.back(QUEUE))?;
            self.hand = self.queues.frontward(id);
            if self.queues.bits(id) == USED {
                self.queues.set_bits(id, 0);
            } else if may_evict(id) {
                self.queues.unlink(id);
                return Some(id);
            }
        }
        None
    }

    fn hint(&mut self, id: u32, hint: Hint) {
        if hint == Hint::Release && self.queues.queue_of(id) == Some(QUEUE) {
            self.lift_hand_off(id);
            self.queues.move_front(RELEASED, id);
            self.queues.set_bits(id, 0);
        }
    }

    fn len(&self) -> usize {
        self.queues.len()
    }
}
