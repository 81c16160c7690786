//! The process that owns the engine and answers its clients, one thread to a connection.
//!
//! A client that is slow, stopped or hostile holds up its own thread only: no lock is held while a frame is read or
//! written. What a connection reserved is freed when the connection ends; what a client pinned or leased, when its
//! last connection does, which the death of its process brings about at once.

mod accept;
mod blocks;
mod client;
mod connection;
mod feed;
mod figures;
mod hub;
mod lookup;
mod peer;
mod session;
mod space;

use std::os::fd::{AsFd, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use parking_lot::Mutex;

use self::hub::Hub;
use super::socket::Socket;
use crate::arena::Sharing;
use crate::engine::{Options, PegaEngine};
use crate::error::{Error, ErrorKind, Result};

/// How a server is run.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Where clients find it.
    pub socket: PathBuf,
    /// It ends by itself after this long without a client.
    pub idle_exit: Option<Duration>,
    /// How long a drain waits for requests in progress before it cuts them off.
    pub drain: Duration,
    /// More connections than this are refused.
    pub max_connections: usize,
    /// The settings of the engine by name, which clients compare with those that they want.
    pub settings: Vec<(String, String)>,
}

impl ServeOptions {
    /// The defaults: no idle exit, ten seconds to drain, 1,024 connections.
    #[must_use]
    pub fn new(socket: impl Into<PathBuf>) -> Self {
        Self {
            socket: socket.into(),
            idle_exit: None,
            drain: Duration::from_secs(10),
            max_connections: 1024,
            settings: Vec::new(),
        }
    }
}

/// A running server. Dropping it ends it like [`Self::stop`], without waiting.
pub struct Server {
    hub: Arc<Hub>,
    accepting: Mutex<Option<JoinHandle<Result<()>>>>,
}

impl Server {
    /// Opens an engine whose arena is shared and listens for its clients. The socket is taken first, so that two
    /// servers that are started at once meet there and not at the engine's directory.
    ///
    /// # Errors
    /// `Locked` if another server holds the socket or another engine the directory; those of [`PegaEngine::open`].
    pub fn open(engine: Options, options: ServeOptions) -> Result<Self> {
        let socket = Socket::claim(&options.socket)?;
        Self::begin(PegaEngine::open(Options { sharing: Sharing::Shared, ..engine })?, options, socket)
    }

    /// Listens for clients of `engine`, whose arena must be shared.
    ///
    /// # Errors
    /// `Locked` if another server holds the socket, `InvalidArgument` if the arena is private, `Io`.
    pub fn start(engine: PegaEngine, options: ServeOptions) -> Result<Self> {
        let socket = Socket::claim(&options.socket)?;
        Self::begin(engine, options, socket)
    }

    fn begin(engine: PegaEngine, options: ServeOptions, mut socket: Socket) -> Result<Self> {
        let (hub, woken) = Hub::new(engine, options)?;
        hub.arena_file()?;
        socket.listen()?;
        let hub = Arc::new(hub);
        let shared = Arc::clone(&hub);
        let accepting = std::thread::Builder::new()
            .name("pega-accept".to_owned())
            .spawn(move || accept::serve(&shared, socket, &woken))
            .map_err(|error| Error::io("cannot start the thread that accepts connections", error))?;
        Ok(Self { hub, accepting: Mutex::new(Some(accepting)) })
    }

    /// A descriptor to which a signal handler may write a byte other than zero, to the effect of [`Self::stop`].
    #[must_use]
    pub fn waker(&self) -> BorrowedFd<'_> {
        self.hub.waker().as_fd()
    }

    /// Asks the server to end: it answers the requests that have arrived, persists what was put, and closes the
    /// engine. Returns at once.
    pub fn stop(&self) {
        self.hub.stop();
    }

    /// Waits until the server has ended, asked to or idle for too long. A second call returns at once.
    ///
    /// # Errors
    /// What kept the engine from being flushed and closed.
    pub fn wait(&self) -> Result<()> {
        let Some(accepting) = self.accepting.lock().take() else { return Ok(()) };
        accepting
            .join()
            .unwrap_or_else(|_| Err(Error::new(ErrorKind::Io, "the thread that accepts connections panicked")))
    }

    /// The figures of the engine and of the server, by name, in a fixed order.
    #[must_use]
    pub fn figures(&self) -> Vec<(String, u64)> {
        figures::read(&self.hub)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}
