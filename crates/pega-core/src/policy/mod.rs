//! Eviction policies behind one trait, chosen by name.
//!
//! A policy orders the resident entries and names the next one to go. It never touches a byte of a value: the
//! engine hands it dense slot ids (`0..max_entries`), a 64-bit hash of each key for the memory of what was evicted,
//! and a weight. Every structure is sized when the policy is built, so no operation allocates as long as ids stay
//! below [`PolicyLimits::max_entries`].
//!
//! One insertion of an absent key is [`announce`](EvictionPolicy::announce), then as many
//! [`victim`](EvictionPolicy::victim) calls as it takes to make room, then [`insert`](EvictionPolicy::insert).
//! Between them other operations may run; only the quality of the choice suffers.

mod arc;
mod fifo;
mod frequency;
mod ghost;
mod heap;
mod list;
mod lru;
mod next_use;
mod s3fifo;
mod sieve;
#[cfg(test)]
mod tests;
mod weighted_lru;
mod wtinylfu;

use std::str::FromStr;

use crate::error::{Error, Result};
use arc::Arc;
use fifo::Fifo;
use lru::Lru;
use next_use::NextUse;
use s3fifo::S3Fifo;
use sieve::Sieve;
use weighted_lru::WeightedLru;
use wtinylfu::WTinyLfu;

/// What a policy is told about the room it governs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PolicyLimits {
    /// Sum of the weights that fit at once, in the unit of the weights given to [`EvictionPolicy::insert`].
    pub capacity_weight: u64,
    /// Most entries resident at once. Sizes the tables; ids beyond it work, at the price of an allocation.
    pub max_entries: u32,
}

/// What the owner of an entry knows about its future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hint {
    /// The entry is not expected to be used again: it goes before every other one, unless it is touched first.
    Release,
    /// The entry is expected to be used at this time, on the clock of [`EvictionPolicy::advance`].
    NextUse {
        /// Milliseconds on the clock of [`EvictionPolicy::advance`].
        at_ms: u64,
    },
}

/// An order of eviction over dense slot ids.
///
/// Calls with an id that is not resident are ignored, except `insert`, which must not be called for one that is.
pub trait EvictionPolicy: Send {
    /// Says that the absent key `key_hash` is about to be inserted, before room is made for it.
    ///
    /// Policies that remember evicted keys or count uses learn from it.
    fn announce(&mut self, key_hash: u64) {
        let _ = key_hash;
    }

    /// Takes in entry `id`, which becomes resident.
    fn insert(&mut self, id: u32, key_hash: u64, weight: u32);

    /// Records a use of `id`.
    fn touch(&mut self, id: u32);

    /// Records a use of `id` by the operation that stores it.
    ///
    /// If it was that operation that inserted `id`, which is told by this being the first such call since, the entry
    /// only becomes the newest, so that a chain of entries can be put in order without counting anything twice.
    fn arrange(&mut self, id: u32);

    /// Forgets `id` without remembering its key: it was removed by its owner, not evicted.
    fn remove(&mut self, id: u32);

    /// Changes the weight of `id`, whose value was replaced in place. Its position stays.
    fn reweigh(&mut self, id: u32, weight: u32);

    /// Takes out the entry that should go next, and remembers its key where the policy does so.
    ///
    /// Entries that `may_evict` refuses (they are pinned) are passed over and count as just used. `None` means that
    /// every resident entry was refused. The first entry accepted is the one taken out, and nothing is asked after it,
    /// so `may_evict` may claim it.
    fn victim(&mut self, may_evict: &mut dyn FnMut(u32) -> bool) -> Option<u32>;

    /// Takes account of what is known about the future of `id`. Policies that cannot use a hint ignore it.
    fn hint(&mut self, id: u32, hint: Hint);

    /// Moves the policy's clock forward. Only policies that use hints about time look at it.
    fn advance(&mut self, now_ms: u64) {
        let _ = now_ms;
    }

    /// Number of resident entries.
    fn len(&self) -> usize;

    /// Whether no entry is resident.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The policies there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum PolicyKind {
    /// Oldest insertion first.
    Fifo,
    /// Least recently used first.
    #[default]
    Lru,
    /// Recency and frequency, balanced by the ghosts of each.
    Arc,
    /// A small FIFO before a large one, with ghosts.
    S3Fifo,
    /// One FIFO with a hand that spares what was used.
    Sieve,
    /// A window before a segmented LRU that admits by frequency.
    WTinyLfu,
    /// LRU by idle time and weight.
    WeightedLru,
    /// Furthest next use first, as hints tell; LRU without them.
    NextUse,
}

impl PolicyKind {
    /// Every policy, in the order of the documentation.
    pub const ALL: &'static [PolicyKind] = &[
        Self::Fifo,
        Self::Lru,
        Self::Arc,
        Self::S3Fifo,
        Self::Sieve,
        Self::WTinyLfu,
        Self::WeightedLru,
        Self::NextUse,
    ];

    /// The policy called `name`, as in the options of an engine.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|kind| kind.name() == name)
    }

    /// The name by which this policy is chosen.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fifo => "fifo",
            Self::Lru => "lru",
            Self::Arc => "arc",
            Self::S3Fifo => "s3-fifo",
            Self::Sieve => "sieve",
            Self::WTinyLfu => "w-tinylfu",
            Self::WeightedLru => "weighted-lru",
            Self::NextUse => "next-use",
        }
    }

    /// Builds the policy with all its tables allocated.
    #[must_use]
    pub fn build(self, limits: PolicyLimits) -> Box<dyn EvictionPolicy> {
        match self {
            Self::Fifo => Box::new(Fifo::new(limits)),
            Self::Lru => Box::new(Lru::new(limits)),
            Self::Arc => Box::new(Arc::new(limits)),
            Self::S3Fifo => Box::new(S3Fifo::new(limits)),
            Self::Sieve => Box::new(Sieve::new(limits)),
            Self::WTinyLfu => Box::new(WTinyLfu::new(limits)),
            Self::WeightedLru => Box::new(WeightedLru::new(limits)),
            Self::NextUse => Box::new(NextUse::new(limits)),
        }
    }
}

impl FromStr for PolicyKind {
    type Err = Error;

    /// The policy called `name`, or an error that lists the names there are.
    fn from_str(name: &str) -> Result<Self> {
        Self::from_name(name).ok_or_else(|| {
            let names: Vec<_> = Self::ALL.iter().map(|kind| kind.name()).collect();
            Error::invalid(format!("no eviction policy is called {name:?}; choose one of {}", names.join(", ")))
        })
    }
}
