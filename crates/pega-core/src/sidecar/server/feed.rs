//! The changes of the engine, for clients that follow it.

use std::ptr::NonNull;
use std::sync::Arc;
use std::time::Duration;

use super::connection::Answer;
use super::session::Session;
use super::space::Piece;
use crate::engine::{Snapshot, Subscription};
use crate::error::Result;
use crate::sidecar::codec::broken;
use crate::sidecar::reply::{Changed, Numbered};
use crate::sidecar::request::Request;
use crate::store::{FeedEvent, FeedOp, Store};

/// A reply holds at most about this many bytes of keys.
const KEY_BYTES: usize = 256 << 10;

/// A reply holds at most this many bytes of values in the arena, or this share of it.
const VALUE_BYTES: u64 = 16 << 20;
const VALUE_SHARE: u64 = 8;

/// The longest wait for a change: a server that ends waits for it.
const MAX_WAIT: Duration = Duration::from_secs(1);

/// A subscription or a snapshot, and the change that it gave and that found no room yet.
pub(super) struct Feed {
    source: Source,
    waiting: Option<FeedEvent>,
}

enum Source {
    Subscription(Subscription),
    Snapshot(Snapshot),
}

impl Feed {
    fn new(source: Source) -> Self {
        Self { source, waiting: None }
    }

    fn next(&mut self, wait: Duration) -> Result<Option<FeedEvent>> {
        match (self.waiting.take(), &mut self.source) {
            (Some(event), _) => Ok(Some(event)),
            (None, Source::Subscription(subscription)) => subscription.next(Some(wait)),
            (None, Source::Snapshot(snapshot)) => snapshot.next().transpose(),
        }
    }
}

pub(super) fn answer(session: &mut Session, request: Request<'_>, answer: &mut Answer<'_>) -> Result<()> {
    let engine = &session.hub.engine;
    match request {
        Request::Subscribe { from_seq } => {
            let subscription = engine.subscribe(from_seq)?;
            answer.done(&session.client.follow(Feed::new(Source::Subscription(subscription))))
        }
        Request::Snapshot => {
            let snapshot = engine.snapshot()?;
            let seq = snapshot.seq();
            answer.done(&(session.client.follow(Feed::new(Source::Snapshot(snapshot))), seq))
        }
        Request::Next { feed, wait_ms } => answer.done(&read(session, feed, Duration::from_millis(wait_ms.into()))?),
        Request::Position => answer.done(&(engine.last_seq(), engine.applied_seq()?)),
        _ => Err(broken("a request came to the wrong place")),
    }
}

/// Reads some changes, waiting for the first one; none if none came or there are no more.
fn read(session: &Session, feed: u64, wait: Duration) -> Result<Vec<Changed>> {
    let feed = session.client.feed(feed).ok_or_else(|| broken("a feed is read that is not followed"))?;
    let mut feed = feed.lock();
    let limit_bytes = VALUE_BYTES.min(session.hub.arena_bytes() / VALUE_SHARE);
    let (mut key_bytes, mut value_bytes) = (0, 0);
    let mut changes = Vec::new();
    let mut wait = wait.min(MAX_WAIT);
    while key_bytes < KEY_BYTES
        && value_bytes < limit_bytes
        && let Some(event) = feed.next(wait)?
    {
        let value = match place(session.store(), &event) {
            Ok(piece) => piece.map(|piece| hold(session, piece, &event)),
            Err(error) => {
                feed.waiting = Some(event);
                // What is here already goes first; the rest finds room once that is dropped.
                return if changes.is_empty() { Err(error) } else { Ok(changes) };
            }
        };
        key_bytes += event.key.len() + 64;
        value_bytes += value.map_or(0, |value| value.place.size_bytes);
        wait = Duration::ZERO;
        let expires_at_ms = match event.op {
            FeedOp::Put { expires_at_ms, .. } => expires_at_ms,
            FeedOp::Remove => 0,
        };
        changes.push(Changed { seq: event.seq, key: event.key, value, expires_at_ms, more: event.more });
    }
    Ok(changes)
}

/// Puts the value of a change into the arena.
fn place(store: &Arc<Store>, event: &FeedEvent) -> Result<Option<Piece>> {
    let FeedOp::Put { value, .. } = &event.op else { return Ok(None) };
    let mut staged = store.make_room(value.len())?;
    // SAFETY: a slice is valid for reads of its length, and the room has that length.
    let checksum = unsafe { staged.fill(NonNull::from(value.as_slice()).cast()) };
    Ok(Some(Piece::filled(store, staged, checksum)))
}

fn hold(session: &Session, piece: Piece, event: &FeedEvent) -> Numbered {
    session.client.hold(piece, event.key.clone())
}
