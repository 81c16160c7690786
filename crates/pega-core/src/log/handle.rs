//! The log as its owner holds it.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

use super::appender::{GroupSize, Prepared, Purpose, Ticket, Write};
use super::clean::Residents;
use super::flush;
use super::history::History;
use super::lock::DirectoryLock;
use super::options::{Durability, LogOptions};
use super::place::RecordAt;
use super::read::ValueInfo;
use super::recovery::{self, Recovery};
use super::shared::Shared;
use super::stats::LogStats;
use crate::error::{Error, ErrorKind, Result};

/// A log that is open. Closes when dropped; [`Log::close`] says whether that went well.
#[derive(Debug)]
pub struct Log {
    shared: Arc<Shared>,
    /// The process that has the flusher.
    pid: u32,
    flusher: Mutex<Option<JoinHandle<()>>>,
    /// Given up when the log is closed, though its handle may live on.
    lock: Mutex<Option<DirectoryLock>>,
}

impl Log {
    /// Opens the log in `dir`, making both if they are not there.
    ///
    /// # Errors
    /// `Locked` if it is open already, `InvalidArgument` for sizes that leave no room, `UnsupportedFormat`,
    /// `Corrupt` (see [`super::OnDamage`]), `ReadOnly`, `DiskFull`, `Io`.
    pub fn open(dir: impl AsRef<Path>, options: LogOptions) -> Result<(Self, Recovery)> {
        let dir = dir.as_ref();
        let segment_bytes = options.checked_segment_bytes()?;
        std::fs::create_dir_all(dir)
            .map_err(|error| Error::io("cannot make the log's directory", error).with("path", dir.display()))?;
        let lock = DirectoryLock::take(dir)?;
        let opened = recovery::open(dir, &options, segment_bytes)?;
        let shared = Arc::new(Shared::new(dir, options, segment_bytes, opened.found));
        let flusher = std::thread::Builder::new()
            .name("pega-log".to_owned())
            .spawn({
                let shared = Arc::clone(&shared);
                move || flush::run(&shared)
            })
            .map_err(|error| Error::io("cannot start the log's flusher", error))?;
        let pid = std::process::id();
        Ok((Self { shared, pid, flusher: Mutex::new(Some(flusher)), lock: Mutex::new(Some(lock)) }, opened.recovery))
    }

    /// A forked child has the log's files but not its flusher: what it wrote would mix with what its parent writes.
    fn check_process(&self) -> Result<()> {
        if std::process::id() == self.pid {
            return Ok(());
        }
        let forked = "this process was forked from the one that has the log open; share the log through a sidecar";
        Err(Error::new(ErrorKind::Closed, forked).with("holder_pid", self.pid))
    }

