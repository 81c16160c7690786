//! What the server holds for one client, whichever of its connections asked for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use super::hub::Counters;
use super::space::Piece;
use crate::sidecar::reply::Numbered;

/// Values held in place for a client, and the leases it took; let go of when its last connection ends.
pub(super) struct ClientState {
    /// By this further connections join.
    pub(super) token: [u8; 16],
    next_number: AtomicU64,
    pins: Mutex<HashMap<u64, Pin>>,
    counters: Arc<Counters>,
}

/// A value held, and the key under which it was found.
struct Pin {
    piece: Arc<Piece>,
    key: Box<[u8]>,
}

impl ClientState {
    pub(super) fn new(counters: Arc<Counters>) -> Self {
        Self { token: rand::random(), next_number: AtomicU64::new(1), pins: Mutex::default(), counters }
    }

    /// A number that no other reservation, pin or load of this client has.
    pub(super) fn number(&self) -> u64 {
        self.next_number.fetch_add(1, Ordering::Relaxed)
    }

    /// Holds a value until it is dropped.
    pub(super) fn pin(&self, piece: Piece, key: &[u8]) -> Numbered {
        let numbered = Numbered { number: self.number(), place: piece.place() };
        self.pins.lock().insert(numbered.number, Pin { piece: Arc::new(piece), key: key.into() });
        numbered
    }

    /// Lets go of a value; false if it is not held.
    pub(super) fn unpin(&self, number: u64) -> bool {
        // Bound first, so that the arena is given the piece after the lock.
        let pin = self.pins.lock().remove(&number);
        pin.is_some()
    }

    /// A value held, and its key.
    pub(super) fn pinned(&self, number: u64) -> Option<(Arc<Piece>, Box<[u8]>)> {
        self.pins.lock().get(&number).map(|pin| (Arc::clone(&pin.piece), pin.key.clone()))
    }
}

impl Drop for ClientState {
    fn drop(&mut self) {
        let pins = self.pins.get_mut().len() as u64;
        self.counters.reclaimed_pins.fetch_add(pins, Ordering::Relaxed);
    }
}
