//! The change feed of an engine without a log: the latest changes, copied, within a bound of bytes.
//!
//! It is off until somebody first asks for it, and costs a put nothing until then.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use parking_lot::{Condvar, Mutex, MutexGuard};

use crate::error::{Error, ErrorKind, Result};

/// What happened to a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedOp {
    /// It was bound to a value.
    Put {
        /// The value.
        value: Vec<u8>,
        /// When the value is over, in milliseconds of unix time; 0 for never.
        expires_at_ms: u64,
    },
    /// It was removed.
    Remove,
}

/// One change, as those who follow an engine see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FeedEvent {
    /// Its number: larger than that of every change before it.
    pub seq: u64,
    /// The key.
    pub key: Vec<u8>,
    /// What happened.
    pub op: FeedOp,
    /// Whether the next change belongs to the same transaction.
    pub more: bool,
}

impl FeedEvent {
    fn size_bytes(&self) -> u64 {
        let value = match &self.op {
            FeedOp::Put { value, .. } => value.len(),
            FeedOp::Remove => 0,
        };
        (self.key.len() + value + size_of::<Self>()) as u64
    }
}

#[derive(Default)]
pub(super) struct Ring {
    events: VecDeque<FeedEvent>,
    size_bytes: u64,
    /// The first change that the ring can still give, or will give.
    first_seq: u64,
    next_seq: u64,
}

impl Ring {
    fn check(&self, from_seq: u64) -> Result<()> {
        if from_seq >= self.first_seq && from_seq <= self.next_seq {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::SnapshotNeeded,
            "the change feed does not hold that change; take a snapshot and follow from the seq after it",
        )
        .with("from_seq", from_seq)
        .with("first_seq", self.first_seq))
    }
}

pub(super) struct Feed {
    ring: Mutex<Ring>,
    news: Condvar,
    is_on: AtomicBool,
    limit_bytes: u64,
}

impl Feed {
    pub(super) fn new(limit_bytes: u64) -> Self {
        Self { ring: Mutex::default(), news: Condvar::new(), is_on: AtomicBool::new(false), limit_bytes }
    }

    /// Starts to keep changes from `next_seq` on. The caller holds every shard's lock, so no change is half done.
    pub(super) fn turn_on(&self, next_seq: u64) {
        let mut ring = self.ring.lock();
        if !self.is_on.swap(true, Ordering::Relaxed) {
            ring.first_seq = next_seq;
            ring.next_seq = next_seq;
        }
    }

    /// The feed to write a batch into, if it is on. Numbers are drawn and changes noted under its lock, so that they
    /// come in one order.
    pub(super) fn writer(&self) -> Option<MutexGuard<'_, Ring>> {
        self.is_on.load(Ordering::Relaxed).then(|| self.ring.lock())
    }

    /// Adds a change and drops the oldest beyond the limit.
    pub(super) fn push(&self, ring: &mut Ring, event: FeedEvent) {
        ring.next_seq = event.seq + 1;
        ring.size_bytes += event.size_bytes();
        ring.events.push_back(event);
        while ring.size_bytes > self.limit_bytes {
            let Some(oldest) = ring.events.pop_front() else { break };
            ring.size_bytes -= oldest.size_bytes();
            ring.first_seq = oldest.seq + 1;
        }
        self.news.notify_all();
    }

    /// # Errors
    /// `SnapshotNeeded` if the changes from `from_seq` on are not all kept.
    pub(super) fn check(&self, from_seq: u64) -> Result<()> {
        self.ring.lock().check(from_seq)
    }

    /// The first change from `from_seq` on, waiting for it until `deadline`.
    ///
    /// # Errors
    /// `SnapshotNeeded` if it is no longer kept, `Closed` once `is_closed` says so.
    pub(super) fn next(
        &self,
        from_seq: u64,
        deadline: Option<Instant>,
        is_closed: impl Fn() -> bool,
    ) -> Result<Option<FeedEvent>> {
        let mut ring = self.ring.lock();
        loop {
            ring.check(from_seq)?;
            let first = ring.events.partition_point(|event| event.seq < from_seq);
            if let Some(event) = ring.events.get(first) {
                return Ok(Some(event.clone()));
            }
            if is_closed() {
                return Err(Error::new(ErrorKind::Closed, "the engine was closed while its changes were followed"));
            }
            match deadline {
                None => self.news.wait(&mut ring),
                Some(deadline) => {
                    if self.news.wait_until(&mut ring, deadline).timed_out() {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Wakes everybody who waits, to look whether the engine was closed.
    pub(super) fn wake(&self) {
        let _ring = self.ring.lock();
        self.news.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn removal(seq: u64) -> FeedEvent {
        FeedEvent { seq, key: b"key".to_vec(), op: FeedOp::Remove, more: false }
    }

    #[test]
    fn changes_past_the_bound_need_a_snapshot() {
        let feed = Feed::new(10 * removal(0).size_bytes());
        feed.turn_on(1);
        for seq in 1..=15 {
            let mut ring = feed.writer().unwrap();
            feed.push(&mut ring, removal(seq));
        }
        let now = Some(Instant::now());
        assert_eq!(feed.next(5, now, || false).unwrap_err().kind(), ErrorKind::SnapshotNeeded);
        assert_eq!(feed.next(6, now, || false).unwrap(), Some(removal(6)));
        assert_eq!(feed.next(16, now, || false).unwrap(), None);
    }

    #[test]
    fn a_feed_that_nobody_asked_for_keeps_nothing() {
        assert!(Feed::new(100).writer().is_none());
    }
}
