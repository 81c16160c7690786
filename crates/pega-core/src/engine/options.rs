//! What an engine is opened with.

use std::path::PathBuf;
use std::time::Duration;

use crate::arena::{GRANULE_BYTES, MAX_ARENA_BYTES, Sharing};
use crate::error::{Error, Result};
use crate::policy::PolicyKind;

/// Memory taken when nothing is said: a few dozen blocks of a model, little enough for a script.
const DEFAULT_MEMORY_BYTES: u64 = 256 << 20;

/// Changes kept for followers of an engine without a path.
const DEFAULT_FEED_BYTES: u64 = 16 << 20;

/// How an engine is opened. [`Options::default`] is an engine in memory.
#[derive(Clone, Debug)]
pub struct Options {
    /// The size of the arena: what values in memory take at most, in bytes.
    pub memory_bytes: u64,
    /// Who may map the arena.
    pub sharing: Sharing,
    /// What leaves memory first.
    pub policy: PolicyKind,
    /// The changes kept for those who follow an engine without a path, in bytes. With a path the log keeps them.
    pub feed_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            memory_bytes: DEFAULT_MEMORY_BYTES,
            sharing: Sharing::Private,
            policy: PolicyKind::Lru,
            feed_bytes: DEFAULT_FEED_BYTES,
        }
    }
}

impl Options {
    /// # Errors
    /// `InvalidArgument` for a size that no engine can have.
    pub(crate) fn check(&self) -> Result<()> {
        if !(GRANULE_BYTES as u64..=MAX_ARENA_BYTES).contains(&self.memory_bytes) {
            return Err(Error::invalid(format!("memory_bytes must be between {GRANULE_BYTES} and {MAX_ARENA_BYTES}"))
                .with("memory_bytes", self.memory_bytes));
        }
        Ok(())
    }

    /// Whether a full memory evicts.
    pub(crate) fn evicts_from_memory(&self) -> bool {
        true
    }
}

/// How one value is put.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PutOptions {
    /// The value is gone after this long. None for never.
    pub ttl: Option<Duration>,
}

impl PutOptions {
    /// # Errors
    /// `InvalidArgument` for a time to live of zero.
    pub(crate) fn expires_at_ms(&self, now_ms: impl FnOnce() -> u64) -> Result<u64> {
        let Some(ttl) = self.ttl else { return Ok(0) };
        if ttl.is_zero() {
            return Err(Error::invalid("a time to live must be longer than zero; leave it out for a value that stays"));
        }
        let ttl_ms = u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1);
        Ok(now_ms().saturating_add(ttl_ms))
    }
}
