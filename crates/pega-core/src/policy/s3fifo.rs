//! S3-FIFO: a small queue sieves out what is used once, a main queue keeps the rest, ghosts correct mistakes.
//!
//! J. Yang et al., "FIFO queues are all you need for cache eviction", SOSP 2023.

use super::ghost::Ghosts;
use super::list::{Queues, RELEASED};
use super::{EvictionPolicy, Hint, PolicyLimits};

const SMALL: usize = 1;
const MAIN: usize = 2;

/// Share of the capacity given to the small queue, as in the paper.
const SMALL_PERCENT: u64 = 10;
/// Uses counted per entry, as in the paper: two bits.
const MOST_USES: u32 = 3;
/// An entry of the small queue is promoted when it was used more often than this.
const PROMOTION_USES: u32 = 1;

pub(super) struct S3Fifo {
    queues: Queues<3>,
    hashes: Vec<u64>,
    ghosts: Ghosts,
    small_weight: u64,
    main_weight: u64,
}

impl S3Fifo {
    pub(super) fn new(limits: PolicyLimits) -> Self {
        let small_weight = limits.capacity_weight * SMALL_PERCENT / 100;
        Self {
            queues: Queues::new(limits.max_entries),
            hashes: vec![0; limits.max_entries as usize],
            ghosts: Ghosts::new(limits.max_entries),
            small_weight,
            main_weight: limits.capacity_weight - small_weight,
        }
    }

    /// The next entry of the small queue to leave the cache; those used often enough move to the main queue.
    fn victim_of_small(&mut self, may_evict: &mut dyn FnMut(u32) -> bool) -> Option<u32> {
        for _ in 0..self.queues.len_of(SMALL) {
            let id = self.queues.back(SMALL)?;
            if self.queues.bits(id) > PROMOTION_USES {
                self.queues.move_front(MAIN, id);
                self.queues.set_bits(id, 0);
            } else if may_evict(id) {
                self.queues.unlink(id);
                self.remember(id);
                return Some(id);
            } else {
                self.queues.move_front(SMALL, id);
            }
        }
        None
    }

    /// The next entry of the main queue to leave; each use since its last turn grants it one more.
    fn victim_of_main(&mut self, may_evict: &mut dyn FnMut(u32) -> bool) -> Option<u32> {
        for _ in 0..self.queues.len_of(MAIN) * (MOST_USES as usize + 1) {
            let id = self.queues.back(MAIN)?;
            let uses = self.queues.bits(id);
            if uses == 0 && may_evict(id) {
                self.queues.unlink(id);
                return Some(id);
            }
            self.queues.set_bits(id, uses.saturating_sub(1));
            self.queues.move_front(MAIN, id);
        }
        None
    }

    fn remember(&mut self, id: u32) {
        self.ghosts.push(self.hashes[id as usize], self.queues.weight(id));
        while self.ghosts.weight() > self.main_weight && self.ghosts.drop_oldest() {}
    }
}

impl EvictionPolicy for S3Fifo {
    fn insert(&mut self, id: u32, key_hash: u64, weight: u32) {
        let queue = if self.ghosts.remove(key_hash) { MAIN } else { SMALL };
        self.queues.insert_front(queue, id, weight);
        super::list::put(&mut self.hashes, id, key_hash);
    }

    fn touch(&mut self, id: u32) {
        match self.queues.queue_of(id) {
            Some(RELEASED) => self.queues.move_front(SMALL, id),
            Some(_) => {
                let uses = self.queues.bits(id);
                self.queues.set_bits(id, (uses + 1).min(MOST_USES));
            }
            None => {}
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
        let small_is_over = self.queues.weight_of(SMALL) >= self.small_weight || self.queues.len_of(MAIN) == 0;
        if small_is_over {
            self.victim_of_small(may_evict).or_else(|| self.victim_of_main(may_evict))
        } else {
            self.victim_of_main(may_evict).or_else(|| self.victim_of_small(may_evict))
        }
    }

    fn hint(&mut self, id: u32, hint: Hint) {
        if hint == Hint::Release && !matches!(self.queues.queue_of(id), None | Some(RELEASED)) {
            self.queues.move_front(RELEASED, id);
            self.queues.set_bits(id, 0);
        }
    }

    fn len(&self) -> usize {
        self.queues.len()
    }
}
