//! What the eviction policies cost in memory, counted by the allocator.
//!
//! `cargo test -p pega-core --test policy_memory -- --nocapture` prints the table of the documentation.

use pega_core::policy::{EvictionPolicy, Hint, PolicyKind, PolicyLimits};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

fn count(size_bytes: usize) {
    let _ = ALLOCATIONS.try_with(|cell| {
        let (calls, bytes) = cell.get();
        cell.set((calls + 1, bytes + size_bytes));
    });
}

// SAFETY: every call is passed on to the system's allocator unchanged; the counters are plain thread-local cells.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: the caller's promise about `layout` is the one `System` asks for.
        unsafe { System.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size());
        // SAFETY: as in `alloc`.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `System` with this layout, since every allocation does.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ENTRIES: u32 = 1 << 16;

/// The most that a policy may cost per entry, as documented.
const BYTES_PER_ENTRY: [(PolicyKind, usize); 8] = [
    (PolicyKind::Fifo, 16),
    (PolicyKind::Lru, 16),
    (PolicyKind::Arc, 80),
    (PolicyKind::S3Fifo, 52),
    (PolicyKind::Sieve, 16),
    (PolicyKind::WTinyLfu, 88),
    (PolicyKind::WeightedLru, 24),
    (PolicyKind::NextUse, 64),
];

/// Counts the allocations and their bytes that `work` makes on this thread.
fn allocations<T>(work: impl FnOnce() -> T) -> (T, usize, usize) {
    let before = ALLOCATIONS.get();
    let result = work();
    let after = ALLOCATIONS.get();
    (result, after.0 - before.0, after.1 - before.1)
}

fn churn(policy: &mut dyn EvictionPolicy, operations: u64) {
    let mut random = 1_u64;
    for step in 0..operations {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let key_hash = (random >> 33).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
        policy.advance(step);
        policy.announce(key_hash);
        let id =
            if policy.len() < ENTRIES as usize { policy.len() as u32 } else { policy.victim(&mut |_| true).unwrap() };
        policy.insert(id, key_hash, 1);
        let other = (random >> 20) as u32 % policy.len() as u32;
        policy.touch(other);
        policy.hint(other, Hint::NextUse { at_ms: step + 50 });
    }
}

#[test]
fn policies_cost_what_is_documented_and_allocate_only_when_they_are_built() {
    for (kind, documented) in BYTES_PER_ENTRY {
        let limits = PolicyLimits { capacity_weight: u64::from(ENTRIES), max_entries: ENTRIES };
        let (mut policy, _, bytes) = allocations(|| kind.build(limits));
        let per_entry = bytes as f64 / f64::from(ENTRIES);
        println!("{:12} {per_entry:6.1} bytes an entry", kind.name());
        assert!(per_entry <= documented as f64 + 0.1, "{}: {per_entry} bytes an entry", kind.name());
        let operations = 5 * u64::from(ENTRIES);
        let ((), calls, _) = allocations(|| churn(&mut *policy, operations));
        assert_eq!(calls, 0, "{}", kind.name());
    }
}
