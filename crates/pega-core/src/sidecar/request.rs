//! What a client asks: one kind of frame each, decoded without copying keys or hashes.

use super::cache_request::CacheRequest;
use super::codec::{Reader, Writer, broken};
use crate::MAX_KEY_BYTES;
use crate::cache::MAX_NAMESPACE_BYTES;
use crate::error::Result;

/// The bytes that open a greeting, so that a stranger on the socket is told at once.
const MAGIC: [u8; 8] = *b"pegaflow";

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
    /// Follow the changes of the engine.
    Subscribe {
        /// The first change wanted; without one, those yet to come.
        from_seq: Option<u64>,
    },
    /// Read everything there is, while writes go on.
    Snapshot,
    /// Read on in a subscription or snapshot. Values are held until they are dropped.
    Next {
        /// Its number.
        feed: u64,
        /// How long to wait for the first change.
        wait_ms: u32,
    },
    /// Ask for the number of the newest change, and of the newest that came from another engine.
    Position,
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

fn key<'a>(reader: &mut Reader<'a>) -> Result<&'a [u8]> {
    let key = reader.bytes()?;
    if key.len() > MAX_KEY_BYTES {
        return Err(broken("a key is too long").with("key_bytes", key.len()));
    }
    Ok(key)
}

pub(super) fn written(reader: &mut Reader<'_>) -> Result<Written> {
    Ok(Written { reservation: reader.u64()?, start: reader.u64()?, size_bytes: reader.u64()?, checksum: reader.u64()? })
}

pub(super) fn write_written(writer: &mut Writer, written: &Written) {
    for number in [written.reservation, written.start, written.size_bytes, written.checksum] {
        writer.u64(number);
    }
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
            14 => Self::Subscribe { from_seq: if reader.flag()? { Some(reader.u64()?) } else { None } },
            15 => Self::Snapshot,
            16 => Self::Next { feed: reader.u64()?, wait_ms: reader.u32()? },
            17 => Self::Position,
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
            Self::Subscribe { .. } => 14,
            Self::Snapshot => 15,
            Self::Next { .. } => 16,
            Self::Position => 17,
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
            Self::Count | Self::Stats | Self::Flush | Self::Snapshot | Self::Position => {}
            Self::Scan { prefix } => writer.bytes(prefix),
            Self::Cache { namespace, ask } => {
                writer.bytes(namespace.as_bytes());
                ask.encode(writer);
            }
            Self::Subscribe { from_seq } => {
                writer.flag(from_seq.is_some());
                from_seq.iter().for_each(|seq| writer.u64(*seq));
            }
            Self::Next { feed, wait_ms } => {
                writer.u64(*feed);
                writer.u32(*wait_ms);
            }
        }
    }
}
