//! The names of blocks.

use crate::error::{Error, ErrorKind, Result};

/// The shortest name: below it, two blocks could meet by chance.
pub const MIN_HASH_BYTES: usize = 16;

/// The longest name.
pub const MAX_HASH_BYTES: usize = 32;

/// The names of some blocks, in the order of their chain.
#[derive(Clone, Copy, Debug)]
pub enum Hashes<'a> {
    /// One by one.
    Each(&'a [&'a [u8]]),
    /// One after the other in one run of bytes.
    Packed {
        /// All of them.
        bytes: &'a [u8],
        /// The size of each.
        hash_bytes: usize,
    },
}

impl<'a> Hashes<'a> {
    /// The names in `bytes`, each of `hash_bytes` bytes.
    ///
    /// # Errors
    /// `InvalidKey` if that does not come out even, or is no size that a name may have.
    pub fn packed(bytes: &'a [u8], hash_bytes: usize) -> Result<Self> {
        check_size(hash_bytes)?;
        if !bytes.len().is_multiple_of(hash_bytes) {
            return Err(Error::new(ErrorKind::InvalidKey, "packed hashes end in the middle of one")
                .with("packed_bytes", bytes.len())
                .with("hash_bytes", hash_bytes));
        }
        Ok(Self::Packed { bytes, hash_bytes })
    }

    /// These names.
    ///
    /// # Errors
    /// `InvalidKey` if one has no size that a name may have.
    pub fn each(hashes: &'a [&'a [u8]]) -> Result<Self> {
        hashes.iter().try_for_each(|hash| check_size(hash.len()))?;
        Ok(Self::Each(hashes))
    }

    /// How many there are.
    #[must_use]
    pub fn len(self) -> usize {
        match self {
            Self::Each(hashes) => hashes.len(),
            Self::Packed { bytes, hash_bytes } => bytes.len() / hash_bytes,
        }
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// The name at position `i`.
    ///
    /// # Panics
    /// If there are no more than `i`.
    #[must_use]
    pub fn get(self, i: usize) -> &'a [u8] {
        match self {
            Self::Each(hashes) => hashes[i],
            Self::Packed { bytes, hash_bytes } => &bytes[i * hash_bytes..][..hash_bytes],
        }
    }

    /// All of them, in order.
    pub fn iter(self) -> impl DoubleEndedIterator<Item = &'a [u8]> + ExactSizeIterator {
        (0..self.len()).map(move |i| self.get(i))
    }
}

fn check_size(hash_bytes: usize) -> Result<()> {
    if (MIN_HASH_BYTES..=MAX_HASH_BYTES).contains(&hash_bytes) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::InvalidKey,
        format!("the hash of a block has between {MIN_HASH_BYTES} and {MAX_HASH_BYTES} bytes"),
    )
    .with("hash_bytes", hash_bytes))
}
