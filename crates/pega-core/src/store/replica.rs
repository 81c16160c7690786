//! Following another engine: what is applied, and what others can follow here.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use super::changes::Change;
use super::feed::{FeedEvent, FeedOp};
use super::read::Whereabouts;
use super::{Store, now_ms};
use crate::error::{Error, ErrorKind, Result};
use crate::index::{Hashed, ShardSet};
use crate::key::{Key, Space};
use crate::log::History;

/// How long a wait for the log's news lasts before the engine is looked at again: it may have been closed.
const WAIT: Duration = Duration::from_millis(100);

/// The key under which a follower's position is kept, in a space of its own.
const POSITION: &[u8] = b"applied";

/// A place in the changes of a store.
pub(crate) enum Cursor {
    /// In the feed of a store without a log.
    Feed { next_seq: u64 },
    /// In the log; no history before something was written.
    Log { next_seq: u64, history: Option<History> },
}

impl Store {
    /// The number of the newest change.
    pub(crate) fn last_seq(&self) -> u64 {
        match &self.disk {
            Some(disk) => disk.log.last_seq(),
            None => self.next_seq.load(Ordering::Relaxed) - 1,
        }
    }

    /// A number such that everything up to it is in the index, and the changes after it can be followed.
    pub(crate) fn settled_seq(&self) -> u64 {
        match &self.disk {
            Some(disk) => {
                let _held_off = disk.hold_all_off();
                disk.log.last_seq()
            }
            None => {
                let _shards = self.index.write_set(ShardSet::ALL);
                let next_seq = self.next_seq.load(Ordering::Relaxed);
                self.feed.turn_on(next_seq);
                next_seq - 1
            }
        }
    }

    /// A place before the change `from_seq`; without one, after the newest.
    ///
    /// # Errors
    /// `SnapshotNeeded` if the changes are not all there any more; `Closed`, `Io`.
    pub(crate) fn cursor(&self, from_seq: Option<u64>) -> Result<Cursor> {
        self.check_open()?;
        let next_seq = from_seq.unwrap_or_else(|| self.settled_seq() + 1);
        let Some(disk) = &self.disk else {
            self.settled_seq();
            self.feed.check(next_seq)?;
            return Ok(Cursor::Feed { next_seq });
        };
        Ok(Cursor::Log { next_seq, history: disk.log.history(next_seq)? })
    }

    /// The next change of the general engine, waited for until `timeout` has passed.
    ///
    /// # Errors
    /// `SnapshotNeeded` if it is not there any more; `Closed`, `Corrupt`, `Io`.
    pub(crate) fn next_change(&self, cursor: &mut Cursor, timeout: Option<Duration>) -> Result<Option<FeedEvent>> {
        let deadline = timeout.and_then(|timeout| Instant::now().checked_add(timeout));
        match cursor {
            Cursor::Feed { next_seq } => {
                let event = self.feed.next(*next_seq, deadline, || self.is_closed())?;
                if let Some(event) = &event {
                    *next_seq = event.seq + 1;
                }
                Ok(event)
            }
            Cursor::Log { next_seq, history } => self.next_logged(next_seq, history, deadline),
        }
    }

    fn next_logged(
        &self,
        next_seq: &mut u64,
        history: &mut Option<History>,
        deadline: Option<Instant>,
    ) -> Result<Option<FeedEvent>> {
        let Some(disk) = &self.disk else { return Ok(None) };
        loop {
            self.check_open()?;
            if history.is_none() {
                *history = disk.log.history(*next_seq)?;
            }
            if let Some(history) = history {
                while let Some(change) = history.next_change()? {
                    *next_seq = history.next_seq();
                    let Some(key) = Key::from_stored(&change.key).filter(|key| key.space() == Space::USER) else {
                        continue;
                    };
                    let key = key.bytes().to_vec();
                    let op = match change.value {
                        Some(value) => FeedOp::Put { value, expires_at_ms: change.expires_at_ms },
                        None => FeedOp::Remove,
                    };
                    return Ok(Some(FeedEvent { seq: change.seq, key, op, more: change.more }));
                }
            }
            let left = deadline.map_or(WAIT, |deadline| deadline.saturating_duration_since(Instant::now()).min(WAIT));
            if left.is_zero() {
                return Ok(None);
            }
            let _ = disk.log.wait_for_news(next_seq.saturating_sub(1), left);
        }
    }

    /// Applies changes of another store, all or none, and remembers how far it came. Those applied before are passed
    /// over.
    pub(crate) fn apply_events(&self, events: &[FeedEvent]) -> Result<()> {
        let applied = self.applied_seq()?;
        let now = now_ms();
        let mut changes = Vec::with_capacity(events.len() + 1);
        for event in events.iter().filter(|event| event.seq > applied) {
            let hashed = self.index.hashed(Key::user(&event.key)?);
            changes.push(match &event.op {
                FeedOp::Put { value, expires_at_ms } if *expires_at_ms == 0 || *expires_at_ms > now => {
                    self.stage(hashed, value, *expires_at_ms)?
                }
                FeedOp::Put { .. } | FeedOp::Remove => Change::remove(hashed),
            });
        }
        match events.last() {
            Some(last) if last.seq > applied => self.commit_with_position(changes, last.seq),
            _ => Ok(()),
        }
    }

    /// Applies changes together with the position that a follower goes on from.
    pub(crate) fn commit_with_position<'a>(&'a self, mut changes: Vec<Change<'a>>, seq: u64) -> Result<()> {
        if self.is_logged() {
            changes.push(self.stage(self.position_key(), &seq.to_le_bytes(), 0)?);
        }
        self.commit(&mut changes)?;
        self.applied_seq.store(seq, Ordering::Release);
        Ok(())
    }

    /// The newest change of another store that was applied here; 0 if none was.
    pub(crate) fn applied_seq(&self) -> Result<u64> {
        let applied = self.applied_seq.load(Ordering::Acquire);
        if applied != 0 || !self.is_logged() {
            return Ok(applied);
        }
        let Some(held) = self.hold(self.position_key())? else { return Ok(0) };
        let mut seq = [0; 8];
        if held.len() != seq.len() || !held.copy_into(&mut seq) {
            return Err(Error::new(ErrorKind::Corrupt, "the position of a follower is damaged; restore a snapshot"));
        }
        Ok(u64::from_le_bytes(seq))
    }

    fn position_key(&self) -> Hashed<'static> {
        self.index.hashed(Key::of(Space::POSITION, POSITION).expect("a fixed key"))
    }

    /// A value and its time, copied without being counted as a use or brought to memory.
    pub(crate) fn peek(&self, hashed: Hashed<'_>) -> Result<Option<(Vec<u8>, u64)>> {
        let expires_at_ms = {
            let shard = self.index.read(hashed.shard());
            let Some(slot) = shard.find(hashed.hash, hashed.key) else { return Ok(None) };
            shard.entry(slot).expires_at_ms
        };
        loop {
            let len = match self.locate(hashed) {
                None => return Ok(None),
                Some(Whereabouts::Memory(held, _)) => held.len(),
                Some(Whereabouts::Disk { value_bytes, .. }) => value_bytes,
            };
            let mut value = vec![0; len];
            if self.read_through(hashed, &mut value)? {
                return Ok(Some((value, expires_at_ms)));
            }
        }
    }
}
