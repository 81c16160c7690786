//! Finding values for clients.

use super::connection::Answer;
use super::feed;
use super::session::{Session, hashed};
use super::space::Piece;
use crate::error::Result;
use crate::key::Key;
use crate::sidecar::codec::broken;
use crate::sidecar::reply::Numbered;
use crate::sidecar::request::Request;
use crate::store::corrupt_in_memory;

/// Keys are listed in parts of about this many bytes.
const PART_BYTES: usize = 256 << 10;

pub(super) fn answer(session: &mut Session, request: Request<'_>, answer: &mut Answer<'_>) -> Result<()> {
    match request {
        Request::Locate { hold_from_bytes, keys } => {
            let found: Result<Vec<_>> = keys.iter().map(|key| locate(session, hold_from_bytes, key)).collect();
            answer.done(&found?)
        }
        Request::Distrust { pins } => pins.into_iter().try_for_each(|number| distrust(session, number)),
        Request::Contains { keys } => {
            let store = session.store();
            store.check_open()?;
            let found: Result<Vec<bool>> = keys.iter().map(|key| Ok(store.contains(hashed(store, key)?))).collect();
            answer.done(&found?)
        }
        Request::Count => answer.done(&(session.hub.engine.len() as u64)),
        Request::Scan { prefix } => scan(session, prefix, answer),
        other => feed::answer(session, other, answer),
    }
}

fn locate(session: &Session, hold_from_bytes: u64, key: &[u8]) -> Result<Option<Numbered>> {
    let store = session.store();
    let hashed = hashed(store, key)?;
    let Some(held) = store.hold(hashed)? else { return Ok(None) };
    if (held.len() as u64) < hold_from_bytes {
        return Ok(Some(Numbered { number: 0, place: Piece::keep(store, held).place() }));
    }
    if !held.verify_once() {
        store.condemn(hashed, &held);
        return Err(corrupt_in_memory(held.len()));
    }
    Ok(Some(session.client.hold(Piece::keep(store, held), hashed.key.to_stored())))
}

/// Looks at a value that a client found to be wrong, and takes it out of service if it is.
fn distrust(session: &Session, number: u64) -> Result<()> {
    let Some((piece, key)) = session.client.value(number) else {
        return Err(broken("a value is distrusted that is not held").with("number", number));
    };
    let store = session.store();
    let held = piece.held();
    // SAFETY: held, and nobody writes to a value that an entry names.
    let found = crate::checksum::of(unsafe { store.arena.bytes(held.extent()) });
    if found != held.checksum() {
        let key = Key::from_stored(&key).ok_or_else(|| broken("a value is held without a key"))?;
        store.condemn(store.index.hashed(key), &held);
    }
    Ok(())
}

fn scan(session: &Session, prefix: &[u8], answer: &mut Answer<'_>) -> Result<()> {
    let mut part: Vec<Vec<u8>> = Vec::new();
    let mut part_bytes = 0;
    for key in session.hub.engine.scan(prefix)? {
        part_bytes += key.len() + 4;
        part.push(key);
        if part_bytes >= PART_BYTES {
            answer.part(&std::mem::take(&mut part))?;
            part_bytes = 0;
        }
    }
    answer.done(&part)
}
