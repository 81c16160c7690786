//! Compression of values on their way to disk.

use std::borrow::Cow;

use crate::error::{Error, ErrorKind, Result};

/// How a value is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// LZ4: little CPU time, some saving.
    Lz4,
    /// Zstandard at its fastest level.
    Zstd,
}

/// Level 1: with a log the disk is what is waited for, and higher levels fall below its speed.
const ZSTD_LEVEL: i32 = 1;

/// Values below this size cannot save a record's worth of padding.
const MIN_VALUE_BYTES: usize = 64;

impl Codec {
    /// The number that stands for the codec in a record; 0 is no compression.
    pub(super) fn code(codec: Option<Self>) -> u8 {
        match codec {
            None => 0,
            Some(Self::Lz4) => 1,
            Some(Self::Zstd) => 2,
        }
    }

    /// The codec that a record's number stands for.
    pub(super) fn from_code(code: u8) -> Option<Option<Self>> {
        match code {
            0 => Some(None),
            1 => Some(Some(Self::Lz4)),
            2 => Some(Some(Self::Zstd)),
            _ => None,
        }
    }

    /// The compressed bytes, or `value` itself and no codec when compressing it saves nothing.
    pub(super) fn shrink(codec: Option<Self>, value: &[u8]) -> (Option<Self>, Cow<'_, [u8]>) {
        let Some(codec) = codec.filter(|_| value.len() >= MIN_VALUE_BYTES) else {
            return (None, Cow::Borrowed(value));
        };
        let packed = match codec {
            Self::Lz4 => lz4_flex::block::compress(value),
            Self::Zstd => zstd::bulk::compress(value, ZSTD_LEVEL).unwrap_or_default(),
        };
        if packed.is_empty() || packed.len() >= value.len() {
            (None, Cow::Borrowed(value))
        } else {
            (Some(codec), Cow::Owned(packed))
        }
    }

    /// Unpacks `packed` into exactly `value`.
    ///
    /// # Errors
    /// `Corrupt` when the bytes are no such stream or give another length.
    pub(super) fn unpack(self, packed: &[u8], value: &mut [u8]) -> Result<()> {
        let written = match self {
            Self::Lz4 => lz4_flex::block::decompress_into(packed, value).map_err(|error| error.to_string()),
            Self::Zstd => zstd::bulk::decompress_to_buffer(packed, value).map_err(|error| error.to_string()),
        };
        match written {
            Ok(len) if len == value.len() => Ok(()),
            Ok(len) => Err(Error::new(ErrorKind::Corrupt, "a compressed value unpacks to another length")
                .with("expected_bytes", value.len())
                .with("unpacked_bytes", len)),
            Err(reason) => {
                Err(Error::new(ErrorKind::Corrupt, "a compressed value does not unpack").with("reason", reason))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_value_that_does_not_shrink_is_stored_as_it_is() {
        let noise: Vec<u8> = (0..4096_u64).map(|i| (i.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 56) as u8).collect();
        for codec in [Codec::Lz4, Codec::Zstd] {
            let (used, stored) = Codec::shrink(Some(codec), &noise);
            assert!(used.is_none() || stored.len() < noise.len());
            assert_eq!(Codec::shrink(Some(codec), &[7; 8]).0, None);
        }
    }

    proptest! {
        #[test]
        fn what_is_shrunk_unpacks_to_the_same(value in prop::collection::vec(0_u8..4, 64..5000)) {
            for codec in [Codec::Lz4, Codec::Zstd] {
                let (used, stored) = Codec::shrink(Some(codec), &value);
                let mut unpacked = stored.to_vec();
                if let Some(codec) = used {
                    unpacked = vec![0; value.len()];
                    codec.unpack(&stored, &mut unpacked).unwrap();
                }
                prop_assert_eq!(&unpacked, &value);
            }
        }

        #[test]
        fn any_bytes_unpack_or_are_refused(packed in prop::collection::vec(any::<u8>(), 0..300), len in 0_usize..2000) {
            for codec in [Codec::Lz4, Codec::Zstd] {
                let _ = codec.unpack(&packed, &mut vec![0; len]);
            }
        }
    }
}
