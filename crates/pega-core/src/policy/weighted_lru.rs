//! LRU that counts idle time by weight: of two entries idle as long, the larger one goes.
//!
//! The victim is the entry with the largest product of age (in uses of the cache) and weight, which is the room it
//! has wasted. Entries are kept in one LRU queue per power of two of weight and only the oldest of each queue are
//! compared, so a choice looks at no more than 32 entries and is within a factor of two of the largest product. With
//! equal weights this is LRU exactly.

use super::list::{Queues, RELEASED};
use super::{EvictionPolicy, Hint, PolicyLimits};

const CLASSES: usize = 32;

pub(super) struct WeightedLru {
    queues: Queues<{ CLASSES + 1 }>,
    used_at: Vec<u64>,
    uses: u64,
}

impl WeightedLru {
    pub(super) fn new(limits: PolicyLimits) -> Self {
        Self { queues: Queues::new(limits.max_entries), used_at: vec![0; limits.max_entries as usize], uses: 0 }
    }

    fn use_now(&mut self, id: u32) {
        self.uses += 1;
        super::list::put(&mut self.used_at, id, self.uses);
    }

    /// The class whose oldest entry has wasted the most room, among those with entries not yet `asked` about.
    fn most_wasteful(&self, asked: &[usize; CLASSES + 1]) -> Option<usize> {
        (1..=CLASSES)
            .filter(|&class| asked[class] < self.queues.len_of(class))
            .filter_map(|class| {
                let id = self.queues.back(class)?;
                let age = self.uses - self.used_at[id as usize] + 1;
                Some((u128::from(age) * u128::from(self.queues.weight(id)), class))
            })
            .max()
            .map(|(_, class)| class)
    }
}

/// The queue for entries of `weight`: one per power of two, after the released ones.
fn class_of(weight: u32) -> usize {
    weight.max(1).ilog2() as usize + 1
}

impl EvictionPolicy for WeightedLru {
    fn insert(&mut self, id: u32, _key_hash: u64, weight: u32) {
        self.queues.insert_front(class_of(weight), id, weight);
        self.use_now(id);
    }

    fn touch(&mut self, id: u32) {
        if self.queues.queue_of(id).is_some() {
            self.queues.move_front(class_of(self.queues.weight(id)), id);
            self.use_now(id);
        }
    }

    /// For an order by last use there is no difference.
    fn arrange(&mut self, id: u32) {
        self.touch(id);
    }

    fn remove(&mut self, id: u32) {
        self.queues.unlink(id);
    }

    /// Counts as a use, since the entry joins another class.
    fn reweigh(&mut self, id: u32, weight: u32) {
        self.queues.reweigh(id, weight);
        self.touch(id);
    }

    fn victim(&mut self, may_evict: &mut dyn FnMut(u32) -> bool) -> Option<u32> {
        if let Some(id) = self.queues.take(RELEASED, may_evict) {
            return Some(id);
        }
        let mut asked = [0; CLASSES + 1];
        while let Some(class) = self.most_wasteful(&asked) {
            let id = self.queues.back(class)?;
            if may_evict(id) {
                self.queues.unlink(id);
                return Some(id);
            }
            asked[class] += 1;
            self.queues.move_front(class, id);
            self.used_at[id as usize] = self.uses;
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
