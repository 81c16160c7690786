//! What the log, its flusher and its readers share.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, RwLock};

use super::appender::{Appender, GroupSize, Prepared, Purpose, Ticket};
use super::digest::LogId;
use super::flush::Flush;
use super::options::{Durability, LogOptions};
use super::place::RecordAt;
use super::recovery::Found;
use super::segment::Segment;
use super::stats::Counts;
use crate::error::Result;

/// What the log, its flusher and its readers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) dir: PathBuf,
    pub(super) options: LogOptions,
    pub(super) segment_bytes: u64,
    pub(super) log_id: LogId,
    pub(super) segments: RwLock<BTreeMap<u32, Arc<Segment>>>,
    pub(super) appender: Mutex<Appender>,
    pub(super) flush: Flush,
    /// Held while segments are emptied: one cleaner at a time.
    pub(super) cleaning: Mutex<()>,
    /// What all segment files take, in bytes.
    pub(super) allocated_bytes: AtomicU64,
    /// The newest record whose bytes are in a stage or the file.
    pub(super) appended_seq: AtomicU64,
    /// The newest record that is synced.
    pub(super) durable_seq: AtomicU64,
    pub(super) retained_from_seq: AtomicU64,
    /// The first number that was given out, or will be, since the log was opened.
    pub(super) opened_seq: u64,
    pub(super) counts: Counts,
    pub(super) followers: Mutex<usize>,
    pub(super) news: Condvar,
}

impl Shared {
    pub(super) fn new(dir: &Path, options: LogOptions, segment_bytes: u64, found: Found) -> Self {
        let allocated = found.segments.values().map(|segment| segment.allocated_bytes.load(Ordering::Relaxed)).sum();
        let next_segment = found.segments.keys().next_back().map_or(1, |last| last + 1);
        let last_seq = found.next_seq - 1;
        let appender = Appender { next_seq: found.next_seq, next_segment, active: None, resumable: found.resumable };
        Self {
            dir: dir.to_path_buf(),
            options,
            segment_bytes,
            log_id: found.log_id,
            segments: RwLock::new(found.segments),
            appender: Mutex::new(appender),
            flush: Flush::default(),
            cleaning: Mutex::new(()),
            allocated_bytes: AtomicU64::new(allocated),
            appended_seq: AtomicU64::new(last_seq),
            durable_seq: AtomicU64::new(last_seq),
            retained_from_seq: AtomicU64::new(found.retained_from_seq),
            opened_seq: found.next_seq,
            counts: Counts::default(),
            followers: Mutex::new(0),
            news: Condvar::new(),
        }
    }

    pub(super) fn free_bytes(&self) -> u64 {
        self.options.disk_bytes.saturating_sub(self.allocated_bytes.load(Ordering::Relaxed))
    }

    pub(super) fn last_seq(&self) -> u64 {
        self.appended_seq.load(Ordering::Acquire)
    }

    pub(super) fn append_now(
        &self,
        group: &[Prepared<'_>],
        places: &mut [RecordAt],
        purpose: Purpose,
    ) -> Result<Option<Ticket>> {
        let mut appender = self.appender.lock();
        let size = GroupSize::of(group);
        if !appender.fits(self, size, purpose) {
            return Ok(None);
        }
        let mut memory = appender.memory_for(self, size)?;
        let ticket = appender.append(self, group, places, &mut memory);
        self.appended_seq.store(ticket.last_seq, Ordering::Release);
        drop(appender);
        self.flush.mark_dirty();
        self.counts.appended_records.fetch_add(group.len() as u64, Ordering::Relaxed);
        self.counts.appended_bytes.fetch_add(size.total_bytes(), Ordering::Relaxed);
        self.tell_followers();
        Ok(Some(ticket))
    }

    pub(super) fn wait_for_news(&self, seq: u64, timeout: Duration) -> bool {
        let until = Instant::now() + timeout;
        let mut followers = self.followers.lock();
        *followers += 1;
        let mut told = true;
        while self.visible_seq() <= seq && told {
            told = !self.news.wait_until(&mut followers, until).timed_out();
        }
        *followers -= 1;
        self.visible_seq() > seq
    }

    /// The newest change that a follower may see.
    pub(super) fn visible_seq(&self) -> u64 {
        match self.options.durability {
            Durability::Sync => self.durable_seq.load(Ordering::Acquire),
            Durability::Batched | Durability::None => self.last_seq(),
        }
    }

    pub(super) fn tell_followers(&self) {
        if *self.followers.lock() > 0 {
            self.news.notify_all();
        }
    }
}
