//! One connection: a greeting, then requests in order, until the socket ends or the client breaks the protocol.

use std::net::Shutdown;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use super::hub::{Hub, count};
use super::session::Session;
use crate::error::{Error, ErrorKind, Result};
use crate::sidecar::codec::broken;
use crate::sidecar::frame::{GREETING_TIME, PROTOCOL_VERSION};
use crate::sidecar::link::{Incoming, Outgoing, split_socket};
use crate::sidecar::reply::{DONE, FAILED, Greeting, PART, Payload, write_error};
use crate::sidecar::request::Request;

/// Gives a connection its thread; one that cannot be served is told why and closed.
pub(super) fn start(hub: &Arc<Hub>, socket: UnixStream) {
    if socket.set_nonblocking(false).is_err() {
        return;
    }
    let number = match hub.admit(&socket) {
        Ok(number) => number,
        Err(error) => {
            // Its buffer is empty, so that this cannot block.
            let _ = Answer { outgoing: &mut split_socket(socket).1, sequence: 0 }.failed(&error);
            return;
        }
    };
    let shared = Arc::clone(hub);
    let thread = std::thread::Builder::new().name(format!("pega-client-{number}"));
    let spawned = thread.spawn(move || {
        let _leaving = Leaving { hub: &shared, number };
        run(&shared, socket);
    });
    if spawned.is_err() {
        hub.leave(number);
    }
}

/// Strikes the connection from the roster, also when its thread panics.
struct Leaving<'a> {
    hub: &'a Hub,
    number: u64,
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.hub.cut(self.number, Shutdown::Both);
        self.hub.leave(self.number);
    }
}

fn run(hub: &Arc<Hub>, socket: UnixStream) {
    let (mut incoming, mut outgoing) = split_socket(socket);
    let mut expected = 0;
    let Err(error) = converse(hub, &mut incoming, &mut outgoing, &mut expected) else { return };
    if error.kind() == ErrorKind::Protocol {
        count(&hub.counters.violations);
    }
    let _ = Answer { outgoing: &mut outgoing, sequence: expected }.failed(&error);
}

/// Answers until the input ends; an error ends the connection.
fn converse(hub: &Arc<Hub>, incoming: &mut Incoming, outgoing: &mut Outgoing, expected: &mut u64) -> Result<()> {
    let Some(mut session) = greet(hub, incoming, outgoing)? else { return Ok(()) };
    *expected = 1;
    while let Some((header, payload)) = incoming.receive()? {
        if header.sequence != *expected {
            return Err(broken("a frame is out of order")
                .with("sequence", header.sequence)
                .with("expected_sequence", *expected));
        }
        let request = Request::decode(header.kind, payload)?;
        count(&hub.counters.requests);
        let mut answer = Answer { outgoing, sequence: header.sequence };
        let is_answered = request.is_answered();
        match session.answer(request, &mut answer) {
            Err(error) if error.kind() != ErrorKind::Protocol && is_answered => answer.failed(&error)?,
            other => other?,
        }
        *expected += 1;
    }
    Ok(())
}

fn greet(hub: &Arc<Hub>, incoming: &mut Incoming, outgoing: &mut Outgoing) -> Result<Option<Session>> {
    incoming.limit(Some(GREETING_TIME))?;
    let Some((header, payload)) = incoming.receive()? else { return Ok(None) };
    let Request::Greet { version, client } = Request::decode(header.kind, payload)? else {
        return Err(broken("the first frame is not a greeting"));
    };
    if header.sequence != 0 {
        return Err(broken("a frame is out of order").with("sequence", header.sequence).with("expected_sequence", 0));
    }
    if version != PROTOCOL_VERSION {
        return Err(Error::new(
            ErrorKind::UnsupportedFormat,
            "the sidecar speaks another version of the protocol; run the same release of pegaflow on both sides",
        )
        .with("version", version)
        .with("server_version", PROTOCOL_VERSION));
    }
    let state = hub.client(client)?;
    let arena = hub.arena_file()?;
    let greeting = Greeting {
        version: PROTOCOL_VERSION,
        client: state.token,
        arena_bytes: hub.arena_bytes(),
        pid: std::process::id(),
        settings: hub.options.settings.clone(),
    };
    outgoing.push(DONE, 0, |payload| greeting.write(payload))?;
    if client.is_none() {
        outgoing.flush_with(arena)?;
    } else {
        outgoing.flush()?;
    }
    incoming.limit(None)?;
    Ok(Some(Session::new(Arc::clone(hub), state)))
}

/// The way back for one request.
pub(super) struct Answer<'a> {
    outgoing: &'a mut Outgoing,
    sequence: u64,
}

impl Answer<'_> {
    /// Ends the answer.
    pub(super) fn done(&mut self, value: &impl Payload) -> Result<()> {
        self.outgoing.push(DONE, self.sequence, |payload| value.write(payload))?;
        self.outgoing.flush()
    }

    /// Sends a part of the answer; more follows.
    pub(super) fn part(&mut self, value: &impl Payload) -> Result<()> {
        self.outgoing.push(PART, self.sequence, |payload| value.write(payload))?;
        self.outgoing.flush()
    }

    /// Ends the answer with an error.
    pub(super) fn failed(&mut self, error: &Error) -> Result<()> {
        self.outgoing.push(FAILED, self.sequence, |payload| write_error(error, payload))?;
        self.outgoing.flush()
    }
}
