//! The writing end: records get their numbers and places, and are gathered in stages.

use std::borrow::Cow;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Shared;
use super::codec::Codec;
use super::digest::LogId;
use super::file::{PAGE_BYTES, PageBuf};
use super::flush::Job;
use super::footer::{Entry, Footer, TRAILER_BYTES, entry_bound};
use super::header::{HEADER_BYTES, SegmentHeader};
use super::place::RecordAt;
use super::record::{RecordHeader, RecordKind, Tag, record_bytes};
use super::segment::Segment;
use super::stage::{STAGE_BYTES, Stage};
use crate::checksum;
use crate::error::{Error, ErrorKind, Result};
use crate::key::MAX_STORED_KEY_BYTES;

/// One change of one key.
#[derive(Clone, Copy, Debug)]
pub enum Write<'a> {
    /// Bind the key to a value.
    Put {
        /// The key.
        key: &'a [u8],
        /// The value.
        value: &'a [u8],
        /// The value's checksum, as [`crate::checksum::of`] gives it.
        checksum: u64,
        /// When the value is over, in milliseconds of unix time; 0 for never.
        expires_at_ms: u64,
    },
    /// Remove the key.
    Remove {
        /// The key.
        key: &'a [u8],
    },
    /// Drop the key to save space or because its time is over: it stays gone after reopening, and is not replicated.
    Forget {
        /// The key.
        key: &'a [u8],
    },
}

/// A change that is ready to be appended: checked and, where asked for, compressed.
#[derive(Clone, Debug)]
pub struct Prepared<'a> {
    pub(super) kind: RecordKind,
    pub(super) key: &'a [u8],
    pub(super) stored: Cow<'a, [u8]>,
    pub(super) codec: Option<Codec>,
    pub(super) value_bytes: u32,
    pub(super) expires_at_ms: u64,
    pub(super) value_checksum: u64,
    pub(super) stored_checksum: u64,
    /// Written again by cleaning.
    pub(super) moved: bool,
}

impl<'a> Prepared<'a> {
    /// # Errors
    /// `InvalidKey` for an empty or over-long key, `TooLarge` for a value of 4 GiB or more.
    pub(super) fn new(write: Write<'a>, compression: Option<Codec>) -> Result<Self> {
        let (kind, key) = match write {
            Write::Put { key, .. } => (RecordKind::Put, key),
            Write::Remove { key } => (RecordKind::Remove, key),
            Write::Forget { key } => (RecordKind::Forget, key),
        };
        if !(1..=MAX_STORED_KEY_BYTES).contains(&key.len()) {
            return Err(Error::new(
                ErrorKind::InvalidKey,
                format!("a key has between 1 and {MAX_STORED_KEY_BYTES} bytes"),
            )
            .with("key_bytes", key.len()));
        }
        let Write::Put { value, checksum, expires_at_ms, .. } = write else {
            return Ok(Self::without_value(kind, key));
        };
        let value_bytes = u32::try_from(value.len()).map_err(|_| {
            Error::new(ErrorKind::TooLarge, "the log holds values below 4 GiB").with("value_bytes", value.len())
        })?;
        let (codec, stored) = Codec::shrink(compression, value);
        let stored_checksum = if codec.is_none() { checksum } else { checksum::of(&stored) };
        let value_checksum = checksum;
        Ok(Self { kind, key, stored, codec, value_bytes, expires_at_ms, value_checksum, stored_checksum, moved: false })
    }

    pub(super) fn without_value(kind: RecordKind, key: &'a [u8]) -> Self {
        Self {
            kind,
            key,
            stored: Cow::Borrowed(&[]),
            codec: None,
            value_bytes: 0,
            expires_at_ms: 0,
            value_checksum: 0,
            stored_checksum: 0,
            moved: false,
        }
    }

    fn size_bytes(&self) -> u64 {
        record_bytes(self.key.len(), self.stored.len())
    }
}

/// What an append is known by afterwards: [`super::Log::commit`] waits for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The sequence number of the first record.
    pub first_seq: u64,
    /// The sequence number of the last record.
    pub last_seq: u64,
}

/// The room that a group of records takes in a segment.
#[derive(Clone, Copy, Debug)]
pub(super) struct GroupSize {
    data_bytes: u64,
    entry_bytes: u64,
}

