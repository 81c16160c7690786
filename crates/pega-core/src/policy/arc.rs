//! Adaptive replacement: recency and frequency share the room as the ghosts of each ask for it.
//!
//! N. Megiddo and D. S. Modha, "ARC: A Self-Tuning, Low Overhead Replacement Cache", FAST 2003. Sizes are weights
//! here, so that entries of different size share one cache; with equal weights it is the algorithm of the paper.

use super::ghost::Ghosts;
use super::list::{Queues, RELEASED};
use super::{EvictionPolicy, Hint, PolicyLimits};

/// T1 of the paper: entries used once since they came.
const ONCE: usize = 1;
/// T2 of the paper: entries used again.
const AGAIN: usize = 2;

pub(super) struct Arc {
    queues: Queues<3>,
    hashes: Vec<u64>,
    ghosts_once: Ghosts,
    ghosts_again: Ghosts,
    /// The weight that entries used once should have (`p` of the paper).
    target_once: u64,
    capacity: u64,
    /// Whether the key announced last had been evicted from those used again.
    announced_again: bool,
}

impl Arc {
    pub(super) fn new(limits: PolicyLimits) -> Self {
        Self {
            queues: Queues::new(limits.max_entries),
            hashes: vec![0; limits.max_entries as usize],
            ghosts_once: Ghosts::new(limits.max_entries),
            ghosts_again: Ghosts::new(limits.max_entries),
            target_once: 0,
            capacity: limits.capacity_weight,
            announced_again: false,
        }
    }

    /// The step by which a ghost hit moves the target: the mean weight, more when the other side's ghosts outweigh.
    fn step(&self, hit: &Ghosts, other: &Ghosts) -> u64 {
        let mean = (self.resident_weight() / (self.queues.len() as u64).max(1)).max(1);
        mean * (other.weight() / hit.weight().max(1)).max(1)
    }

    fn resident_weight(&self) -> u64 {
        self.queues.weight_of(ONCE) + self.queues.weight_of(AGAIN)
    }

    fn trim_ghosts(&mut self) {
        while self.queues.weight_of(ONCE) + self.ghosts_once.weight() > self.capacity && self.ghosts_once.drop_oldest()
        {
        }
        while self.resident_weight() + self.ghosts_once.weight() + self.ghosts_again.weight() > 2 * self.capacity
            && self.ghosts_again.drop_oldest()
        {}
    }
}

impl EvictionPolicy for Arc {
    fn announce(&mut self, key_hash: u64) {
        self.announced_again = false;
        if self.ghosts_once.contains(key_hash) {
            let step = self.step(&self.ghosts_once, &self.ghosts_again);
            self.target_once = (self.target_once + step).min(self.capacity);
        } else if self.ghosts_again.contains(key_hash) {
            let step = self.step(&self.ghosts_again, &self.ghosts_once);
            self.target_once = self.target_once.saturating_sub(step);
            self.announced_again = true;
        }
    }

    fn insert(&mut self, id: u32, key_hash: u64, weight: u32) {
        let was_here = self.ghosts_once.remove(key_hash) || self.ghosts_again.remove(key_hash);
        self.queues.insert_front(if was_here { AGAIN } else { ONCE }, id, weight);
        super::list::put(&mut self.hashes, id, key_hash);
        self.trim_ghosts();
    }

    fn touch(&mut self, id: u32) {
        if self.queues.queue_of(id).is_some() {
            self.queues.move_front(AGAIN, id);
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
        let once = self.queues.weight_of(ONCE);
        let over = once > self.target_once || (self.announced_again && once == self.target_once);
        let order = if once > 0 && over { [ONCE, AGAIN] } else { [AGAIN, ONCE] };
        for queue in order {
            if let Some(id) = self.queues.take(queue, may_evict) {
                let ghosts = if queue == ONCE { &mut self.ghosts_once } else { &mut self.ghosts_again };
                ghosts.push(self.hashes[id as usize], self.queues.weight(id));
                return Some(id);
            }
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
