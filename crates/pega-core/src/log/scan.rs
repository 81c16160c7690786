//! Finding the records of a segment that has no usable index: one that was being filled when the process or the
//! machine stopped, or one whose index is damaged.
//!
//! A write that was under way leaves a torn end, which is cut off: nothing there was promised to last. Damage to
//! synced records looks alike but must not be cut, for then an older value of the same key would come back. What
//! tells them apart is `synced_end` in the records behind: it proves how much of the file had been synced.

use std::io;

use super::digest::LogId;
use super::file::SegmentFile;
use super::footer::{Entry, Footer};
use super::header::HEADER_BYTES;
use super::place::{RecordAt, WORD_BYTES};
use super::record::{RecordHeader, looks_like_record};
use crate::checksum;
use crate::key::MAX_STORED_KEY_BYTES;

/// How much is read from the file at a time, in bytes.
const WINDOW_BYTES: usize = 4 << 20;

/// What a scan found.
#[derive(Debug)]
pub(super) struct Scanned {
    /// The records that count.
    pub(super) footer: Footer,
    /// A write that was under way was cut off.
    pub(super) torn: bool,
    /// Synced records before this number are lost, and with them the knowledge which keys they held.
    pub(super) lost_before_seq: Option<u64>,
}

/// A record whose header and key are whole.
struct Found {
    at: RecordAt,
    header: RecordHeader,
    key: Vec<u8>,
    is_whole: bool,
    /// Bytes that are no record lie right before it.
    after_hole: bool,
}

/// What is scanned.
pub(super) trait Source {
    fn size_bytes(&self) -> io::Result<u64>;
    /// Reads up to the end, and says how much that was.
    fn read(&self, bytes: &mut [u8], offset_bytes: u64) -> io::Result<usize>;
}

impl Source for SegmentFile {
    fn size_bytes(&self) -> io::Result<u64> {
        self.size_bytes()
    }

    fn read(&self, bytes: &mut [u8], offset_bytes: u64) -> io::Result<usize> {
        self.read_buffered(bytes, offset_bytes)
    }
}

/// Reads a segment from its first record to its end. All of it was synced if a later segment was begun.
pub(super) fn scan(file: &impl Source, log_id: LogId, segment: u32, is_last: bool) -> io::Result<Scanned> {
    let mut window = Window { file, bytes: Vec::new(), start: 0, size_bytes: file.size_bytes()? };
    let mut found = Vec::new();
    let (mut offset, mut after_hole, mut ends_in_debris) = (HEADER_BYTES as u64, false, false);
    while offset < window.size_bytes {
        let Some(mut record) = window.record_at(offset, log_id, segment)? else {
            ends_in_debris |= !after_hole && !window.is_blank_at(offset)?;
            after_hole = true;
            offset = window.next_candidate(offset + WORD_BYTES)?;
            continue;
        };
        record.after_hole = std::mem::take(&mut after_hole);
        ends_in_debris = false;
        offset = record.at.offset_bytes() + record.at.len_bytes();
        found.push(record);
    }
    let proven_end = found.iter().map(|record| record.header.synced_end).max().unwrap_or(0);
    let mut scanned = judge(&found, segment, if is_last { proven_end } else { u64::MAX });
    scanned.torn |= ends_in_debris;
    Ok(scanned)
}

fn judge(found: &[Found], segment: u32, synced_end: u64) -> Scanned {
    let (mut last_seq, mut last_end) = (0, HEADER_BYTES as u64);
    let mut lost_before_seq = None;
    let mut kept = found.len();
    for (i, record) in found.iter().enumerate() {
        let seq = record.header.seq;
        let is_torn = (record.after_hole && last_end >= synced_end)
            || (!record.is_whole && record.at.offset_bytes() >= synced_end);
        if is_torn || seq <= last_seq {
            kept = i;
            break;
        }
        if record.after_hole {
            lost_before_seq = Some(seq);
        }
        last_seq = seq;
        last_end = record.at.offset_bytes() + record.at.len_bytes();
    }
    while kept > 0 && found[kept - 1].header.tag.more {
        kept -= 1;
    }
    let mut footer = Footer::new(segment);
    for record in &found[..kept] {
        footer.push(&record.entry());
    }
    Scanned { footer, torn: kept < found.len(), lost_before_seq }
}

impl Found {
    fn entry(&self) -> Entry<'_> {
        let header = &self.header;
        Entry {
            seq: header.seq,
            kind: header.tag.kind,
            more: header.tag.more,
            moved: header.tag.moved,
            at: self.at,
            value_bytes: header.value_bytes,
            expires_at_ms: header.expires_at_ms,
            key: &self.key,
        }
    }
}

/// A part of the file in memory.
struct Window<'a, S> {
    file: &'a S,
    bytes: Vec<u8>,
    start: u64,
    size_bytes: u64,
}

impl<S: Source> Window<'_, S> {
    /// The bytes from `offset` on, `len` of them or up to the end of the file.
    fn at(&mut self, offset: u64, len: usize) -> io::Result<&[u8]> {
        let left = usize::try_from(self.size_bytes - offset).unwrap_or(usize::MAX);
        let len = len.min(left);
        let inside = offset >= self.start && offset + len as u64 <= self.start + self.bytes.len() as u64;
        if !inside {
            self.bytes.resize(len.max(WINDOW_BYTES).min(left), 0);
            let got = self.file.read(&mut self.bytes, offset)?;
            self.bytes.truncate(got);
            self.start = offset;
        }
        let from = (offset - self.start) as usize;
        Ok(&self.bytes[from..(from + len).min(self.bytes.len())])
    }

    fn record_at(&mut self, offset: u64, log_id: LogId, segment: u32) -> io::Result<Option<Found>> {
        let seed = log_id.seed(segment, offset);
        let bytes = self.at(offset, super::record::RECORD_HEADER_BYTES + MAX_STORED_KEY_BYTES)?;
        let Some((header, key)) = RecordHeader::decode(bytes, seed) else { return Ok(None) };
        let key = key.to_vec();
        let len_bytes = header.record_bytes();
        let Some(at) = RecordAt::checked(segment, offset, len_bytes) else { return Ok(None) };
        let stored_bytes = header.stored_bytes as usize;
        let whole_bytes = header.stored_start() + stored_bytes;
        let stored = self.at(offset, whole_bytes)?.get(header.stored_start()..whole_bytes);
        let is_whole = stored.is_some_and(|stored| stored_bytes == 0 || checksum::of(stored) == header.stored_checksum);
        Ok(Some(Found { at, header, key, is_whole, after_hole: false }))
    }

    /// Whether nothing was ever written at `offset`.
    fn is_blank_at(&mut self, offset: u64) -> io::Result<bool> {
        Ok(self.at(offset, super::record::RECORD_HEADER_BYTES)?.iter().all(|byte| *byte == 0))
    }

    /// The first place from `offset` on that may begin a record, or the end of the file.
    fn next_candidate(&mut self, mut offset: u64) -> io::Result<u64> {
        while offset < self.size_bytes {
            let bytes = self.at(offset, WINDOW_BYTES)?;
            if let Some(step) = (0..bytes.len()).step_by(WORD_BYTES as usize).find(|i| looks_like_record(&bytes[*i..]))
            {
                return Ok(offset + step as u64);
            }
            // A header may straddle the end of the window.
            let step = bytes.len().saturating_sub(super::record::RECORD_HEADER_BYTES) & !(WORD_BYTES as usize - 1);
            if step == 0 {
                break;
            }
            offset += step as u64;
        }
        Ok(self.size_bytes)
    }
}
