//! The two directions of a connection: frames in order over a Unix socket, and at the greeting one descriptor.

use std::io::{IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};

use super::codec::Writer;
use super::frame::{HEADER_BYTES, Header, MAX_PAYLOAD_BYTES, split};
use crate::error::{Error, ErrorKind, Result};

/// What one read asks for: most frames come whole, and a batch of a thousand hashes in one go.
const READ_BYTES: usize = 64 << 10;

/// A header and its payload.
pub(super) type Frame<'a> = (Header, &'a [u8]);

/// Splits a socket into its two directions.
pub(super) fn split_socket(socket: UnixStream) -> (Incoming, Outgoing) {
    let socket = Arc::new(socket);
    (
        Incoming { socket: Arc::clone(&socket), bytes: Vec::new(), start: 0, end: 0 },
        Outgoing { socket, bytes: Vec::new() },
    )
}

/// The direction that sends.
pub(super) struct Outgoing {
    socket: Arc<UnixStream>,
    bytes: Vec<u8>,
}

impl Outgoing {
    /// Appends a frame to what [`Self::flush`] will send; `fill` writes its payload.
    ///
    /// # Errors
    /// `TooLarge` if the payload does not fit one frame; nothing is appended then.
    pub(super) fn push(&mut self, kind: u8, sequence: u64, fill: impl FnOnce(&mut Writer)) -> Result<()> {
        let begin = self.bytes.len();
        self.bytes.extend_from_slice(&[0; HEADER_BYTES]);
        let mut writer = Writer::over(std::mem::take(&mut self.bytes));
        fill(&mut writer);
        self.bytes = writer.into_bytes();
        let payload_bytes = self.bytes.len() - begin - HEADER_BYTES;
        if payload_bytes > MAX_PAYLOAD_BYTES {
            self.bytes.truncate(begin);
            return Err(Error::new(ErrorKind::TooLarge, "a request or reply is too long for one frame")
                .with("size_bytes", payload_bytes)
                .with("max_bytes", MAX_PAYLOAD_BYTES));
        }
        let header = Header { payload_bytes, kind, sequence }.encode();
        self.bytes[begin..begin + HEADER_BYTES].copy_from_slice(&header);
        Ok(())
    }

    /// Sends what was pushed.
    pub(super) fn flush(&mut self) -> Result<()> {
        let sent = (&*self.socket).write_all(&self.bytes);
        self.bytes.clear();
        sent.map_err(gone)
    }

    /// Sends what was pushed, with a descriptor.
    pub(super) fn flush_with(&mut self, descriptor: BorrowedFd<'_>) -> Result<()> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        let descriptors = [descriptor];
        control.push(SendAncillaryMessage::ScmRights(&descriptors));
        let bytes = [IoSlice::new(&self.bytes)];
        let sent = loop {
            match rustix::net::sendmsg(&*self.socket, &bytes, &mut control, SendFlags::NOSIGNAL) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other.map_err(|errno| gone(errno.into()))?,
            }
        };
        self.bytes.drain(..sent);
        self.flush()
    }
}

/// The direction that receives.
pub(super) struct Incoming {
    socket: Arc<UnixStream>,
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl Incoming {
    /// Bounds how long the other end may take to say or to take something; without a time it may take for ever.
    pub(super) fn limit(&self, time: Option<Duration>) -> Result<()> {
        let limited = self.socket.set_read_timeout(time).and_then(|()| self.socket.set_write_timeout(time));
        limited.map_err(|error| Error::io("cannot set up a socket", error))
    }

    /// The next frame, waiting for it; nothing once the other end has closed between two frames.
    ///
    /// # Errors
    /// `Protocol` for a frame that is malformed, `Disconnected` if the other end closes in the middle of one.
    pub(super) fn receive(&mut self) -> Result<Option<Frame<'_>>> {
        let (header, size_bytes) = loop {
            if let Some((header, _, size_bytes)) = split(&self.bytes[self.start..self.end])? {
                break (header, size_bytes);
            }
            self.make_room();
            match (&*self.socket).read(&mut self.bytes[self.end..]) {
                Ok(0) if self.end == 0 => return Ok(None),
                Ok(0) => return Err(Error::new(ErrorKind::Disconnected, "the connection ended inside a frame")),
                Ok(read_bytes) => self.end += read_bytes,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(gone(error)),
            }
        };
        let begin = self.start + HEADER_BYTES;
        self.start += size_bytes;
        Ok(Some((header, &self.bytes[begin..begin + header.payload_bytes])))
    }

    /// Like [`Self::receive`], for the one frame that comes with a descriptor.
    pub(super) fn receive_with(&mut self) -> Result<(Option<Frame<'_>>, Option<OwnedFd>)> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        self.make_room();
        let read_bytes = loop {
            let mut bytes = [IoSliceMut::new(&mut self.bytes[self.end..])];
            match rustix::net::recvmsg(self.socket.as_fd(), &mut bytes, &mut control, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::INTR) => {}
                other => break other.map_err(|errno| gone(errno.into()))?.bytes,
            }
        };
        self.end += read_bytes;
        let descriptor = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
            _ => None,
        });
        if read_bytes == 0 {
            return Ok((None, descriptor));
        }
        Ok((self.receive()?, descriptor))
    }

    /// Moves what is unread to the front and makes room behind it.
    fn make_room(&mut self) {
        self.bytes.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.bytes.len() < self.end + READ_BYTES {
            self.bytes.resize(self.end + READ_BYTES, 0);
        }
    }
}

/// An error of the socket, told apart from one of a disk.
fn gone(error: std::io::Error) -> Error {
    use std::io::ErrorKind as Os;
    match error.kind() {
        Os::WouldBlock | Os::TimedOut => {
            Error::new(ErrorKind::TimedOut, "the other end of the socket did not answer in time")
        }
        _ => {
            Error::new(ErrorKind::Disconnected, "the connection to the sidecar is gone; connect again").caused_by(error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linked() -> (Outgoing, Incoming) {
        let (a, b) = UnixStream::pair().unwrap();
        (split_socket(a).1, split_socket(b).0)
    }

    #[test]
    fn frames_arrive_in_order_and_the_end_is_seen() {
        let (mut outgoing, mut incoming) = linked();
        for sequence in 0..3 {
            outgoing.push(4, sequence, |payload| payload.raw(&[7; 100])).unwrap();
        }
        outgoing.flush().unwrap();
        drop(outgoing);
        for sequence in 0..3 {
            let (header, payload) = incoming.receive().unwrap().unwrap();
            assert_eq!((header.sequence, payload), (sequence, &[7; 100][..]));
        }
        assert!(incoming.receive().unwrap().is_none());
    }

    #[test]
    fn a_descriptor_arrives_with_its_frame() {
        let (mut outgoing, mut incoming) = linked();
        outgoing.push(1, 0, |_| {}).unwrap();
        outgoing.flush_with(std::io::stdin().as_fd()).unwrap();
        let (frame, descriptor) = incoming.receive_with().unwrap();
        assert_eq!(frame.unwrap().0.kind, 1);
        assert!(descriptor.is_some());
    }

    #[test]
    fn a_frame_too_long_is_not_sent() {
        let (mut outgoing, _incoming) = linked();
        let error = outgoing.push(1, 0, |payload| payload.raw(&vec![0; MAX_PAYLOAD_BYTES + 1]));
        assert_eq!(error.unwrap_err().kind(), ErrorKind::TooLarge);
        assert!(outgoing.bytes.is_empty());
    }
}
