//! Replication: the changes of one engine, applied to another.

use std::sync::Arc;
use std::time::Duration;

use super::PegaEngine;
use crate::error::Result;
use crate::index::Index;
use crate::key::{Key, Space};
use crate::store::{Change, Cursor, FeedEvent, FeedOp, Receipt, Store};

/// The puts and removes of an engine, in their order, from some change on. Evictions and expirations are none: a
/// follower has its own memory and clock.
pub struct Subscription {
    store: Arc<Store>,
    cursor: Cursor,
}

impl Subscription {
    /// The next change; `None` if there was none before `timeout` passed. Changes of one transaction follow each
    /// other, all but the last with `more` set.
    ///
    /// # Errors
    /// `SnapshotNeeded` if the next change is not kept any more; `Closed`, `Corrupt`, `Io`.
    pub fn next(&mut self, timeout: Option<Duration>) -> Result<Option<FeedEvent>> {
        self.store.next_change(&mut self.cursor, timeout)
    }
}

/// Everything in an engine, taken while writes go on. What is given may already contain changes after
/// [`Snapshot::seq`]; following the engine from there makes it exact.
pub struct Snapshot {
    store: Arc<Store>,
    seq: u64,
    shards: std::ops::Range<usize>,
    keys: Vec<Vec<u8>>,
}

impl Snapshot {
    /// The change up to which the snapshot is complete: follow from the one after it.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    fn next_entry(&mut self) -> Result<Option<FeedEvent>> {
        loop {
            self.store.check_open()?;
            while let Some(key) = self.keys.pop() {
                let found = self.store.peek(self.store.index.hashed(Key::user(&key)?))?;
                if let Some((value, expires_at_ms)) = found {
                    let op = FeedOp::Put { value, expires_at_ms };
                    return Ok(Some(FeedEvent { seq: self.seq, key, op, more: false }));
                }
            }
            let Some(number) = self.shards.next() else { return Ok(None) };
            let shard = self.store.index.read(number);
            let users = shard.slots().map(|slot| shard.key(slot)).filter(|key| key.space() == Space::USER);
            self.keys = users.map(|key| key.bytes().to_vec()).collect();
        }
    }
}

/// Every key and its value, as a put numbered [`Snapshot::seq`]. Errors are `Corrupt`, `Io` and `Closed`.
impl Iterator for Snapshot {
    type Item = Result<FeedEvent>;

    fn next(&mut self) -> Option<Self::Item> {
        self.next_entry().transpose()
    }
}

impl PegaEngine {
    /// The number of the newest change.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.store.last_seq()
    }

    /// The newest change of another engine that was applied here; 0 if none was. With a path it is remembered, in the
    /// same step as the changes.
    ///
    /// # Errors
    /// `Corrupt`, `Io`.
    pub fn applied_seq(&self) -> Result<u64> {
        self.store.applied_seq()
    }

    /// The changes from `from_seq` on; without it, those yet to come. With a path the log keeps them until its space
    /// is needed; without one the latest are kept from the first call on.
    ///
    /// # Errors
    /// `SnapshotNeeded` if they are not all there; `Closed`, `Io`.
    pub fn subscribe(&self, from_seq: Option<u64>) -> Result<Subscription> {
        Ok(Subscription { store: Arc::clone(&self.store), cursor: self.store.cursor(from_seq)? })
    }

    /// Everything there is, while writes go on.
    ///
    /// # Errors
    /// `Closed`.
    pub fn snapshot(&self) -> Result<Snapshot> {
        self.store.check_open()?;
        let seq = self.store.settled_seq();
        Ok(Snapshot { store: Arc::clone(&self.store), seq, shards: Index::shards(), keys: Vec::new() })
    }

    /// Applies changes of another engine, all or none. Those applied before are passed over, so that a batch may be
    /// applied again. Give the changes of one transaction in one call.
    ///
    /// # Errors
    /// As [`Self::put`]; nothing was applied then.
    pub fn apply(&self, changes: &[FeedEvent]) -> Result<()> {
        self.store.apply_events(changes)
    }

    /// Puts a snapshot of another engine in the place of what is here. If it fails midway [`Self::applied_seq`] is 0,
    /// and it must be done again.
    ///
    /// # Errors
    /// As [`Self::put`], and those of `changes`.
    pub fn restore(&self, seq: u64, changes: impl IntoIterator<Item = Result<FeedEvent>>) -> Result<()> {
        self.store.commit_with_position(Vec::new(), 0)?;
        for key in self.scan(b"")? {
            self.remove(&key)?;
        }
        let mut receipt = None;
        for change in changes {
            receipt = self.put_one(&change?)?.or(receipt);
        }
        self.store.settle(receipt)?;
        self.store.commit_with_position(Vec::new(), seq)
    }

    fn put_one(&self, event: &FeedEvent) -> Result<Receipt> {
        let hashed = self.store.index.hashed(Key::user(&event.key)?);
        let change = match &event.op {
            FeedOp::Put { value, expires_at_ms } => self.store.stage(hashed, value, *expires_at_ms)?,
            FeedOp::Remove => Change::remove(hashed),
        };
        self.store.apply_batch(&mut [change])
    }
}
