//! What a client asks: one kind of frame each, decoded without copying keys or hashes.

use super::codec::{Reader, Writer, broken};
use crate::MAX_KEY_BYTES;
use crate::error::Result;

/// The bytes that open a greeting, so that a stranger on the socket is told at once.
const MAGIC: [u8; 8] = *b"pegaflow";

/// The longest name of a namespace, in bytes.
pub const MAX_NAMESPACE_BYTES: usize = 255;

/// One request of a client.
#[derive(Clone, Debug, PartialEq)]
pub enum Request<'a> {
    /// The first frame of every connection, and only that.
    Greet {
        /// The protocol version of the client.
        version: u32,
        /// The client that this connection shall belong to; without one it is a new client, and the descriptor of
        /// the arena comes with the reply.
        client: Option<[u8; 16]>,
    },
    /// Reserve space that the client will write.
    Reserve {
        /// One reservation of each size.
        sizes_bytes: Vec<u64>,
    },
    /// Give back reservations that will not be committed. Not answered.
    Return {
        /// Their numbers.
        reservations: Vec<u64>,
    },
    /// Puts and removes of bytes already written.
    Commit {
        /// All or none, visible and durable together.
        atomic: bool,
        /// Whether each reservation adopted shall be replaced by another of its size.
        renew: bool,
        /// The changes, in order.
        changes: Vec<Change<'a>>,
    },
    /// Find where values lie.
    Locate {
        /// Hold each value of this many bytes or more in place until it is dropped, or the client ends.
        hold_from_bytes: u64,
        /// Their keys.
        keys: Vec<&'a [u8]>,
    },
    /// Let go of values held. Not answered.
    Drop {
        /// Their numbers.
        pins: Vec<u64>,
    },
    /// Say which of the values held failed their checksum; the server looks for itself. Not answered.
    Distrust {
        /// Their numbers; still held.
        pins: Vec<u64>,
    },
    /// Ask which keys are there.
    Contains {
        /// The keys.
        keys: Vec<&'a [u8]>,
    },
    /// Count the entries.
    Count,
    /// List the keys with a prefix, in parts.
    Scan {
        /// The prefix.
        prefix: &'a [u8],
    },
    /// Read the engine's and the server's figures.
    Stats,
    /// Write what is acknowledged to disk.
    Flush,
    /// Something of the block cache of one namespace.
    Cache {
        /// The namespace.
        namespace: &'a str,
        /// What is asked of it.
        ask: CacheRequest<'a>,
    },
    /// Read changes from a sequence number on.
    Changes {
        /// The first sequence number wanted.
        from_seq: u64,
        /// The most changes in the reply.
        max_changes: u32,
        /// How long to wait for the first one.
        wait_ms: u32,
    },
}

/// One change of a [`Request::Commit`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change<'a> {
    /// The reservation becomes the entry's own space.
    Adopt {
        /// The key.
        key: &'a [u8],
        /// What was written.
        written: Written,
        /// Milliseconds until the entry is gone; zero for never.
        ttl_ms: u64,
    },
    /// The server copies the value out of the reservation, which stays the client's.
    Copy {
        /// The key.
        key: &'a [u8],
        /// What was written.
        written: Written,
        /// Milliseconds until the entry is gone; zero for never.
        ttl_ms: u64,
    },
    /// The key goes.
    Remove {
        /// The key.
        key: &'a [u8],
    },
}

/// Bytes that a client wrote into a reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The number of the reservation.
    pub reservation: u64,
    /// Where in it the bytes begin; zero when it is adopted.
    pub start: u64,
    /// How many bytes there are.
    pub size_bytes: u64,
    /// The checksum over them.
    pub checksum: u64,
}

/// Hashes of one width, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hashes<'a> {
    /// The size of each, 16 to 32 bytes.
    pub width: usize,
    /// All of them.
    pub packed: &'a [u8],
}

impl<'a> Hashes<'a> {
    /// The hashes one by one.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &'a [u8]> + use<'a> {
        self.packed.chunks_exact(self.width)
    }
}

/// What is asked of a block cache.
#[derive(Clone, Debug, PartialEq)]
pub enum CacheRequest<'a> {
    /// Set the quota of the namespace.
    SetQuota {
        /// The most bytes it may take; zero for no limit.
        quota_bytes: u64,
    },
    /// How many leading hashes are there.
    Match {
        /// The hashes.
        hashes: Hashes<'a>,
    },
    /// Pin blocks until released.
    Lease {
        /// The hashes.
        hashes: Hashes<'a>,
        /// Milliseconds until the lease ends by itself; zero for the default.
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
    /// Hold blocks of a lease while they are copied.
    Load {
        /// The token of the lease.
        token: [u8; 16],
        /// The first block wanted, counted in the lease.
        first: u32,
        /// How many blocks.
        count: u32,
    },
    /// Reserve space for the blocks that are not there yet.
    Reserve {
        /// The hashes.
        hashes: Hashes<'a>,
        /// The size of each block.
        sizes_bytes: Vec<u64>,
    },
    /// Enter blocks that were written.
    Store {
        /// The hashes.
        hashes: Hashes<'a>,
        /// What was written for each.
        written: Vec<Written>,
    },
    /// Say how blocks will be used.
    Hint {
        /// The hashes.
        hashes: Hashes<'a>,
        /// The number of the action.
        action: u8,
        /// Milliseconds: how long to pin, or until the next use.
        span_ms: u64,
    },
    /// Read the figures of the namespace.
    Stats,
}

