//! Reading the log in order, for a follower.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Shared;
use super::footer::Footer;
use super::options::Durability;
use super::place::RecordAt;
use super::record::{RECORD_HEADER_BYTES, RecordHeader, RecordKind};
use super::recovery::read_footer;
use super::segment::Segment;
use crate::error::{Error, ErrorKind, Result};
use crate::key::MAX_STORED_KEY_BYTES;

/// A put or remove, as a follower is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The sequence number: ask for the next one to go on after this change.
    pub seq: u64,
    /// The key.
    pub key: Vec<u8>,
    /// The value; `None` for a remove.
    pub value: Option<Vec<u8>>,
    /// When the value is over, in milliseconds of unix time; 0 for never.
    pub expires_at_ms: u64,
    /// More changes of the same transaction follow: apply them together.
    pub more: bool,
}

/// A place in the log that moves on as changes are read.
pub struct History {
    shared: Arc<Shared>,
    segment: Arc<Segment>,
    offset: u64,
    next_seq: u64,
}

impl History {
    pub(super) fn start(shared: &Arc<Shared>, from_seq: u64) -> Result<Option<Self>> {
        let retained = shared.retained_from_seq.load(Ordering::Acquire);
        let last_seq = shared.last_seq();
        if from_seq < retained || from_seq > last_seq + 1 {
            return Err(snapshot_needed(from_seq, retained));
        }
        let Some((segment, footer)) = shared.segment_of(from_seq)? else { return Ok(None) };
        let mut previous_seq = None;
        let mut offset = super::header::HEADER_BYTES as u64;
        for entry in footer.entries() {
            if entry.seq >= from_seq {
                break;
            }
            previous_seq = Some(entry.seq);
            offset = entry.at.offset_bytes() + entry.at.len_bytes();
        }
        let follows_on = previous_seq.is_none_or(|seq| seq + 1 == from_seq) || from_seq == shared.opened_seq;
        if !follows_on && !footer.entries().any(|entry| entry.seq == from_seq) {
            // Numbers were skipped after a crash: what the follower saw last may be what was lost.
            return Err(snapshot_needed(from_seq, retained));
        }
        Ok(Some(Self { shared: Arc::clone(shared), segment, offset, next_seq: from_seq }))
    }

    /// The next change, or `None` if there is none yet. Under [`Durability::Sync`] a change shows once it is synced.
    ///
    /// # Errors
    /// `SnapshotNeeded` when what comes next was cleaned away, `Corrupt`, `Io`.
    pub fn next_change(&mut self) -> Result<Option<Change>> {
        loop {
            // In this order: what was appended before the segment was closed is seen.
            let is_closed = self.segment.closed.load(Ordering::Acquire);
            if self.offset >= self.segment.data_end.load(Ordering::Acquire) {
                if !is_closed || !self.advance()? {
                    return Ok(None);
                }
                continue;
            }
            let Some(header) = self.peek()? else { return Ok(None) };
            let at = RecordAt::new(self.segment.id, self.offset, header.record_bytes());
            let change = self.read(&header, at)?;
            self.offset += at.len_bytes();
            self.next_seq = header.seq + 1;
            if change.is_some() {
                return Ok(change);
            }
        }
    }

    /// The sequence number to go on from.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }

    /// Goes on to the next segment, if there is one.
    fn advance(&mut self) -> Result<bool> {
        let segments = self.shared.segments.read();
        let Some(next) = segments.range(self.segment.id + 1..).next().map(|(_, segment)| Arc::clone(segment)) else {
            return Ok(false);
        };
        drop(segments);
        if next.id != self.segment.id + 1 {
            return Err(snapshot_needed(self.next_seq, self.shared.retained_from_seq.load(Ordering::Acquire)));
        }
        self.segment = next;
        self.offset = super::header::HEADER_BYTES as u64;
        Ok(true)
    }

