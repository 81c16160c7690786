//! What a client asks of the block cache of one namespace.

use super::codec::{Reader, Writer, broken};
use super::request::{Written, write_written, written};
use crate::cache::{self, MAX_HASH_BYTES, MIN_HASH_BYTES};
use crate::error::{Error, ErrorKind, Result};

/// What [`Written`] takes in a frame.
const WRITTEN_BYTES: usize = 32;

/// Hashes of one width, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedHashes<'a> {
    /// The size of each.
    pub hash_bytes: usize,
    /// All of them.
    pub packed: &'a [u8],
}

impl<'a> PackedHashes<'a> {
    /// The same hashes, as the cache takes them.
    #[must_use]
    pub fn unpacked(self) -> cache::Hashes<'a> {
        cache::Hashes::Packed { bytes: self.packed, hash_bytes: self.hash_bytes }
    }

    fn decode(reader: &mut Reader<'a>) -> Result<Self> {
        let hash_bytes = usize::from(reader.u8()?);
        let packed = reader.bytes()?;
        if !(MIN_HASH_BYTES..=MAX_HASH_BYTES).contains(&hash_bytes) || !packed.len().is_multiple_of(hash_bytes) {
            return Err(broken("hashes have other sizes than they may")
                .with("hash_bytes", hash_bytes)
                .with("packed_bytes", packed.len()));
        }
        Ok(Self { hash_bytes, packed })
    }

    fn encode(&self, writer: &mut Writer) {
        writer.u8(u8::try_from(self.hash_bytes).unwrap_or(0));
        writer.bytes(self.packed);
    }
}

/// Puts hashes into one run of bytes, as they travel; gives the run and the size of each.
///
/// # Errors
/// `InvalidKey` if they are of different sizes.
pub(super) fn pack(hashes: cache::Hashes<'_>) -> Result<(Vec<u8>, usize)> {
    let hash_bytes = if hashes.is_empty() { MIN_HASH_BYTES } else { hashes.get(0).len() };
    let mut packed = Vec::with_capacity(hashes.len() * hash_bytes);
    for hash in hashes.iter() {
        if hash.len() != hash_bytes {
            return Err(Error::new(ErrorKind::InvalidKey, "hashes that go to a sidecar together have one size")
                .with("hash_bytes", hash.len())
                .with("first_hash_bytes", hash_bytes));
        }
        packed.extend_from_slice(hash);
    }
    Ok((packed, hash_bytes))
}

/// What is asked of a block cache.
#[derive(Clone, Debug, PartialEq)]
pub enum CacheRequest<'a> {
    /// Make the namespace if there is none, and check what it is opened with.
    Open {
        /// The size of every block; zero to leave it open.
        block_bytes: u64,
        /// The most bytes of blocks; zero to leave it as it is.
        quota_bytes: u64,
    },
    /// Bound the bytes of blocks.
    SetQuota {
        /// The most there may be; zero for no bound.
        quota_bytes: u64,
    },
    /// How many leading blocks are there.
    Match {
        /// Their hashes.
        hashes: PackedHashes<'a>,
    },
    /// Keep blocks until the lease ends.
    Lease {
        /// Their hashes.
        hashes: PackedHashes<'a>,
        /// Milliseconds until the lease ends by itself.
        max_age_ms: u64,
    },
    /// Use a lease of another client.
    Attach {
        /// Its token.
        token: [u8; 16],
    },
    /// End a lease.
    Release {
        /// Its token.
        token: [u8; 16],
    },
    /// Keep the blocks of a lease for one load, whatever becomes of the lease.
    BeginLoad {
        /// Its token.
        token: [u8; 16],
    },
    /// Hold blocks in memory while they are copied.
    Load {
        /// The number of the load.
        load: u64,
        /// The positions of the blocks in the lease.
        positions: Vec<u32>,
    },
    /// Reserve room for the blocks that are not there.
    Reserve {
        /// Their hashes.
        hashes: PackedHashes<'a>,
        /// The size of each block.
        block_bytes: u64,
    },
    /// Enter blocks that were written.
    Store {
        /// Their hashes.
        hashes: PackedHashes<'a>,
        /// What was written for each.
        written: Vec<Written>,
    },
    /// Count a use of blocks, from the end of their chain to its start.
    Touch {
        /// Their hashes.
        hashes: PackedHashes<'a>,
    },
    /// Say what is known about blocks.
    Hint {
        /// Their hashes.
        hashes: PackedHashes<'a>,
        /// What is known.
        action: cache::Action,
    },
    /// Read the figures of the namespace.
    Stats,
}

