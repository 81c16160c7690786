//! A binary heap of ids by key, from which any id can be taken out.

/// Smallest key first; 16 bytes per id of the heap and 4 per id of the table.
pub(super) struct IndexedHeap {
    heap: Vec<(u64, u32)>,
    /// Place in the heap plus one; zero for an id that is not in it.
    place: Vec<u32>,
}

impl IndexedHeap {
    pub(super) fn new(max_entries: u32) -> Self {
        Self { heap: Vec::with_capacity(max_entries as usize), place: vec![0; max_entries as usize] }
    }

    pub(super) fn contains(&self, id: u32) -> bool {
        self.place.get(id as usize).is_some_and(|&place| place > 0)
    }

    /// The smallest key and its id.
    pub(super) fn first(&self) -> Option<(u64, u32)> {
        self.heap.first().copied()
    }

    /// Adds `id`, or changes its key.
    pub(super) fn set(&mut self, id: u32, key: u64) {
        self.remove(id);
        super::list::put(&mut self.place, id, 0);
        self.heap.push((key, id));
        let last = self.heap.len() - 1;
        self.place[id as usize] = last as u32 + 1;
        self.rise(last);
    }

    pub(super) fn remove(&mut self, id: u32) {
        if !self.contains(id) {
            return;
        }
        let index = self.place[id as usize] as usize - 1;
        self.place[id as usize] = 0;
        self.heap.swap_remove(index);
        if let Some(&(_, moved)) = self.heap.get(index) {
            self.place[moved as usize] = index as u32 + 1;
            self.rise(index);
            self.sink(index);
        }
    }

    fn rise(&mut self, mut index: usize) {
        while index > 0 {
            let parent = (index - 1) / 2;
            if self.heap[parent] <= self.heap[index] {
                return;
            }
            self.swap(parent, index);
            index = parent;
        }
    }

    fn sink(&mut self, mut index: usize) {
        loop {
            let children = [2 * index + 1, 2 * index + 2];
            let Some(least) =
                children.into_iter().filter(|&child| child < self.heap.len()).min_by_key(|&child| self.heap[child])
            else {
                return;
            };
            if self.heap[index] <= self.heap[least] {
                return;
            }
            self.swap(index, least);
            index = least;
        }
    }

    fn swap(&mut self, a: usize, b: usize) {
        self.heap.swap(a, b);
        self.place[self.heap[a].1 as usize] = a as u32 + 1;
        self.place[self.heap[b].1 as usize] = b as u32 + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::IndexedHeap;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn a_heap_gives_the_smallest_key_after_any_changes(steps in prop::collection::vec((0_u32..20, any::<Option<u8>>()), 1..200)) {
            let mut heap = IndexedHeap::new(4);
            let mut model = BTreeSet::new();
            for (id, key) in steps {
                model.retain(|&(_, other)| other != id);
                match key {
                    Some(key) => {
                        heap.set(id, u64::from(key));
                        model.insert((u64::from(key), id));
                    }
                    None => heap.remove(id),
                }
                prop_assert_eq!(heap.first(), model.first().copied());
                prop_assert_eq!(heap.contains(id), key.is_some());
            }
        }
    }
}