fn key<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8]> {
    let key = reader.bytes()?;
    if key.len() > MAX_KEY_BYTES {
        return Err(broken("a key is too long").with("key_bytes", key.len()));
    }
    Ok(key)
}

fn written(reader: &mut Reader<'_>) -> Result<Written> {
    Ok(Written { reservation: reader.u64()?, start: reader.u64()?, size_bytes: reader.u64()?, checksum: reader.u64()? })
}

fn write_written(writer: &mut Writer, written: &Written) {
    for number in [written.reservation, written.start, written.size_bytes, written.checksum] {
        writer.u64(number);
    }
}

fn hashes<'a>(reader: &mut Reader<'a>) -> Result<Hashes<'a>> {
    let width = usize::from(reader.u8()?);
    let packed = reader.bytes()?;
    if !(16..=32).contains(&width) || !packed.len().is_multiple_of(width) {
        return Err(broken("hashes are not of 16 to 32 bytes each")
            .with("hash_bytes", width)
            .with("packed_bytes", packed.len()));
    }
    Ok(Hashes { width, packed })
}

fn write_hashes(writer: &mut Writer, hashes: &Hashes<'_>) {
    writer.u8(u8::try_from(hashes.width).unwrap_or(0));
    writer.bytes(hashes.packed);
}

impl<'a> Change<'a> {
    fn decode(reader: &mut Reader<'a>) -> Result<Self> {
        let kind = reader.u8()?;
        let key = key(reader)?;
        match kind {
            0 => Ok(Self::Adopt { key, written: written(reader)?, ttl_ms: reader.u64()? }),
            1 => Ok(Self::Copy { key, written: written(reader)?, ttl_ms: reader.u64()? }),
            2 => Ok(Self::Remove { key }),
            other => Err(broken("a change is of no known kind").with("kind", other)),
        }
    }

    fn encode(&self, writer: &mut Writer) {
        let (kind, key, put) = match self {
            Self::Adopt { key, written, ttl_ms } => (0, key, Some((written, ttl_ms))),
            Self::Copy { key, written, ttl_ms } => (1, key, Some((written, ttl_ms))),
            Self::Remove { key } => (2, key, None),
        };
        writer.u8(kind);
        writer.bytes(key);
        if let Some((written, ttl_ms)) = put {
            write_written(writer, written);
            writer.u64(*ttl_ms);
        }
    }
}

/// The least that a [`Change`] takes in a frame: its kind and the length of its key.
const MIN_CHANGE_BYTES: usize = 5;
const WRITTEN_BYTES: usize = 32;

impl<'a> CacheRequest<'a> {
    fn decode(kind: u8, reader: &mut Reader<'a>) -> Result<Self> {
        Ok(match kind {
            0 => Self::SetQuota { quota_bytes: reader.u64()? },
            1 => Self::Match { hashes: hashes(reader)? },
            2 => Self::Lease { hashes: hashes(reader)?, max_age_ms: reader.u64()? },
            3 => Self::Attach { token: reader.array()? },
            4 => Self::Release { token: reader.array()? },
            5 => Self::Load { token: reader.array()?, first: reader.u32()?, count: reader.u32()? },
            6 => Self::Reserve { hashes: hashes(reader)?, sizes_bytes: reader.list(8, Reader::u64)? },
            7 => Self::Store { hashes: hashes(reader)?, written: reader.list(WRITTEN_BYTES, written)? },
            8 => Self::Hint { hashes: hashes(reader)?, action: reader.u8()?, span_ms: reader.u64()? },
            9 => Self::Stats,
            other => return Err(broken("a request to a block cache is of no known kind").with("kind", other)),
        })
    }

    fn encode(&self, writer: &mut Writer) {
        match self {
            Self::SetQuota { quota_bytes } => {
                writer.u8(0);
                writer.u64(*quota_bytes);
            }
            Self::Match { hashes } => {
                writer.u8(1);
                write_hashes(writer, hashes);
            }
            Self::Lease { hashes, max_age_ms } => {
                writer.u8(2);
                write_hashes(writer, hashes);
                writer.u64(*max_age_ms);
            }
            Self::Attach { token } => {
                writer.u8(3);
                writer.raw(token);
            }
            Self::Release { token } => {
                writer.u8(4);
                writer.raw(token);
            }
            Self::Load { token, first, count } => {
                writer.u8(5);
                writer.raw(token);
                writer.u32(*first);
                writer.u32(*count);
            }
            Self::Reserve { hashes, sizes_bytes } => {
                writer.u8(6);
                write_hashes(writer, hashes);
                writer.list(sizes_bytes, |w, size| w.u64(*size));
            }
            Self::Store { hashes, written } => {
                writer.u8(7);
                write_hashes(writer, hashes);
                writer.list(written, write_written);
            }
            Self::Hint { hashes, action, span_ms } => {
                writer.u8(8);
                write_hashes(writer, hashes);
                writer.u8(*action);
                writer.u64(*span_ms);
            }
            Self::Stats => writer.u8(9),
        }
    }
}

