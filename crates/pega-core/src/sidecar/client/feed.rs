//! Following the engine of a sidecar.

use std::collections::VecDeque;
use std::ptr::NonNull;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Client, Connection};
use crate::error::{Error, ErrorKind, Result};
use crate::sidecar::reply::{Changed, Numbered};
use crate::sidecar::request::Request;
use crate::store::{FeedEvent, FeedOp};

/// How long one request waits for a change.
const WAIT: Duration = Duration::from_millis(500);

/// Changes of the engine of a sidecar, or everything in it.
pub struct RemoteFeed {
    connection: Arc<Connection>,
    number: u64,
    is_snapshot: bool,
    seq: u64,
    arrived: VecDeque<FeedEvent>,
}

impl Client {
    /// As [`crate::PegaEngine::subscribe`].
    ///
    /// # Errors
    /// As there; `Disconnected`.
    pub fn subscribe(&self, from_seq: Option<u64>) -> Result<RemoteFeed> {
        let number = self.with(|lane| lane.ask(&Request::Subscribe { from_seq }))?;
        Ok(self.feed(number, false, 0))
    }

    /// As [`crate::PegaEngine::snapshot`].
    ///
    /// # Errors
    /// As there; `Disconnected`.
    pub fn snapshot(&self) -> Result<RemoteFeed> {
        let (number, seq) = self.with(|lane| lane.ask(&Request::Snapshot))?;
        Ok(self.feed(number, true, seq))
    }

    /// The number of the newest change, and of the newest that came from another engine.
    ///
    /// # Errors
    /// `Disconnected`, `Closed`.
    pub fn position(&self) -> Result<(u64, u64)> {
        self.with(|lane| lane.ask(&Request::Position))
    }

    fn feed(&self, number: u64, is_snapshot: bool, seq: u64) -> RemoteFeed {
        RemoteFeed { connection: Arc::clone(&self.shared), number, is_snapshot, seq, arrived: VecDeque::new() }
    }
}

impl RemoteFeed {
    /// As [`crate::engine::Snapshot::seq`]; zero for a subscription.
    #[must_use]
    pub fn seq(&self) -> u64 {
        self.seq
    }

    /// As [`crate::engine::Subscription::next`], or for a snapshot [`crate::engine::Snapshot::next`], which never
    /// waits.
    ///
    /// # Errors
    /// As there; `Disconnected`; `MemoryFull` if the arena has no room for the value on its way.
    pub fn next(&mut self, timeout: Option<Duration>) -> Result<Option<FeedEvent>> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        loop {
            if let Some(event) = self.arrived.pop_front() {
                return Ok(Some(event));
            }
            let left = deadline.map_or(WAIT, |deadline| deadline.saturating_duration_since(Instant::now()).min(WAIT));
            self.fetch(left)?;
            if self.arrived.is_empty() && (self.is_snapshot || deadline.is_some_and(|end| Instant::now() >= end)) {
                return Ok(None);
            }
        }
    }

    fn fetch(&mut self, wait: Duration) -> Result<()> {
        let wait_ms = u32::try_from(wait.as_millis()).unwrap_or(u32::MAX);
        let ask = Request::Next { feed: self.number, wait_ms };
        let changes: Vec<Changed> = self.connection.with(|lane| lane.ask(&ask))?;
        let held: Vec<u64> = changes.iter().filter_map(|change| change.value).map(|value| value.number).collect();
        let events: Result<Vec<FeedEvent>> = changes.into_iter().map(|change| self.event(change)).collect();
        self.connection.let_go(held);
        self.arrived.extend(events?);
        Ok(())
    }

    fn event(&self, change: Changed) -> Result<FeedEvent> {
        let Changed { seq, key, value, expires_at_ms, more } = change;
        let op = match value {
            Some(value) => FeedOp::Put { value: self.copy(value)?, expires_at_ms },
            None => FeedOp::Remove,
        };
        Ok(FeedEvent { seq, key, op, more })
    }

    fn copy(&self, value: Numbered) -> Result<Vec<u8>> {
        let window = &self.connection.window;
        window.address(value.place)?;
        let size_bytes = usize::try_from(value.place.size_bytes).unwrap_or(usize::MAX);
        let mut bytes = Vec::with_capacity(size_bytes);
        let target = NonNull::new(bytes.as_mut_ptr()).expect("a vector's pointer is never null");
        // SAFETY: the vector has room for the value, which is written before its length is set.
        unsafe {
            if !window.copy_out(value.place, target)? {
                return Err(Error::new(ErrorKind::Corrupt, "a change does not match its checksum")
                    .with("value_bytes", size_bytes));
            }
            bytes.set_len(size_bytes);
        }
        Ok(bytes)
    }
}

impl Drop for RemoteFeed {
    fn drop(&mut self) {
        self.connection.let_go([self.number]);
    }
}
