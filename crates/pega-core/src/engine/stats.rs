//! What an engine tells about itself.

use crate::log::LogStats;
use crate::store::Counts;

/// The state of an engine at one moment. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stats {
    /// The keys there are.
    pub entries: u64,
    /// What the arena holds, in whole granules.
    pub memory_used_bytes: u64,
    /// The size of the arena.
    pub memory_bytes: u64,
    /// The heap that the index takes.
    pub index_bytes: u64,
    /// The leases that were taken and did not end yet.
    pub leases: u64,
    /// What was counted since the engine was opened.
    pub counts: Counts,
    /// What the log holds and did; none without a path.
    pub log: Option<LogStats>,
}

impl Stats {
    /// Every figure with its name.
    #[must_use]
    pub fn figures(&self) -> Vec<(&'static str, u64)> {
        let mut figures = vec![
            ("entries", self.entries),
            ("memory_used_bytes", self.memory_used_bytes),
            ("memory_bytes", self.memory_bytes),
            ("index_bytes", self.index_bytes),
            ("leases", self.leases),
        ];
        figures.extend(self.counts.figures());
        if let Some(log) = &self.log {
            figures.extend([
                ("disk_bytes", log.disk_bytes),
                ("disk_used_bytes", log.allocated_bytes),
                ("disk_live_bytes", log.live_bytes),
                ("disk_segments", log.segments),
                ("disk_reads", log.reads),
                ("disk_written_bytes", log.appended_bytes),
                ("disk_moved_bytes", log.moved_bytes),
                ("disk_syncs", log.syncs),
                ("last_seq", log.last_seq),
                ("durable_seq", log.durable_seq),
            ]);
        }
        figures
    }
}
