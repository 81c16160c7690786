//! The parsers of bytes from disk, as fuzz targets and property tests reach them.
//!
//! Checksums would turn nearly every input away at the door. So those over headers and indexes are made right first:
//! what is tested is that whatever they cover is harmless even then.

use std::io;

use super::digest::{LogId, digest};
use super::footer::{Footer, TRAILER_BYTES, Trailer};
use super::header::{HEADER_BYTES, SegmentHeader};
use super::identity;
use super::place::WORD_BYTES;
use super::read::FoundRecord;
use super::record::{RECORD_HEADER_BYTES, RecordHeader, looks_like_record};
use super::scan::{Source, scan};
use crate::key::MAX_STORED_KEY_BYTES;

const LOG: LogId = LogId([7; 16]);
const SEGMENT: u32 = 3;

/// The largest value that is unpacked: the sizes in a record are the input's to choose.
const MAX_VALUE_BYTES: u32 = 1 << 20;

/// Reads `bytes` as the start of a segment file and as the file of a directory; how many of both they are.
pub fn headers(bytes: &[u8]) -> usize {
    usize::from(SegmentHeader::decode(bytes).is_ok()) + usize::from(identity::parse(bytes).is_ok())
}

/// Reads `bytes` as the entries and the trailer of a segment; how many records they name, if they are an index.
pub fn index(bytes: &[u8]) -> Option<usize> {
    let (body, trailer) = bytes.split_at(bytes.len().checked_sub(TRAILER_BYTES)?);
    let mut trailer: [u8; TRAILER_BYTES] = trailer.try_into().ok()?;
    let seed = LOG.seed(SEGMENT, 0);
    trailer[24..32].copy_from_slice(&(HEADER_BYTES as u64 * 64).to_le_bytes());
    trailer[32..40].copy_from_slice(&(body.len() as u64).to_le_bytes());
    trailer[48..56].copy_from_slice(&digest(body, seed).to_le_bytes());
    let sum = digest(&trailer[..56], seed);
    trailer[56..64].copy_from_slice(&sum.to_le_bytes());
    let file_bytes = HEADER_BYTES as u64 * 64 + bytes.len() as u64;
    let trailer = Trailer::decode(&trailer, file_bytes, LOG, SEGMENT).ok()??;
    let footer = Footer::decode(&trailer, body.to_vec(), LOG, SEGMENT).ok()?;
    let mut end = HEADER_BYTES as u64;
    for entry in footer.entries() {
        assert!(entry.at.offset_bytes() >= end, "two records overlap");
        end = entry.at.offset_bytes() + entry.at.len_bytes();
    }
    assert!(end <= footer.data_end(), "a record lies beyond the end");
    Some(footer.count() as usize)
}

/// Reads `bytes` as a record; whether its value is whole.
pub fn record(bytes: &[u8]) -> Option<bool> {
    let mut bytes = bytes.to_vec();
    seal_record(&mut bytes, 0);
    let (header, key) = RecordHeader::decode(&bytes, LOG.seed(SEGMENT, 0))?;
    let start = header.stored_start();
    let stored = bytes.get(start..start + header.stored_bytes as usize)?;
    if header.value_bytes > MAX_VALUE_BYTES {
        return None;
    }
    let mut value = vec![0; header.value_bytes as usize];
    let is_equal_length = header.codec.is_some() || value.len() == stored.len();
    let whole = FoundRecord { header, key, stored }.unpack(&mut value).is_ok();
    assert!(is_equal_length || !whole, "a value of another length passed");
    Some(whole)
}

/// Looks for the records of a segment file that consists of a header page and `bytes`; how many there are.
pub fn segment(bytes: &[u8]) -> usize {
    let mut file = vec![0; HEADER_BYTES];
    file.extend_from_slice(bytes);
    for offset in (HEADER_BYTES..file.len()).step_by(WORD_BYTES as usize) {
        if looks_like_record(&file[offset..]) {
            seal_record(&mut file[offset..], offset as u64);
        }
    }
    let Ok(scanned) = scan(&InMemory(file), LOG, SEGMENT, true) else { return 0 };
    let footer = scanned.footer;
    let mut end = HEADER_BYTES as u64;
    for entry in footer.entries() {
        assert!(entry.at.offset_bytes() >= end, "two records overlap");
        end = entry.at.offset_bytes() + entry.at.len_bytes();
    }
    footer.count() as usize
}

