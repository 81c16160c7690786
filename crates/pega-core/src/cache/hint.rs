//! What a scheduler knows about blocks before it needs them.

use std::sync::Arc;
use std::time::Duration;

use super::hashes::Hashes;
use super::namespace::Namespace;
use crate::error::Result;
use crate::index::{Hashed, Index, SlotId};
use crate::policy::Hint;
use crate::store::{Store, now_ms};

/// What should become of some blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Keep them in memory for this long.
    Pin {
        /// How long.
        for_: Duration,
    },
    /// Bring those that are on disk only to memory.
    Prefetch,
    /// Let them leave memory now if they are on disk too; otherwise before every other block.
    Demote,
    /// They will not be needed: end their pins, and let them go before every other block.
    Release,
    /// They will be needed in this time; a policy that looks ahead gives up first what is needed last.
    NextUse {
        /// How long from now.
        after: Duration,
    },
}

/// Brings blocks to memory one after the other; those that find no room stay where they are.
pub(super) fn prefetch(store: &Arc<Store>, namespace: &Arc<Namespace>, hashes: Hashes<'_>) -> Result<()> {
    let wanted: Vec<Box<[u8]>> =
        hashes.iter().filter(|hash| store.is_on_disk_only(namespace.hashed(store, hash))).map(Into::into).collect();
    if wanted.is_empty() {
        return Ok(());
    }
    let (store, namespace) = (Arc::downgrade(store), Arc::clone(namespace));
    let Some(pool) = store.upgrade() else { return Ok(()) };
    pool.pool.submit(move || {
        for hash in wanted {
            // An engine that was closed or dropped meanwhile needs no blocks.
            let Some(store) = store.upgrade() else { return };
            if store.find(namespace.hashed(&store, &hash)).is_err() {
                return;
            }
        }
    })?;
    Ok(())
}

pub(super) fn next_use(store: &Store, namespace: &Namespace, hashes: Hashes<'_>, after: Duration) {
    let at_ms = now_ms().saturating_add(u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
    tell(store, namespace, hashes, Hint::NextUse { at_ms });
}

pub(super) fn demote(store: &Store, namespace: &Namespace, hashes: Hashes<'_>) {
    for hash in hashes.iter() {
        let hashed = namespace.hashed(store, hash);
        if !store.demote(hashed)
            && let Some(id) = slot_of(store, hashed)
        {
            store.hint(id, Hint::Release);
        }
    }
}

/// Tells the policy, from the end of the chain to its start.
pub(super) fn tell(store: &Store, namespace: &Namespace, hashes: Hashes<'_>, hint: Hint) {
    for hash in hashes.iter().rev() {
        if let Some(id) = slot_of(store, namespace.hashed(store, hash)) {
            store.hint(id, hint);
        }
    }
}

fn slot_of(store: &Store, hashed: Hashed<'_>) -> Option<SlotId> {
    let slot = store.index.read(hashed.shard()).find(hashed.hash, hashed.key)?;
    Some(Index::id(hashed.shard(), slot))
}
