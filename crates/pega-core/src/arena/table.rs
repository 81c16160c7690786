//! A table that grows without moving what it holds, so that it can be read without a lock.

use std::sync::OnceLock;

const FIRST_BITS: u32 = 10;
const CHUNKS: usize = (u32::BITS - FIRST_BITS) as usize + 1;

/// Items by number; chunk `k` holds `2^(10 + k)` of them and comes to be when one is first asked for.
pub(crate) struct Table<T> {
    chunks: [OnceLock<Box<[T]>>; CHUNKS],
}

impl<T: Default> Table<T> {
    pub(crate) fn new() -> Self {
        Self { chunks: [const { OnceLock::new() }; CHUNKS] }
    }

    pub(crate) fn get(&self, number: u32) -> Option<&T> {
        let (chunk, within) = locate(number);
        self.chunks[chunk].get()?.get(within)
    }

    pub(crate) fn get_or_grow(&self, number: u32) -> &T {
        let (chunk, within) = locate(number);
        let items = self.chunks[chunk]
            .get_or_init(|| (0..1_usize << (FIRST_BITS as usize + chunk)).map(|_| T::default()).collect());
        &items[within]
    }
}

fn locate(number: u32) -> (usize, usize) {
    let shifted = u64::from(number) + (1 << FIRST_BITS);
    let bits = u64::BITS - 1 - shifted.leading_zeros();
    ((bits - FIRST_BITS) as usize, (shifted - (1 << bits)) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn every_number_has_a_place_of_its_own() {
        let table = Table::<AtomicU32>::new();
        for number in 0..5000 {
            table.get_or_grow(number).store(number, Ordering::Relaxed);
        }
        assert!((0..5000).all(|number| table.get(number).unwrap().load(Ordering::Relaxed) == number));
        assert!(table.get(u32::MAX).is_none());
    }

    #[test]
    fn the_last_number_has_a_place_too() {
        assert_eq!(locate(0), (0, 0));
        assert_eq!(locate(1023), (0, 1023));
        assert_eq!(locate(1024), (1, 0));
        assert_eq!(locate(u32::MAX).0, CHUNKS - 1);
    }
}
