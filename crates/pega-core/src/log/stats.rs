//! Counts of what a log did and holds.

use std::sync::atomic::{AtomicU64, Ordering};

use super::Shared;

/// What a log counts while it runs.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) reads: AtomicU64,
    pub(super) appended_records: AtomicU64,
    pub(super) appended_bytes: AtomicU64,
    pub(super) syncs: AtomicU64,
    pub(super) corrupt_records: AtomicU64,
    pub(super) cleaned_segments: AtomicU64,
    pub(super) moved_bytes: AtomicU64,
    pub(super) dropped_records: AtomicU64,
}

/// What a log holds, and what it did since it was opened. Sizes are in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// The most that the segment files may take.
    pub disk_bytes: u64,
    /// What the segment files take.
    pub allocated_bytes: u64,
    /// Records that the index refers to.
    pub live_bytes: u64,
    /// Records that only keep older ones from coming back.
    pub tombstone_bytes: u64,
    /// Segment files.
    pub segments: u64,
    /// The newest sequence number.
    pub last_seq: u64,
    /// The newest sequence number that is synced.
    pub durable_seq: u64,
    /// The oldest sequence number that a follower can still start from.
    pub retained_from_seq: u64,
    /// Records read.
    pub reads: u64,
    /// Records appended, those of cleaning included.
    pub appended_records: u64,
    /// Bytes of those records.
    pub appended_bytes: u64,
    /// Times that a file was synced.
    pub syncs: u64,
    /// Records found damaged.
    pub corrupt_records: u64,
    /// Segments whose space was reclaimed.
    pub cleaned_segments: u64,
    /// Bytes that reclaiming wrote again.
    pub moved_bytes: u64,
    /// Values given up to make room, or because their time was over.
    pub dropped_records: u64,
    /// Whether files are read and written past the page cache.
    pub direct_io: bool,
}

impl Shared {
    pub(super) fn stats(&self) -> LogStats {
        let load = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let mut stats = LogStats {
            disk_bytes: self.options.disk_bytes,
            allocated_bytes: load(&self.allocated_bytes),
            last_seq: self.last_seq(),
            durable_seq: load(&self.durable_seq),
            retained_from_seq: load(&self.retained_from_seq),
            reads: load(&self.counts.reads),
            appended_records: load(&self.counts.appended_records),
            appended_bytes: load(&self.counts.appended_bytes),
            syncs: load(&self.counts.syncs),
            corrupt_records: load(&self.counts.corrupt_records),
            cleaned_segments: load(&self.counts.cleaned_segments),
            moved_bytes: load(&self.counts.moved_bytes),
            dropped_records: load(&self.counts.dropped_records),
            ..LogStats::default()
        };
        for segment in self.segments.read().values() {
            stats.segments += 1;
            stats.live_bytes += load(&segment.live_bytes);
            stats.tombstone_bytes += load(&segment.tombstone_bytes);
            stats.direct_io |= segment.file.is_direct();
        }
        stats
    }
}
