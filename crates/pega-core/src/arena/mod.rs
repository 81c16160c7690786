//! One run of memory, allocated and faulted in when the engine opens, from which every value takes its room.
//!
//! An [`Extent`] names a piece of it. Pieces are counted: whoever holds a count may read the bytes without a lock,
//! and the last to let go returns the piece to the allocator. Values therefore stay where they are while they are
//! read, whatever becomes of the entries that named them.

mod holders;
mod mapping;
mod table;
mod tlsf;

use std::os::fd::BorrowedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use parking_lot::Mutex;

use holders::Holders;
pub use mapping::{Access, Mapping, Sharing};
pub(crate) use table::Table;
use tlsf::Tlsf;

use crate::checksum;
use crate::error::{Error, Result};

/// Every piece starts at a multiple of this and takes a multiple of it: a cache line, and what direct I/O and vector
/// instructions like.
pub const GRANULE_BYTES: usize = 64;

/// The largest arena: granules are counted in 32 bits.
pub const MAX_ARENA_BYTES: u64 = (u32::MAX as u64) * GRANULE_BYTES as u64;

/// A counted piece of the arena.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extent {
    run: u32,
    granule: u32,
    len: u32,
}

impl Extent {
    /// Where the piece starts, in bytes from the start of the arena.
    #[must_use]
    pub fn offset_bytes(self) -> u64 {
        u64::from(self.granule) * GRANULE_BYTES as u64
    }

    /// How many bytes were asked for.
    #[must_use]
    pub fn len(self) -> usize {
        self.len as usize
    }

    /// Whether no bytes were asked for.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The granules that the piece takes: what it weighs to an eviction policy.
    #[must_use]
    pub fn weight(self) -> u32 {
        granules(self.len as usize)
    }

    /// The number under which the piece is counted.
    pub(crate) fn run(self) -> u32 {
        self.run
    }

    /// The first `len` bytes of the piece.
    pub(crate) fn shortened(self, len: u32) -> Self {
        debug_assert!(len <= self.len);
        Self { len, ..self }
    }
}

/// What is known about a piece without any lock.
#[derive(Default)]
struct State {
    holders: Holders,
    /// Whether its bytes were compared with their checksum since they came here.
    verified: AtomicU32,
}

/// The memory of an engine.
pub struct Arena {
    mapping: Mapping,
    allocator: Mutex<Tlsf>,
    states: Table<State>,
    capacity_granules: u32,
    used_granules: AtomicU64,
}

impl Arena {
    /// An arena of `memory_bytes`, every page of it present.
    ///
    /// # Errors
    /// `InvalidArgument` if the size is below one granule or above [`MAX_ARENA_BYTES`], `MemoryFull` if the system
    /// does not have it.
    pub fn new(memory_bytes: u64, sharing: Sharing) -> Result<Self> {
        if memory_bytes < GRANULE_BYTES as u64 || memory_bytes > MAX_ARENA_BYTES {
            return Err(Error::invalid(format!("memory_bytes must be between {GRANULE_BYTES} and {MAX_ARENA_BYTES}"))
                .with("memory_bytes", memory_bytes));
        }
        let capacity_granules = u32::try_from(memory_bytes / GRANULE_BYTES as u64).expect("checked above");
        Ok(Self {
            mapping: Mapping::new(capacity_granules as usize * GRANULE_BYTES, sharing)?,
            allocator: Mutex::new(Tlsf::new(capacity_granules)),
            states: Table::new(),
            capacity_granules,
            used_granules: AtomicU64::new(0),
        })
    }

    /// Takes a piece of `len` bytes, held once. `None` if no free run is long enough.
    pub fn take(&self, len: usize) -> Option<Extent> {
        let len_u32 = u32::try_from(len).ok()?;
        let size = granules(len);
        let taken = self.allocator.lock().take(size)?;
        self.used_granules.fetch_add(u64::from(size), Ordering::Relaxed);
        let state = self.states.get_or_grow(taken.run);
        state.verified.store(0, Ordering::Relaxed);
        state.holders.start();
        Some(Extent { run: taken.run, granule: taken.offset, len: len_u32 })
    }

    /// Adds a holder. The caller must already be sure that one exists, by its own count or by the lock of the index.
    pub fn hold(&self, extent: Extent) {
        self.state(extent.run).holders.add();
    }

    /// Lets one hold go; the last one frees the piece.
    pub fn release(&self, extent: Extent) {
        if self.state(extent.run).holders.remove() {
            let size = self.allocator.lock().give(extent.run);
            self.used_granules.fetch_sub(u64::from(size), Ordering::Relaxed);
        }
    }

    /// How many hold the piece that is counted as `run`; a hint, unless the caller keeps others from changing it.
    pub(crate) fn holders(&self, run: u32) -> u32 {
        self.state(run).holders.count()
    }

