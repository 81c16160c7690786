//! Several double-ended queues over one slab of nodes, each id in at most one queue.

/// The queue of entries that were released by a hint: the first to go in every policy.
pub(super) const RELEASED: usize = 0;

const NIL: u32 = u32::MAX;

const PREV: usize = 0;
const NEXT: usize = 1;
const WEIGHT: usize = 2;
/// Low seven bits: the queue plus one, zero when the id is in none. Then whether the id was only just inserted. Above
/// that byte: bits that belong to the policy.
const TAG: usize = 3;

const QUEUE_BITS: u32 = 0x7f;
const FRESH: u32 = 0x80;

#[derive(Clone, Copy)]
struct Ends {
    front: u32,
    back: u32,
    len: usize,
    weight: u64,
}

/// `N` queues whose links lie in one array, 16 bytes an id.
///
/// The array is zeroed and not touched when it is built, so that ids never used cost address space only.
pub(super) struct Queues<const N: usize> {
    nodes: Vec<[u32; 4]>,
    ends: [Ends; N],
}

impl<const N: usize> Queues<N> {
    pub(super) fn new(max_entries: u32) -> Self {
        let ends = Ends { front: NIL, back: NIL, len: 0, weight: 0 };
        Self { nodes: vec![[0; 4]; max_entries as usize], ends: [ends; N] }
    }

    pub(super) fn len(&self) -> usize {
        self.ends.iter().map(|ends| ends.len).sum()
    }

    pub(super) fn len_of(&self, queue: usize) -> usize {
        self.ends[queue].len
    }

    pub(super) fn weight_of(&self, queue: usize) -> u64 {
        self.ends[queue].weight
    }

    /// The queue that holds `id`, or `None` when it is not resident.
    pub(super) fn queue_of(&self, id: u32) -> Option<usize> {
        let tag = self.nodes.get(id as usize)?[TAG] & QUEUE_BITS;
        (tag as usize).checked_sub(1)
    }

    /// Makes `id` resident at the front of `queue`, with its policy bits cleared.
    pub(super) fn insert_front(&mut self, queue: usize, id: u32, weight: u32) {
        if self.nodes.len() <= id as usize {
            self.nodes.resize(id as usize + 1, [0; 4]);
        }
        debug_assert!(self.queue_of(id).is_none(), "id {id} is already resident");
        self.nodes[id as usize][WEIGHT] = weight;
        self.nodes[id as usize][TAG] = FRESH;
        self.link_front(queue, id);
    }

    /// Takes a resident `id` out of its queue; its weight stays readable until it is inserted again.
    pub(super) fn unlink(&mut self, id: u32) {
        let Some(queue) = self.queue_of(id) else {
            return;
        };
        let [prev, next, weight, _] = self.nodes[id as usize];
        match prev {
            NIL => self.ends[queue].front = next,
            _ => self.nodes[prev as usize][NEXT] = next,
        }
        match next {
            NIL => self.ends[queue].back = prev,
            _ => self.nodes[next as usize][PREV] = prev,
        }
        self.ends[queue].len -= 1;
        self.ends[queue].weight -= u64::from(weight);
        self.nodes[id as usize][TAG] &= !QUEUE_BITS;
    }

    /// Moves a resident `id` to the front of `queue`.
    pub(super) fn move_front(&mut self, queue: usize, id: u32) {
        if self.ends[queue].front != id {
            self.unlink(id);
            self.link_front(queue, id);
        }
    }

    /// Says, once after its insertion, that `id` is fresh, and makes it the newest of its queue.
    pub(super) fn settle(&mut self, id: u32) -> bool {
        let Some(queue) = self.queue_of(id) else { return false };
        let is_fresh = self.nodes[id as usize][TAG] & FRESH != 0;
        if is_fresh {
            self.nodes[id as usize][TAG] &= !FRESH;
            self.move_front(queue, id);
        }
        is_fresh
    }

    pub(super) fn weight(&self, id: u32) -> u32 {
        self.nodes[id as usize][WEIGHT]
    }

    pub(super) fn reweigh(&mut self, id: u32, weight: u32) {
        if let Some(queue) = self.queue_of(id) {
            let old = std::mem::replace(&mut self.nodes[id as usize][WEIGHT], weight);
            let total = &mut self.ends[queue].weight;
            *total = *total - u64::from(old) + u64::from(weight);
        }
    }

    /// The policy's own bits of `id`, 24 of them.
    pub(super) fn bits(&self, id: u32) -> u32 {
        self.nodes[id as usize][TAG] >> 8
    }

    pub(super) fn set_bits(&mut self, id: u32, bits: u32) {
        let tag = &mut self.nodes[id as usize][TAG];
        *tag = (*tag & 0xff) | (bits << 8);
    }

    pub(super) fn back(&self, queue: usize) -> Option<u32> {
        some(self.ends[queue].back)
    }

    /// The neighbour of `id` on the way to the front of its queue.
    pub(super) fn frontward(&self, id: u32) -> Option<u32> {
        some(self.nodes[id as usize][PREV])
    }

    /// The rearmost entry of `queue` that may go; those refused move to the front, so the next call is cheap.
    pub(super) fn evictable(&mut self, queue: usize, may_evict: &mut dyn FnMut(u32) -> bool) -> Option<u32> {
        for _ in 0..self.ends[queue].len {
            let id = self.back(queue)?;
            if may_evict(id) {
                return Some(id);
            }
            self.move_front(queue, id);
        }
        None
    }

    /// Takes the rearmost evictable entry of `queue` out.
    pub(super) fn take(&mut self, queue: usize, may_evict: &mut dyn FnMut(u32) -> bool) -> Option<u32> {
        let id = self.evictable(queue, may_evict)?;
        self.unlink(id);
        Some(id)
    }

    fn link_front(&mut self, queue: usize, id: u32) {
        let front = self.ends[queue].front;
        let node = &mut self.nodes[id as usize];
        node[PREV] = NIL;
        node[NEXT] = front;
        node[TAG] = (node[TAG] & !QUEUE_BITS) | (queue as u32 + 1);
        let weight = u64::from(node[WEIGHT]);
        match front {
            NIL => self.ends[queue].back = id,
            _ => self.nodes[front as usize][PREV] = id,
        }
        let ends = &mut self.ends[queue];
        ends.front = id;
        ends.len += 1;
        ends.weight += weight;
    }
}

/// Stores `value` for `id` in a table beside the queues, which grows only for ids beyond what was announced.
pub(super) fn put<T: Copy + Default>(table: &mut Vec<T>, id: u32, value: T) {
    if table.len() <= id as usize {
        table.resize(id as usize + 1, T::default());
    }
    table[id as usize] = value;
}

fn some(id: u32) -> Option<u32> {
    (id != NIL).then_some(id)
}
