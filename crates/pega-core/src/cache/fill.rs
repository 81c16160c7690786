//! Storing blocks.

use std::collections::HashSet;
use std::time::Duration;

use super::hashes::Hashes;
use super::namespace::{Namespace, count};
use super::spans::{Span, total_bytes};
use crate::error::{Error, ErrorKind, Result};
use crate::index::{Hashed, Index};
use crate::store::{Change, Payload, Store};

/// Blocks committed at once: few enough that a large batch needs little unnamed room, enough to share a sync.
const BATCH_BLOCKS: usize = 16;

/// Stores the blocks that are not there yet, and counts the use of those that are.
///
/// Gives the positions of the blocks for which there was no room, in order.
///
/// # Safety
/// The sources are valid for reads.
pub(super) unsafe fn store_blocks(
    store: &Store,
    namespace: &Namespace,
    hashes: Hashes<'_>,
    sources: &[Vec<Span>],
) -> Result<Vec<usize>> {
    store.check_open()?;
    if sources.len() != hashes.len() {
        return Err(Error::invalid("there are not as many blocks as hashes")
            .with("blocks", sources.len())
            .with("hashes", hashes.len()));
    }
    if let Some(first) = sources.first() {
        namespace.fix_block_bytes(total_bytes(first))?;
    }
    let block_bytes = namespace.block_bytes().unwrap_or_default();
    if let Some(odd) = sources.iter().map(|spans| total_bytes(spans)).find(|size| *size != block_bytes) {
        return Err(Error::invalid("a block has another size than the blocks of its namespace")
            .with("block_bytes", block_bytes)
            .with("given_bytes", odd));
    }
    let mut refused = Vec::new();
    let positions: Vec<usize> = (0..hashes.len()).collect();
    for batch in positions.chunks(BATCH_BLOCKS) {
        // SAFETY: the caller's promise.
        unsafe { store_batch(store, namespace, hashes, sources, batch, &mut refused)? };
    }
    touch(store, namespace, hashes);
    count(&namespace.traffic.refused_blocks, refused.len());
    Ok(refused)
}

unsafe fn store_batch(
    store: &Store,
    namespace: &Namespace,
    hashes: Hashes<'_>,
    sources: &[Vec<Span>],
    positions: &[usize],
    refused: &mut Vec<usize>,
) -> Result<()> {
    let mut changes = Vec::with_capacity(positions.len());
    let mut seen = HashSet::with_capacity(positions.len());
    for &i in positions {
        let hashed = namespace.hashed(store, hashes.get(i));
        namespace.distinct.add(hashed.hash);
        if store.contains(hashed) || !seen.insert(hashes.get(i)) {
            count(&namespace.traffic.present_blocks, 1);
            continue;
        }
        // SAFETY: the caller's promise.
        match unsafe { bring_in(store, namespace, hashed, &sources[i], changes.len()) } {
            Ok(change) => changes.push(change),
            Err(error) if is_lack_of_room(&error) => refused.push(i),
            Err(error) => return Err(error),
        }
    }
    let stored = changes.len();
    match store.commit(&mut changes) {
        Ok(()) => {
            count(&namespace.traffic.stored_blocks, stored);
            count(&namespace.traffic.stored_bytes, stored * namespace.block_bytes().unwrap_or_default());
            Ok(())
        }
        // The batch is whole or absent, so none of it is there.
        Err(error) if is_lack_of_room(&error) => {
            refused.extend(positions.iter().filter(|i| !store.contains(namespace.hashed(store, hashes.get(**i)))));
            refused.sort_unstable();
            refused.dedup();
            Ok(())
        }
        Err(error) => Err(error),
    }
}

unsafe fn bring_in<'a>(
    store: &'a Store,
    namespace: &Namespace,
    hashed: Hashed<'a>,
    spans: &[Span],
    uncommitted: usize,
) -> Result<Change<'a>> {
    let size = total_bytes(spans);
    namespace.make_room(store, size * (uncommitted + 1))?;
    store.announce_if_absent(hashed);
    // A cache that is full of leases refuses at once: what is not stored can be computed again.
    let mut staged = store.make_room_within(size, Duration::ZERO)?;
    // SAFETY: the caller's promise; the room has the size of the runs together.
    let checksum = unsafe { staged.fill_from(spans) };
    Ok(Change::put(hashed, Payload::Staged(staged), checksum, 0))
}

pub(super) fn is_lack_of_room(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::MemoryFull | ErrorKind::DiskFull | ErrorKind::QuotaExceeded | ErrorKind::TooLarge)
}

/// Records the use of blocks from the end of their chain to its start, so that the start, without which the rest is
/// worth nothing, goes last.
pub(super) fn touch(store: &Store, namespace: &Namespace, hashes: Hashes<'_>) {
    let ids: Vec<_> = hashes
        .iter()
        .rev()
        .filter_map(|hash| {
            let hashed = namespace.hashed(store, hash);
            let slot = store.index.read(hashed.shard()).find(hashed.hash, hashed.key)?;
            Some(Index::id(hashed.shard(), slot))
        })
        .collect();
    store.touch_all(&ids);
    if namespace.quota_bytes().is_some() {
        namespace.account(store).touch_all(ids);
    }
}
