//! What the server answers. The client knows from its request which of these to expect.

use parking_lot::Mutex;

use super::codec::{Reader, Writer, broken};
use super::place::Place;
use crate::cache::CacheStats;
use crate::error::{Error, ErrorKind, Result};

/// The kind of a frame that ends an answer.
pub(super) const DONE: u8 = 0;
/// The kind of a frame that ends an answer with an error.
pub(super) const FAILED: u8 = 1;
/// The kind of a frame that more parts of the same answer follow.
pub(super) const PART: u8 = 2;

/// Something that travels as the payload of a reply.
pub(super) trait Payload: Sized {
    /// Writes itself.
    fn write(&self, writer: &mut Writer);

    /// Reads itself.
    fn read(reader: &mut Reader<'_>) -> Result<Self>;
}

/// The answer to the greeting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Greeting {
    /// The protocol version of the server.
    pub version: u32,
    /// By this further connections join the client.
    pub client: [u8; 16],
    /// The size of the arena whose descriptor comes along.
    pub arena_bytes: u64,
    /// The process that serves.
    pub pid: u32,
    /// The settings of the engine, as text, by name.
    pub settings: Vec<(String, String)>,
}

/// A place in the arena under the number by which the connection knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbered {
    /// The number; zero for a place that is not held.
    pub number: u64,
    /// The place.
    pub place: Place,
}

/// The answer to a commit.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Committed {
    /// For each change whether its key was there before.
    pub existed: Vec<bool>,
    /// Reservations in place of those adopted, as far as there was room.
    pub renewed: Vec<Numbered>,
}

/// The answer to a request for a lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leased {
    /// By this another client finds the lease.
    pub token: [u8; 16],
    /// For each hash whether its block is there and pinned.
    pub present: Vec<bool>,
    /// For each hash whether its block is on disk only.
    pub on_disk: Vec<bool>,
}

/// What became of a block that is to be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    /// It is there already.
    Present,
    /// There is no room for it.
    Refused,
    /// Room that the client will write.
    Reserved(Numbered),
}

/// One change of the change feed; the value of a put is held in the arena until dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The sequence number.
    pub seq: u64,
    /// The key.
    pub key: Vec<u8>,
    /// Where the value of a put lies; nothing for a remove.
    pub value: Option<Numbered>,
    /// When the value is over, in milliseconds of unix time; zero for never.
    pub expires_at_ms: u64,
    /// Whether the next change belongs to the same transaction.
    pub more: bool,
}

impl Payload for () {
    fn write(&self, _writer: &mut Writer) {}

    fn read(_reader: &mut Reader<'_>) -> Result<Self> {
        Ok(())
    }
}

impl Payload for bool {
    fn write(&self, writer: &mut Writer) {
        writer.flag(*self);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        reader.flag()
    }
}

impl Payload for u32 {
    fn write(&self, writer: &mut Writer) {
        writer.u32(*self);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        reader.u32()
    }
}

impl Payload for u64 {
    fn write(&self, writer: &mut Writer) {
        writer.u64(*self);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        reader.u64()
    }
}

impl Payload for Vec<u8> {
    fn write(&self, writer: &mut Writer) {
        writer.bytes(self);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(reader.bytes()?.to_vec())
    }
}

impl Payload for String {
    fn write(&self, writer: &mut Writer) {
        writer.bytes(self.as_bytes());
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(reader.text()?.to_owned())
    }
}

