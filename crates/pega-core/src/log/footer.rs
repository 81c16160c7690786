//! The index of a segment, at its end: what opening reads instead of the records.
//!
//! An entry is about ten bytes and the key. Numbers are little-endian base 128, seven bits a byte:
//!
//! ```text
//! tag  seq - previous  gap words  record words  value bytes  key bytes  [expires_at_ms]  key
//! ```
//! The tag's top bit says that the expiry is there. After the entries, at the very end of the file:
//!
//! ```text
//!  0  magic        8 bytes    32  body_bytes   u64
//!  8  version      u32        40  last_seq     u64
//! 12  entry count  u32        48  body digest  u64
//! 16  data_end     u64        56  digest       u64   over bytes 0..56; both seeded with log id and segment
//! 24  body_start   u64
//! ```

use super::digest::{LogId, digest, read_u32, read_u64};
use super::header::{FORMAT_VERSION, HEADER_BYTES, check_version};
use super::place::{RecordAt, WORD_BYTES};
use super::record::{RECORD_HEADER_BYTES, RecordKind, Tag};
use crate::error::{Error, ErrorKind, Result};
use crate::key::MAX_STORED_KEY_BYTES;

/// The size of what ends a sealed segment file, in bytes.
pub(super) const TRAILER_BYTES: usize = 64;

const MAGIC: [u8; 8] = *b"PegaFoot";
const TAG_EXPIRES: u8 = 0b1000_0000;

/// Stands in for an offset in the seeds of a footer's checksums; no record begins at the start of a file.
const SEED_OFFSET: u64 = 0;

/// What the index needs to know of one record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// The sequence number; unique, and larger for whatever was written later.
    pub seq: u64,
    /// What it says of its key.
    pub kind: RecordKind,
    /// More records of the same atomic batch follow.
    pub more: bool,
    /// Cleaning wrote it again: not a new change.
    pub moved: bool,
    /// Where it lies.
    pub at: RecordAt,
    /// The size of the value as it was put, in bytes.
    pub value_bytes: u32,
    /// When the value is over, in milliseconds of unix time; 0 for never.
    pub expires_at_ms: u64,
    /// The key.
    pub key: &'a [u8],
}

/// The most that one entry adds to a footer, in bytes.
pub(super) fn entry_bound(key_bytes: usize) -> u64 {
    // Tag, seq, gap, record words, value bytes, key bytes, expiry.
    (1 + 10 + 5 + 5 + 5 + 3 + 10 + key_bytes) as u64
}

/// The index of one segment: built while the segment fills, or read back when a log is opened.
#[derive(Clone, Debug)]
pub(super) struct Footer {
    segment: u32,
    body: Vec<u8>,
    count: u32,
    first_seq: u64,
    last_seq: u64,
    data_end: u64,
}

impl Footer {
    pub(super) fn new(segment: u32) -> Self {
        Self { segment, body: Vec::new(), count: 0, first_seq: 0, last_seq: 0, data_end: HEADER_BYTES as u64 }
    }

    /// Adds the next record of the segment.
    pub(super) fn push(&mut self, entry: &Entry<'_>) {
        let expires = if entry.expires_at_ms == 0 { 0 } else { TAG_EXPIRES };
        self.body.push(Tag { kind: entry.kind, more: entry.more, moved: entry.moved }.to_byte() | expires);
        put_number(&mut self.body, entry.seq - self.last_seq);
        put_number(&mut self.body, (entry.at.offset_bytes() - self.data_end) / WORD_BYTES);
        put_number(&mut self.body, entry.at.len_bytes() / WORD_BYTES);
        put_number(&mut self.body, u64::from(entry.value_bytes));
        put_number(&mut self.body, entry.key.len() as u64);
        if entry.expires_at_ms != 0 {
            put_number(&mut self.body, entry.expires_at_ms);
        }
        self.body.extend_from_slice(entry.key);
        if self.count == 0 {
            self.first_seq = entry.seq;
        }
        self.count += 1;
        self.last_seq = entry.seq;
        self.data_end = entry.at.offset_bytes() + entry.at.len_bytes();
    }

