//! Where bytes lie in the arena.

/// Where bytes lie in the arena, and the checksum that they must have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The first byte, counted from the start of the arena.
    pub offset: u64,
    /// How many bytes there are.
    pub size_bytes: u64,
    /// The checksum over them; zero for room that is yet to be filled.
    pub checksum: u64,
}