impl GroupSize {
    pub(super) fn of(group: &[Prepared<'_>]) -> Self {
        let data_bytes = group.iter().map(Prepared::size_bytes).sum();
        let entry_bytes = group.iter().map(|record| entry_bound(record.key.len())).sum();
        Self { data_bytes, entry_bytes }
    }

    /// The least capacity of a segment that holds this group alone.
    pub(super) fn segment_bytes(self) -> u64 {
        HEADER_BYTES as u64 + pages(self.data_bytes) + pages(self.entry_bytes + TRAILER_BYTES as u64)
    }

    pub(super) fn total_bytes(self) -> u64 {
        self.data_bytes + self.entry_bytes
    }
}

/// Who wants room: the last segment's worth of it is kept for cleaning, which is what makes more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Write,
    /// What makes records dead may go further: a full log could not be emptied otherwise.
    Remove,
    Clean,
}

impl Purpose {
    /// What writing `group` is for.
    pub(super) fn of(group: &[Prepared<'_>]) -> Self {
        let removes = group.iter().all(|record| record.kind != RecordKind::Put);
        if removes { Self::Remove } else { Self::Write }
    }

    /// The room to be left in the log after an append, in bytes: what cleaning may have to move, and the tombstones
    /// that make something to clean.
    pub(super) fn kept_bytes(self, segment_bytes: u64) -> u64 {
        match self {
            Self::Write => segment_bytes + segment_bytes / 2,
            Self::Remove => segment_bytes,
            Self::Clean => 0,
        }
    }
}

/// What a new segment takes besides records and their entries, in bytes: its header, and two pages half used.
const SEGMENT_OVERHEAD_BYTES: u64 = (HEADER_BYTES + 2 * PAGE_BYTES) as u64;

fn pages(bytes: u64) -> u64 {
    bytes.next_multiple_of(PAGE_BYTES as u64)
}

/// How large a segment to fill next may be, of which the file already takes `before` bytes; `None` when `disk_bytes`
/// leaves no room. Cleaning takes a smaller one where there is no room for a whole one.
fn capacity_for(shared: &Shared, size: GroupSize, purpose: Purpose, before: u64) -> Option<u64> {
    let free = shared.free_bytes() + before;
    let whole_pages = free - free % PAGE_BYTES as u64;
    let usual = if purpose == Purpose::Write { shared.segment_bytes } else { shared.segment_bytes.min(whole_pages) };
    let capacity_bytes = usual.max(size.segment_bytes()).max(before.next_multiple_of(PAGE_BYTES as u64));
    let kept = purpose.kept_bytes(shared.segment_bytes);
    let needed = if kept == 0 { 0 } else { kept + size.total_bytes() + SEGMENT_OVERHEAD_BYTES };
    (free >= capacity_bytes.max(needed)).then_some(capacity_bytes)
}

/// The segment being filled.
#[derive(Debug)]
pub(super) struct Active {
    pub(super) segment: Arc<Segment>,
    pub(super) footer: Footer,
    pub(super) stage: Stage,
    capacity_bytes: u64,
}

impl Active {
    /// The room left after the footer as it stands, in bytes.
    fn remaining_bytes(&self) -> u64 {
        let used = pages(self.footer.data_end()) + pages(self.footer.size_bytes());
        self.capacity_bytes.saturating_sub(used)
    }

    fn fits(&self, size: GroupSize) -> bool {
        let data = pages(self.footer.data_end() + size.data_bytes);
        data + pages(self.footer.size_bytes() + size.entry_bytes) <= self.capacity_bytes
    }
}

/// State of the writing end; its lock is what orders the log.
#[derive(Debug)]
pub(super) struct Appender {
    pub(super) next_seq: u64,
    pub(super) next_segment: u32,
    pub(super) active: Option<Active>,
    /// The last segment of the log as it was opened, which can be filled further.
    pub(super) resumable: Option<(Arc<Segment>, Footer)>,
}

impl Appender {
    /// Memory for as many stages as a group of `size` may fill beyond the one that is begun.
    pub(super) fn memory_for(&self, shared: &Shared, size: GroupSize) -> Result<Vec<PageBuf>> {
        let begun = self.active.as_ref().map_or(0, |active| active.stage.room_bytes());
        let beyond = usize::try_from(size.data_bytes).unwrap_or(usize::MAX).saturating_sub(begun.saturating_sub(1));
        (0..beyond.div_ceil(STAGE_BYTES)).map(|_| shared.flush.take_pages()).collect()
    }

