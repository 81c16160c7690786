//! Where a block's bytes lie outside the arena: one run, or one for each layer.

use std::ptr::NonNull;

/// A run of bytes that somebody else owns.
#[derive(Clone, Copy, Debug)]
pub struct Span {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: an address and a length; whoever uses the bytes vouches for them.
unsafe impl Send for Span {}
// SAFETY: as above.
unsafe impl Sync for Span {}

impl Span {
    /// The `len` bytes from `start` on.
    #[must_use]
    pub fn new(start: NonNull<u8>, len: usize) -> Self {
        Self { start, len }
    }

    /// The bytes of a slice.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self { start: NonNull::from(bytes).cast(), len: bytes.len() }
    }

    /// The bytes of a slice that may be written to.
    #[must_use]
    pub fn of_mut(bytes: &mut [u8]) -> Self {
        let len = bytes.len();
        Self { start: NonNull::from(bytes).cast(), len }
    }

    /// The first byte.
    #[must_use]
    pub fn start(self) -> NonNull<u8> {
        self.start
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.len == 0
    }
}

/// The size of a block whose bytes lie in these runs.
#[must_use]
pub fn total_bytes(spans: &[Span]) -> usize {
    spans.iter().map(|span| span.len).sum()
}
