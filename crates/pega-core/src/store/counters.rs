//! What the store counts.

use std::sync::atomic::{AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

macro_rules! counters {
    ($($(#[doc = $doc:literal])* $name:ident,)*) => {
        /// Counters since the engine was opened, each on a cache line of its own.
        #[derive(Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: CachePadded<AtomicU64>,)*
        }

        /// What the counters said at one moment.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Counts {
            $($(#[doc = $doc])* pub $name: u64,)*
        }

        impl Counts {
            /// Every counter with its name.
            #[must_use]
            pub fn figures(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name),)*]
            }
        }

        impl Counters {
            pub(crate) fn read(&self) -> Counts {
                Counts { $($name: self.$name.load(Ordering::Relaxed),)* }
            }
        }
    };
}

counters! {
    /// Values put.
    puts,
    /// Keys removed.
    removes,
    /// Reads that found their value in memory.
    memory_hits,
    /// Reads that found their value on disk.
    disk_hits,
    /// Reads that found nothing.
    misses,
    /// Entries that left because memory was full and they were nowhere else.
    evictions,
    /// Values that left memory and stayed on disk.
    demotions,
    /// Values that came back to memory.
    promotions,
    /// Entries whose time was over.
    expirations,
    /// Values whose bytes did not match their checksum; none of them was served.
    corruptions,
}
