//! The bytes of one record: a header of 64 bytes, the key, the stored value, zeros up to a multiple of 8.
//!
//! ```text
//!  0  magic         u32      24  synced_end      u64   bytes of the file known synced when this was written
//!  4  kind | flags  u8       32  expires_at_ms   u64   unix time; 0 for never
//!  5  codec         u8       40  value_checksum  u64   over the value as it was put
//!  6  key_bytes     u16      48  stored_checksum u64   over the value as it is stored
//!  8  seq           u64      56  digest          u64   over bytes 0..56 and the key, seeded with the place
//! 16  value_bytes   u32
//! 20  stored_bytes  u32
//! ```

use super::codec::Codec;
use super::digest::{digest, read_u32, read_u64};
use super::place::WORD_BYTES;
use crate::key::MAX_STORED_KEY_BYTES;

/// The size of a record's header, in bytes.
pub(super) const RECORD_HEADER_BYTES: usize = 64;

const MAGIC: u32 = u32::from_le_bytes(*b"PgR1");
const KIND_MASK: u8 = 0b0000_0011;
const FLAG_MORE: u8 = 0b0001_0000;
const FLAG_MOVED: u8 = 0b0010_0000;
const KNOWN_BITS: u8 = KIND_MASK | FLAG_MORE | FLAG_MOVED;

/// What a record says about its key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    /// The key has this value.
    Put,
    /// The key was removed.
    Remove,
    /// The key was dropped to save space or because its time was over; no change of the data, so not replicated.
    Forget,
}

/// The kind of a record and its two flags, in one byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) kind: RecordKind,
    /// More records of the same atomic batch follow.
    pub(super) more: bool,
    /// Written again by cleaning, so not replicated.
    pub(super) moved: bool,
}

impl Tag {
    pub(super) fn to_byte(self) -> u8 {
        let kind = match self.kind {
            RecordKind::Put => 1,
            RecordKind::Remove => 2,
            RecordKind::Forget => 3,
        };
        kind | if self.more { FLAG_MORE } else { 0 } | if self.moved { FLAG_MOVED } else { 0 }
    }

    pub(super) fn from_byte(byte: u8) -> Option<Self> {
        let kind = match byte & KIND_MASK {
            1 => RecordKind::Put,
            2 => RecordKind::Remove,
            3 => RecordKind::Forget,
            _ => return None,
        };
        let known = byte & !KNOWN_BITS == 0;
        known.then_some(Self { kind, more: byte & FLAG_MORE != 0, moved: byte & FLAG_MOVED != 0 })
    }
}

/// A record's header, without the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RecordHeader {
    pub(super) tag: Tag,
    pub(super) codec: Option<Codec>,
    pub(super) key_bytes: u16,
    pub(super) seq: u64,
    pub(super) value_bytes: u32,
    pub(super) stored_bytes: u32,
    pub(super) synced_end: u64,
    pub(super) expires_at_ms: u64,
    pub(super) value_checksum: u64,
    pub(super) stored_checksum: u64,
}

/// How many bytes a record with a key and a stored value of these sizes takes.
pub(super) fn record_bytes(key_bytes: usize, stored_bytes: usize) -> u64 {
    ((RECORD_HEADER_BYTES + key_bytes + stored_bytes) as u64).next_multiple_of(WORD_BYTES)
}

impl RecordHeader {
    /// The header as it is written at the place that `seed` stands for.
    pub(super) fn encode(&self, key: &[u8], seed: u64) -> [u8; RECORD_HEADER_BYTES] {
        let mut bytes = [0; RECORD_HEADER_BYTES];
        bytes[0..4].copy_from_slice(&MAGIC.to_le_bytes());
        bytes[4] = self.tag.to_byte();
        bytes[5] = Codec::code(self.codec);
        bytes[6..8].copy_from_slice(&self.key_bytes.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.seq.to_le_bytes());
        bytes[16..20].copy_from_slice(&self.value_bytes.to_le_bytes());
        bytes[20..24].copy_from_slice(&self.stored_bytes.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.synced_end.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.expires_at_ms.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.value_checksum.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.stored_checksum.to_le_bytes());
        let sum = header_digest(&bytes, key, seed);
        bytes[56..64].copy_from_slice(&sum.to_le_bytes());
        bytes
    }

