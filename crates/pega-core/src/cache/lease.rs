//! Leases: blocks that stay where they are until they were loaded.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::namespace::Namespace;
use crate::arena::Extent;
use crate::error::{Error, ErrorKind, Result};
use crate::index::SlotId;
use crate::store::Store;

/// The name of a lease, which another handle of the same engine can attach.
pub type Token = u128;

/// A block that a lease keeps.
pub(crate) struct Leased {
    pub(super) hash: Box<[u8]>,
    pub(super) kept: Kept,
}

/// How a block is kept.
pub(super) enum Kept {
    /// In memory, by a hold on its bytes.
    InMemory { extent: Extent, checksum: u64 },
    /// On disk, by a mark on its entry. It comes to memory when it is loaded.
    OnDisk { id: SlotId, seq: u64 },
    /// It was not there.
    Absent,
}

/// The blocks of a lease, kept for as long as this lives: by the lease itself, and by each load of it under way.
pub(crate) struct Blocks {
    /// Weak, since the store knows its leases.
    store: Weak<Store>,
    pub(super) leased: Vec<Leased>,
}

impl Blocks {
    pub(super) fn new(store: &Arc<Store>, leased: Vec<Leased>) -> Self {
        Self { store: Arc::downgrade(store), leased }
    }
}

impl Drop for Blocks {
    fn drop(&mut self) {
        // Without a store there is no arena either.
        let Some(store) = self.store.upgrade() else { return };
        for leased in &self.leased {
            match leased.kept {
                Kept::InMemory { extent, .. } => store.arena.release(extent),
                Kept::OnDisk { id, seq } => store.end_lease_of(id, seq),
                Kept::Absent => {}
            }
        }
    }
}

pub(crate) struct State {
    token: Token,
    deadline: Instant,
    pub(super) namespace: Arc<Namespace>,
    present: Vec<bool>,
    on_disk: Vec<bool>,
    blocks: Mutex<Option<Arc<Blocks>>>,
}

impl State {
    pub(super) fn token(&self) -> Token {
        self.token
    }

    /// The blocks, for one load.
    pub(super) fn blocks(&self) -> Result<Arc<Blocks>> {
        if Instant::now() < self.deadline
            && let Some(blocks) = &*self.blocks.lock()
        {
            return Ok(Arc::clone(blocks));
        }
        Err(Error::new(ErrorKind::LeaseLost, "the lease was released or is too old; take a new one"))
    }

    fn end(&self) {
        // Outside the lock: dropping the blocks may take other locks.
        let blocks = self.blocks.lock().take();
        drop(blocks);
    }
}

/// All leases of an engine that were not released.
#[derive(Default)]
pub(crate) struct Leases(Mutex<Registered>);

#[derive(Default)]
struct Registered {
    by_token: HashMap<Token, Arc<State>>,
    by_deadline: BTreeSet<(Instant, Token)>,
}

impl Leases {
    pub(super) fn enter(&self, namespace: &Arc<Namespace>, blocks: Blocks, max_age: Duration) -> Result<Arc<State>> {
        let deadline = Instant::now().checked_add(max_age).ok_or_else(|| {
            Error::invalid("the maximum age of a lease is longer than the clock can tell")
                .with("max_age_s", max_age.as_secs())
        })?;
        let present = blocks.leased.iter().map(|leased| !matches!(leased.kept, Kept::Absent)).collect();
        let on_disk = blocks.leased.iter().map(|leased| matches!(leased.kept, Kept::OnDisk { .. })).collect();
        let state = Arc::new(State {
            token: rand::random(),
            deadline,
            namespace: Arc::clone(namespace),
            present,
            on_disk,
            blocks: Mutex::new(Some(Arc::new(blocks))),
        });
        let mut registered = self.0.lock();
        registered.by_token.insert(state.token, Arc::clone(&state));
        registered.by_deadline.insert((deadline, state.token));
        Ok(state)
    }

    pub(super) fn find(&self, token: Token) -> Option<Arc<State>> {
        self.0.lock().by_token.get(&token).map(Arc::clone)
    }

    pub(super) fn leave(&self, token: Token) {
        let mut registered = self.0.lock();
        if let Some(state) = registered.by_token.remove(&token) {
            registered.by_deadline.remove(&(state.deadline, token));
            drop(registered);
            state.end();
        }
    }

    /// Ends the leases that are too old; false if there is none.
    pub(crate) fn end_overdue(&self) -> bool {
        let mut any = false;
        loop {
            let now = Instant::now();
            let Some((_, token)) = self.0.lock().by_deadline.first().copied().filter(|(deadline, _)| *deadline <= now)
            else {
                return any;
            };
            self.leave(token);
            any = true;
        }
    }

    /// Ends every lease.
    pub(crate) fn end_all(&self) {
        let registered = std::mem::take(&mut *self.0.lock());
        registered.by_token.values().for_each(|state| state.end());
    }

    /// How many leases there are.
    pub(crate) fn count(&self) -> usize {
        self.0.lock().by_token.len()
    }
}

/// Some blocks of a namespace, kept from eviction until the lease is released, dropped by its owner, or too old.
pub struct Lease {
    store: Arc<Store>,
    pub(super) state: Arc<State>,
    /// Attached by its token: dropping it leaves the owner's lease alone.
    is_attached: bool,
}

impl Lease {
    pub(super) fn own(store: Arc<Store>, state: Arc<State>) -> Self {
        Self { store, state, is_attached: false }
    }

    pub(super) fn attach(store: Arc<Store>, state: Arc<State>) -> Self {
        Self { store, state, is_attached: true }
    }

    /// What another handle needs to attach the lease.
    #[must_use]
    pub fn token(&self) -> Token {
        self.state.token
    }

    /// For each hash that was asked for, whether its block was there and is kept.
    #[must_use]
    pub fn present(&self) -> &[bool] {
        &self.state.present
    }

    /// For each hash that was asked for, whether its block was on disk only when the lease was taken.
    #[must_use]
    pub fn on_disk(&self) -> &[bool] {
        &self.state.on_disk
    }

    /// Whether blocks can still be loaded by the lease.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.state.blocks().is_ok()
    }

    /// Lets the blocks go, for everyone who attached the lease too. Loads under way finish. Again: does nothing.
    pub fn release(&self) {
        self.store.leases.leave(self.state.token);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if !self.is_attached {
            self.release();
        }
    }
}
