//! Counts of recent uses per key, halved as time goes by.

/// Counters stop here, so that old fame fades within a few halvings.
const MOST_USES: u32 = 15;
/// Uses per resident entry after which every count is halved.
const USES_PER_ENTRY: u64 = 10;
/// Counters in a bucket of one cache line; the sixteenth word says when the bucket was halved last.
const SLOTS: usize = 15;

const COUNT_BITS: u32 = 4;
const COUNT_MASK: u32 = (1 << COUNT_BITS) - 1;

/// One cache line: fifteen counters of 28 bits of fingerprint and 4 of count, and the age of the bucket.
#[repr(align(64))]
#[derive(Clone, Copy)]
struct Bucket {
    counters: [u32; SLOTS],
    halvings: u32,
}

/// Use counts by key hash, 64 bytes per entry the cache may hold.
///
/// A count is exact but for two keys sharing 28 bits of fingerprint within a bucket, and for the rarest key of a
/// full bucket, which gives way to a new one. Halving is owed to a bucket until it is looked at, so no operation
/// ever sweeps the table.
pub(super) struct Frequencies {
    buckets: Vec<Bucket>,
    mask: u64,
    halvings: u32,
    uses: u64,
}

impl Frequencies {
    pub(super) fn new(max_entries: u32) -> Self {
        let count = u64::from(max_entries.max(16)).next_power_of_two();
        Self {
            buckets: vec![Bucket { counters: [0; SLOTS], halvings: 0 }; count as usize],
            mask: count - 1,
            halvings: 0,
            uses: 0,
        }
    }

    /// Counts one use of `key_hash`, with `resident` entries in the cache.
    pub(super) fn record(&mut self, key_hash: u64, resident: usize) {
        let fingerprint = fingerprint(key_hash);
        let bucket = self.bucket(key_hash);
        let slot = bucket.slot_of(fingerprint).unwrap_or_else(|| bucket.rarest());
        let counter = &mut bucket.counters[slot];
        if *counter >> COUNT_BITS != fingerprint {
            *counter = fingerprint << COUNT_BITS;
        }
        if *counter & COUNT_MASK < MOST_USES {
            *counter += 1;
        }
        self.uses += 1;
        if self.uses >= USES_PER_ENTRY * (resident as u64).max(16) {
            self.uses = 0;
            self.halvings = self.halvings.wrapping_add(1);
        }
    }

    /// Uses of `key_hash` counted and not yet faded.
    pub(super) fn estimate(&mut self, key_hash: u64) -> u32 {
        let fingerprint = fingerprint(key_hash);
        let bucket = self.bucket(key_hash);
        bucket.slot_of(fingerprint).map_or(0, |slot| bucket.counters[slot] & COUNT_MASK)
    }

    fn bucket(&mut self, key_hash: u64) -> &mut Bucket {
        let bucket = &mut self.buckets[(key_hash & self.mask) as usize];
        let owed = self.halvings.wrapping_sub(bucket.halvings);
        if owed > 0 {
            bucket.halve(owed);
            bucket.halvings = self.halvings;
        }
        bucket
    }
}

impl Bucket {
    fn slot_of(&self, fingerprint: u32) -> Option<usize> {
        self.counters.iter().position(|counter| counter >> COUNT_BITS == fingerprint && counter & COUNT_MASK > 0)
    }

    fn rarest(&self) -> usize {
        (0..SLOTS).min_by_key(|&slot| self.counters[slot] & COUNT_MASK).unwrap_or(0)
    }

    fn halve(&mut self, times: u32) {
        for counter in &mut self.counters {
            let count = (*counter & COUNT_MASK).checked_shr(times).unwrap_or(0);
            *counter = (*counter & !COUNT_MASK) | count;
        }
    }
}

fn fingerprint(key_hash: u64) -> u32 {
    (key_hash >> 36) as u32
}

#[cfg(test)]
mod tests {
    use super::Frequencies;

    fn spread(key: u64) -> u64 {
        key.wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(32)
    }

    #[test]
    fn counts_are_exact_up_to_fifteen() {
        let mut uses = Frequencies::new(1000);
        for key in 0..20 {
            for _ in 0..key {
                uses.record(spread(key), 1000);
            }
        }
        for key in 0..20 {
            assert_eq!(uses.estimate(spread(key)), (key as u32).min(15));
        }
    }

    #[test]
    fn counts_halve_after_ten_uses_an_entry() {
        let mut uses = Frequencies::new(1000);
        for _ in 0..8 {
            uses.record(spread(1), 1000);
        }
        for key in 0..(10_000 - 8) {
            uses.record(spread(1000 + key), 1000);
        }
        assert_eq!(uses.estimate(spread(1)), 4);
    }

    #[test]
    fn a_key_not_seen_for_long_is_forgotten() {
        let mut uses = Frequencies::new(16);
        uses.record(spread(1), 16);
        for key in 0..10_000 {
            uses.record(spread(2 + key), 16);
        }
        assert_eq!(uses.estimate(spread(1)), 0);
    }
}
