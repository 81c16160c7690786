//! What an engine is opened with.

use std::path::PathBuf;
use std::time::Duration;

use crate::arena::{GRANULE_BYTES, MAX_ARENA_BYTES, Sharing};
use crate::error::{Error, Result};
use crate::log::{Codec, Durability, FileIo, LogOptions, OnDamage, OnFull};
use crate::policy::PolicyKind;

/// Memory taken when nothing is said: a few dozen blocks of a model, little enough for a script.
const DEFAULT_MEMORY_BYTES: u64 = 256 << 20;

/// Changes kept for followers of an engine without a path.
const DEFAULT_FEED_BYTES: u64 = 16 << 20;

/// The most a directory takes when nothing is said.
const DEFAULT_DISK_BYTES: u64 = 16 << 30;

/// How an engine is opened. [`Options::default`] is an engine in memory; [`Options::at`] one that lasts.
#[derive(Clone, Debug)]
pub struct Options {
    /// The directory of the log; none for an engine in memory.
    pub path: Option<PathBuf>,
    /// The size of the arena: what values in memory take at most, in bytes.
    pub memory_bytes: u64,
    /// What the log takes at most, in bytes.
    pub disk_bytes: u64,
    /// The size of a segment of the log, in bytes; by default a share of `disk_bytes`.
    pub segment_bytes: Option<u64>,
    /// Who may map the arena.
    pub sharing: Sharing,
    /// What leaves memory first.
    pub policy: PolicyKind,
    /// When a write is safe.
    pub durability: Durability,
    /// How long a write may wait to be safe, where `durability` lets it.
    pub flush_interval: Duration,
    /// How values are compressed on disk.
    pub compression: Option<Codec>,
    /// What happens when there is no room. By default an engine with a path refuses, so that what was acknowledged
    /// stays, and one in memory evicts.
    pub on_full: Option<OnFull>,
    /// What happens when a log is opened that is damaged beyond telling which keys it held.
    pub on_damage: OnDamage,
    /// How files are read and written.
    pub file_io: FileIo,
    /// The changes kept for those who follow an engine without a path, in bytes. With a path the log keeps them.
    pub feed_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        let log = LogOptions::new(DEFAULT_DISK_BYTES);
        Self {
            path: None,
            memory_bytes: DEFAULT_MEMORY_BYTES,
            disk_bytes: log.disk_bytes,
            segment_bytes: log.segment_bytes,
            sharing: Sharing::Private,
            policy: PolicyKind::Lru,
            durability: log.durability,
            flush_interval: log.flush_interval,
            compression: log.compression,
            on_full: None,
            on_damage: log.on_damage,
            file_io: log.file_io,
            feed_bytes: DEFAULT_FEED_BYTES,
        }
    }
}

impl Options {
    /// The defaults for an engine whose log is in the directory `path`.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self { path: Some(path.into()), ..Self::default() }
    }

    /// # Errors
    /// `InvalidArgument` for a size that no engine can have.
    pub(crate) fn check(&self) -> Result<()> {
        if !(GRANULE_BYTES as u64..=MAX_ARENA_BYTES).contains(&self.memory_bytes) {
            return Err(Error::invalid(format!("memory_bytes must be between {GRANULE_BYTES} and {MAX_ARENA_BYTES}"))
                .with("memory_bytes", self.memory_bytes));
        }
        Ok(())
    }

    /// Whether a full memory evicts. With a log, what leaves memory stays on disk.
    pub(crate) fn evicts_from_memory(&self) -> bool {
        self.path.is_some() || self.on_full != Some(OnFull::Error)
    }

    /// How the log is opened.
    pub(crate) fn log_options(&self) -> LogOptions {
        LogOptions {
            disk_bytes: self.disk_bytes,
            segment_bytes: self.segment_bytes,
            durability: self.durability,
            flush_interval: self.flush_interval,
            compression: self.compression,
            on_full: self.on_full.unwrap_or(OnFull::Error),
            on_damage: self.on_damage,
            file_io: self.file_io,
        }
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
