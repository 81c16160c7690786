//! What each namespace of a block cache takes up, and the order within one that has a quota.

use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::arena::Table;
use crate::index::{Entry, SlotId};
use crate::key::Space;
use crate::policy::{EvictionPolicy, PolicyKind, PolicyLimits};

/// The account of one namespace. Sizes are in bytes of values.
#[derive(Default)]
pub(crate) struct Account {
    pub(crate) blocks: AtomicU64,
    pub(crate) block_bytes: AtomicU64,
    /// Values that left memory, and the milliseconds that they were there, summed.
    pub(crate) departures: AtomicU64,
    pub(crate) resident_ms: AtomicU64,
    /// Blocks that were given up, and the milliseconds since they were stored, summed.
    pub(crate) drops: AtomicU64,
    pub(crate) lifetime_ms: AtomicU64,
    /// Which block goes first when the quota is reached; none without a quota.
    order: Mutex<Option<Box<dyn EvictionPolicy>>>,
}

/// The accounts of all namespaces, by number.
pub(crate) struct Accounts(Table<Account>);

impl Accounts {
    pub(super) fn new() -> Self {
        Self(Table::new())
    }

    /// The account of a namespace; none for the keys of the general engine.
    #[inline]
    pub(crate) fn of(&self, space: Space) -> Option<&Account> {
        if !space.is_namespace() {
            return None;
        }
        Some(self.0.get_or_grow(space.0 - Space::FIRST_NAMESPACE))
    }

    /// A value came under a key of the space: a new one if `before` is none.
    #[inline]
    pub(super) fn came(&self, space: Space, id: SlotId, value_bytes: u32, before: Option<u32>) {
        let Some(account) = self.of(space) else { return };
        account.block_bytes.fetch_add(u64::from(value_bytes), Ordering::Relaxed);
        match before {
            Some(before) => {
                account.block_bytes.fetch_sub(u64::from(before), Ordering::Relaxed);
            }
            None => {
                account.blocks.fetch_add(1, Ordering::Relaxed);
                account.with_order(|order| order.insert(id.0, 0, 1));
            }
        }
    }

    /// An entry of the space went.
    #[inline]
    pub(super) fn went(&self, id: SlotId, entry: &Entry) {
        let Some(account) = self.of(entry.space()) else { return };
        account.block_bytes.fetch_sub(u64::from(entry.value_bytes), Ordering::Relaxed);
        account.blocks.fetch_sub(1, Ordering::Relaxed);
        account.with_order(|order| order.remove(id.0));
    }
}

impl Account {
    /// Keeps an order from now on, of `ids` first.
    pub(crate) fn keep_order(&self, ids: impl IntoIterator<Item = SlotId>) {
        let limits = PolicyLimits { capacity_weight: u64::MAX, max_entries: 0 };
        let mut order = PolicyKind::Lru.build(limits);
        ids.into_iter().for_each(|id| order.insert(id.0, 0, 1));
        *self.order.lock() = Some(order);
    }

    /// Keeps no order any more.
    pub(crate) fn forget_order(&self) {
        *self.order.lock() = None;
    }

    fn with_order<T>(&self, use_order: impl FnOnce(&mut dyn EvictionPolicy) -> T) -> Option<T> {
        self.order.lock().as_mut().map(|order| use_order(&mut **order))
    }

    /// Records uses, in the order given.
    pub(crate) fn touch_all(&self, ids: impl IntoIterator<Item = SlotId>) {
        self.with_order(|order| ids.into_iter().for_each(|id| order.touch(id.0)));
    }

    /// The block that should go first among those that may. It counts as used, so that the next call gives another
    /// one if this one stays.
    pub(crate) fn oldest(&self) -> Option<SlotId> {
        self.with_order(|order| {
            let id = order.victim(&mut |_| true)?;
            order.insert(id, 0, 1);
            Some(SlotId(id))
        })?
    }
}