    /// The header and the key at the start of `bytes`, if they are whole and belong at the place `seed` stands for.
    /// The value is not looked at and may lie beyond the end of `bytes`.
    pub(super) fn decode(bytes: &[u8], seed: u64) -> Option<(Self, &[u8])> {
        if bytes.len() < RECORD_HEADER_BYTES || read_u32(bytes, 0) != MAGIC {
            return None;
        }
        let key_bytes = u16::from_le_bytes([bytes[6], bytes[7]]);
        if key_bytes == 0 || usize::from(key_bytes) > MAX_STORED_KEY_BYTES {
            return None;
        }
        let key = bytes.get(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + usize::from(key_bytes))?;
        if header_digest(bytes, key, seed) != read_u64(bytes, 56) {
            return None;
        }
        let header = Self {
            tag: Tag::from_byte(bytes[4])?,
            codec: Codec::from_code(bytes[5])?,
            key_bytes,
            seq: read_u64(bytes, 8),
            value_bytes: read_u32(bytes, 16),
            stored_bytes: read_u32(bytes, 20),
            synced_end: read_u64(bytes, 24),
            expires_at_ms: read_u64(bytes, 32),
            value_checksum: read_u64(bytes, 40),
            stored_checksum: read_u64(bytes, 48),
        };
        Some((header, key))
    }

    /// How many bytes the whole record takes.
    pub(super) fn record_bytes(&self) -> u64 {
        record_bytes(usize::from(self.key_bytes), self.stored_bytes as usize)
    }

    /// Where the stored value begins, counted from the start of the record.
    pub(super) fn stored_start(&self) -> usize {
        RECORD_HEADER_BYTES + usize::from(self.key_bytes)
    }
}

fn header_digest(header: &[u8], key: &[u8], seed: u64) -> u64 {
    digest(key, digest(&header[..56], seed))
}

/// Whether `bytes` begin like a record; cheap, for skipping over what cannot be one.
pub(super) fn looks_like_record(bytes: &[u8]) -> bool {
    bytes.len() >= RECORD_HEADER_BYTES && read_u32(bytes, 0) == MAGIC
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn header(key: &[u8], seq: u64) -> RecordHeader {
        RecordHeader {
            tag: Tag { kind: RecordKind::Put, more: false, moved: true },
            codec: Some(Codec::Lz4),
            key_bytes: key.len() as u16,
            seq,
            value_bytes: 9,
            stored_bytes: 5,
            synced_end: 3,
            expires_at_ms: 11,
            value_checksum: 12,
            stored_checksum: 13,
        }
    }

    fn encoded(key: &[u8], seq: u64, seed: u64) -> Vec<u8> {
        let mut bytes = header(key, seq).encode(key, seed).to_vec();
        bytes.extend_from_slice(key);
        bytes
    }

    #[test]
    fn a_record_moved_to_another_place_is_not_recognised() {
        let bytes = encoded(b"key", 7, 1);
        assert_eq!(RecordHeader::decode(&bytes, 1), Some((header(b"key", 7), &b"key"[..])));
        assert_eq!(RecordHeader::decode(&bytes, 2), None);
    }

    #[test]
    fn every_flipped_bit_of_header_and_key_is_noticed() {
        let bytes = encoded(b"a key", 7, 1);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(RecordHeader::decode(&flipped, 1), None, "bit {bit}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_or_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..200), seed: u64) {
            prop_assert_eq!(RecordHeader::decode(&bytes, seed), None);
        }

        #[test]
        fn every_header_survives_the_round_trip(key in prop::collection::vec(any::<u8>(), 1..200), seq: u64, seed: u64) {
            let bytes = encoded(&key, seq, seed);
            prop_assert_eq!(RecordHeader::decode(&bytes, seed), Some((header(&key, seq), &key[..])));
        }
    }
}
