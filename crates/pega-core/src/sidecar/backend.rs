//! What the server asks of an engine beyond the operations of its own process: space that another process may
//! write, and values held in place while another process copies them.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use crate::error::Result;

/// Where bytes lie in the arena, and the checksum that they must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The first byte, counted from the start of the arena.
    pub offset: u64,
    /// How many bytes belong to the value (or, for a reservation, may be written).
    pub size_bytes: u64,
    /// The checksum over those bytes, as [`crate::checksum`] computes it; zero for a reservation.
    pub checksum: u64,
}

/// Something that stays where it is in the arena for as long as it lives.
pub trait Placed: Send + Sync + 'static {
    /// Where it is.
    fn place(&self) -> Place;
}

/// One change of an atomic batch, whose bytes another process has already written.
pub enum Change<'a, R> {
    /// Bind `key` to the first `size_bytes` of a reservation.
    Put {
        /// The key.
        key: &'a [u8],
        /// The space that holds the value; becomes the entry's, or is freed on an error.
        reservation: R,
        /// How many bytes of the space the value takes.
        size_bytes: u64,
        /// The checksum that the writer computed in its copy.
        checksum: u64,
        /// The entry is gone after this long.
        ttl: Option<Duration>,
    },
    /// Remove `key`.
    Remove {
        /// The key.
        key: &'a [u8],
    },
}

/// An engine whose arena other processes map.
pub trait Backend: Send + Sync + 'static {
    /// Space that a client may write; freed when dropped.
    type Reservation: Placed;
    /// A value that cannot be evicted or overwritten in place while this lives.
    type Pin: Placed;

    /// The sealed memory file and its size.
    fn arena(&self) -> (BorrowedFd<'_>, u64);

    /// Takes `size_bytes` from the arena, evicting what it must; no entry refers to it yet.
    ///
    /// # Errors
    /// `TooLarge`, `MemoryFull`, `Closed`.
    fn reserve(&self, size_bytes: u64) -> Result<Self::Reservation>;

    /// Applies all changes or none, logged once (with a path) as the engine's durability says; gives for each
    /// change whether its key was there before.
    ///
    /// # Errors
    /// `InvalidKey`, `DiskFull`, `Io`, `Closed`.
    fn commit(&self, changes: Vec<Change<'_, Self::Reservation>>) -> Result<Vec<bool>>;

    /// Finds `key` in memory or on disk (which promotes it) and holds its value in the arena.
    ///
    /// # Errors
    /// `MemoryFull` when a value on disk finds no room, `Io`, `Closed`.
    fn pin(&self, key: &[u8]) -> Result<Option<Self::Pin>>;
}
