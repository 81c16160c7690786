//! How many different blocks there were, in 16 KiB: what an infinite cache would have missed.
//!
//! HyperLogLog (Flajolet et al., 2007) with 2^14 registers: a standard error of 0.8 %.

use std::sync::atomic::{AtomicU8, Ordering};

const REGISTER_BITS: u32 = 14;
const REGISTERS: usize = 1 << REGISTER_BITS;

/// Counts different hashes, roughly, from any thread.
pub(super) struct Distinct {
    registers: Box<[AtomicU8]>,
}

impl Distinct {
    pub(super) fn new() -> Self {
        Self { registers: (0..REGISTERS).map(|_| AtomicU8::new(0)).collect() }
    }

    pub(super) fn add(&self, hash: u64) {
        let register = (hash >> (u64::BITS - REGISTER_BITS)) as usize;
        let rank = ((hash << REGISTER_BITS).leading_zeros() + 1).min(u64::BITS - REGISTER_BITS + 1) as u8;
        if self.registers[register].load(Ordering::Relaxed) < rank {
            self.registers[register].fetch_max(rank, Ordering::Relaxed);
        }
    }

    pub(super) fn count(&self) -> u64 {
        let mut sum = 0.0;
        let mut zeros = 0;
        for register in &self.registers {
            let rank = register.load(Ordering::Relaxed);
            sum += (-f64::from(rank)).exp2();
            zeros += u32::from(rank == 0);
        }
        let m = REGISTERS as f64;
        let estimate = 0.7213 / (1.0 + 1.079 / m) * m * m / sum;
        // Few hashes leave many registers at zero, which tell more than the ranks do.
        let refined = if estimate <= 2.5 * m && zeros > 0 { m * (m / f64::from(zeros)).ln() } else { estimate };
        refined.round() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use xxhash_rust::xxh3::xxh3_64;

    #[test]
    fn different_hashes_are_counted_within_three_percent() {
        for count in [0_u64, 1, 100, 10_000, 300_000] {
            let distinct = Distinct::new();
            for i in (0..count).chain(0..count / 2) {
                distinct.add(xxh3_64(&i.to_le_bytes()));
            }
            let off = distinct.count().abs_diff(count);
            assert!(off * 100 <= count * 3, "{count} hashes were counted as {}", distinct.count());
        }
    }
}