    /// Whether `size` can be appended now, leaving cleaning what it needs.
    pub(super) fn fits(&self, shared: &Shared, size: GroupSize, purpose: Purpose) -> bool {
        self.active.as_ref().is_some_and(|active| {
            let free = shared.free_bytes() + active.remaining_bytes();
            let kept = purpose.kept_bytes(shared.segment_bytes);
            active.fits(size) && free >= kept + size.total_bytes()
        })
    }

    /// Starts the next segment so that `size` fits; `false` when `disk_bytes` leaves no room for one.
    ///
    /// # Errors
    /// `DiskFull`, `ReadOnly`, `Io` when the file system refuses.
    pub(super) fn roll(&mut self, shared: &Shared, size: GroupSize, purpose: Purpose) -> Result<bool> {
        if self.resume(shared, size, purpose)? {
            return Ok(true);
        }
        let Some(capacity_bytes) = capacity_for(shared, size, purpose, 0) else { return Ok(false) };
        let header = SegmentHeader {
            segment: self.next_segment,
            log_id: shared.log_id,
            capacity_bytes,
            first_seq: self.next_seq,
        };
        let segment = Arc::new(Segment::create(&shared.dir, &header, shared.options.file_io)?);
        self.close_active(shared);
        shared.allocated_bytes.fetch_add(capacity_bytes, Ordering::Relaxed);
        shared.segments.write().insert(segment.id, Arc::clone(&segment));
        self.next_segment += 1;
        self.activate(shared, segment, Footer::new(header.segment), capacity_bytes, &[])?;
        Ok(true)
    }

    /// Goes on with the last segment of the log as it was opened, if it has enough room.
    fn resume(&mut self, shared: &Shared, size: GroupSize, purpose: Purpose) -> Result<bool> {
        let Some((segment, footer)) = self.resumable.take() else { return Ok(false) };
        let before = segment.allocated_bytes.load(Ordering::Relaxed);
        let end = footer.data_end();
        let used = pages(end + size.data_bytes) + pages(footer.size_bytes() + size.entry_bytes);
        let capacity_bytes = capacity_for(shared, size, purpose, before).filter(|capacity| used <= *capacity);
        let Some(capacity_bytes) = capacity_bytes else { return Ok(false) };
        let failed =
            |error| Error::io("cannot go on with a segment of the log", error).with("path", segment.path.display());
        let page_start = end - end % PAGE_BYTES as u64;
        let mut tail = vec![0; (end - page_start) as usize];
        segment.file.read_buffered(&mut tail, page_start).map_err(failed)?;
        // Space first: without it the segment stays as it is, index and all.
        segment.file.extend(capacity_bytes).map_err(failed)?;
        segment.file.truncate(end).and_then(|()| segment.file.extend(capacity_bytes)).map_err(failed)?;
        segment.sealed.store(false, Ordering::Release);
        segment.closed.store(false, Ordering::Release);
        segment.synced_end.store(end, Ordering::Release);
        segment.allocated_bytes.store(capacity_bytes, Ordering::Relaxed);
        shared.allocated_bytes.fetch_add(capacity_bytes, Ordering::Relaxed);
        shared.allocated_bytes.fetch_sub(before, Ordering::Relaxed);
        self.activate(shared, segment, footer, capacity_bytes, &tail)?;
        Ok(true)
    }

    fn activate(
        &mut self,
        shared: &Shared,
        segment: Arc<Segment>,
        footer: Footer,
        capacity_bytes: u64,
        tail: &[u8],
    ) -> Result<()> {
        let pages = shared.flush.take_pages()?;
        let last_seq = self.next_seq - 1;
        let stage = Stage::at_end_of(Arc::clone(&segment), footer.data_end(), pages, tail, last_seq);
        self.active = Some(Active { segment, footer, stage, capacity_bytes });
        Ok(())
    }

