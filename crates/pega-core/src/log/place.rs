//! Where a record lies.

/// The unit that records are placed and sized in, in bytes.
pub(super) const WORD_BYTES: u64 = 8;

/// Where a record lies on disk, in 12 bytes. Stays true until the record is moved or its segment is removed, which
/// the owner of the index is told by [`super::Residents::visit`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RecordAt {
    segment: u32,
    offset_words: u32,
    len_words: u32,
}

impl RecordAt {
    /// The place of `len_bytes` bytes from `offset_bytes` on in segment `segment`, all in multiples of 8 bytes.
    pub(super) fn new(segment: u32, offset_bytes: u64, len_bytes: u64) -> Self {
        debug_assert!(offset_bytes.is_multiple_of(WORD_BYTES) && len_bytes.is_multiple_of(WORD_BYTES));
        let words = |bytes: u64| u32::try_from(bytes / WORD_BYTES).expect("a segment is at most 16 GiB");
        Self { segment, offset_words: words(offset_bytes), len_words: words(len_bytes) }
    }

    /// The same for numbers read from disk: `None` where no record can lie.
    pub(super) fn checked(segment: u32, offset_bytes: u64, len_bytes: u64) -> Option<Self> {
        let words = |bytes: u64| u32::try_from(bytes / WORD_BYTES).ok().filter(|_| bytes.is_multiple_of(WORD_BYTES));
        Some(Self { segment, offset_words: words(offset_bytes)?, len_words: words(len_bytes)? })
    }

    /// The number of the segment file.
    #[must_use]
    pub fn segment(self) -> u32 {
        self.segment
    }

    /// The first byte of the record, counted from the start of the file.
    #[must_use]
    pub fn offset_bytes(self) -> u64 {
        u64::from(self.offset_words) * WORD_BYTES
    }

    /// How many bytes the record takes on disk, its header, key and padding included.
    #[must_use]
    pub fn len_bytes(self) -> u64 {
        u64::from(self.len_words) * WORD_BYTES
    }
}
