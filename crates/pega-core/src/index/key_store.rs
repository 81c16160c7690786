//! The bytes of keys: short ones within their entry, longer ones in cells of a few sizes that are used again.

/// Keys up to this size lie in their entry: a block's hash does.
const INLINE_BYTES: usize = 32;

/// Cells are powers of two from 64 bytes to 4 KiB.
const SMALLEST_CELL_BITS: u32 = 6;
const CELL_SIZES: usize = 7;
const CHUNK_BYTES: usize = 64 * 1024;

/// A key's bytes, or where they are.
#[derive(Clone, Copy)]
pub(super) struct StoredKey {
    len: u16,
    /// The bytes themselves, or the number of a chunk and the offset in it.
    inline: [u8; INLINE_BYTES],
}

#[derive(Clone, Copy)]
struct Cell {
    chunk: u32,
    offset: u32,
}

/// The longer keys of one shard.
#[derive(Default)]
pub(super) struct KeyStore {
    chunks: Vec<Box<[u8]>>,
    free: [Vec<Cell>; CELL_SIZES],
}

impl KeyStore {
    pub(super) fn store(&mut self, key: &[u8]) -> StoredKey {
        let len = u16::try_from(key.len()).expect("keys are at most 4 KiB");
        let mut inline = [0; INLINE_BYTES];
        if key.len() <= INLINE_BYTES {
            inline[..key.len()].copy_from_slice(key);
            return StoredKey { len, inline };
        }
        let cell = self.take(cell_size(key.len()));
        let start = cell.offset as usize;
        self.chunks[cell.chunk as usize][start..start + key.len()].copy_from_slice(key);
        inline[..4].copy_from_slice(&cell.chunk.to_le_bytes());
        inline[4..8].copy_from_slice(&cell.offset.to_le_bytes());
        StoredKey { len, inline }
    }

    fn take(&mut self, size: usize) -> Cell {
        if let Some(cell) = self.free[size].pop() {
            return cell;
        }
        let chunk = u32::try_from(self.chunks.len()).expect("fewer chunks than keys");
        self.chunks.push(vec![0; CHUNK_BYTES].into_boxed_slice());
        let cell_bytes = 1_usize << (SMALLEST_CELL_BITS as usize + size);
        let offsets = (0..CHUNK_BYTES).step_by(cell_bytes).skip(1);
        self.free[size].extend(offsets.rev().map(|offset| Cell { chunk, offset: offset as u32 }));
        Cell { chunk, offset: 0 }
    }

    pub(super) fn discard(&mut self, key: &StoredKey) {
        if let Some(cell) = key.cell() {
            self.free[cell_size(usize::from(key.len))].push(cell);
        }
    }

    #[inline]
    pub(super) fn bytes<'a>(&'a self, key: &'a StoredKey) -> &'a [u8] {
        let len = usize::from(key.len);
        match key.cell() {
            None => &key.inline[..len],
            Some(cell) => &self.chunks[cell.chunk as usize][cell.offset as usize..cell.offset as usize + len],
        }
    }

    /// The heap that the longer keys take, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        let free: usize = self.free.iter().map(|cells| cells.capacity() * size_of::<Cell>()).sum();
        self.chunks.len() * CHUNK_BYTES + free
    }
}

impl StoredKey {
    #[inline]
    fn cell(&self) -> Option<Cell> {
        if usize::from(self.len) <= INLINE_BYTES {
            return None;
        }
        let number = |at: usize| u32::from_le_bytes(self.inline[at..at + 4].try_into().expect("four bytes"));
        Some(Cell { chunk: number(0), offset: number(4) })
    }
}

fn cell_size(len: usize) -> usize {
    (len.next_power_of_two().trailing_zeros().max(SMALLEST_CELL_BITS) - SMALLEST_CELL_BITS) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn cells_of_discarded_keys_are_used_again() {
        let mut keys = KeyStore::default();
        for i in 0..10_000_u32 {
            let key = keys.store(&[i as u8; 100]);
            keys.discard(&key);
        }
        assert_eq!(keys.chunks.len(), 1);
    }

    proptest! {
        #[test]
        fn keys_of_every_length_keep_their_bytes(lens in prop::collection::vec(1_usize..=4096, 1..60)) {
            let mut keys = KeyStore::default();
            let contents: Vec<Vec<u8>> = lens.iter().enumerate().map(|(i, len)| vec![i as u8; *len]).collect();
            let stored: Vec<_> = contents.iter().map(|key| keys.store(key)).collect();
            for (key, stored) in contents.iter().zip(&stored) {
                prop_assert_eq!(keys.bytes(stored), &key[..]);
            }
        }
    }
}
