//! The checksum every value carries, computed in the copy that stores it and checked in the copy that loads it.
//!
//! CRC-64/NVME: it finds every burst of up to 64 bits, is the same on every machine, and its carry-less multiplication
//! runs at three times the speed of a copy, so that the two together cost little more than the copy alone.

use std::ptr::NonNull;

use crc_fast::{CrcAlgorithm, Digest};

const ALGORITHM: CrcAlgorithm = CrcAlgorithm::Crc64Nvme;

/// Bytes copied before they are summed: few enough that they are still in the first-level cache when the sum reads
/// them. Measured at 1 MiB: 4 KiB 7.5 GB/s, 16 KiB 8.7 GB/s, 64 KiB 8.3 GB/s, the copy alone 9.2 GB/s.
const STRIDE_BYTES: usize = 16 * 1024;

/// The checksum of `bytes`.
#[must_use]
pub fn of(bytes: &[u8]) -> u64 {
    crc_fast::checksum(ALGORITHM, bytes)
}

/// The checksum of `parts` as if they were one run of bytes.
#[must_use]
pub fn of_parts(parts: &[&[u8]]) -> u64 {
    let mut digest = Digest::new(ALGORITHM);
    parts.iter().for_each(|part| digest.update(part));
    digest.finalize()
}

/// Copies `source` to `target`, which has the same length, and gives the checksum of what `target` now holds.
///
/// # Panics
/// If the lengths differ.
pub fn copy(target: &mut [u8], source: &[u8]) -> u64 {
    assert_eq!(target.len(), source.len(), "a copy needs two slices of one length");
    // SAFETY: both are valid for their common length and, one being borrowed mutably, do not overlap.
    unsafe { copy_raw(NonNull::from(target).cast(), NonNull::from(source).cast(), source.len()) }
}

/// Copies `size_bytes` bytes and gives the checksum of what the target then holds.
///
/// The sum is taken over the target, never over a second look at the source: whoever changes the source meanwhile
/// can make the copy useless, but not make it look right.
///
/// # Safety
/// `target` is valid for writes and `source` for reads of `size_bytes`, they do not overlap, and nothing else
/// writes to the target during the call. The target need not be initialised.
pub unsafe fn copy_raw(target: NonNull<u8>, source: NonNull<u8>, size_bytes: usize) -> u64 {
    if size_bytes <= STRIDE_BYTES {
        // SAFETY: the contract of this function; the bytes summed have just been written.
        unsafe {
            target.copy_from_nonoverlapping(source, size_bytes);
            return of(std::slice::from_raw_parts(target.as_ptr(), size_bytes));
        }
    }
    let mut copy = SummedCopy::default();
    // SAFETY: the contract of this function.
    unsafe { copy.copy(target, source, size_bytes) };
    copy.finish()
}

/// The smallest pages there are.
const PAGE_BYTES: usize = 4096;

/// Asks for one line of every page in what is copied next, so that its address is known when the copy comes to it: the
/// processor looks ahead by itself only within a page. Measured at 1 MiB out of a memory file, whose pages are small:
/// 6.8 GB/s without, 9.0 GB/s with; out of huge pages it makes no difference.
#[inline]
fn look_ahead(source: NonNull<u8>, next: std::ops::Range<usize>) {
    #[cfg(target_arch = "x86_64")]
    for offset in next.step_by(PAGE_BYTES) {
        let line = source.as_ptr().wrapping_add(offset);
        // SAFETY: a prefetch is a hint about an address; it reads nothing that the program could see, and never faults.
        unsafe { std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T1 }>(line.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (source, next.step_by(PAGE_BYTES));
}

/// Copies bytes piece by piece and sums them as one run.
pub struct SummedCopy(Digest);

impl Default for SummedCopy {
    fn default() -> Self {
        Self(Digest::new(ALGORITHM))
    }
}

impl SummedCopy {
    /// Copies the next `size_bytes` bytes, and sums what the target then holds.
    ///
    /// # Safety
    /// As [`copy_raw`].
    pub unsafe fn copy(&mut self, target: NonNull<u8>, source: NonNull<u8>, size_bytes: usize) {
        let mut done = 0;
        while done < size_bytes {
            let stride = STRIDE_BYTES.min(size_bytes - done);
            look_ahead(source, done + stride..size_bytes.min(done + 2 * stride));
            // SAFETY: `done + stride <= size_bytes`, within what the caller vouches for.
            unsafe {
                let piece = target.add(done);
                piece.copy_from_nonoverlapping(source.add(done), stride);
                self.0.update(std::slice::from_raw_parts(piece.as_ptr(), stride));
            }
            done += stride;
        }
    }

    /// The checksum of everything that was copied.
    #[must_use]
    pub fn finish(self) -> u64 {
        self.0.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_checksum_is_the_one_of_the_standard() {
        assert_eq!(of(b"123456789"), 0xae8b_1486_0a79_9888);
    }

    proptest! {
        #[test]
        fn a_copy_carries_the_checksum_of_its_bytes(bytes in prop::collection::vec(any::<u8>(), 0..70_000)) {
            let mut target = vec![0; bytes.len()];
            prop_assert_eq!(copy(&mut target, &bytes), of(&bytes));
            prop_assert_eq!(&target, &bytes);
        }

        #[test]
        fn parts_sum_like_the_whole(bytes in prop::collection::vec(any::<u8>(), 0..5_000), cut in 0_usize..5_000) {
            let (head, tail) = bytes.split_at(cut.min(bytes.len()));
            prop_assert_eq!(of_parts(&[head, tail]), of(&bytes));
        }
    }
}
