//! What the index knows about one key.

use super::key_store::{KeyStore, StoredKey};
use crate::arena::Extent;
use crate::key::{Key, Space};
use crate::log::RecordAt;

/// One key's entry.
pub(crate) struct Entry {
    /// The hash of the key, kept so that growing a table reads no keys.
    pub(super) hash: u64,
    /// The change that made the entry what it is.
    pub(crate) seq: u64,
    /// The checksum of the value.
    pub(crate) checksum: u64,
    /// Unix time in milliseconds at which the entry is gone; 0 for never.
    pub(crate) expires_at_ms: u64,
    /// Where the value lies in memory, if it does.
    pub(crate) extent: Option<Extent>,
    /// Where the value lies on disk, if it does.
    pub(crate) at: Option<RecordAt>,
    /// The length of the value.
    pub(crate) value_bytes: u32,
    /// How many leases keep the entry from being dropped.
    pub(crate) leases: u32,
    /// Its time is over, and it stays only until its record goes: an older record of the key may still be on disk.
    pub(super) is_retired: bool,
    pub(super) space: Space,
    pub(super) key: StoredKey,
}

impl Entry {
    pub(crate) fn is_expired(&self, now_ms: u64) -> bool {
        self.is_retired || (self.expires_at_ms != 0 && self.expires_at_ms <= now_ms)
    }

    /// Whether the entry may expire or has expired, so that the clock matters.
    pub(crate) fn is_timed(&self) -> bool {
        self.expires_at_ms != 0
    }

    /// Whose key it is.
    pub(crate) fn space(&self) -> Space {
        self.space
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    #[inline]
    pub(super) fn has_key(&self, hash: u64, key: Key<'_>, keys: &KeyStore) -> bool {
        self.hash == hash && self.space == key.space() && keys.bytes(&self.key) == key.bytes()
    }
}

/// What a put binds to a key.
#[derive(Clone, Copy)]
pub(crate) struct Value {
    pub(crate) seq: u64,
    pub(crate) checksum: u64,
    pub(crate) expires_at_ms: u64,
    pub(crate) extent: Option<Extent>,
    pub(crate) at: Option<RecordAt>,
    pub(crate) value_bytes: u32,
}