    /// Whether the bytes were compared with their checksum since they came into memory.
    pub(crate) fn is_verified(&self, extent: Extent) -> bool {
        self.state(extent.run).verified.load(Ordering::Acquire) != 0
    }

    pub(crate) fn set_verified(&self, extent: Extent) {
        self.state(extent.run).verified.store(1, Ordering::Release);
    }

    fn state(&self, run: u32) -> &State {
        self.states.get(run).expect("an extent names a run that was taken")
    }

    /// The first byte of a piece. Valid for reads while the caller holds it, and for writes until it is published.
    #[must_use]
    pub fn address(&self, extent: Extent) -> NonNull<u8> {
        // SAFETY: extents lie within the mapping.
        unsafe { self.mapping.start().add(extent.granule as usize * GRANULE_BYTES) }
    }

    /// The bytes of a piece.
    ///
    /// # Safety
    /// The caller holds the piece for as long as it uses the slice, and nothing writes to it meanwhile.
    #[must_use]
    pub unsafe fn bytes(&self, extent: Extent) -> &[u8] {
        // SAFETY: within the mapping; the rest is the caller's promise.
        unsafe { std::slice::from_raw_parts(self.address(extent).as_ptr(), extent.len()) }
    }

    /// The bytes of a piece, to be filled.
    ///
    /// # Safety
    /// The caller is the only holder of the piece for as long as it uses the slice.
    #[must_use]
    #[expect(clippy::mut_from_ref, reason = "the arena lends disjoint pieces, each to one holder")]
    pub unsafe fn bytes_mut(&self, extent: Extent) -> &mut [u8] {
        // SAFETY: within the mapping, which is zeroed when made; the rest is the caller's promise.
        unsafe { std::slice::from_raw_parts_mut(self.address(extent).as_ptr(), extent.len()) }
    }

    /// Copies `source` into a piece of its length and gives the checksum of what the piece then holds.
    ///
    /// # Safety
    /// The caller is the only holder of the piece, and `source` is valid for reads of its length.
    pub unsafe fn fill(&self, extent: Extent, source: NonNull<u8>) -> u64 {
        // SAFETY: the piece is valid for writes and cannot overlap memory that is not the arena's; if the source is
        // another piece, the two are disjoint.
        unsafe { checksum::copy_raw(self.address(extent), source, extent.len()) }
    }

    /// The bytes in use, in whole granules.
    #[must_use]
    pub fn used_bytes(&self) -> u64 {
        self.used_granules.load(Ordering::Relaxed) * GRANULE_BYTES as u64
    }

    /// The bytes there are.
    #[must_use]
    pub fn capacity_bytes(&self) -> u64 {
        u64::from(self.capacity_granules) * GRANULE_BYTES as u64
    }

    /// The granules there are.
    pub(crate) fn capacity_granules(&self) -> u32 {
        self.capacity_granules
    }

    /// The memory file, if the arena is shared.
    #[must_use]
    pub fn file(&self) -> Option<BorrowedFd<'_>> {
        self.mapping.file()
    }
}

/// The granules that `len` bytes take. Nothing takes none, so that every value has an address of its own.
fn granules(len: usize) -> u32 {
    u32::try_from(len.div_ceil(GRANULE_BYTES).max(1)).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_is_freed_when_its_last_holder_lets_go() {
        let arena = Arena::new(1 << 16, Sharing::Private).unwrap();
        let whole = arena.take(1 << 16).unwrap();
        arena.hold(whole);
        arena.release(whole);
        assert!(arena.take(1).is_none());
        arena.release(whole);
        assert_eq!(arena.used_bytes(), 0);
        assert!(arena.take(1 << 16).is_some());
    }

    #[test]
    fn pieces_start_at_granules_and_keep_their_bytes() {
        let arena = Arena::new(1 << 16, Sharing::Private).unwrap();
        let pieces: Vec<_> = (0..10_u8)
            .map(|i| {
                let extent = arena.take(100).unwrap();
                // SAFETY: just taken.
                unsafe { arena.bytes_mut(extent) }.fill(i);
                extent
            })
            .collect();
        for (extent, i) in pieces.into_iter().zip(0_u8..) {
            assert_eq!(extent.offset_bytes() % GRANULE_BYTES as u64, 0);
            // SAFETY: held, and written above only.
            assert!(unsafe { arena.bytes(extent) }.iter().all(|byte| *byte == i));
        }
    }

    #[test]
    fn sizes_no_arena_can_have_are_refused() {
        assert!(Arena::new(0, Sharing::Private).is_err());
        assert!(Arena::new(u64::MAX, Sharing::Private).is_err());
    }
}
