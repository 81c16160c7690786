//! Reading one record, from the file or from the stages it has not left yet.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::Shared;
use super::place::RecordAt;
use super::record::{RecordHeader, RecordKind};
use super::segment::Segment;
use crate::checksum;
use crate::error::{Error, ErrorKind, Result};

/// What was read besides the value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ValueInfo {
    /// The size of the value, in bytes.
    pub value_bytes: u32,
    /// The checksum of the value, verified.
    pub checksum: u64,
    /// When the value is over, in milliseconds of unix time; 0 for never.
    pub expires_at_ms: u64,
    /// The sequence number of the record.
    pub seq: u64,
}

/// A record that was found whole, except that its value is not verified.
pub(super) struct FoundRecord<'a> {
    pub(super) header: RecordHeader,
    pub(super) key: &'a [u8],
    pub(super) stored: &'a [u8],
}

impl FoundRecord<'_> {
    /// Unpacks the value into `value`, which has its size, and verifies it in the same pass.
    pub(super) fn unpack(&self, value: &mut [u8]) -> Result<()> {
        let checksum = match self.header.codec {
            None if value.len() != self.stored.len() => {
                return Err(Error::new(ErrorKind::Corrupt, "a record contradicts itself about the size of its value"));
            }
            None => checksum::copy(value, self.stored),
            Some(codec) => {
                codec.unpack(self.stored, value)?;
                checksum::of(value)
            }
        };
        if checksum == self.header.value_checksum {
            return Ok(());
        }
        Err(Error::new(ErrorKind::Corrupt, "a value does not match its checksum"))
    }
}

impl Shared {
    /// Lends `use_record` the bytes of the record at `at`; `None` when its segment is gone.
    pub(super) fn with_record<T>(
        &self,
        at: RecordAt,
        use_record: impl FnOnce(&FoundRecord<'_>) -> Result<T>,
    ) -> Result<Option<T>> {
        let Some(segment) = self.segment(at.segment()) else { return Ok(None) };
        let offset = at.offset_bytes();
        let len = usize::try_from(at.len_bytes()).expect("a record fits in memory");
        let decoded = self.with_range(&segment, offset, len, |bytes| {
            let seed = self.log_id.seed(segment.id, offset);
            let (header, key) = RecordHeader::decode(bytes, seed)?;
            let start = header.stored_start();
            let stored = bytes.get(start..start + header.stored_bytes as usize)?;
            Some(use_record(&FoundRecord { header, key, stored }))
        })?;
        self.counts.reads.fetch_add(1, Ordering::Relaxed);
        let damaged = || Error::new(ErrorKind::Corrupt, "the header of a record is damaged");
        match decoded.unwrap_or_else(|| Err(damaged())) {
            Ok(result) => Ok(Some(result)),
            Err(error) => Err(self.located(error, &segment, at)),
        }
    }

    fn located(&self, error: Error, segment: &Segment, at: RecordAt) -> Error {
        if error.kind() == ErrorKind::Corrupt {
            self.counts.corrupt_records.fetch_add(1, Ordering::Relaxed);
        }
        error.with("path", segment.path.display()).with("offset", at.offset_bytes())
    }

    pub(super) fn segment(&self, id: u32) -> Option<Arc<Segment>> {
        self.segments.read().get(&id).map(Arc::clone)
    }

    /// Lends `use_bytes` the file range at `offset`, as it is or will be written.
    ///
    /// # Errors
    /// `Io`; `Corrupt` when the file ends before the range does.
    pub(super) fn with_range<T>(
        &self,
        segment: &Segment,
        offset: u64,
        len: usize,
        use_bytes: impl FnOnce(&[u8]) -> T,
    ) -> Result<T> {
        let failed = |error: std::io::Error| {
            let kind = error.kind();
            let error = Error::io("cannot read from a segment of the log", error).with("path", segment.path.display());
            if kind == std::io::ErrorKind::UnexpectedEof {
                return Error::new(ErrorKind::Corrupt, "a segment ends before a record does").caused_by(error);
            }
            error
        };
        let written_end = segment.written_end.load(Ordering::Acquire);
        if written_end >= offset + len as u64 {
            return segment.file.read_with(offset, len, written_end, use_bytes).map_err(failed);
        }
        let mut bytes = vec![0; len];
        self.copy_staged(segment, offset, &mut bytes).map_err(failed)?;
        Ok(use_bytes(&bytes))
    }

    /// Copies a range of which the last part is not in the file yet.
    fn copy_staged(&self, segment: &Segment, offset: u64, bytes: &mut [u8]) -> std::io::Result<()> {
        let appender = self.appender.lock();
        self.flush.copy_queued(segment.id, offset, bytes);
        if let Some(active) = &appender.active {
            active.stage.copy_overlap(segment.id, offset, bytes);
        }
        drop(appender);
        // Looked at last: what left the queue before it was copied is in the file by now.
        let written = segment.written_end.load(Ordering::Acquire).saturating_sub(offset);
        let in_file = usize::try_from(written).map_or(bytes.len(), |written| written.min(bytes.len()));
        let got = segment.file.read_buffered(&mut bytes[..in_file], offset)?;
        if got == in_file { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
    }

    /// Reads the value at `at` into the start of `target`.
    pub(super) fn read_into(&self, at: RecordAt, key: &[u8], target: &mut [u8]) -> Result<Option<ValueInfo>> {
        self.with_record(at, |found| {
            let header = &found.header;
            let value_bytes = header.value_bytes as usize;
            if header.tag.kind != RecordKind::Put || found.key != key {
                return Err(Error::new(ErrorKind::Corrupt, "a record is not the one the index asked for"));
            }
            let Some(value) = target.get_mut(..value_bytes) else {
                return Err(Error::invalid("the buffer is smaller than the value").with("value_bytes", value_bytes));
            };
            found.unpack(value)?;
            Ok(ValueInfo {
                value_bytes: header.value_bytes,
                checksum: header.value_checksum,
                expires_at_ms: header.expires_at_ms,
                seq: header.seq,
            })
        })
    }
}
