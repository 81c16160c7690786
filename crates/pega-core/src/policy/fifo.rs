//! First in, first out: the floor that every other policy has to beat.

use super::list::{Queues, RELEASED};
use super::{EvictionPolicy, Hint, PolicyLimits};

const QUEUE: usize = 1;

pub(super) struct Fifo {
    queues: Queues<2>,
}

impl Fifo {
    pub(super) fn new(limits: PolicyLimits) -> Self {
        Self { queues: Queues::new(limits.max_entries) }
    }
}

impl EvictionPolicy for Fifo {
    fn insert(&mut self, id: u32, _key_hash: u64, weight: u32) {
        self.queues.insert_front(QUEUE, id, weight);
    }

    fn touch(&mut self, id: u32) {
        if self.queues.queue_of(id) == Some(RELEASED) {
            self.queues.move_front(QUEUE, id);
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
        self.queues.take(RELEASED, may_evict).or_else(|| self.queues.take(QUEUE, may_evict))
    }

    fn hint(&mut self, id: u32, hint: Hint) {
        if hint == Hint::Release && self.queues.queue_of(id) == Some(QUEUE) {
            self.queues.move_front(RELEASED, id);
        }
    }

    fn len(&self) -> usize {
        self.queues.len()
    }
}
