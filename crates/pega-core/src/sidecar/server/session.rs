//! What one connection may do, and the room reserved for it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::client::ClientState;
use super::connection::Answer;
use super::hub::Hub;
use super::space::Piece;
use super::{blocks, figures, lookup};
use crate::arena::Extent;
use crate::cache::{BlockCache, CacheOptions};
use crate::error::{Error, ErrorKind, Result};
use crate::index::Hashed;
use crate::key::Key;
use crate::sidecar::codec::broken;
use crate::sidecar::reply::{Committed, Numbered};
use crate::sidecar::request::{Change, Request, Written};
use crate::store::{self, Op, Payload, Staged, Store, now_ms};

/// A renewed reservation takes at most this share of the arena, so that idle connections do not fill it.
const RENEWAL_SHARE: u64 = 16;

/// One connection past its greeting.
pub(super) struct Session {
    pub(super) hub: Arc<Hub>,
    pub(super) client: Arc<ClientState>,
    reserved: HashMap<u64, Piece>,
    caches: HashMap<String, BlockCache>,
}

impl Session {
    pub(super) fn new(hub: Arc<Hub>, client: Arc<ClientState>) -> Self {
        Self { hub, client, reserved: HashMap::new(), caches: HashMap::new() }
    }

    pub(super) fn store(&self) -> &Arc<Store> {
        self.hub.engine.store()
    }

    /// Does what is asked and answers it. A `Protocol` error, or any error of a request that is not answered, ends
    /// the connection.
    pub(super) fn answer(&mut self, request: Request<'_>, answer: &mut Answer<'_>) -> Result<()> {
        match request {
            Request::Greet { .. } => Err(broken("a connection is greeted once")),
            Request::Reserve { sizes_bytes } => answer.done(&self.reserve(&sizes_bytes)?),
            Request::Return { reservations } => {
                reservations.into_iter().try_for_each(|number| self.take(number).map(drop))
            }
            Request::Commit { atomic, renew, changes } => answer.done(&self.commit(atomic, renew, &changes)?),
            Request::Drop { pins } => pins.into_iter().try_for_each(|number| self.unpin(number)),
            Request::Flush => answer.done(&self.hub.flush()?),
            Request::Stats => answer.done(&figures::read(&self.hub)),
            Request::Cache { namespace, ask } => blocks::answer(self, namespace, ask, answer),
            other => lookup::answer(self, other, answer),
        }
    }

    /// The cache of a namespace, which is made if there is none.
    pub(super) fn cache(&mut self, namespace: &str) -> Result<BlockCache> {
        if let Some(cache) = self.caches.get(namespace) {
            return Ok(cache.clone());
        }
        let cache = BlockCache::open(&self.hub.engine, namespace, CacheOptions::default())?;
        self.caches.insert(namespace.to_owned(), cache.clone());
        Ok(cache)
    }

    /// Refuses new work once the server drains.
    pub(super) fn check_serving(&self) -> Result<()> {
        if self.hub.is_draining() {
            return Err(Error::new(ErrorKind::Disconnected, "the sidecar is ending"));
        }
        Ok(())
    }

    /// Takes room for each size, or for none.
    pub(super) fn reserve(&mut self, sizes_bytes: &[u64]) -> Result<Vec<Numbered>> {
        self.check_serving()?;
        let total_bytes = sizes_bytes.iter().fold(0_u64, |sum, size| sum.saturating_add(*size));
        self.store().check_size(usize::try_from(total_bytes).unwrap_or(usize::MAX))?;
        let pieces: Vec<Piece> =
            sizes_bytes.iter().map(|size| Piece::reserve(self.store(), *size)).collect::<Result<_>>()?;
        Ok(pieces.into_iter().map(|piece| self.keep(piece)).collect())
    }

    /// Enters a piece as reserved for this connection.
    pub(super) fn keep(&mut self, piece: Piece) -> Numbered {
        let numbered = Numbered { number: self.client.number(), place: piece.place() };
        self.reserved.insert(numbered.number, piece);
        numbered
    }

    fn take(&mut self, number: u64) -> Result<Piece> {
        self.reserved.remove(&number).ok_or_else(|| not_reserved(number))
    }

    /// Takes what a client wrote to a reservation of its own.
    pub(super) fn take_written(&mut self, written: &Written) -> Result<(Extent, u64)> {
        let piece = self.take(written.reservation)?;
        let size_bytes = u32::try_from(written.size_bytes).ok().filter(|_| written.start == 0);
        match size_bytes {
            Some(size_bytes) if written.size_bytes <= piece.place().size_bytes => {
                Ok((piece.into_extent().shortened(size_bytes), written.checksum))
            }
            _ => Err(broken("a commit names bytes outside its reservation").with("size_bytes", written.size_bytes)),
        }
    }

