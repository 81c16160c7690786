//! What a log is opened with, and what it refuses to be opened with.

use std::time::Duration;

use super::codec::Codec;
use crate::error::{Error, Result};

/// When an acknowledged write is safe from a crash.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Durability {
    /// Written to the file within [`LogOptions::flush_interval`], never synced: survives the process once written,
    /// not the machine.
    None,
    /// Written and synced within [`LogOptions::flush_interval`]: a crash loses at most that much.
    #[default]
    Batched,
    /// Synced before the write is acknowledged; writers that wait at the same time share one sync.
    Sync,
}

/// What happens when live records fill `disk_bytes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnFull {
    /// The write is refused; what was acknowledged stays.
    #[default]
    Error,
    /// The oldest segment gives up its records.
    Evict,
}

/// What happens when opening finds that synced records are damaged beyond telling which keys they held.
///
/// Any older record might since have been replaced by a lost one, so none of them can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnDamage {
    /// Opening fails and leaves the files as they are.
    #[default]
    Refuse,
    /// Everything older than the damage is deleted: later reads of it miss.
    Forget,
}

/// How files are read and written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FileIo {
    /// Past the page cache where the file system allows it, through it elsewhere.
    #[default]
    Direct,
    /// Through the page cache.
    Buffered,
}

/// How a log is opened.
#[derive(Clone, Debug)]
pub struct LogOptions {
    /// The most that all segment files take together, in bytes.
    pub disk_bytes: u64,
    /// The size of a segment file in bytes; by default a 64th of `disk_bytes` between 256 KiB and 256 MiB, and at
    /// least a 512th, which bounds the open files.
    pub segment_bytes: Option<u64>,
    /// When a write is safe.
    pub durability: Durability,
    /// How long a write may stay in this process's memory, and unsynced, where `durability` lets it.
    pub flush_interval: Duration,
    /// How values are compressed, if at all; a value that does not shrink is stored as it is.
    pub compression: Option<Codec>,
    /// What a full log does.
    pub on_full: OnFull,
    /// What a damaged log does when it is opened.
    pub on_damage: OnDamage,
    /// How files are read and written.
    pub file_io: FileIo,
}

/// The smallest segment, in bytes.
pub const MIN_SEGMENT_BYTES: u64 = 64 << 10;

/// How many segments the smallest log has: one being filled, one kept free for cleaning, two to clean.
pub const MIN_SEGMENTS: u64 = 4;

/// The largest segment, in bytes: places in it are counted in 32-bit words of 8 bytes.
const MAX_SEGMENT_BYTES: u64 = 16 << 30;

/// The largest `disk_bytes`; far beyond any disk, low enough that no sum of sizes overflows.
const MAX_DISK_BYTES: u64 = 1 << 60;

impl LogOptions {
    /// The defaults for a log of at most `disk_bytes` bytes.
    #[must_use]
    pub fn new(disk_bytes: u64) -> Self {
        Self {
            disk_bytes,
            segment_bytes: None,
            durability: Durability::default(),
            flush_interval: Duration::from_millis(50),
            compression: None,
            on_full: OnFull::default(),
            on_damage: OnDamage::default(),
            file_io: FileIo::default(),
        }
    }

    /// The size of a segment file that these options lead to, in bytes.
    ///
    /// # Errors
    /// `InvalidArgument` for sizes that leave no room to work in.
    pub fn checked_segment_bytes(&self) -> Result<u64> {
        if self.disk_bytes > MAX_DISK_BYTES {
            return Err(Error::invalid("disk_bytes is larger than any disk").with("disk_bytes", self.disk_bytes));
        }
        let default = (self.disk_bytes / 64).clamp(256 << 10, 256 << 20).max(self.disk_bytes / 512);
        let wanted = self.segment_bytes.unwrap_or_else(|| default.min(self.disk_bytes / MIN_SEGMENTS));
        let segment_bytes = wanted & !(super::file::PAGE_BYTES as u64 - 1);
        if !(MIN_SEGMENT_BYTES..=MAX_SEGMENT_BYTES).contains(&segment_bytes) {
            let least = MIN_SEGMENT_BYTES * MIN_SEGMENTS;
            return Err(Error::invalid(format!(
                "a segment holds between {MIN_SEGMENT_BYTES} bytes and 16 GiB; raise disk_bytes to at least {least}"
            ))
            .with("segment_bytes", wanted)
            .with("disk_bytes", self.disk_bytes));
        }
        if self.disk_bytes / segment_bytes < MIN_SEGMENTS {
            return Err(Error::invalid(format!("disk_bytes must hold at least {MIN_SEGMENTS} segments"))
                .with("segment_bytes", segment_bytes)
                .with("disk_bytes", self.disk_bytes));
        }
        Ok(segment_bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn the_default_segment_leaves_room_for_cleaning_and_few_open_files() {
        for disk_bytes in [256 << 10, 1 << 20, 1 << 30, 20 << 30, 1 << 40, 8 << 40] {
            let segment_bytes = LogOptions::new(disk_bytes).checked_segment_bytes().unwrap();
            assert!(disk_bytes / segment_bytes >= MIN_SEGMENTS);
            assert!(disk_bytes / segment_bytes <= 513);
        }
    }

    #[test]
    fn sizes_that_leave_no_room_are_refused() {
        for disk_bytes in [0, 1, 4096, (256 << 10) - 1, u64::MAX] {
            let error = LogOptions::new(disk_bytes).checked_segment_bytes().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidArgument);
        }
        for segment_bytes in [0, 4096, 1 << 30, u64::MAX] {
            let options = LogOptions { segment_bytes: Some(segment_bytes), ..LogOptions::new(1 << 30) };
            assert_eq!(options.checked_segment_bytes().unwrap_err().kind(), ErrorKind::InvalidArgument);
        }
    }
}
