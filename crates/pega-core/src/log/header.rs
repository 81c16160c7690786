//! The first page of a segment file.
//!
//! ```text
//!  0  magic       8 bytes     32  capacity_bytes  u64
//!  8  version     u32         40  first_seq       u64
//! 12  segment     u32         48  zero            u64
//! 16  log id      16 bytes    56  digest          u64   over bytes 0..56
//! ```
//! Where magic and version lie never changes, so that any build can tell a version it does not know.

use super::digest::{LogId, digest, read_u32, read_u64};
use crate::error::{Error, ErrorKind, Result};

/// The version of every file of a log.
pub const FORMAT_VERSION: u32 = 1;

/// How much of a segment file comes before its first record, in bytes.
pub(super) const HEADER_BYTES: usize = 4096;

const MAGIC: [u8; 8] = *b"PegaLog\n";

/// What a segment file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SegmentHeader {
    pub(super) segment: u32,
    pub(super) log_id: LogId,
    pub(super) capacity_bytes: u64,
    pub(super) first_seq: u64,
}

/// What the first bytes of a segment file turned out to be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum HeaderBytes {
    /// A header that is whole.
    Whole(SegmentHeader),
    /// Not a header, or a damaged one.
    Damaged,
}

impl SegmentHeader {
    pub(super) fn encode(&self) -> [u8; 64] {
        let mut bytes = [0; 64];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.segment.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.log_id.0);
        bytes[32..40].copy_from_slice(&self.capacity_bytes.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.first_seq.to_le_bytes());
        let sum = digest(&bytes[..56], 0);
        bytes[56..64].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// Reads a header from the first bytes of a file.
    ///
    /// # Errors
    /// `UnsupportedFormat` for a segment of another version.
    pub(super) fn decode(bytes: &[u8]) -> Result<HeaderBytes> {
        if bytes.len() < 64 || bytes[0..8] != MAGIC {
            return Ok(HeaderBytes::Damaged);
        }
        check_version(read_u32(bytes, 8))?;
        if digest(&bytes[..56], 0) != read_u64(bytes, 56) {
            return Ok(HeaderBytes::Damaged);
        }
        Ok(HeaderBytes::Whole(Self {
            segment: read_u32(bytes, 12),
            log_id: LogId(bytes[16..32].try_into().expect("sixteen bytes")),
            capacity_bytes: read_u64(bytes, 32),
            first_seq: read_u64(bytes, 40),
        }))
    }
}

/// # Errors
/// `UnsupportedFormat` for any version but this build's.
pub(super) fn check_version(found: u32) -> Result<()> {
    if found == FORMAT_VERSION {
        return Ok(());
    }
    let age = if found < FORMAT_VERSION { "older" } else { "newer" };
    Err(Error::new(
        ErrorKind::UnsupportedFormat,
        format!("the log was written by {age} software; open it with that, or give another path"),
    )
    .with("format_version", found)
    .with("supported_version", FORMAT_VERSION))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const HEADER: SegmentHeader =
        SegmentHeader { segment: 4, log_id: LogId([9; 16]), capacity_bytes: 1 << 20, first_seq: 77 };

    #[test]
    fn another_version_is_refused_and_never_misread() {
        for version in [0, 2, 3, u32::MAX] {
            let mut bytes = HEADER.encode();
            bytes[8..12].copy_from_slice(&u32::to_le_bytes(version));
            assert_eq!(SegmentHeader::decode(&bytes).unwrap_err().kind(), ErrorKind::UnsupportedFormat);
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = HEADER.encode();
        assert_eq!(SegmentHeader::decode(&bytes).unwrap(), HeaderBytes::Whole(HEADER));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes;
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(SegmentHeader::decode(&flipped), Ok(HeaderBytes::Whole(_))), "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            prop_assert_eq!(SegmentHeader::decode(&bytes).unwrap(), HeaderBytes::Damaged);
        }
    }
}
