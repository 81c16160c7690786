//! What the server holds for one client, whichever of its connections asked for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::feed::Feed;
use super::hub::Counters;
use super::space::Piece;
use crate::cache::{BlockCache, Blocks, Lease, Token};
use crate::sidecar::reply::Numbered;

/// Values held in place for a client, its loads and its leases; let go of when its last connection ends.
pub(super) struct ClientState {
    /// By this further connections join.
    pub(super) token: [u8; 16],
    next_number: AtomicU64,
    held: Mutex<HashMap<u64, Kept>>,
    leases: Mutex<HashMap<Token, Lease>>,
    counters: Arc<Counters>,
}

/// What a client names by a number.
enum Kept {
    /// A value, and its key as it is on disk.
    Value(Arc<Piece>, Box<[u8]>),
    /// The blocks of a load.
    Load(Arc<Load>),
    /// A subscription or a snapshot.
    Feed(Arc<Mutex<Feed>>),
}

/// Blocks kept for one load.
pub(super) struct Load {
    pub(super) cache: BlockCache,
    pub(super) blocks: Arc<Blocks>,
}

impl ClientState {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self {
            token: rand::random(),
            next_number: AtomicU64::new(1),
            held: Mutex::default(),
            leases: Mutex::default(),
            counters,
        }
    }

    /// A number that no other reservation, value or load of this client has.
    pub(super) fn number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    /// Holds a value until it is dropped. `key` is its key on disk.
    pub(super) fn hold(&self, piece: Piece, key: Vec<u8>) -> Numbered {
        let numbered = Numbered { number: self.number(), place: piece.place() };
        self.held.lock().insert(numbered.number, Kept::Value(Arc::new(piece), key.into()));
        numbered
    }

    /// Keeps the blocks of a load until it is dropped.
    pub(super) fn begin_load(&self, cache: BlockCache, blocks: Arc<Blocks>) -> u64 {
        let number = self.number();
        self.held.lock().insert(number, Kept::Load(Arc::new(Load { cache, blocks })));
        number
    }

    /// Keeps a feed until it is dropped.
    pub(super) fn follow(&self, feed: Feed) -> u64 {
        let number = self.number();
        self.held.lock().insert(number, Kept::Feed(Arc::new(Mutex::new(feed))));
        number
    }

    /// A feed.
    pub(super) fn feed(&self, number: u64) -> Option<Arc<Mutex<Feed>>> {
        match self.held.lock().get(&number)? {
            Kept::Feed(feed) => Some(Arc::clone(feed)),
            Kept::Value(..) | Kept::Load(_) => None,
        }
    }

    /// Lets go of a value, a load or a feed; false if there is none of this number.
    pub(super) fn let_go(&self, number: u64) -> bool {
        // Bound first, so that what it holds is given back after the lock.
        let kept = self.held.lock().remove(&number);
        kept.is_some()
    }

    /// A value held, and its key on disk.
    pub(super) fn value(&self, number: u64) -> Option<(Arc<Piece>, Box<[u8]>)> {
        match self.held.lock().get(&number)? {
            Kept::Value(piece, key) => Some((Arc::clone(piece), key.clone())),
            Kept::Load(_) | Kept::Feed(_) => None,
        }
    }

    /// A load.
    pub(super) fn load(&self, number: u64) -> Option<Arc<Load>> {
        match self.held.lock().get(&number)? {
            Kept::Load(load) => Some(Arc::clone(load)),
            Kept::Value(..) | Kept::Feed(_) => None,
        }
    }

    /// Keeps a lease for as long as the client lives.
    pub(super) fn own(&self, lease: Lease) {
        let mut leases = self.leases.lock();
        leases.retain(|_, lease| lease.is_held());
        leases.insert(lease.token(), lease);
    }

    /// Forgets a lease that the client ended; what is given back is dropped by the caller.
    pub(super) fn disown(&self, token: Token) -> Option<Lease> {
        self.leases.lock().remove(&token)
    }
}

impl Drop for ClientState {
    fn drop(&mut self) {
        let held = self.held.get_mut().len() as u64;
        let leases = self.leases.get_mut().values().filter(|lease| lease.is_held()).count() as u64;
        self.counters.reclaimed_pins.fetch_add(held, Ordering::Relaxed);
        self.counters.reclaimed_leases.fetch_add(leases, Ordering::Relaxed);
    }
}
