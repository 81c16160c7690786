//! The memory of keys that were evicted: a queue of hashes with a table over it.

use hashbrown::HashTable;

const NIL: u32 = u32::MAX;

#[derive(Clone, Copy)]
struct Ghost {
    key_hash: u64,
    weight: u32,
    newer: u32,
    older: u32,
}

/// Hashes of evicted keys in order of eviction, about 32 bytes each.
///
/// Holds at most `max_ghosts` of them; one more drops the oldest. Two keys of equal hash are one to it, which costs
/// a wrong guess about the future and nothing else.
pub(super) struct Ghosts {
    nodes: Vec<Ghost>,
    table: HashTable<u32>,
    free: u32,
    newest: u32,
    oldest: u32,
    weight: u64,
    max_ghosts: usize,
}

impl Ghosts {
    pub(super) fn new(max_ghosts: u32) -> Self {
        let max_ghosts = max_ghosts.max(1) as usize;
        Self {
            nodes: Vec::with_capacity(max_ghosts),
            // Twice the room, so that the table clears its tombstones in place and never grows.
            table: HashTable::with_capacity(max_ghosts * 2),
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

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.table.len()
    }

    pub(super) fn contains(&self, key_hash: u64) -> bool {
        self.find(key_hash).is_some()
    }

    /// Remembers `key_hash` as the newest.
    pub(super) fn push(&mut self, key_hash: u64, weight: u32) {
        self.remove(key_hash);
        if self.table.len() == self.max_ghosts {
            self.drop_oldest();
        }
        let index = self.take_node(Ghost { key_hash, weight, newer: NIL, older: self.newest });
        match self.newest {
            NIL => self.oldest = index,
            newest => self.nodes[newest as usize].newer = index,
        }
        self.newest = index;
        self.weight += u64::from(weight);
        let nodes = &self.nodes;
        self.table.insert_unique(key_hash, index, |&other| nodes[other as usize].key_hash);
    }

    /// Forgets `key_hash`; says whether it was remembered.
    pub(super) fn remove(&mut self, key_hash: u64) -> bool {
        let nodes = &self.nodes;
        let Ok(entry) = self.table.find_entry(key_hash, |&other| nodes[other as usize].key_hash == key_hash) else {
            return false;
        };
        let (index, _) = entry.remove();
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
        self.nodes[index as usize].newer = self.free;
        self.free = index;
        true
    }

    /// Forgets the key that was evicted longest ago.
    pub(super) fn drop_oldest(&mut self) -> bool {
        self.oldest != NIL && self.remove(self.nodes[self.oldest as usize].key_hash)
    }

    fn find(&self, key_hash: u64) -> Option<u32> {
        self.table.find(key_hash, |&index| self.nodes[index as usize].key_hash == key_hash).copied()
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

    #[test]
    fn the_oldest_ghost_goes_when_there_is_no_room() {
        let mut ghosts = Ghosts::new(2);
        for key_hash in [1, 2, 3] {
            ghosts.push(key_hash, 10);
        }
        assert!(!ghosts.contains(1) && ghosts.contains(2) && ghosts.contains(3));
        assert_eq!((ghosts.len(), ghosts.weight()), (2, 20));
    }

    #[test]
    fn a_ghost_pushed_again_is_the_newest_once() {
        let mut ghosts = Ghosts::new(3);
        for key_hash in [1, 2, 1, 3, 4] {
            ghosts.push(key_hash, 1);
        }
        assert!(ghosts.contains(1) && !ghosts.contains(2));
        assert_eq!(ghosts.len(), 3);
    }

    #[test]
    fn long_use_needs_no_more_memory_than_at_the_start() {
        let mut ghosts = Ghosts::new(100);
        let room = ghosts.table.capacity();
        for step in 0..100_000_u64 {
            ghosts.push(step.wrapping_mul(0x9e37_79b9_7f4a_7c15), 1);
            ghosts.remove((step / 2).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        }
        assert_eq!(ghosts.table.capacity(), room);
        assert!(ghosts.nodes.capacity() == 100 && ghosts.len() <= 100);
    }
}
