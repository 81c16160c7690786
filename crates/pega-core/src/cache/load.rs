//! Copying leased blocks out.

use super::lease::{Blocks, Kept, Leased, State};
use super::namespace::{Namespace, count};
use super::spans::{Span, total_bytes};
use crate::error::{Error, Result};
use crate::store::{Found, Held, Store};

/// Where the bytes of one block go; none for a block that is not wanted.
pub type Target = Option<Vec<Span>>;

/// Copies the blocks of a lease, which `blocks` keeps, to `targets`, which stand for the hashes of the lease in their order.
///
/// Gives the positions of the blocks that were wanted and could not be had, in order: absent, of another size, gone,
/// or not what was stored. The targets of those hold bytes that must not be used.
///
/// # Safety
/// The targets are valid for writes, none overlaps another, and nothing else uses them meanwhile.
pub(super) unsafe fn load(store: &Store, state: &State, blocks: &Blocks, targets: &[Target]) -> Result<Vec<usize>> {
    if targets.len() != blocks.leased.len() {
        return Err(Error::invalid(
            "a lease is loaded into as many targets as it has hashes; leave some out with None",
        )
        .with("targets", targets.len())
        .with("hashes", blocks.leased.len()));
    }
    let mut failed = Vec::new();
    for (i, (leased, target)) in blocks.leased.iter().zip(targets).enumerate() {
        let Some(spans) = target else { continue };
        // SAFETY: the caller's promise.
        if unsafe { load_one(store, &state.namespace, leased, spans) } {
            count(&state.namespace.traffic.loaded_blocks, 1);
            count(&state.namespace.traffic.loaded_bytes, total_bytes(spans));
        } else {
            failed.push(i);
        }
    }
    count(&state.namespace.traffic.load_failures, failed.len());
    Ok(failed)
}

unsafe fn load_one(store: &Store, namespace: &Namespace, leased: &Leased, spans: &[Span]) -> bool {
    let hashed = namespace.hashed(store, &leased.hash);
    if let Kept::Absent = leased.kept {
        return false;
    }
    if let Kept::InMemory { extent, checksum } = leased.kept {
        if extent.len() != total_bytes(spans) {
            return false;
        }
        // The lease holds it, so that one more hold may be taken.
        store.arena.hold(extent);
        let held = Held::adopt(&store.arena, extent, checksum);
        // SAFETY: the caller's promise; the sizes agree.
        if unsafe { held.scatter_to(spans) } {
            return true;
        }
        if !store.condemn(hashed, &held) {
            return false;
        }
    }
    // On disk: an error of the disk is a block that cannot be had, which the store has counted.
    match store.find(hashed) {
        Ok(Some(Found::Held(held))) if held.len() == total_bytes(spans) => {
            // SAFETY: the caller's promise; the sizes agree.
            let is_whole = unsafe { held.scatter_to(spans) };
            is_whole || {
                store.condemn(hashed, &held);
                false
            }
        }
        Ok(Some(Found::OnDisk { value_bytes })) if value_bytes == total_bytes(spans) => {
            let mut bytes = vec![0; value_bytes];
            let is_read = store.read_through(hashed, &mut bytes).unwrap_or(false);
            if is_read {
                // SAFETY: the caller's promise; the sizes agree.
                unsafe { scatter(&bytes, spans) };
            }
            is_read
        }
        _ => false,
    }
}

/// Copies verified bytes to several runs.
unsafe fn scatter(bytes: &[u8], spans: &[Span]) {
    let mut rest = bytes;
    for span in spans {
        let (piece, after) = rest.split_at(span.len());
        // SAFETY: the caller's promise.
        unsafe { span.start().copy_from_nonoverlapping(std::ptr::NonNull::from(piece).cast(), piece.len()) };
        rest = after;
    }
}
