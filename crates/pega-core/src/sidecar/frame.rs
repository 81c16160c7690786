//! Frames: a header of sixteen bytes, then a payload of at most [`MAX_PAYLOAD_BYTES`].
//!
//! ```text
//! payload_bytes u32 | kind u8 | zero u8 | zero u16 | sequence u64 | payload
//! ```
//!
//! A client numbers its frames from zero without gaps; a reply carries the number of the frame that it answers.

use std::time::Duration;

use super::codec::broken;
use crate::error::Result;

/// The version of the protocol; a peer of another version is refused at the greeting.
pub const PROTOCOL_VERSION: u32 = 2;

/// How long either end may take to greet the other.
pub const GREETING_TIME: Duration = Duration::from_secs(5);

/// The longest payload of one frame. Longer batches take several frames.
pub const MAX_PAYLOAD_BYTES: usize = 1 << 20;

/// The size of the header before every payload.
pub const HEADER_BYTES: usize = 16;

/// What precedes a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The length of the payload that follows.
    pub payload_bytes: usize,
    /// What the payload is: a request, or how a reply ends.
    pub kind: u8,
    /// The number of the request, on it and on its reply.
    pub sequence: u64,
}

impl Header {
    /// Reads a header.
    ///
    /// # Errors
    /// `Protocol` if the payload would be too long or a reserved byte is not zero.
    pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Result<Self> {
        let [a, b, c, d, kind, zeros @ .., e, f, g, h, i, j, k, l] = *bytes;
        let payload_bytes = u32::from_le_bytes([a, b, c, d]) as usize;
        if payload_bytes > MAX_PAYLOAD_BYTES {
            return Err(broken("a frame is oversized")
                .with("payload_bytes", payload_bytes)
                .with("max_payload_bytes", MAX_PAYLOAD_BYTES));
        }
        if zeros != [0; 3] {
            return Err(broken("a reserved byte of a frame is not zero"));
        }
        Ok(Self { payload_bytes, kind, sequence: u64::from_le_bytes([e, f, g, h, i, j, k, l]) })
    }

    /// Writes a header.
    #[must_use]
    pub fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..4].copy_from_slice(&u32::try_from(self.payload_bytes).unwrap_or(u32::MAX).to_le_bytes());
        bytes[4] = self.kind;
        bytes[8..].copy_from_slice(&self.sequence.to_le_bytes());
        bytes
    }
}

/// The first frame in `bytes` and how many bytes it takes, or nothing while it is incomplete.
///
/// # Errors
/// `Protocol`, as soon as the header alone shows it.
pub fn split(bytes: &[u8]) -> Result<Option<(Header, &[u8], usize)>> {
    let Some((header, rest)) = bytes.split_first_chunk::<HEADER_BYTES>() else {
        return Ok(None);
    };
    let header = Header::decode(header)?;
    Ok(rest.get(..header.payload_bytes).map(|payload| (header, payload, HEADER_BYTES + header.payload_bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_frame_is_complete_only_with_its_last_byte() {
        let mut bytes = Header { payload_bytes: 3, kind: 9, sequence: 5 }.encode().to_vec();
        bytes.extend_from_slice(b"abc");
        for end in 0..bytes.len() {
            assert!(split(&bytes[..end]).unwrap().is_none());
        }
        let (header, payload, size_bytes) = split(&bytes).unwrap().unwrap();
        assert_eq!((header.kind, header.sequence, payload, size_bytes), (9, 5, &b"abc"[..], 19));
    }

    #[test]
    fn an_oversized_frame_is_refused_by_its_header() {
        let header = Header { payload_bytes: MAX_PAYLOAD_BYTES + 1, kind: 1, sequence: 0 }.encode();
        assert_eq!(split(&header).unwrap_err().kind(), ErrorKind::Protocol);
    }
}
