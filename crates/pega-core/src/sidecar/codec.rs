//! Numbers and byte strings in a frame: little-endian, every length checked before it is believed.

use crate::error::{Error, ErrorKind, Result};

/// A frame that breaks the protocol; whoever sent it loses its connection.
#[cold]
pub(super) fn broken(message: impl Into<String>) -> Error {
    Error::new(ErrorKind::Protocol, message)
}

/// Takes a payload apart from front to back. Every method fails with `Protocol` rather than read past the end.
pub(super) struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    pub(super) fn new(payload: &'a [u8]) -> Self {
        Self { rest: payload }
    }

    fn take(&mut self, size_bytes: usize) -> Result<&'a [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(size_bytes) else {
            return Err(broken("a frame ends in the middle of a field")
                .with("needed_bytes", size_bytes)
                .with("left_bytes", self.rest.len()));
        };
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.take(N)?);
        Ok(array)
    }

    pub(super) fn u8(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(super) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(super) fn flag(&mut self) -> Result<bool> {
        match self.u8()? {
            0 => Ok(false),
            1 => Ok(true),
            other => Err(broken("a flag is neither 0 nor 1").with("value", other)),
        }
    }

    pub(super) fn bytes(&mut self) -> Result<&'a [u8]> {
        let size_bytes = self.u32()? as usize;
        self.take(size_bytes)
    }

    pub(super) fn text(&mut self) -> Result<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|error| broken("a name is not UTF-8").caused_by(error))
    }

    /// A counted list. The count is checked against the bytes that are left, of which every item takes at least
    /// `item_bytes`, so that a hostile count reserves no memory.
    pub(super) fn list<T>(
        &mut self,
        item_bytes: usize,
        mut item: impl FnMut(&mut Self) -> Result<T>,
    ) -> Result<Vec<T>> {
        let count = self.u32()? as usize;
        if count.saturating_mul(item_bytes) > self.rest.len() {
            return Err(broken("a list is longer than its frame").with("count", count));
        }
        let mut items = Vec::with_capacity(count);
        for _ in 0..count {
            items.push(item(self)?);
        }
        Ok(items)
    }

    /// Ends the payload; anything left over breaks the protocol.
    pub(super) fn finish(self) -> Result<()> {
        if self.rest.is_empty() {
            return Ok(());
        }
        Err(broken("a frame is longer than its fields").with("extra_bytes", self.rest.len()))
    }
}

/// Puts a payload together.
#[derive(Default)]
pub(super) struct Writer {
    payload: Vec<u8>,
}

impl Writer {
    /// A writer that appends to `payload`.
    pub(super) fn over(payload: Vec<u8>) -> Self {
        Self { payload }
    }

    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.payload
    }

    pub(super) fn raw(&mut self, bytes: &[u8]) {
        self.payload.extend_from_slice(bytes);
    }

    pub(super) fn u8(&mut self, value: u8) {
        self.payload.push(value);
    }

    pub(super) fn u32(&mut self, value: u32) {
        self.raw(&value.to_le_bytes());
    }

    pub(super) fn u64(&mut self, value: u64) {
        self.raw(&value.to_le_bytes());
    }

    pub(super) fn flag(&mut self, value: bool) {
        self.u8(u8::from(value));
    }

    /// A length. Frames are far shorter than 4 GiB, so one that does not fit is refused where the frame is sealed.
    pub(super) fn count(&mut self, count: usize) {
        self.u32(u32::try_from(count).unwrap_or(u32::MAX));
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.count(bytes.len());
        self.raw(bytes);
    }

    pub(super) fn list<T>(&mut self, items: &[T], mut item: impl FnMut(&mut Self, &T)) {
        self.count(items.len());
        for each in items {
            item(self, each);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn what_is_written_reads_back() {
        let mut writer = Writer::default();
        writer.u8(7);
        writer.u64(1 << 40);
        writer.bytes(b"key");
        writer.list(&[1_u32, 2], |w, n| w.u32(*n));
        let payload = writer.into_bytes();
        let mut reader = Reader::new(&payload);
        assert_eq!(reader.u8().unwrap(), 7);
        assert_eq!(reader.u64().unwrap(), 1 << 40);
        assert_eq!(reader.bytes().unwrap(), b"key");
        assert_eq!(reader.list(4, Reader::u32).unwrap(), [1, 2]);
        reader.finish().unwrap();
    }

    #[test]
    fn a_count_beyond_the_frame_reserves_no_memory() {
        let error = Reader::new(&[0xff, 0xff, 0xff, 0xff, 1]).list(8, Reader::u64).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
    }

    #[test]
    fn bytes_left_over_break_the_protocol() {
        assert_eq!(Reader::new(&[0]).finish().unwrap_err().kind(), ErrorKind::Protocol);
    }
}
