//! Keys as the index sees them: a space and a run of bytes.

use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::MAX_KEY_BYTES;
use crate::error::{Error, ErrorKind, Result};

/// Whose key it is. Keys of two spaces never meet, whatever their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Space(pub(crate) u32);

impl Space {
    /// The keys of [`crate::PegaEngine`].
    pub const USER: Self = Self(0);
    /// What the engine remembers for itself.
    pub(crate) const INTERNAL: Self = Self(1);
    /// Where a follower remembers how far it came.
    pub(crate) const POSITION: Self = Self(u32::MAX);
    /// The first space of a block cache's namespace; the others follow.
    pub(crate) const FIRST_NAMESPACE: u32 = 2;

    /// Whether it is the space of a block cache's namespace.
    pub(crate) fn is_namespace(self) -> bool {
        self.0 >= Self::FIRST_NAMESPACE && self != Self::POSITION
    }
}

/// The bytes that precede a key on disk: its space, little-endian.
pub(crate) const SPACE_BYTES: usize = 4;

/// The longest key on disk.
pub(crate) const MAX_STORED_KEY_BYTES: usize = MAX_KEY_BYTES + SPACE_BYTES;

/// A key that was checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    space: Space,
    bytes: &'a [u8],
}

impl<'a> Key<'a> {
    /// A key of the general engine.
    ///
    /// # Errors
    /// `InvalidKey` if it is empty or longer than [`MAX_KEY_BYTES`].
    pub fn user(bytes: &'a [u8]) -> Result<Self> {
        Self::of(Space::USER, bytes)
    }

    pub(crate) fn of(space: Space, bytes: &'a [u8]) -> Result<Self> {
        if bytes.is_empty() {
            return Err(Error::new(ErrorKind::InvalidKey, "a key is empty; use at least one byte"));
        }
        if bytes.len() > MAX_KEY_BYTES {
            return Err(Error::new(
                ErrorKind::InvalidKey,
                format!("a key is longer than {MAX_KEY_BYTES} bytes; use a digest of it"),
            )
            .with("key_bytes", bytes.len()));
        }
        Ok(Self { space, bytes })
    }

    /// The key whose bytes on disk are `stored`.
    pub(crate) fn from_stored(stored: &'a [u8]) -> Option<Self> {
        let (space, bytes) = stored.split_first_chunk::<SPACE_BYTES>()?;
        Self::of(Space(u32::from_le_bytes(*space)), bytes).ok()
    }

    /// Its bytes on disk.
    pub(crate) fn to_stored(self) -> Vec<u8> {
        let mut stored = Vec::with_capacity(SPACE_BYTES + self.bytes.len());
        stored.extend_from_slice(&self.space.0.to_le_bytes());
        stored.extend_from_slice(self.bytes);
        stored
    }

    /// Whose key it is.
    #[must_use]
    pub fn space(self) -> Space {
        self.space
    }

    /// Its bytes within the space.
    #[must_use]
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// Its hash under the seed of an index.
    #[inline]
    pub(crate) fn hash(self, seed: u64) -> u64 {
        xxh3_64_with_seed(self.bytes, seed ^ u64::from(self.space.0).wrapping_mul(0x9e37_79b9_7f4a_7c15))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn empty_and_overlong_keys_are_refused() {
        assert_eq!(Key::user(b"").unwrap_err().kind(), ErrorKind::InvalidKey);
        assert_eq!(Key::user(&[0; MAX_KEY_BYTES + 1]).unwrap_err().kind(), ErrorKind::InvalidKey);
        assert!(Key::user(&[0; MAX_KEY_BYTES]).is_ok());
    }

    #[test]
    fn a_key_survives_the_way_to_disk() {
        let key = Key::of(Space(7), b"block").unwrap();
        assert_eq!(Key::from_stored(&key.to_stored()), Some(key));
        assert_eq!(Key::from_stored(b"abcd"), None);
    }
}
