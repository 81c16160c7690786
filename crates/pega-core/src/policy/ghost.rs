//! The memory of keys that were evicted: a queue of hashes with a table over it.

const NIL: u32 = u32::MAX;
const LEAST_BUCKETS: usize = 64;

#[derive(Clone, Copy)]
struct Ghost {
    key_hash: u64,
    weight: u32,
    newer: u32,
    older: u32,
    /// The next ghost of the same bucket.
    chained: u32,
}

/// Hashes of evicted keys in order of eviction: 24 bytes each, and 4 to 8 for the table.
///
/// Holds at most `max_ghosts` of them; one more drops the oldest. Two keys of equal hash are one to it, which costs
/// a wrong guess about the future and nothing else. Room for all is reserved at the start but touched only as ghosts
/// come: the table in use doubles within it.
pub(super) struct Ghosts {
    nodes: Vec<Ghost>,
    /// First ghost of each bucket plus one; zero for none.
    buckets: Vec<u32>,
    buckets_in_use: usize,
    len: usize,
    free: u32,
    newest: u32,
    oldest: u32,
    weight: u64,
    max_ghosts: usize,
}

impl Ghosts {
    pub(super) fn new(max_ghosts: u32) -> Self {
        let max_ghosts = max_ghosts.max(1) as usize;
        let buckets = max_ghosts.next_power_of_two().max(LEAST_BUCKETS);
        Self {
            nodes: Vec::with_capacity(max_ghosts),
            buckets: vec![0; buckets],
            buckets_in_use: LEAST_BUCKETS,
            len: 0,
            free: NIL,
            newest: NIL,
            oldest: NIL,
            weight: 0,
            max_ghosts,
        }
    }

    /// Sum of the weights that the remembered entries had.
    pub(super) fn weight(&self) -> u64 {
        self.weight
    }

    pub(super) fn contains(&self, key_hash: u64) -> bool {
        self.find(key_hash).is_some()
    }

    /// Remembers `key_hash` as the newest.
    pub(super) fn push(&mut self, key_hash: u64, weight: u32) {
        self.remove(key_hash);
        if self.len == self.max_ghosts {
            self.drop_oldest();
        }
        let index = self.take_node(Ghost { key_hash, weight, newer: NIL, older: self.newest, chained: NIL });
        match self.newest {
            NIL => self.oldest = index,
            newest => self.nodes[newest as usize].newer = index,
        }
        self.newest = index;
        self.weight += u64::from(weight);
        self.len += 1;
        if self.len > self.buckets_in_use && self.buckets_in_use < self.buckets.len() {
            self.double();
        } else {
            self.chain(index);
        }
    }

    /// Forgets `key_hash`; says whether it was remembered.
    pub(super) fn remove(&mut self, key_hash: u64) -> bool {
        let Some(index) = self.find(key_hash) else { return false };
        self.unchain(index);
        let Ghost { weight, newer, older, .. } = self.nodes[index as usize];
        match newer {
            NIL => self.newest = older,
            _ => self.nodes[newer as usize].older = older,
        }
        match older {
            NIL => self.oldest = newer,
            _ => self.nodes[older as usize].newer = newer,
        }
        self.weight -= u64::from(weight);
        self.len -= 1;
        self.nodes[index as usize].newer = self.free;
        self.free = index;
        true
    }

    /// Forgets the key that was evicted longest ago.
    pub(super) fn drop_oldest(&mut self) -> bool {
        self.oldest != NIL && self.remove(self.nodes[self.oldest as usize].key_hash)
    }

    fn bucket(&self, key_hash: u64) -> usize {
        key_hash as usize & (self.buckets_in_use - 1)
    }

    fn chain_of(&self, key_hash: u64) -> impl Iterator<Item = u32> {
        let first = self.buckets[self.bucket(key_hash)].checked_sub(1);
        std::iter::successors(first, |&index| Some(self.nodes[index as usize].chained).filter(|&next| next != NIL))
    }

    fn find(&self, key_hash: u64) -> Option<u32> {
        self.chain_of(key_hash).find(|&index| self.nodes[index as usize].key_hash == key_hash)
    }

    fn chain(&mut self, index: u32) {
        let bucket = self.bucket(self.nodes[index as usize].key_hash);
        self.nodes[index as usize].chained = self.buckets[bucket].wrapping_sub(1);
        self.buckets[bucket] = index + 1;
    }

    fn unchain(&mut self, index: u32) {
        let Ghost { key_hash, chained, .. } = self.nodes[index as usize];
        let before = self.chain_of(key_hash).find(|&other| self.nodes[other as usize].chained == index);
        if let Some(before) = before {
            self.nodes[before as usize].chained = chained;
        } else {
            let bucket = self.bucket(key_hash);
            self.buckets[bucket] = chained.wrapping_add(1);
        }
    }

    fn double(&mut self) {
        self.buckets_in_use *= 2;
        self.buckets[..self.buckets_in_use].fill(0);
        let mut index = self.newest;
        while index != NIL {
            self.chain(index);
            index = self.nodes[index as usize].older;
        }
    }

    fn take_node(&mut self, ghost: Ghost) -> u32 {
        if self.free == NIL {
            self.nodes.push(ghost);
            return self.nodes.len() as u32 - 1;
        }
        let index = self.free;
        self.free = self.nodes[index as usize].newer;
        self.nodes[index as usize] = ghost;
        index
    }
}

#[cfg(test)]
mod tests {
    use super::Ghosts;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[test]
    fn the_oldest_ghost_goes_when_there_is_no_room() {
        let mut ghosts = Ghosts::new(2);
        for key_hash in [1, 2, 3] {
            ghosts.push(key_hash, 10);
        }
        assert!(!ghosts.contains(1) && ghosts.contains(2) && ghosts.contains(3));
        assert_eq!((ghosts.len, ghosts.weight()), (2, 20));
    }

    proptest! {
        #[test]
        fn ghosts_are_a_bounded_queue_without_repetition(steps in prop::collection::vec((0_u64..200, 0..10), 0..900)) {
            let mut ghosts = Ghosts::new(100);
            let mut model = VecDeque::new();
            for (key_hash, choice) in steps {
                let known = model.contains(&key_hash);
                prop_assert_eq!(ghosts.contains(key_hash), known);
                model.retain(|&other| other != key_hash);
                if choice == 0 {
                    prop_assert_eq!(ghosts.remove(key_hash), known);
                } else {
                    ghosts.push(key_hash, 3);
                    model.push_back(key_hash);
                    model.drain(..model.len().saturating_sub(100));
                }
                prop_assert_eq!((ghosts.len, ghosts.weight()), (model.len(), 3 * model.len() as u64));
            }
            for key_hash in model {
                prop_assert!(ghosts.contains(key_hash) && ghosts.drop_oldest() && !ghosts.contains(key_hash));
            }
            prop_assert!(!ghosts.drop_oldest());
        }
    }
}