    pub(super) fn entries(&self) -> Entries<'_> {
        Entries {
            segment: self.segment,
            rest: &self.body,
            left: self.count,
            last_seq: 0,
            offset_bytes: HEADER_BYTES as u64,
            data_end: self.data_end,
        }
    }

    pub(super) fn count(&self) -> u32 {
        self.count
    }

    pub(super) fn first_seq(&self) -> u64 {
        self.first_seq
    }

    pub(super) fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Where the last record ends, counted from the start of the file.
    pub(super) fn data_end(&self) -> u64 {
        self.data_end
    }

    /// How much the entries and the trailer take now, in bytes.
    pub(super) fn size_bytes(&self) -> u64 {
        (self.body.len() + TRAILER_BYTES) as u64
    }

    /// The entries and the trailer as they are written from `body_start` on.
    pub(super) fn encode(&self, log_id: LogId, body_start: u64) -> Vec<u8> {
        let seed = log_id.seed(self.segment, SEED_OFFSET);
        let mut trailer = [0; TRAILER_BYTES];
        trailer[0..8].copy_from_slice(&MAGIC);
        trailer[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        trailer[12..16].copy_from_slice(&self.count.to_le_bytes());
        trailer[16..24].copy_from_slice(&self.data_end.to_le_bytes());
        trailer[24..32].copy_from_slice(&body_start.to_le_bytes());
        trailer[32..40].copy_from_slice(&(self.body.len() as u64).to_le_bytes());
        trailer[40..48].copy_from_slice(&self.last_seq.to_le_bytes());
        trailer[48..56].copy_from_slice(&digest(&self.body, seed).to_le_bytes());
        let sum = digest(&trailer[..56], seed);
        trailer[56..64].copy_from_slice(&sum.to_le_bytes());
        [&self.body[..], &trailer].concat()
    }

    /// Reads the entries that `trailer` describes.
    ///
    /// # Errors
    /// `Corrupt` when they are not what the trailer says, or no valid index of records.
    pub(super) fn decode(trailer: &Trailer, body: Vec<u8>, log_id: LogId, segment: u32) -> Result<Self> {
        let damaged = |what: &str| {
            Error::new(ErrorKind::Corrupt, format!("the index of a segment {what}")).with("segment", segment)
        };
        if digest(&body, log_id.seed(segment, SEED_OFFSET)) != trailer.body_digest {
            return Err(damaged("does not match its checksum"));
        }
        let mut footer = Self {
            segment,
            body,
            count: trailer.count,
            first_seq: 0,
            last_seq: trailer.last_seq,
            data_end: trailer.data_end,
        };
        let (mut seen, mut first_seq, mut last_seq, mut end) = (0, 0, 0, HEADER_BYTES as u64);
        for entry in footer.entries() {
            seen += 1;
            if seen == 1 {
                first_seq = entry.seq;
            }
            last_seq = entry.seq;
            end = entry.at.offset_bytes() + entry.at.len_bytes();
        }
        if seen != trailer.count || last_seq != trailer.last_seq || end != trailer.data_end {
            return Err(damaged("ends before it should"));
        }
        footer.first_seq = first_seq;
        Ok(footer)
    }
}

/// What a trailer says, once its checksum matched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Trailer {
    count: u32,
    data_end: u64,
    pub(super) body_start: u64,
    pub(super) body_bytes: u64,
    last_seq: u64,
    body_digest: u64,
}

impl Trailer {
    /// Reads the last [`TRAILER_BYTES`] of a file of `file_bytes`; `None` when it has no trailer, or a damaged one.
    ///
    /// # Errors
    /// `UnsupportedFormat` for a trailer of another version.
    pub(super) fn decode(bytes: &[u8], file_bytes: u64, log_id: LogId, segment: u32) -> Result<Option<Self>> {
        if bytes.len() != TRAILER_BYTES || bytes[0..8] != MAGIC {
            return Ok(None);
        }
        check_version(read_u32(bytes, 8))?;
        if digest(&bytes[..56], log_id.seed(segment, SEED_OFFSET)) != read_u64(bytes, 56) {
            return Ok(None);
        }
        let trailer = Self {
            count: read_u32(bytes, 12),
            data_end: read_u64(bytes, 16),
            body_start: read_u64(bytes, 24),
            body_bytes: read_u64(bytes, 32),
            last_seq: read_u64(bytes, 40),
            body_digest: read_u64(bytes, 48),
        };
        let end =
            trailer.body_start.checked_add(trailer.body_bytes).and_then(|end| end.checked_add(TRAILER_BYTES as u64));
        let sane = end == Some(file_bytes) && trailer.data_end <= trailer.body_start;
        Ok(sane.then_some(trailer))
    }
}

/// Walks the entries of a footer; stops at the first that is no entry.
#[derive(Clone, Debug)]
pub(super) struct Entries<'a> {
    segment: u32,
    rest: &'a [u8],
    left: u32,
    last_seq: u64,
    offset_bytes: u64,
    data_end: u64,
}