    /// Hands the segment being filled to the flusher, to be written out and sealed.
    pub(super) fn close_active(&mut self, shared: &Shared) {
        let Some(mut active) = self.active.take() else { return };
        active.stage.pad();
        active.segment.closed.store(true, Ordering::Release);
        shared.flush.enqueue([
            Job::Write(Arc::new(active.stage)),
            Job::Seal { segment: active.segment, footer: Arc::new(active.footer) },
        ]);
    }

    /// Hands what the stage holds to the flusher and goes on in a new stage.
    ///
    /// # Errors
    /// `Io` when there is no memory for the new stage.
    pub(super) fn submit_partial(&mut self, shared: &Shared) -> Result<()> {
        match &mut self.active {
            Some(active) if active.stage.has_news() => active.next_stage(shared, shared.flush.take_pages()?),
            _ => {}
        }
        Ok(())
    }

    /// Appends a group that [`Self::fits`]; its records become visible to readers of the log together. Takes the
    /// memory that [`Self::memory_for`] gives, so that nothing can fail halfway.
    pub(super) fn append(
        &mut self,
        shared: &Shared,
        group: &[Prepared<'_>],
        places: &mut [RecordAt],
        memory: &mut Vec<PageBuf>,
    ) -> Ticket {
        let active = self.active.as_mut().expect("only called when the group fits");
        let first_seq = self.next_seq;
        for (i, record) in group.iter().enumerate() {
            let more = i + 1 < group.len();
            places[i] = active.append(shared, record, self.next_seq, more, memory);
            self.next_seq += 1;
        }
        let last_seq = self.next_seq - 1;
        active.segment.last_seq.store(last_seq, Ordering::Relaxed);
        active.segment.data_end.store(active.footer.data_end(), Ordering::Release);
        Ticket { first_seq, last_seq }
    }
}

impl Active {
    fn append(
        &mut self,
        shared: &Shared,
        record: &Prepared<'_>,
        seq: u64,
        more: bool,
        memory: &mut Vec<PageBuf>,
    ) -> RecordAt {
        let offset_bytes = self.footer.data_end();
        let len_bytes = record.size_bytes();
        let at = RecordAt::new(self.segment.id, offset_bytes, len_bytes);
        let tag = Tag { kind: record.kind, more, moved: record.moved };
        let header = RecordHeader {
            tag,
            codec: record.codec,
            key_bytes: u16::try_from(record.key.len()).expect("checked when it was prepared"),
            seq,
            value_bytes: record.value_bytes,
            stored_bytes: u32::try_from(record.stored.len()).expect("never more than the value"),
            synced_end: self.segment.synced_end.load(Ordering::Acquire),
            expires_at_ms: record.expires_at_ms,
            value_checksum: record.value_checksum,
            stored_checksum: record.stored_checksum,
        };
        let encoded = header.encode(record.key, self.seed(shared.log_id, offset_bytes));
        let exact = encoded.len() + record.key.len() + record.stored.len();
        for part in [&encoded[..], record.key, &record.stored, &[0; 8][..len_bytes as usize - exact]] {
            self.push(shared, part, memory);
        }
        self.stage.last_seq = seq;
        let (value_bytes, expires_at_ms) = (record.value_bytes, record.expires_at_ms);
        let Tag { kind, more, moved } = tag;
        self.footer.push(&Entry { seq, kind, more, moved, at, value_bytes, expires_at_ms, key: record.key });
        self.segment.count_record(record.kind == RecordKind::Put, len_bytes);
        at
    }

    fn seed(&self, log_id: LogId, offset_bytes: u64) -> u64 {
        log_id.seed(self.segment.id, offset_bytes)
    }

    fn push(&mut self, shared: &Shared, mut bytes: &[u8], memory: &mut Vec<PageBuf>) {
        while !bytes.is_empty() {
            bytes = self.stage.fill(bytes);
            if self.stage.is_full() {
                let pages = memory.pop().expect("taken for every stage that the group fills");
                self.next_stage(shared, pages);
            }
        }
    }

    fn next_stage(&mut self, shared: &Shared, pages: PageBuf) {
        let segment = Arc::clone(&self.segment);
        self.stage.pad();
        let next = Stage::at_end_of(segment, self.stage.end(), pages, self.stage.tail(), self.stage.last_seq);
        let full = std::mem::replace(&mut self.stage, next);
        shared.flush.enqueue([Job::Write(Arc::new(full))]);
    }
}
