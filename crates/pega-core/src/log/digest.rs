//! Checksums over what the log itself writes: headers, keys, footers.
//!
//! Each is seeded with where the bytes belong, so bytes that are whole but in the wrong place, or left from another
//! log, do not pass.

use xxhash_rust::xxh3::{xxh3_64, xxh3_64_with_seed};

/// The identity of a log, drawn at random when it is created.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogId(pub(super) [u8; 16]);

impl LogId {
    pub(super) fn random() -> Self {
        Self(rand::random())
    }

    /// The seed of a checksum over bytes at `offset_bytes` of segment `segment`.
    pub(super) fn seed(self, segment: u32, offset_bytes: u64) -> u64 {
        let place = (u64::from(segment) << 32).wrapping_add(offset_bytes.rotate_left(17));
        xxh3_64(&self.0) ^ place.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }
}

/// The checksum over `bytes` with `seed`.
pub(super) fn digest(bytes: &[u8], seed: u64) -> u64 {
    xxh3_64_with_seed(bytes, seed)
}

/// Reads a little-endian number at `offset` of a slice that is known to be long enough.
pub(super) fn read_u64(bytes: &[u8], offset: usize) -> u64 {
    u64::from_le_bytes(bytes[offset..offset + 8].try_into().expect("eight bytes"))
}

/// Reads a little-endian number at `offset` of a slice that is known to be long enough.
pub(super) fn read_u32(bytes: &[u8], offset: usize) -> u32 {
    u32::from_le_bytes(bytes[offset..offset + 4].try_into().expect("four bytes"))
}