impl<'a> Request<'a> {
    /// Reads the payload of a frame of this kind.
    ///
    /// # Errors
    /// `Protocol` for anything that [`Request::encode`] would not have written.
    pub fn decode(kind: u8, payload: &'a [u8]) -> Result<Self> {
        let mut reader = Reader::new(payload);
        let request = Self::decode_fields(kind, &mut reader)?;
        reader.finish()?;
        Ok(request)
    }

    fn decode_fields(kind: u8, reader: &mut Reader<'a>) -> Result<Self> {
        Ok(match kind {
            1 => {
                if reader.array::<8>()? != MAGIC {
                    return Err(broken("the first bytes are not a greeting of pegaflow"));
                }
                Self::Greet {
                    version: reader.u32()?,
                    client: if reader.flag()? { Some(reader.array()?) } else { None },
                }
            }
            2 => Self::Reserve { sizes_bytes: reader.list(8, Reader::u64)? },
            3 => Self::Return { reservations: reader.list(8, Reader::u64)? },
            4 => Self::Commit {
                atomic: reader.flag()?,
                renew: reader.flag()?,
                changes: reader.list(MIN_CHANGE_BYTES, Change::decode)?,
            },
            5 => Self::Locate { hold_from_bytes: reader.u64()?, keys: reader.list(4, key)? },
            6 => Self::Drop { pins: reader.list(8, Reader::u64)? },
            7 => Self::Distrust { pins: reader.list(8, Reader::u64)? },
            8 => Self::Contains { keys: reader.list(4, key)? },
            9 => Self::Count,
            10 => Self::Scan { prefix: key(reader)? },
            11 => Self::Stats,
            12 => Self::Flush,
            13 => {
                let namespace = reader.text()?;
                if namespace.len() > MAX_NAMESPACE_BYTES {
                    return Err(broken("a namespace is too long").with("namespace_bytes", namespace.len()));
                }
                Self::Cache { namespace, ask: CacheRequest::decode(reader.u8()?, reader)? }
            }
            14 => Self::Changes { from_seq: reader.u64()?, max_changes: reader.u32()?, wait_ms: reader.u32()? },
            other => return Err(broken("a frame is of no known kind").with("kind", other)),
        })
    }

    /// The kind of the frame that carries this request.
    #[must_use]
    pub fn kind(&self) -> u8 {
        match self {
            Self::Greet { .. } => 1,
            Self::Reserve { .. } => 2,
            Self::Return { .. } => 3,
            Self::Commit { .. } => 4,
            Self::Locate { .. } => 5,
            Self::Drop { .. } => 6,
            Self::Distrust { .. } => 7,
            Self::Contains { .. } => 8,
            Self::Count => 9,
            Self::Scan { .. } => 10,
            Self::Stats => 11,
            Self::Flush => 12,
            Self::Cache { .. } => 13,
            Self::Changes { .. } => 14,
        }
    }

    /// Whether the server answers it.
    #[must_use]
    pub fn is_answered(&self) -> bool {
        !matches!(self, Self::Return { .. } | Self::Drop { .. } | Self::Distrust { .. })
    }

    /// Writes the payload.
    pub(super) fn encode(&self, writer: &mut Writer) {
        match self {
            Self::Greet { version, client } => {
                writer.raw(&MAGIC);
                writer.u32(*version);
                writer.flag(client.is_some());
                writer.raw(client.as_ref().map_or(&[], <[u8; 16]>::as_slice));
            }
            Self::Reserve { sizes_bytes: numbers }
            | Self::Return { reservations: numbers }
            | Self::Drop { pins: numbers }
            | Self::Distrust { pins: numbers } => writer.list(numbers, |w, number| w.u64(*number)),
            Self::Commit { atomic, renew, changes } => {
                writer.flag(*atomic);
                writer.flag(*renew);
                writer.list(changes, |w, change| change.encode(w));
            }
            Self::Locate { hold_from_bytes, keys } => {
                writer.u64(*hold_from_bytes);
                writer.list(keys, |w, key| w.bytes(key));
            }
            Self::Contains { keys } => writer.list(keys, |w, key| w.bytes(key)),
            Self::Count | Self::Stats | Self::Flush => {}
            Self::Scan { prefix } => writer.bytes(prefix),
            Self::Cache { namespace, ask } => {
                writer.bytes(namespace.as_bytes());
                ask.encode(writer);
            }
            Self::Changes { from_seq, max_changes, wait_ms } => {
                writer.u64(*from_seq);
                writer.u32(*max_changes);
                writer.u32(*wait_ms);
            }
        }
    }
}