impl<A: Payload, B: Payload> Payload for (A, B) {
    fn write(&self, writer: &mut Writer) {
        self.0.write(writer);
        self.1.write(writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok((A::read(reader)?, B::read(reader)?))
    }
}

impl<T: Payload> Payload for Option<T> {
    fn write(&self, writer: &mut Writer) {
        writer.flag(self.is_some());
        if let Some(value) = self {
            value.write(writer);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        if reader.flag()? { Ok(Some(T::read(reader)?)) } else { Ok(None) }
    }
}

/// Lists of anything but bytes, which travel without a count for each.
pub(super) trait Item: Payload {
    /// The least that one takes in a frame.
    const MIN_BYTES: usize;
}

impl Item for bool {
    const MIN_BYTES: usize = 1;
}
impl Item for u32 {
    const MIN_BYTES: usize = 4;
}
impl Item for Vec<u8> {
    const MIN_BYTES: usize = 4;
}
impl Item for (String, String) {
    const MIN_BYTES: usize = 8;
}
impl Item for (String, u64) {
    const MIN_BYTES: usize = 12;
}
impl Item for Numbered {
    const MIN_BYTES: usize = 32;
}
impl Item for Option<Numbered> {
    const MIN_BYTES: usize = 1;
}
impl Item for Changed {
    const MIN_BYTES: usize = 22;
}

impl<T: Item> Payload for Vec<T> {
    fn write(&self, writer: &mut Writer) {
        writer.list(self, |w, item| item.write(w));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        reader.list(T::MIN_BYTES, T::read)
    }
}

impl Payload for Greeting {
    fn write(&self, writer: &mut Writer) {
        writer.u32(self.version);
        writer.raw(&self.client);
        writer.u64(self.arena_bytes);
        writer.u32(self.pid);
        self.settings.write(writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            version: reader.u32()?,
            client: reader.array()?,
            arena_bytes: reader.u64()?,
            pid: reader.u32()?,
            settings: Payload::read(reader)?,
        })
    }
}

impl Payload for Numbered {
    fn write(&self, writer: &mut Writer) {
        for number in [self.number, self.place.offset, self.place.size_bytes, self.place.checksum] {
            writer.u64(number);
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        let number = reader.u64()?;
        let place = Place { offset: reader.u64()?, size_bytes: reader.u64()?, checksum: reader.u64()? };
        Ok(Self { number, place })
    }
}

impl Payload for Committed {
    fn write(&self, writer: &mut Writer) {
        self.existed.write(writer);
        self.renewed.write(writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self { existed: Payload::read(reader)?, renewed: Payload::read(reader)? })
    }
}

impl Payload for Leased {
    fn write(&self, writer: &mut Writer) {
        writer.raw(&self.token);
        self.present.write(writer);
        self.on_disk.write(writer);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self { token: reader.array()?, present: Payload::read(reader)?, on_disk: Payload::read(reader)? })
    }
}

impl Payload for Room {
    fn write(&self, writer: &mut Writer) {
        match self {
            Self::Present => writer.u8(0),
            Self::Refused => writer.u8(1),
            Self::Reserved(numbered) => {
                writer.u8(2);
                numbered.write(writer);
            }
        }
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        match reader.u8()? {
            0 => Ok(Self::Present),
            1 => Ok(Self::Refused),
            2 => Ok(Self::Reserved(Payload::read(reader)?)),
            other => Err(broken("room for a block is of no known kind").with("kind", other)),
        }
    }
}

impl Item for Room {
    const MIN_BYTES: usize = 1;
}

impl Payload for CacheStats {
    fn write(&self, writer: &mut Writer) {
        let counts = [
            self.blocks,
            self.block_bytes,
            self.memory_hits,
            self.disk_hits,
            self.misses,
            self.loaded_blocks,
            self.loaded_bytes,
            self.load_failures,
            self.stored_blocks,
            self.stored_bytes,
            self.present_blocks,
            self.refused_blocks,
            self.quota_drops,
        ];
        counts.iter().for_each(|count| writer.u64(*count));
        self.quota_bytes.write(writer);
        let shares = [self.memory_residence_s, self.lifetime_s, self.hit_rate, self.infinite_hit_rate];
        shares.iter().for_each(|share| share.map(f64::to_bits).write(writer));
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            blocks: reader.u64()?,
            block_bytes: reader.u64()?,
            memory_hits: reader.u64()?,
            disk_hits: reader.u64()?,
            misses: reader.u64()?,
            loaded_blocks: reader.u64()?,
            loaded_bytes: reader.u64()?,
            load_failures: reader.u64()?,
            stored_blocks: reader.u64()?,
            stored_bytes: reader.u64()?,
            present_blocks: reader.u64()?,
            refused_blocks: reader.u64()?,
            quota_drops: reader.u64()?,
            quota_bytes: Payload::read(reader)?,
            memory_residence_s: share(reader)?,
            lifetime_s: share(reader)?,
            hit_rate: share(reader)?,
            infinite_hit_rate: share(reader)?,
        })
    }
}

