//! What the threads of a server share: who is connected, and whether it is time to end.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use super::ServeOptions;
use super::client::ClientState;
use super::peer;
use super::space::Piece;
use crate::engine::PegaEngine;
use crate::error::{Error, ErrorKind, Result};

/// The byte that asks the accepting thread to look at the roster again; any other asks it to end.
const LOOK_AGAIN: u8 = 0;

/// What a server did since it started.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) connections: AtomicU64,
    pub(super) refused: AtomicU64,
    pub(super) requests: AtomicU64,
    pub(super) violations: AtomicU64,
    pub(super) reclaimed_reservations: AtomicU64,
    pub(super) reclaimed_pins: AtomicU64,
    pub(super) reclaimed_leases: AtomicU64,
}

/// Adds one to a counter that orders nothing.
pub(super) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

struct Connected {
    socket: UnixStream,
    process: Option<Arc<OwnedFd>>,
}

struct Roster {
    next_number: u64,
    connected: HashMap<u64, Connected>,
    clients: HashMap<[u8; 16], Weak<ClientState>>,
    idle_since: Instant,
}

/// The state of a server. `roster` is never held while anything is read, written or waited for.
pub(super) struct Hub {
    pub(super) engine: PegaEngine,
    pub(super) options: ServeOptions,
    pub(super) counters: Arc<Counters>,
    pub(super) started: Instant,
    draining: AtomicBool,
    roster: Mutex<Roster>,
    ended: Condvar,
    buried: Mutex<Vec<Piece>>,
    waker: UnixStream,
}

impl Hub {
    /// The state of a new server, and what its accepting thread watches besides the socket.
    pub(super) fn new(engine: PegaEngine, options: ServeOptions) -> Result<(Self, UnixStream)> {
        let failed = |error| Error::io("cannot make the socket pair that ends a server", error);
        let (waker, woken) = UnixStream::pair().map_err(failed)?;
        waker.set_nonblocking(true).map_err(failed)?;
        woken.set_nonblocking(true).map_err(failed)?;
        let roster =
            Roster { next_number: 0, connected: HashMap::new(), clients: HashMap::new(), idle_since: Instant::now() };
        let hub = Self {
            engine,
            options,
            counters: Arc::default(),
            started: Instant::now(),
            draining: AtomicBool::new(false),
            roster: Mutex::new(roster),
            ended: Condvar::new(),
            buried: Mutex::default(),
            waker,
        };
        Ok((hub, woken))
    }

    /// The memory file that clients map.
    pub(super) fn arena_file(&self) -> Result<BorrowedFd<'_>> {
        self.engine.store().arena.file().ok_or_else(|| {
            Error::invalid("the arena of the engine is private to its process; open it with a shared one to serve it")
        })
    }

    pub(super) fn arena_bytes(&self) -> u64 {
        self.engine.store().arena.capacity_bytes()
    }

    /// Asks the server to drain and end.
    pub(super) fn stop(&self) {
        // A full pipe already holds a byte that wakes.
        let _ = (&self.waker).write(&[1]);
    }

    /// A descriptor to which a signal handler may write a byte other than zero to end the server.
    pub(super) fn waker(&self) -> &UnixStream {
        &self.waker
    }

    /// Reads what woke the accepting thread; whether it shall end.
    pub(super) fn is_asked_to_end(mut woken: &UnixStream) -> bool {
        let mut bytes = [LOOK_AGAIN; 64];
        while let Ok(1..) = woken.read(&mut bytes) {
            if bytes.iter().any(|byte| *byte != LOOK_AGAIN) {
                return true;
            }
        }
        false
    }

    pub(super) fn is_draining(&self) -> bool {
        self.draining.load(Ordering::Acquire)
    }

    /// Enters a connection and gives its number.
    pub(super) fn admit(&self, socket: &UnixStream) -> Result<u64> {
        let copied = socket.try_clone().map_err(|error| Error::io("cannot copy a socket", error))?;
        let process = peer::watch(socket).map(Arc::new);
        let mut roster = self.roster.lock();
        if roster.connected.len() >= self.options.max_connections {
            count(&self.counters.refused);
            return Err(Error::new(
                ErrorKind::Locked,
                "the sidecar has no connection left; close one or raise its limit",
            )
            .with("max_connections", self.options.max_connections));
        }
        count(&self.counters.connections);
        let number = roster.next_number;
        roster.next_number += 1;
        roster.connected.insert(number, Connected { socket: copied, process });
        Ok(number)
    }

    /// Strikes a connection that has ended.
    pub(super) fn leave(&self, number: u64) {
        let mut roster = self.roster.lock();
        roster.connected.remove(&number);
        roster.idle_since = Instant::now();
        roster.clients.retain(|_, client| client.strong_count() > 0);
        drop(roster);
        self.ended.notify_all();
        let _ = (&self.waker).write(&[LOOK_AGAIN]);
    }

    /// The client with this token, or a new one.
    pub(super) fn client(&self, token: Option<[u8; 16]>) -> Result<Arc<ClientState>> {
        let mut roster = self.roster.lock();
        if let Some(token) = token {
            return roster.clients.get(&token).and_then(Weak::upgrade).ok_or_else(|| {
                Error::new(ErrorKind::Disconnected, "the client that this connection would join is gone; connect again")
            });
        }
        let client = Arc::new(ClientState::new(Arc::clone(&self.counters)));
        roster.clients.insert(client.token, Arc::downgrade(&client));
        Ok(client)
    }

    /// The processes whose end is watched.
    pub(super) fn processes(&self) -> Vec<(u64, Arc<OwnedFd>)> {
        let roster = self.roster.lock();
        roster
            .connected
            .iter()
            .filter_map(|(number, connected)| Some((*number, Arc::clone(connected.process.as_ref()?))))
            .collect()
    }

    /// Ends a connection from this side; its thread finds the end of its input.
    pub(super) fn cut(&self, number: u64, how: Shutdown) {
        if let Some(connected) = self.roster.lock().connected.get_mut(&number) {
            connected.process = None;
            let _ = connected.socket.shutdown(how);
        }
    }

    /// How many connections and clients there are.
    pub(super) fn attendance(&self) -> (usize, usize) {
        let roster = self.roster.lock();
        (roster.connected.len(), roster.clients.values().filter(|client| client.strong_count() > 0).count())
    }

    /// How long until the server is idle for too long; `None` while it is in use or may idle for ever.
    pub(super) fn idle_left(&self) -> Option<Duration> {
        let allowed = self.options.idle_exit?;
        let roster = self.roster.lock();
        roster.connected.is_empty().then(|| allowed.saturating_sub(roster.idle_since.elapsed()))
    }

    /// Waits until what is acknowledged is on disk.
    pub(super) fn flush(&self) -> Result<()> {
        self.engine.store().flush()
    }

    /// Keeps room from being used again until the server has ended.
    pub(super) fn bury(&self, pieces: impl IntoIterator<Item = Piece>) {
        self.buried.lock().extend(pieces);
    }

    /// Ends every connection: requests that have arrived are answered, up to the time allowed for it.
    pub(super) fn drain(&self) {
        self.draining.store(true, Ordering::Release);
        for how in [Shutdown::Read, Shutdown::Both] {
            let mut roster = self.roster.lock();
            for connected in roster.connected.values() {
                let _ = connected.socket.shutdown(how);
            }
            let deadline = Instant::now() + self.options.drain;
            while !roster.connected.is_empty() {
                if self.ended.wait_until(&mut roster, deadline).timed_out() {
                    break;
                }
            }
        }
    }
}
