//! What an engine tells about itself.

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
    /// What was counted since the engine was opened.
    pub counts: Counts,
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
        ];
        figures.extend(self.counts.figures());
        figures
    }
}
