//! A change on its way into the store.

use super::feed::{FeedEvent, FeedOp};
use super::staged::Staged;
use crate::index::Hashed;

/// A value that was copied from its owner and summed in the copy.
pub(crate) enum Payload<'a> {
    /// In the arena.
    Staged(Staged<'a>),
    /// On the heap: there was no room in memory, and it goes to disk only.
    Owned(Vec<u8>),
}

impl Payload<'_> {
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Staged(staged) => staged.bytes(),
            Self::Owned(bytes) => bytes,
        }
    }
}

/// What is done to a key.
pub(crate) enum Op<'a> {
    Put { payload: Payload<'a>, checksum: u64, expires_at_ms: u64 },
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
    pub(crate) fn put(hashed: Hashed<'a>, payload: Payload<'a>, checksum: u64, expires_at_ms: u64) -> Self {
        Self { hashed, op: Op::Put { payload, checksum, expires_at_ms }, existed: false }
    }

    pub(crate) fn remove(hashed: Hashed<'a>) -> Self {
        Self { hashed, op: Op::Remove, existed: false }
    }

    /// The change as those who follow the engine see it.
    pub(super) fn to_event(&self, seq: u64, more: bool) -> FeedEvent {
        let op = match &self.op {
            Op::Put { payload, expires_at_ms, .. } => {
                FeedOp::Put { value: payload.bytes().to_vec(), expires_at_ms: *expires_at_ms }
            }
            Op::Remove => FeedOp::Remove,
        };
        FeedEvent { seq, key: self.hashed.key.bytes().to_vec(), op, more }
    }
}
