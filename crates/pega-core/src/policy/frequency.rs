//! Counts of recent uses per key, halved as time goes by.

/// Counters stop here, so that old fame fades within a few halvings.
const MOST_USES: u32 = 15;
/// Uses per resident entry after which every count is halved.
const USES_PER_ENTRY: u64 = 10;
/// Counters in a bucket.
const SLOTS: usize = 15;
/// The word of a bucket that says how many halvings it has seen.
const HALVINGS: usize = 15;
const LEAST_BUCKETS: usize = 64;

const COUNT_BITS: u32 = 4;
const COUNT_MASK: u32 = (1 << COUNT_BITS) - 1;

/// Fifteen counters of 28 bits of fingerprint and 4 of count, and the age of the bucket: the size of a cache line.
type Bucket = [u32; SLOTS + 1];

/// Use counts by key hash, 64 to 128 bytes per resident entry.
///
/// A count is exact but for two keys sharing 28 bits of fingerprint within a bucket, and for the rarest key of a
/// full bucket, which gives way to a new one. Halving is owed to a bucket until it is looked at, so no operation
/// ever sweeps the table. Room for the most entries is reserved at the start but touched only as they come: the
/// table in use doubles within it, and each half keeps the counts of both until they fade.
pub(super) struct Frequencies {
    buckets: Vec<Bucket>,
    buckets_in_use: usize,
    halvings: u32,
    uses: u64,
}

impl Frequencies {
    pub(super) fn new(max_entries: u32) -> Self {
        let buckets = (max_entries as usize).next_power_of_two().max(LEAST_BUCKETS);
        Self { buckets: vec![[0; SLOTS + 1]; buckets], buckets_in_use: LEAST_BUCKETS, halvings: 0, uses: 0 }
    }

    /// Counts one use of `key_hash`, with `resident` entries in the cache.
    pub(super) fn record(&mut self, key_hash: u64, resident: usize) {
        // Doubling at half the room keeps full buckets, and so forgotten counts, rare.
        if 2 * resident > self.buckets_in_use && self.buckets_in_use < self.buckets.len() {
            self.buckets.copy_within(..self.buckets_in_use, self.buckets_in_use);
            self.buckets_in_use *= 2;
        }
        let fingerprint = fingerprint(key_hash);
        let bucket = self.bucket(key_hash);
        let slot = slot_of(bucket, fingerprint).unwrap_or_else(|| rarest(bucket));
        let counter = &mut bucket[slot];
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
        slot_of(bucket, fingerprint).map_or(0, |slot| bucket[slot] & COUNT_MASK)
    }

    /// The bucket of `key_hash`, with the halvings done that it was owed.
    fn bucket(&mut self, key_hash: u64) -> &mut Bucket {
        let bucket = &mut self.buckets[key_hash as usize & (self.buckets_in_use - 1)];
        let owed = self.halvings.wrapping_sub(bucket[HALVINGS]);
        if owed > 0 {
            for counter in &mut bucket[..SLOTS] {
                let count = (*counter & COUNT_MASK).checked_shr(owed).unwrap_or(0);
                *counter = (*counter & !COUNT_MASK) | count;
            }
            bucket[HALVINGS] = self.halvings;
        }
        bucket
    }
}

fn slot_of(bucket: &Bucket, fingerprint: u32) -> Option<usize> {
    let is_its = |counter: &u32| counter >> COUNT_BITS == fingerprint && counter & COUNT_MASK > 0;
    bucket[..SLOTS].iter().position(is_its)
}

fn rarest(bucket: &Bucket) -> usize {
    (0..SLOTS).min_by_key(|&slot| bucket[slot] & COUNT_MASK).unwrap_or(0)
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
    fn counts_outlive_the_growth_of_the_table() {
        let mut uses = Frequencies::new(10_000);
        for key in 0..50 {
            uses.record(spread(key), 0);
        }
        for resident in (0..10_000).step_by(50) {
            uses.record(spread(50), resident);
        }
        assert!((0..50).all(|key| uses.estimate(spread(key)) == 1));
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