impl<'a> CacheRequest<'a> {
    pub(super) fn decode(kind: u8, reader: &mut Reader<'a>) -> Result<Self> {
        Ok(match kind {
            0 => Self::Open { block_bytes: reader.u64()?, quota_bytes: reader.u64()? },
            1 => Self::SetQuota { quota_bytes: reader.u64()? },
            2 => Self::Match { hashes: PackedHashes::decode(reader)? },
            3 => Self::Lease { hashes: PackedHashes::decode(reader)?, max_age_ms: reader.u64()? },
            4 => Self::Attach { token: reader.array()? },
            5 => Self::Release { token: reader.array()? },
            6 => Self::BeginLoad { token: reader.array()? },
            7 => Self::Load { load: reader.u64()?, positions: reader.list(4, Reader::u32)? },
            8 => Self::Reserve { hashes: PackedHashes::decode(reader)?, block_bytes: reader.u64()? },
            9 => Self::Store { hashes: PackedHashes::decode(reader)?, written: reader.list(WRITTEN_BYTES, written)? },
            10 => Self::Touch { hashes: PackedHashes::decode(reader)? },
            11 => Self::Hint { hashes: PackedHashes::decode(reader)?, action: decode_action(reader)? },
            12 => Self::Stats,
            other => return Err(broken("a request to a block cache is of no known kind").with("kind", other)),
        })
    }

    fn kind(&self) -> u8 {
        match self {
            Self::Open { .. } => 0,
            Self::SetQuota { .. } => 1,
            Self::Match { .. } => 2,
            Self::Lease { .. } => 3,
            Self::Attach { .. } => 4,
            Self::Release { .. } => 5,
            Self::BeginLoad { .. } => 6,
            Self::Load { .. } => 7,
            Self::Reserve { .. } => 8,
            Self::Store { .. } => 9,
            Self::Touch { .. } => 10,
            Self::Hint { .. } => 11,
            Self::Stats => 12,
        }
    }

    pub(super) fn encode(&self, writer: &mut Writer) {
        writer.u8(self.kind());
        match self {
            Self::Open { block_bytes, quota_bytes } => {
                writer.u64(*block_bytes);
                writer.u64(*quota_bytes);
            }
            Self::SetQuota { quota_bytes } => writer.u64(*quota_bytes),
            Self::Match { hashes } | Self::Touch { hashes } => hashes.encode(writer),
            Self::Lease { hashes, max_age_ms: number } | Self::Reserve { hashes, block_bytes: number } => {
                hashes.encode(writer);
                writer.u64(*number);
            }
            Self::Attach { token } | Self::Release { token } | Self::BeginLoad { token } => writer.raw(token),
            Self::Load { load, positions } => {
                writer.u64(*load);
                writer.list(positions, |w, position| w.u32(*position));
            }
            Self::Store { hashes, written } => {
                hashes.encode(writer);
                writer.list(written, write_written);
            }
            Self::Hint { hashes, action } => {
                hashes.encode(writer);
                encode_action(*action, writer);
            }
            Self::Stats => {}
        }
    }
}

fn decode_action(reader: &mut Reader<'_>) -> Result<cache::Action> {
    let kind = reader.u8()?;
    let span = std::time::Duration::from_millis(reader.u64()?);
    Ok(match kind {
        0 => cache::Action::Pin { for_: span },
        1 => cache::Action::Prefetch,
        2 => cache::Action::Demote,
        3 => cache::Action::Release,
        4 => cache::Action::NextUse { after: span },
        other => return Err(broken("a hint is of no known kind").with("kind", other)),
    })
}

fn encode_action(action: cache::Action, writer: &mut Writer) {
    let (kind, span) = match action {
        cache::Action::Pin { for_ } => (0, for_),
        cache::Action::Prefetch => (1, std::time::Duration::ZERO),
        cache::Action::Demote => (2, std::time::Duration::ZERO),
        cache::Action::Release => (3, std::time::Duration::ZERO),
        cache::Action::NextUse { after } => (4, after),
    };
    writer.u8(kind);
    writer.u64(u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
}