/// A file that lies in memory.
struct InMemory(Vec<u8>);

impl Source for InMemory {
    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.0.len() as u64)
    }

    fn read(&self, bytes: &mut [u8], offset_bytes: u64) -> io::Result<usize> {
        let rest = self.0.get(offset_bytes as usize..).unwrap_or_default();
        let len = rest.len().min(bytes.len());
        bytes[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
}

/// Makes the checksum right of what may be a record at the start of `bytes`, at `offset` of the file.
fn seal_record(bytes: &mut [u8], offset: u64) {
    if bytes.len() < RECORD_HEADER_BYTES {
        return;
    }
    let key_bytes = usize::from(u16::from_le_bytes([bytes[6], bytes[7]])) % (MAX_STORED_KEY_BYTES + 1);
    let Some(key) = bytes.get(RECORD_HEADER_BYTES..RECORD_HEADER_BYTES + key_bytes) else { return };
    let sum = digest(key, digest(&bytes[..56], LOG.seed(SEGMENT, offset)));
    bytes[56..64].copy_from_slice(&sum.to_le_bytes());
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::checksum;
    use crate::log::codec::Codec;
    use crate::log::record::{RecordKind, Tag};

    /// A record of `value` as the log writes it at the start of a file.
    fn written(key: &[u8], value: &[u8], codec: Option<Codec>, seq: u64) -> Vec<u8> {
        let (codec, stored) = Codec::shrink(codec, value);
        let header = RecordHeader {
            tag: Tag { kind: RecordKind::Put, more: false, moved: false },
            codec,
            key_bytes: key.len() as u16,
            seq,
            value_bytes: value.len() as u32,
            stored_bytes: stored.len() as u32,
            synced_end: 0,
            expires_at_ms: 0,
            value_checksum: checksum::of(value),
            stored_checksum: checksum::of(&stored),
        };
        let mut bytes = [&header.encode(key, LOG.seed(SEGMENT, 0))[..], key, &stored].concat();
        bytes.resize(bytes.len().next_multiple_of(8), 0);
        bytes
    }

    fn changed(mut bytes: Vec<u8>, changes: &[(prop::sample::Index, u8)]) -> Vec<u8> {
        for (index, byte) in changes {
            let at = index.index(bytes.len());
            bytes[at] = *byte;
        }
        bytes
    }

    fn changes() -> impl Strategy<Value = Vec<(prop::sample::Index, u8)>> {
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..6)
    }

    #[test]
    fn what_the_log_writes_is_read() {
        for codec in [None, Some(Codec::Lz4), Some(Codec::Zstd)] {
            assert_eq!(record(&written(b"key", &[5; 500], codec, 1)), Some(true));
        }
        let three: Vec<u8> = (1..=3).flat_map(|seq| written(b"key", &[5; 500], None, seq)).collect();
        assert_eq!(segment(&three), 3);
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]
        #[test]
        fn no_bytes_make_a_parser_panic(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
            headers(&bytes);
            index(&bytes);
            record(&bytes);
            segment(&bytes);
        }

        #[test]
        fn no_change_of_a_record_makes_a_parser_panic(changes in changes(), len in 0_usize..700, packed: bool) {
            let bytes = changed(written(b"some key", &vec![3; len], packed.then_some(Codec::Lz4), 1), &changes);
            record(&bytes);
        }

        #[test]
        fn no_change_of_a_segment_makes_the_scan_panic_or_overlap(changes in changes(), cut in any::<prop::sample::Index>()) {
            let mut bytes: Vec<u8> = (1..=6).flat_map(|seq| written(b"some key", &[3; 90], None, seq)).collect();
            bytes.truncate(cut.index(bytes.len()));
            if !bytes.is_empty() {
                prop_assert!(segment(&changed(bytes, &changes)) <= 6);
            }
        }
    }
}