impl<'a> Entries<'a> {
    fn take_entry(&mut self) -> Option<Entry<'a>> {
        let (&first, rest) = self.rest.split_first()?;
        self.rest = rest;
        let tag = Tag::from_byte(first & !TAG_EXPIRES)?;
        let step = self.take_number().filter(|step| *step > 0)?;
        let seq = self.last_seq.checked_add(step)?;
        let offset_bytes = self.take_words()?.checked_add(self.offset_bytes)?;
        let len_bytes = self.take_words()?;
        let value_bytes = u32::try_from(self.take_number()?).ok()?;
        let key_bytes = usize::try_from(self.take_number()?).ok()?;
        let expires_at_ms = if first & TAG_EXPIRES == 0 { 0 } else { self.take_number()? };
        let fits = (1..=MAX_STORED_KEY_BYTES).contains(&key_bytes)
            && len_bytes >= (RECORD_HEADER_BYTES + key_bytes) as u64
            && offset_bytes.checked_add(len_bytes)? <= self.data_end;
        if !fits {
            return None;
        }
        let (key, rest) = self.rest.split_at_checked(key_bytes)?;
        self.rest = rest;
        self.last_seq = seq;
        self.offset_bytes = offset_bytes + len_bytes;
        let at = RecordAt::checked(self.segment, offset_bytes, len_bytes)?;
        Some(Entry { seq, kind: tag.kind, more: tag.more, moved: tag.moved, at, value_bytes, expires_at_ms, key })
    }

    fn take_words(&mut self) -> Option<u64> {
        self.take_number()?.checked_mul(WORD_BYTES)
    }

    fn take_number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.rest.split_first()?;
            self.rest = rest;
            let bits = u64::from(byte & 0x7F);
            if bits << shift >> shift != bits {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Entry<'a>;

    fn next(&mut self) -> Option<Entry<'a>> {
        if self.left == 0 {
            return None;
        }
        self.left -= 1;
        let entry = self.take_entry();
        if entry.is_none() {
            self.left = 0;
        }
        entry
    }
}

fn put_number(body: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        body.push((number as u8) | 0x80);
        number >>= 7;
    }
    body.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: LogId = LogId([3; 16]);

    fn footer_of(keys: &[Vec<u8>]) -> Footer {
        let mut footer = Footer::new(5);
        let mut offset_bytes = HEADER_BYTES as u64;
        for (i, key) in keys.iter().enumerate() {
            let value_bytes = (i * 37) as u32;
            let len_bytes = super::super::record::record_bytes(key.len(), value_bytes as usize);
            let kind = if i % 3 == 0 { RecordKind::Remove } else { RecordKind::Put };
            let at = RecordAt::new(5, offset_bytes, len_bytes);
            let (seq, expires_at_ms) = (10 + i as u64 * 2, (i as u64 % 2) * 1_700_000_000_000);
            footer.push(&Entry { seq, kind, more: i % 2 == 0, moved: false, at, value_bytes, expires_at_ms, key });
            offset_bytes += len_bytes + if i % 4 == 0 { 16 } else { 0 };
        }
        footer
    }

    fn reread(bytes: &[u8]) -> Result<Option<Footer>> {
        let split = bytes.len() - TRAILER_BYTES;
        let start = 1 << 20;
        let Some(trailer) = Trailer::decode(&bytes[split..], start + bytes.len() as u64, ID, 5)? else {
            return Ok(None);
        };
        Footer::decode(&trailer, bytes[..split].to_vec(), ID, 5).map(Some)
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let bytes = footer_of(&[b"a".to_vec(), b"bb".to_vec(), b"c".to_vec()]).encode(ID, 1 << 20);
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(reread(&flipped), Ok(Some(_))), "bit {bit}");
        }
    }

    #[test]
    fn a_footer_of_another_segment_or_log_is_not_taken() {
        let bytes = footer_of(&[b"a".to_vec()]).encode(ID, 0);
        let (end, trailer) = (bytes.len() as u64, &bytes[bytes.len() - TRAILER_BYTES..]);
        assert_eq!(Trailer::decode(trailer, end, ID, 6).unwrap(), None);
        assert_eq!(Trailer::decode(trailer, end, LogId([4; 16]), 5).unwrap(), None);
    }

    proptest! {
        #[test]
        fn entries_survive_the_round_trip(keys in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..40), 0..50)) {
            let written = footer_of(&keys);
            let read = reread(&written.encode(ID, 1 << 20)).unwrap().unwrap();
            prop_assert!(written.entries().eq(read.entries()));
            prop_assert_eq!(read.count() as usize, keys.len());
        }

        #[test]
        fn any_body_with_a_matching_checksum_is_walked_to_its_end_or_refused(
            body in prop::collection::vec(any::<u8>(), 0..300), count in 0_u32..40, data_end in 4096_u64..1 << 20,
        ) {
            let body_digest = digest(&body, ID.seed(5, SEED_OFFSET));
            let (body_start, body_bytes) = (data_end, body.len() as u64);
            let trailer = Trailer { count, data_end, body_start, body_bytes, last_seq: 9, body_digest };
            if let Ok(footer) = Footer::decode(&trailer, body, ID, 5) {
                prop_assert_eq!(footer.entries().count(), count as usize);
            }
        }
    }
}
