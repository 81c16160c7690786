//! The other processes: the operations of an engine, asked of the sidecar that owns it.

mod cache;
mod feed;
mod lane;
mod lease;
mod pool;
mod read;
mod transfer;
mod view;
mod window;
mod write;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

pub use self::cache::RemoteCache;
pub use self::feed::RemoteFeed;
use self::lane::Lane;
pub use self::lease::RemoteLease;
use self::pool::Pool;
pub use self::read::{Read, Value};
pub use self::view::View;
use self::window::Window;
pub use self::write::{Put, Write};
use super::frame::PROTOCOL_VERSION;
use super::reply::Greeting;
use super::request::Request;
use crate::error::{Error, ErrorKind, Result};
use crate::work;

/// The most keys or hashes in one frame; longer batches take several.
const MAX_BATCH: usize = 8192;

/// The most bytes of keys or hashes in one frame, which leaves room for the rest of it.
const MAX_BATCH_BYTES: usize = 768 << 10;

/// The most bytes on their way at once for one operation.
const MAX_ROUND_BYTES: usize = 64 << 20;

/// What the clones of a client share.
struct Connection {
    pool: Pool,
    window: Window,
    greeting: Greeting,
    path: PathBuf,
    /// Values that were let go of and of which the server was not told yet.
    dropped: Mutex<Vec<u64>>,
    work: work::Pool,
}

/// A connection to a sidecar. Clones share it, and any number of threads may use it at once.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Connection>,
}

impl Client {
    /// Connects to the sidecar at `path`.
    ///
    /// # Errors
    /// `Disconnected` if none answers, `UnsupportedFormat` if it is of another release, `Protocol` if something else
    /// answers.
    pub fn connect(path: &Path) -> Result<Self> {
        Self::connect_within(path, None)
    }

    /// As [`Self::connect`], with a bound to how long an operation waits for the sidecar, which may be stopped or hang:
    /// one that waits longer fails, and its connection is closed. Following changes takes at least half a second.
    ///
    /// # Errors
    /// As [`Self::connect`]; `InvalidArgument` for a bound of zero.
    pub fn connect_within(path: &Path, reply_time: Option<Duration>) -> Result<Self> {
        if reply_time.is_some_and(|time| time.is_zero()) {
            return Err(Error::invalid("a sidecar needs some time to answer"));
        }
        let (lane, greeting, descriptor) = Lane::open(path, None, reply_time)?;
        if greeting.version != PROTOCOL_VERSION {
            return Err(Error::new(ErrorKind::UnsupportedFormat, "the sidecar speaks another version of the protocol")
                .with("version", greeting.version));
        }
        let Some(descriptor) = descriptor else {
            return Err(Error::new(ErrorKind::Protocol, "the sidecar did not pass the descriptor of its arena"));
        };
        let shared = Connection {
            window: Window::open(descriptor, greeting.arena_bytes)?,
            pool: Pool::new(path, greeting.client, reply_time, lane),
            greeting,
            path: path.to_owned(),
            dropped: Mutex::new(Vec::new()),
            work: work::Pool::new("pega-sidecar"),
        };
        Ok(Self { shared: Arc::new(shared) })
    }

    /// Where the sidecar listens.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// The process that serves.
    #[must_use]
    pub fn server_pid(&self) -> u32 {
        self.shared.greeting.pid
    }

    /// The settings of the engine, as text, by name.
    #[must_use]
    pub fn settings(&self) -> &[(String, String)] {
        &self.shared.greeting.settings
    }

    /// Refuses a sidecar that runs with other settings than `wanted`.
    ///
    /// # Errors
    /// `SettingsDiffer`, naming the first setting that differs and both of its values.
    pub fn require_settings(&self, wanted: &[(String, String)]) -> Result<()> {
        for (name, value) in wanted {
            let running = self.settings().iter().find(|(known, _)| known == name).map_or("", |(_, value)| value);
            if running != value {
                return Err(Error::new(
                    ErrorKind::SettingsDiffer,
                    format!("the running sidecar has {name}={running}, not {value}; use its settings or another path"),
                )
                .with("path", self.path().display()));
            }
        }
        Ok(())
    }

    /// Runs one operation on a lane.
    fn with<T>(&self, operation: impl FnOnce(&mut Lane) -> Result<T>) -> Result<T> {
        self.shared.with(operation)
    }

    fn window(&self) -> &Window {
        &self.shared.window
    }

    /// The most bytes held or reserved at once: enough that round trips do not count, and a share of the arena.
    fn round_bytes(&self) -> usize {
        usize::try_from(self.shared.greeting.arena_bytes / 4).unwrap_or(usize::MAX).min(MAX_ROUND_BYTES)
    }

    /// The threads for loads and stores in the background.
    fn work(&self) -> &work::Pool {
        &self.shared.work
    }

    fn let_go(&self, numbers: &[u64]) {
        self.shared.let_go(numbers.iter().copied());
    }

    /// Closes the connections. What was reserved, pinned or leased is given back.
    pub fn close(&self) {
        self.shared.pool.close();
    }

    /// Whether [`Self::close`] was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.shared.pool.is_closed()
    }
}

impl Connection {
    fn with<T>(&self, operation: impl FnOnce(&mut Lane) -> Result<T>) -> Result<T> {
        let outcome = self.pool.with(operation);
        // What other threads let go of while this one had the lane.
        self.tell_dropped();
        outcome
    }

    /// Lets go of values that the server holds.
    fn let_go(&self, pins: impl IntoIterator<Item = u64>) {
        self.dropped.lock().extend(pins);
        self.tell_dropped();
    }

    /// Tells the server what was let go of, if a lane is free; otherwise whoever has one does when it is done.
    fn tell_dropped(&self) {
        while !self.dropped.lock().is_empty() {
            let Some(mut lane) = self.pool.take_idle() else { return };
            let mut pins = std::mem::take(&mut *self.dropped.lock());
            let later = pins.split_off(pins.len().min(MAX_BATCH));
            self.dropped.lock().extend(later);
            if lane.tell(&Request::Drop { pins }).and_then(|()| lane.flush()).is_err() {
                lane.discard();
                return;
            }
        }
    }
}