fn share(reader: &mut Reader<'_>) -> Result<Option<f64>> {
    Ok(Option::<u64>::read(reader)?.map(f64::from_bits))
}

impl Payload for Changed {
    fn write(&self, writer: &mut Writer) {
        writer.u64(self.seq);
        self.key.write(writer);
        self.value.write(writer);
        writer.u64(self.expires_at_ms);
        writer.flag(self.more);
    }

    fn read(reader: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            seq: reader.u64()?,
            key: Payload::read(reader)?,
            value: Payload::read(reader)?,
            expires_at_ms: reader.u64()?,
            more: reader.flag()?,
        })
    }
}

/// Names of context are static; those that arrive are kept for good, so only so many of them are.
const MAX_CONTEXT_NAMES: usize = 64;
const MAX_CONTEXT_NAME_BYTES: usize = 32;

/// The static name that is equal to one that arrived, if there is room for it.
fn context_name(name: &str) -> Option<&'static str> {
    static NAMES: Mutex<Vec<&'static str>> = Mutex::new(Vec::new());
    let mut names = NAMES.lock();
    if let Some(known) = names.iter().find(|known| **known == name) {
        return Some(known);
    }
    if names.len() == MAX_CONTEXT_NAMES || name.len() > MAX_CONTEXT_NAME_BYTES {
        return None;
    }
    names.push(String::leak(name.to_owned()));
    names.last().copied()
}

/// Writes an error as the payload of a [`FAILED`] frame.
pub(super) fn write_error(error: &Error, writer: &mut Writer) {
    let cause = std::error::Error::source(error).map_or_else(String::new, |source| format!(": {source}"));
    writer.bytes(error.kind().code().as_bytes());
    writer.bytes(format!("{}{cause}", error.message()).as_bytes());
    let context: Vec<(String, String)> =
        error.context().iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    context.write(writer);
}

/// Reads an error of the server.
pub(super) fn read_error(payload: &[u8]) -> Result<Error> {
    let mut reader = Reader::new(payload);
    let code = reader.text()?;
    let kind = ErrorKind::from_code(code)
        .ok_or_else(|| broken("an error of the server is of no known kind").with("code", code))?;
    let mut message = reader.text()?.to_owned();
    let pairs: Vec<(String, String)> = Payload::read(&mut reader)?;
    reader.finish()?;
    let mut known = Vec::new();
    for (name, value) in pairs {
        match context_name(&name) {
            Some(name) => known.push((name, value)),
            None => message = format!("{message} [{name}={value}]"),
        }
    }
    Ok(known.into_iter().fold(Error::new(kind, message), |error, (name, value)| error.with(name, value)))
}

/// Reads a whole payload as one value.
pub(super) fn decode<T: Payload>(payload: &[u8]) -> Result<T> {
    let mut reader = Reader::new(payload);
    let value = T::read(&mut reader)?;
    reader.finish()?;
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_arrives_with_its_kind_and_context() {
        let long = "a name that is longer than any in this crate";
        let sent = Error::new(ErrorKind::TooLarge, "the value does not fit").with("size_bytes", 9).with(long, 1);
        let mut writer = Writer::default();
        write_error(&sent, &mut writer);
        let arrived = read_error(&writer.into_bytes()).unwrap();
        assert_eq!((arrived.kind(), arrived.get("size_bytes")), (ErrorKind::TooLarge, Some("9")));
        assert_eq!(arrived.message(), format!("the value does not fit [{long}=1]"));
    }

    #[test]
    fn a_commit_reads_back() {
        let place = Place { offset: 64, size_bytes: 10, checksum: 0 };
        let sent = Committed { existed: vec![true, false], renewed: vec![Numbered { number: 3, place }] };
        let mut writer = Writer::default();
        sent.write(&mut writer);
        assert_eq!(decode::<Committed>(&writer.into_bytes()).unwrap(), sent);
    }
}