    /// Checks a change and compresses its value if the log does. Takes no lock.
    ///
    /// # Errors
    /// `InvalidKey`, `TooLarge`.
    pub fn prepare<'a>(&self, write: Write<'a>) -> Result<Prepared<'a>> {
        Prepared::new(write, self.shared.options.compression)
    }

    /// Sees to it that `group` can be appended, cleaning if it must: call it while holding nothing that
    /// [`Residents::visit`] takes.
    ///
    /// # Errors
    /// `DiskFull` when what is live fills the log or the file system has no space, `TooLarge`, `ReadOnly`, `Io`,
    /// `Closed`, also in a child that was forked. Nothing has changed then, and a later call may succeed.
    pub fn make_room(&self, group: &[Prepared<'_>], residents: &dyn Residents) -> Result<()> {
        self.check_process()?;
        self.shared.make_room(GroupSize::of(group), Purpose::of(group), residents)
    }

    /// Appends `group`, of which all or nothing will be found after a crash, and says where each record went.
    /// `None` means that another thread took the room: let go of the keys, and make room again.
    ///
    /// # Errors
    /// `Closed`, or why the log cannot be written to at the moment.
    ///
    /// # Panics
    /// If `places` is shorter than `group`.
    pub fn append(&self, group: &[Prepared<'_>], places: &mut [RecordAt]) -> Result<Option<Ticket>> {
        self.shared.flush.wait_for_room()?;
        self.shared.append_now(group, places, Purpose::of(group))
    }

    /// Waits for what the log's durability promises: under [`Durability::Sync`], that the append is synced.
    ///
    /// # Errors
    /// Why it could not be synced; it may last all the same.
    pub fn commit(&self, ticket: Ticket) -> Result<()> {
        match self.shared.options.durability {
            Durability::Sync => self.shared.flush.wait_durable(&self.shared, ticket.last_seq),
            Durability::Batched | Durability::None => Ok(()),
        }
    }

    /// Waits until everything appended before is synced, whatever the log's durability.
    ///
    /// # Errors
    /// Why it could not be.
    pub fn flush(&self) -> Result<()> {
        self.check_process()?;
        self.shared.flush.wait_durable(&self.shared, self.shared.last_seq())
    }

    /// Reads the value of `key` at `at` into the start of `target` and verifies it: one read from the disk.
    /// `None` means that the segment was cleaned: ask the index again.
    ///
    /// # Errors
    /// `Corrupt` if the record is not whole or not the key's, `InvalidArgument` if `target` is too small, `Io`.
    pub fn read_into(&self, at: RecordAt, key: &[u8], target: &mut [u8]) -> Result<Option<ValueInfo>> {
        self.shared.read_into(at, key, target)
    }

    /// Notes that the index no longer refers to the record at `at`, once for each put.
    pub fn mark_dead(&self, at: RecordAt) {
        if let Some(segment) = self.shared.segment(at.segment()) {
            let live = &segment.live_bytes;
            let _ = live.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |live| live.checked_sub(at.len_bytes()));
        }
    }

    /// The changes from `from_seq` on: give [`Self::last_seq`] + 1 for those yet to come, or where an earlier
    /// history ended. `None` if the log is empty.
    ///
    /// # Errors
    /// `SnapshotNeeded` when they are not all there any more, or never were; `Io`.
    pub fn history(&self, from_seq: u64) -> Result<Option<History>> {
        History::start(&self.shared, from_seq)
    }

    /// Waits until there is something after `seq`, or `timeout` has passed; says which.
    #[must_use]
    pub fn wait_for_news(&self, seq: u64, timeout: Duration) -> bool {
        self.shared.wait_for_news(seq, timeout)
    }

    /// The sequence number of the newest record.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.shared.last_seq()
    }

    /// The largest sequence number of which it is sure that it and all before it are synced.
    #[must_use]
    pub fn durable_seq(&self) -> u64 {
        self.shared.durable_seq.load(Ordering::Acquire)
    }

    /// What the log holds and did.
    #[must_use]
    pub fn stats(&self) -> LogStats {
        self.shared.stats()
    }

    /// Writes and syncs everything, gives the last segment its index, and closes. Again: does nothing.
    ///
    /// # Errors
    /// What could not be written, and why.
    pub fn close(&self) -> Result<()> {
        let Some(flusher) = self.flusher.lock().take() else { return Ok(()) };
        if self.check_process().is_err() {
            // The flusher and the lock are the parent's.
            std::mem::forget((flusher, self.lock.lock().take()));
            return Ok(());
        }
        self.shared.flush.stop();
        let ended = flusher.join();
        self.shared.news.notify_all();
        // Cleaning under way ends first: the next opener must not find files vanish.
        let _cleaning = self.shared.cleaning.lock();
        self.lock.lock().take();
        if ended.is_err() {
            return Err(Error::new(ErrorKind::Io, "the log's flusher panicked; what was not synced is lost"));
        }
        self.shared.flush.failure().map_or(Ok(()), Err)
    }
}

#[cfg(test)]
impl Log {
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        let _ = self.close();
    }
}
