//! Least recently used.

use super::list::{Queues, RELEASED};
use super::{EvictionPolicy, Hint, PolicyLimits};

const RECENT: usize = 1;

pub(super) struct Lru {
    queues: Queues<2>,
}

impl Lru {
    pub(super) fn new(limits: PolicyLimits) -> Self {
        Self { queues: Queues::new(limits.max_entries) }
    }
}

impl EvictionPolicy for Lru {
    fn insert(&mut self, id: u32, _key_hash: u64, weight: u32) {
        self.queues.insert_front(RECENT, id, weight);
    }

    fn touch(&mut self, id: u32) {
        if self.queues.queue_of(id).is_some() {
            self.queues.move_front(RECENT, id);
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
        self.queues.take(RELEASED, may_evict).or_else(|| self.queues.take(RECENT, may_evict))
    }

    fn hint(&mut self, id: u32, hint: Hint) {
        if hint == Hint::Release && self.queues.queue_of(id) == Some(RECENT) {
            self.queues.move_front(RELEASED, id);
        }
    }

    fn len(&self) -> usize {
        self.queues.len()
    }
}
