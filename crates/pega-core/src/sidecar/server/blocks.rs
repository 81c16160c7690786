//! Block caches for clients.

use std::collections::HashSet;
use std::time::Duration;

use super::connection::Answer;
use super::session::Session;
use super::space::Piece;
use crate::cache::{BlockCache, CacheOptions, Lent};
use crate::error::{Error, Result};
use crate::sidecar::cache_request::{CacheRequest, PackedHashes};
use crate::sidecar::codec::broken;
use crate::sidecar::reply::{Leased, Numbered, Room};
use crate::sidecar::request::Written;
use crate::store::Staged;

/// Blocks entered at once: a batch on disk is whole or absent, and none should be long.
const BATCH_BLOCKS: usize = 16;

pub(super) fn answer(
    session: &mut Session,
    namespace: &str,
    ask: CacheRequest<'_>,
    answer: &mut Answer<'_>,
) -> Result<()> {
    let cache = session.cache(namespace)?;
    match ask {
        CacheRequest::Open { block_bytes, quota_bytes } => {
            let options = CacheOptions {
                block_bytes: (block_bytes > 0).then(|| length(block_bytes)).transpose()?,
                quota_bytes: (quota_bytes > 0).then_some(quota_bytes),
            };
            let opened = BlockCache::open(&session.hub.engine, namespace, options)?;
            answer.done(&opened.block_bytes().map(|bytes| bytes as u64))
        }
        CacheRequest::SetQuota { quota_bytes } => {
            cache.set_quota_bytes((quota_bytes > 0).then_some(quota_bytes));
            answer.done(&())
        }
        CacheRequest::Match { hashes } => answer.done(&(cache.match_prefix(hashes.unpacked())? as u64)),
        CacheRequest::Touch { hashes } => {
            cache.touch(hashes.unpacked());
            answer.done(&())
        }
        CacheRequest::Hint { hashes, action } => answer.done(&cache.hint(hashes.unpacked(), action)?),
        CacheRequest::Stats => answer.done(&cache.stats()),
        CacheRequest::Reserve { hashes, block_bytes } => {
            answer.done(&reserve(session, &cache, hashes, length(block_bytes)?)?)
        }
        CacheRequest::Store { hashes, written } => answer.done(&store(session, &cache, hashes, &written)?),
        leased => answer_lease(session, &cache, leased, answer),
    }
}

fn answer_lease(
    session: &mut Session,
    cache: &BlockCache,
    ask: CacheRequest<'_>,
    answer: &mut Answer<'_>,
) -> Result<()> {
    match ask {
        CacheRequest::Lease { hashes, max_age_ms } => {
            let lease = cache.lease(hashes.unpacked(), Duration::from_millis(max_age_ms))?;
            let leased = Leased {
                token: lease.token().to_le_bytes(),
                present: lease.present().to_vec(),
                on_disk: lease.on_disk().to_vec(),
            };
            session.client.own(lease);
            answer.done(&leased)
        }
        CacheRequest::Attach { token } => {
            let lease = cache.attach(u128::from_le_bytes(token))?;
            answer.done(&Leased { token, present: lease.present().to_vec(), on_disk: lease.on_disk().to_vec() })
        }
        CacheRequest::Release { token } => {
            let token = u128::from_le_bytes(token);
            // A lease that is gone already is released.
            match (session.client.disown(token), cache.attach(token)) {
                (Some(own), _) => own.release(),
                (None, Ok(attached)) => attached.release(),
                (None, Err(_)) => {}
            }
            answer.done(&())
        }
        CacheRequest::BeginLoad { token } => {
            let lease = cache.attach(u128::from_le_bytes(token))?;
            let blocks = cache.keep_for_load(&lease)?;
            answer.done(&session.client.begin_load(cache.clone(), blocks))
        }
        CacheRequest::Load { load, positions } => answer.done(&hold(session, load, &positions)?),
        _ => Err(broken("a request came to the wrong place")),
    }
}

/// Holds blocks of a load in memory; none for those that cannot be had.
fn hold(session: &Session, load: u64, positions: &[u32]) -> Result<Vec<Option<Numbered>>> {
    let load = session.client.load(load).ok_or_else(|| broken("a load is continued that was not begun"))?;
    let hold_one = |position: &u32| {
        let held = load.cache.hold_for_load(&load.blocks, *position as usize)?;
        let key = load.cache.key_of(&load.blocks, *position as usize)?.key.to_stored();
        Some(session.client.hold(Piece::keep(session.store(), held), key))
    };
    Ok(positions.iter().map(hold_one).collect())
}

/// Reserves room for the blocks that are not there.
fn reserve(
    session: &mut Session,
    cache: &BlockCache,
    hashes: PackedHashes<'_>,
    block_bytes: usize,
) -> Result<Vec<Room>> {
    session.check_serving()?;
    cache.fix_block_bytes(block_bytes)?;
    let mut rooms = Vec::with_capacity(hashes.unpacked().len());
    let mut seen = HashSet::new();
    for hash in hashes.unpacked().iter() {
        if !seen.insert(hash) {
            rooms.push(Room::Present);
            continue;
        }
        rooms.push(match cache.lend_room(hash, block_bytes)? {
            Lent::Present => Room::Present,
            Lent::Refused => Room::Refused,
            Lent::Room(staged) => Room::Reserved(session.keep(Piece::of(cache.store_of(), staged))),
        });
    }
    Ok(rooms)
}

/// Enters what a client wrote; gives the positions for which there was no room.
fn store(session: &mut Session, cache: &BlockCache, hashes: PackedHashes<'_>, written: &[Written]) -> Result<Vec<u32>> {
    let hashes: Vec<&[u8]> = hashes.unpacked().iter().collect();
    if hashes.len() != written.len() {
        return Err(broken("there are not as many blocks as hashes"));
    }
    let mut refused = Vec::new();
    for (batch, first) in hashes.chunks(BATCH_BLOCKS).zip((0_usize..).step_by(BATCH_BLOCKS)) {
        let mut filled = Vec::with_capacity(batch.len());
        for (hash, written) in batch.iter().zip(&written[first..]) {
            let (extent, checksum) = session.take_written(written)?;
            filled.push((*hash, Staged::new(&cache.store_of().arena, extent), checksum));
        }
        if !cache.enter(filled)? {
            refused.extend((first..first + batch.len()).map(|position| position as u32));
        }
    }
    Ok(refused)
}

fn length(size_bytes: u64) -> Result<usize> {
    usize::try_from(size_bytes).map_err(|_| Error::invalid("a size is too large").with("size_bytes", size_bytes))
}
