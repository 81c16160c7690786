//! A change on its way into the store.

use super::feed::{FeedEvent, FeedOp};
use super::staged::Staged;
use crate::index::Hashed;

/// What is done to a key.
pub(crate) enum Op<'a> {
    Put {
        /// Where the value lies in memory; none if there was no room and it goes to disk only.
        staged: Option<Staged<'a>>,
        /// The value where it came from, if it is not in memory.
        source: &'a [u8],
        checksum: u64,
        value_bytes: u32,
        expires_at_ms: u64,
    },
    Remove,
}

/// One change of a batch.
pub(crate) struct Change<'a> {
    pub(crate) hashed: Hashed<'a>,
    pub(crate) op: Op<'a>,
    /// Set when the change was applied: whether the key was there before.
    pub(crate) existed: bool,
}

impl<'a> Change<'a> {
    pub(crate) fn remove(hashed: Hashed<'a>) -> Self {
        Self { hashed, op: Op::Remove, existed: false }
    }

    /// The change as those who follow the engine see it.
    pub(super) fn to_event(&self, seq: u64, more: bool) -> FeedEvent {
        let op = match &self.op {
            Op::Put { staged, source, expires_at_ms, .. } => FeedOp::Put {
                value: staged.as_ref().map_or(*source, Staged::bytes).into(),
                expires_at_ms: *expires_at_ms,
            },
            Op::Remove => FeedOp::Remove,
        };
        FeedEvent { seq, key: self.hashed.key.bytes().to_vec(), op, more }
    }
}