    fn unpin(&self, number: u64) -> Result<()> {
        if self.client.let_go(number) {
            return Ok(());
        }
        Err(broken("a value is dropped that is not held").with("number", number))
    }

    fn commit(&mut self, atomic: bool, renew: bool, changes: &[Change<'_>]) -> Result<Committed> {
        let store = Arc::clone(self.store());
        let mut adopted = Vec::with_capacity(changes.len());
        for change in changes {
            adopted.push(match change {
                Change::Adopt { written, .. } => {
                    let (extent, checksum) = self.take_written(written)?;
                    Some((Staged::new(&store.arena, extent), checksum))
                }
                Change::Copy { .. } | Change::Remove { .. } => None,
            });
        }
        let renewals: Vec<u64> = changes.iter().filter(|_| renew).filter_map(adopted_bytes).collect();
        let existed = self.apply(&store, atomic, changes, adopted)?;
        let renewed = renewals.into_iter().filter_map(|size_bytes| self.renew(size_bytes)).collect();
        Ok(Committed { existed, renewed })
    }

    fn apply<'a>(
        &'a self,
        store: &'a Store,
        atomic: bool,
        changes: &[Change<'a>],
        adopted: Vec<Option<(Staged<'a>, u64)>>,
    ) -> Result<Vec<bool>> {
        let mut prepared = Vec::with_capacity(changes.len());
        for (change, adopted) in changes.iter().zip(adopted) {
            prepared.push(self.prepare(store, change, adopted)?);
        }
        if atomic {
            store.commit(&mut prepared)?;
        } else {
            // What is safe later is safe earlier: waiting for the last is waiting for all.
            let mut receipt = None;
            for one in prepared.chunks_mut(1) {
                receipt = store.apply_batch(one)?;
            }
            store.settle(receipt)?;
        }
        Ok(prepared.iter().map(|change| change.existed).collect())
    }

    fn prepare<'a>(
        &'a self,
        store: &'a Store,
        change: &Change<'a>,
        adopted: Option<(Staged<'a>, u64)>,
    ) -> Result<store::Change<'a>> {
        match (change, adopted) {
            (Change::Adopt { key, ttl_ms, .. }, Some((staged, checksum))) => {
                Ok(adopt(hashed(store, key)?, staged, checksum, expires_at_ms(*ttl_ms)))
            }
            (Change::Copy { key, written, ttl_ms }, _) => {
                let piece = self.reserved.get(&written.reservation).ok_or_else(|| not_reserved(written.reservation))?;
                let Some(source) = piece.bytes(written.start, written.size_bytes) else {
                    return Err(
                        broken("a commit names bytes outside its reservation").with("size_bytes", written.size_bytes)
                    );
                };
                let staged = store.stage(hashed(store, key)?, source, expires_at_ms(*ttl_ms))?;
                match &staged.op {
                    Op::Put { checksum, .. } if *checksum == written.checksum => Ok(staged),
                    _ => Err(Error::new(ErrorKind::Corrupt, "a value changed between its copy and its commit")),
                }
            }
            (Change::Remove { key } | Change::Adopt { key, .. }, _) => Ok(store::Change::remove(hashed(store, key)?)),
        }
    }

    fn renew(&mut self, size_bytes: u64) -> Option<Numbered> {
        if self.hub.is_draining() || size_bytes > self.hub.arena_bytes() / RENEWAL_SHARE {
            return None;
        }
        Piece::reserve(self.store(), size_bytes).ok().map(|piece| self.keep(piece))
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let reserved = std::mem::take(&mut self.reserved);
        self.hub.counters.reclaimed_reservations.fetch_add(reserved.len() as u64, Ordering::Relaxed);
        // A client that the drain cut off may still be writing; its room is not used again.
        if self.hub.is_draining() {
            self.hub.bury(reserved.into_values());
        }
    }
}

/// A key of the general engine with its hash.
pub(super) fn hashed<'a>(store: &Store, key: &'a [u8]) -> Result<Hashed<'a>> {
    Ok(store.index.hashed(Key::user(key)?))
}

/// The change that binds a key to room that a client has filled.
fn adopt<'a>(hashed: Hashed<'a>, staged: Staged<'a>, checksum: u64, expires_at_ms: u64) -> store::Change<'a> {
    store::Change::put(hashed, Payload::Staged(staged), checksum, expires_at_ms)
}

fn adopted_bytes(change: &Change<'_>) -> Option<u64> {
    match change {
        Change::Adopt { written, .. } => Some(written.size_bytes),
        Change::Copy { .. } | Change::Remove { .. } => None,
    }
}

fn expires_at_ms(ttl_ms: u64) -> u64 {
    if ttl_ms == 0 { 0 } else { now_ms().saturating_add(ttl_ms) }
}

fn not_reserved(number: u64) -> Error {
    broken("a request names room that is not reserved for its connection").with("number", number)
}
