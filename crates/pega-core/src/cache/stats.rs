//! What a namespace tells about itself.

use std::sync::atomic::Ordering;

use super::namespace::Namespace;
use crate::store::Store;

/// The state of a namespace at one moment, and what was counted since the engine was opened. Sizes are in bytes of
/// blocks.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CacheStats {
    /// The blocks there are.
    pub blocks: u64,
    /// What they take.
    pub block_bytes: u64,
    /// The most they may take; `None` without a quota.
    pub quota_bytes: Option<u64>,
    /// Blocks leased that were in memory.
    pub memory_hits: u64,
    /// Blocks leased that were on disk.
    pub disk_hits: u64,
    /// Blocks asked for by a lease that were nowhere.
    pub misses: u64,
    /// Blocks loaded.
    pub loaded_blocks: u64,
    /// Their bytes.
    pub loaded_bytes: u64,
    /// Blocks that a load could not have.
    pub load_failures: u64,
    /// Blocks stored.
    pub stored_blocks: u64,
    /// Their bytes.
    pub stored_bytes: u64,
    /// Blocks that were to be stored and were there already.
    pub present_blocks: u64,
    /// Blocks for which there was no room.
    pub refused_blocks: u64,
    /// Blocks given up for the quota.
    pub quota_drops: u64,
    /// How long a block stayed in memory, of those that left it, in seconds; `None` if none did.
    pub memory_residence_s: Option<f64>,
    /// How long a block was kept at all, of those that were given up, in seconds; `None` if none was.
    pub lifetime_s: Option<f64>,
    /// The share of the blocks asked for or stored that were there.
    pub hit_rate: Option<f64>,
    /// What that share would be if nothing had ever been given up, within about one percent.
    pub infinite_hit_rate: Option<f64>,
}

impl CacheStats {
    pub(super) fn of(store: &Store, namespace: &Namespace) -> Self {
        let read = |figure: &std::sync::atomic::AtomicU64| figure.load(Ordering::Relaxed);
        let (account, traffic) = (namespace.account(store), &namespace.traffic);
        let mean_s = |sum: u64, number: u64| (number > 0).then(|| sum as f64 / number as f64 / 1000.0);
        let hits = read(&traffic.memory_hits) + read(&traffic.disk_hits);
        // A block that has to be stored was asked for and was not there; one that is there already was found.
        let asked = hits + read(&traffic.stored_blocks) + read(&traffic.refused_blocks);
        let share = |part: u64| (asked > 0).then(|| part as f64 / asked as f64);
        Self {
            blocks: read(&account.blocks),
            block_bytes: read(&account.block_bytes),
            quota_bytes: namespace.quota_bytes(),
            memory_hits: read(&traffic.memory_hits),
            disk_hits: read(&traffic.disk_hits),
            misses: read(&traffic.misses),
            loaded_blocks: read(&traffic.loaded_blocks),
            loaded_bytes: read(&traffic.loaded_bytes),
            load_failures: read(&traffic.load_failures),
            stored_blocks: read(&traffic.stored_blocks),
            stored_bytes: read(&traffic.stored_bytes),
            present_blocks: read(&traffic.present_blocks),
            refused_blocks: read(&traffic.refused_blocks),
            quota_drops: read(&traffic.quota_drops),
            memory_residence_s: mean_s(read(&account.resident_ms), read(&account.departures)),
            lifetime_s: mean_s(read(&account.lifetime_ms), read(&account.drops)),
            hit_rate: share(hits),
            infinite_hit_rate: share(asked.saturating_sub(namespace.distinct.count())),
        }
    }
}

impl CacheStats {
    /// Every count with its name.
    #[must_use]
    pub fn counts(&self) -> [(&'static str, u64); 13] {
        [
            ("blocks", self.blocks),
            ("block_bytes", self.block_bytes),
            ("memory_hits", self.memory_hits),
            ("disk_hits", self.disk_hits),
            ("misses", self.misses),
            ("loaded_blocks", self.loaded_blocks),
            ("loaded_bytes", self.loaded_bytes),
            ("load_failures", self.load_failures),
            ("stored_blocks", self.stored_blocks),
            ("stored_bytes", self.stored_bytes),
            ("present_blocks", self.present_blocks),
            ("refused_blocks", self.refused_blocks),
            ("quota_drops", self.quota_drops),
        ]
    }

    /// Every time and share with its name.
    #[must_use]
    pub fn measures(&self) -> [(&'static str, Option<f64>); 4] {
        [
            ("memory_residence_s", self.memory_residence_s),
            ("lifetime_s", self.lifetime_s),
            ("hit_rate", self.hit_rate),
            ("infinite_hit_rate", self.infinite_hit_rate),
        ]
    }
}
