//! One connection of a client, used by one thread at a time.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use crate::error::{Error, ErrorKind, Result};
use crate::sidecar::codec::broken;
use crate::sidecar::frame::{GREETING_TIME, PROTOCOL_VERSION};
use crate::sidecar::link::{Incoming, Outgoing, split_socket};
use crate::sidecar::reply::{DONE, FAILED, Greeting, Numbered, PART, Payload, decode, read_error};
use crate::sidecar::request::Request;

/// A connection, the number of its next frame, and the space that it keeps for its next puts.
pub(super) struct Lane {
    incoming: Incoming,
    outgoing: Outgoing,
    next_sequence: u64,
    /// Space of the size that the last large put took: the next of that size needs one round trip instead of two.
    pub(super) spare: Option<Numbered>,
    /// Space through which small values pass, of any size and many at once.
    pub(super) staging: Option<Numbered>,
}

impl Lane {
    /// Connects and greets; a lane of no client yet gets the descriptor of the arena.
    pub(super) fn open(
        socket: &Path,
        client: Option<[u8; 16]>,
        reply_time: Option<Duration>,
    ) -> Result<(Self, Greeting, Option<OwnedFd>)> {
        let connected = UnixStream::connect(socket).map_err(|error| {
            Error::new(
                ErrorKind::Disconnected,
                "no sidecar answers at this path; start one with 'python -m pegaflow serve --socket PATH'",
            )
            .with("path", socket.display())
            .caused_by(error)
        })?;
        let (incoming, outgoing) = split_socket(connected);
        // A sidecar that is stopped, or something else that listens there, must not hold up its clients for ever.
        incoming.limit(Some(GREETING_TIME))?;
        let mut lane = Self { incoming, outgoing, next_sequence: 0, spare: None, staging: None };
        let sequence = lane.send_or_hear(&Request::Greet { version: PROTOCOL_VERSION, client })?;
        let (frame, descriptor) = lane.incoming.receive_with()?;
        let Some((header, payload)) = frame else {
            return Err(Error::new(ErrorKind::Disconnected, "the sidecar closed the connection; it may be ending")
                .with("path", socket.display()));
        };
        if header.kind == FAILED {
            return Err(read_error(payload)?);
        }
        if header.kind != DONE || header.sequence != sequence {
            return Err(broken("the first frame of the server is not a greeting"));
        }
        let greeting = decode(payload)?;
        lane.incoming.limit(reply_time)?;
        Ok((lane, greeting, descriptor))
    }

    fn send(&mut self, request: &Request<'_>) -> Result<u64> {
        let sequence = self.next_sequence;
        self.outgoing.push(request.kind(), sequence, |payload| request.encode(payload))?;
        self.next_sequence += 1;
        if request.is_answered() {
            self.outgoing.flush()?;
        }
        Ok(sequence)
    }

    /// Sends, and if the server has closed, gives the error that it closed with.
    fn send_or_hear(&mut self, request: &Request<'_>) -> Result<u64> {
        self.send(request).map_err(|error| {
            if error.kind() != ErrorKind::Disconnected {
                return error;
            }
            while let Ok(Some((header, payload))) = self.incoming.receive() {
                if header.kind == FAILED {
                    return read_error(payload).unwrap_or(error);
                }
            }
            error
        })
    }

    /// Asks and waits for the answer.
    ///
    /// # Errors
    /// What the server answers; `Disconnected` and `Protocol` if the lane is of no more use.
    pub(super) fn ask<T: Payload>(&mut self, request: &Request<'_>) -> Result<T> {
        let mut last = None;
        self.ask_parts(request, |part| last = Some(part))?;
        last.ok_or_else(|| broken("the server ended an answer before it began"))
    }

    /// Asks and gives every part of the answer to `each`.
    pub(super) fn ask_parts<T: Payload>(&mut self, request: &Request<'_>, mut each: impl FnMut(T)) -> Result<()> {
        let sequence = self.send_or_hear(request)?;
        loop {
            let Some((header, payload)) = self.incoming.receive()? else {
                return Err(Error::new(ErrorKind::Disconnected, "the sidecar ended; connect again"));
            };
            if header.kind == FAILED {
                return Err(read_error(payload)?);
            }
            if header.sequence != sequence || !matches!(header.kind, DONE | PART) {
                return Err(broken("an answer is out of order").with("sequence", header.sequence));
            }
            each(decode(payload)?);
            if header.kind == DONE {
                return Ok(());
            }
        }
    }

    /// Sends something that is not answered, along with the next request or when [`Self::flush`] is called.
    pub(super) fn tell(&mut self, request: &Request<'_>) -> Result<()> {
        debug_assert!(!request.is_answered());
        self.send(request).map(drop)
    }

    pub(super) fn flush(&mut self) -> Result<()> {
        self.outgoing.flush()
    }
}
