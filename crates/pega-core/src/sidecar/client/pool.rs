//! The connections of a client: as many as threads use at once, up to a bound, each taken for one operation.

use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};

use super::lane::Lane;
use crate::error::{Error, ErrorKind, Result};

/// Threads beyond this many wait for one another: a thread of the server answers each.
const MAX_LANES: usize = 32;

struct State {
    idle: Vec<Lane>,
    open: usize,
    closed: bool,
}

/// The connections of one client. Every lane is either idle here or counted as `open` and taken by one thread.
pub(super) struct Pool {
    socket: PathBuf,
    client: [u8; 16],
    /// How long the server may take to answer.
    reply_time: Option<Duration>,
    pid: u32,
    state: Mutex<State>,
    returned: Condvar,
    /// The server holds values for these, for as long as a lane of the client is open.
    views: AtomicUsize,
}

impl Pool {
    pub(super) fn new(socket: &Path, client: [u8; 16], reply_time: Option<Duration>, first: Lane) -> Self {
        let state = State { idle: vec![first], open: 1, closed: false };
        Self {
            socket: socket.to_owned(),
            client,
            reply_time,
            pid: std::process::id(),
            state: Mutex::new(state),
            returned: Condvar::new(),
            views: AtomicUsize::new(0),
        }
    }

    /// Counts a view, for which a lane stays open when the pool is closed.
    ///
    /// # Errors
    /// `Closed`: what the view would have held may be gone already.
    pub(super) fn add_view(&self) -> Result<()> {
        self.views.fetch_add(1, Ordering::SeqCst);
        if self.is_closed() {
            return Err(Error::new(ErrorKind::Closed, "the connection to the sidecar is closed"));
        }
        Ok(())
    }

    pub(super) fn remove_view(&self) {
        self.views.fetch_sub(1, Ordering::SeqCst);
    }

    /// Takes a lane, opening one if all are in use.
    ///
    /// # Errors
    /// `Closed`; `Disconnected` if the server is gone, or in a child that was forked from the process that connected.
    pub(super) fn take(&self) -> Result<Taken<'_>> {
        if std::process::id() != self.pid {
            return Err(Error::new(
                ErrorKind::Disconnected,
                "this process was forked from the one that connected to the sidecar; connect again in the child",
            ));
        }
        let mut state = self.state.lock();
        loop {
            if state.closed {
                return Err(Error::new(ErrorKind::Closed, "the connection to the sidecar is closed"));
            }
            if let Some(lane) = state.idle.pop() {
                return Ok(Taken { pool: self, lane: Some(lane) });
            }
            if state.open < MAX_LANES {
                state.open += 1;
                drop(state);
                let mut taken = Taken { pool: self, lane: None };
                taken.lane = Some(Lane::open(&self.socket, Some(self.client), self.reply_time)?.0);
                return Ok(taken);
            }
            self.returned.wait(&mut state);
        }
    }

    /// Takes a lane that nobody uses, if there is one.
    pub(super) fn take_idle(&self) -> Option<Taken<'_>> {
        if std::process::id() != self.pid {
            return None;
        }
        let lane = self.state.lock().idle.pop()?;
        Some(Taken { pool: self, lane: Some(lane) })
    }

    /// Runs one operation on a lane. The lane goes back unless the error says that it is of no more use.
    pub(super) fn with<T>(&self, operation: impl FnOnce(&mut Lane) -> Result<T>) -> Result<T> {
        let mut taken = self.take()?;
        let outcome = operation(&mut taken);
        if let Err(error) = &outcome
            && matches!(error.kind(), ErrorKind::Protocol | ErrorKind::Disconnected | ErrorKind::TimedOut)
        {
            taken.discard();
        }
        outcome
    }

    /// Closes what is idle now and what is in use when it comes back; one lane stays until the last view is dropped.
    pub(super) fn close(&self) {
        let mut state = self.state.lock();
        state.closed = true;
        if std::process::id() == self.pid {
            let kept = usize::from(self.views.load(Ordering::SeqCst) > 0);
            while state.idle.len() > kept {
                state.idle.pop();
                state.open -= 1;
            }
        }
        self.returned.notify_all();
    }

    pub(super) fn is_closed(&self) -> bool {
        self.state.lock().closed
    }
}

/// A lane in use by one thread.
pub(super) struct Taken<'a> {
    pool: &'a Pool,
    lane: Option<Lane>,
}

impl Taken<'_> {
    /// Closes the lane instead of giving it back.
    pub(super) fn discard(&mut self) {
        self.lane = None;
    }
}

impl Deref for Taken<'_> {
    type Target = Lane;

    fn deref(&self) -> &Lane {
        self.lane.as_ref().expect("a lane is given up only when its operation is over")
    }
}

impl DerefMut for Taken<'_> {
    fn deref_mut(&mut self) -> &mut Lane {
        self.lane.as_mut().expect("a lane is given up only when its operation is over")
    }
}

impl Drop for Taken<'_> {
    fn drop(&mut self) {
        let mut state = self.pool.state.lock();
        match self.lane.take() {
            Some(lane) if !state.closed => state.idle.push(lane),
            Some(lane) if state.idle.is_empty() && self.pool.views.load(Ordering::SeqCst) > 0 => state.idle.push(lane),
            _ => state.open -= 1,
        }
        drop(state);
        self.pool.returned.notify_one();
    }
}