    fn peek(&self) -> Result<Option<RecordHeader>> {
        let left = self.segment.data_end.load(Ordering::Acquire) - self.offset;
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(RECORD_HEADER_BYTES + MAX_STORED_KEY_BYTES);
        let seed = self.shared.log_id.seed(self.segment.id, self.offset);
        let header = self.shared.with_range(&self.segment, self.offset, len, |bytes| {
            RecordHeader::decode(bytes, seed).map(|(header, _)| header)
        })?;
        let header = header.ok_or_else(|| {
            Error::new(ErrorKind::Corrupt, "the header of a record is damaged; take a snapshot instead")
                .with("path", self.segment.path.display())
                .with("offset", self.offset)
        })?;
        let waits = self.shared.options.durability == Durability::Sync
            && header.seq > self.shared.durable_seq.load(Ordering::Acquire);
        Ok((!waits).then_some(header))
    }

    /// The record at `at` as a change; `None` for what cleaning wrote and for what was dropped to save space.
    fn read(&self, header: &RecordHeader, at: RecordAt) -> Result<Option<Change>> {
        if header.tag.moved || header.tag.kind == RecordKind::Forget {
            return Ok(None);
        }
        let len = usize::try_from(at.len_bytes()).expect("a record fits in memory");
        let seed = self.shared.log_id.seed(self.segment.id, self.offset);
        self.shared.with_range(&self.segment, self.offset, len, |bytes| {
            let damaged = || {
                Error::new(ErrorKind::Corrupt, "a record is damaged; take a snapshot instead")
                    .with("path", self.segment.path.display())
                    .with("offset", at.offset_bytes())
            };
            let (header, key) = RecordHeader::decode(bytes, seed).ok_or_else(damaged)?;
            let start = header.stored_start();
            let stored = bytes.get(start..start + header.stored_bytes as usize).ok_or_else(damaged)?;
            let value = match header.tag.kind {
                RecordKind::Put => {
                    let mut value = vec![0; header.value_bytes as usize];
                    super::read::FoundRecord { header, key, stored }.unpack(&mut value)?;
                    Some(value)
                }
                RecordKind::Remove | RecordKind::Forget => None,
            };
            let (seq, expires_at_ms, more) = (header.seq, header.expires_at_ms, header.tag.more);
            Ok(Some(Change { seq, key: key.to_vec(), value, expires_at_ms, more }))
        })?
    }
}

impl Shared {
    /// The segment in which `seq` lies or will lie, and its entries.
    fn segment_of(&self, seq: u64) -> Result<Option<(Arc<Segment>, Footer)>> {
        let appender = self.appender.lock();
        if let Some(active) = &appender.active
            && active.segment.first_seq.load(Ordering::Relaxed) <= seq
        {
            return Ok(Some((Arc::clone(&active.segment), active.footer.clone())));
        }
        drop(appender);
        self.flush.wait_idle()?;
        let segments = self.segments.read();
        let starts = |segment: &Arc<Segment>| {
            let first_seq = segment.first_seq.load(Ordering::Relaxed);
            first_seq != 0 && first_seq <= seq
        };
        let Some(segment) = segments.values().rev().find(|segment| starts(segment)).map(Arc::clone) else {
            return Ok(None);
        };
        drop(segments);
        let size_bytes = segment.allocated_bytes.load(Ordering::Relaxed);
        let failed = |error| Error::io("cannot read a segment of the log", error).with("path", segment.path.display());
        let footer = match read_footer(&segment.file, size_bytes, self.log_id, segment.id)? {
            Some(footer) => footer,
            None => super::scan::scan(&*segment.file, self.log_id, segment.id, false).map_err(failed)?.footer,
        };
        Ok(Some((segment, footer)))
    }
}

fn snapshot_needed(from_seq: u64, retained_from_seq: u64) -> Error {
    Error::new(ErrorKind::SnapshotNeeded, "the log no longer holds the changes asked for; take a snapshot first")
        .with("from_seq", from_seq)
        .with("retained_from_seq", retained_from_seq)
}
