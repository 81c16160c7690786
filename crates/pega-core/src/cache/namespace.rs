//! One tenant's or model's blocks: their own space of keys, size, quota and figures.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use crossbeam_utils::CachePadded;

use super::estimate::Distinct;
use super::pins::Pins;
use crate::error::{Error, ErrorKind, Result};
use crate::index::{Hashed, Index, ShardSet};
use crate::key::{Key, Space};
use crate::store::{Account, Store};

/// The longest name of a namespace, in bytes.
pub const MAX_NAMESPACE_BYTES: usize = 1024;

/// What is counted while blocks are leased, loaded and stored.
#[derive(Default)]
pub(super) struct Traffic {
    pub(super) memory_hits: CachePadded<AtomicU64>,
    pub(super) disk_hits: CachePadded<AtomicU64>,
    pub(super) misses: CachePadded<AtomicU64>,
    pub(super) loaded_blocks: CachePadded<AtomicU64>,
    pub(super) loaded_bytes: CachePadded<AtomicU64>,
    pub(super) load_failures: CachePadded<AtomicU64>,
    pub(super) stored_blocks: CachePadded<AtomicU64>,
    pub(super) stored_bytes: CachePadded<AtomicU64>,
    pub(super) present_blocks: CachePadded<AtomicU64>,
    pub(super) refused_blocks: CachePadded<AtomicU64>,
    pub(super) quota_drops: CachePadded<AtomicU64>,
}

/// Adds one, or more, to a figure.
pub(super) fn count(figure: &AtomicU64, more: usize) {
    figure.fetch_add(more as u64, Ordering::Relaxed);
}

/// A namespace that was opened; one for each name and engine, shared by the caches that use it.
pub(crate) struct Namespace {
    pub(super) name: String,
    pub(super) space: Space,
    /// The size of every block; 0 until the first one tells.
    block_bytes: AtomicU32,
    /// The most bytes of blocks; `u64::MAX` for no quota.
    quota_bytes: AtomicU64,
    pub(super) traffic: Traffic,
    pub(super) distinct: Distinct,
    pub(super) pins: Pins,
}

/// A setting that both a caller and an earlier one have made, differently.
fn differs(what: &'static str, wanted: u64, current: u64) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("the namespace has another {what}"))
        .with("wanted", wanted)
        .with("current", current)
}

impl Namespace {
    /// The namespace called `name`, made if there is none.
    pub(super) fn open(store: &Store, name: &str) -> Result<Arc<Self>> {
        store.check_open()?;
        if name.is_empty() || name.len() > MAX_NAMESPACE_BYTES {
            return Err(Error::invalid(format!("a namespace has a name of 1 to {MAX_NAMESPACE_BYTES} bytes"))
                .with("name_bytes", name.len()));
        }
        let mut namespaces = store.namespaces.lock();
        if let Some(namespace) = namespaces.get(name) {
            return Ok(Arc::clone(namespace));
        }
        let space = register(store, name, namespaces.len())?;
        let namespace = Arc::new(Self {
            name: name.to_owned(),
            space,
            block_bytes: AtomicU32::new(0),
            quota_bytes: AtomicU64::new(u64::MAX),
            traffic: Traffic::default(),
            distinct: Distinct::new(),
            pins: Pins::default(),
        });
        namespace.learn_block_bytes(store);
        namespaces.insert(name.to_owned(), Arc::clone(&namespace));
        Ok(namespace)
    }

    /// Takes the size of the blocks there are, if there are any.
    fn learn_block_bytes(&self, store: &Store) {
        for number in Index::shards() {
            let shard = store.index.read(number);
            let found = shard.slots().map(|slot| shard.entry(slot)).find(|entry| entry.space() == self.space);
            if let Some(entry) = found {
                self.block_bytes.store(entry.value_bytes, Ordering::Relaxed);
                return;
            }
        }
    }

    /// The size of every block, if one was stored or it was set.
    pub(super) fn block_bytes(&self) -> Option<usize> {
        match self.block_bytes.load(Ordering::Relaxed) {
            0 => None,
            bytes => Some(bytes as usize),
        }
    }

    /// Makes this the size of every block, or says that it is another.
    pub(super) fn fix_block_bytes(&self, wanted: usize) -> Result<()> {
        let Some(wanted_u32) = u32::try_from(wanted).ok().filter(|wanted| *wanted > 0) else {
            return Err(Error::invalid("a block has between 1 byte and 4 GiB").with("block_bytes", wanted));
        };
        match self.block_bytes.compare_exchange(0, wanted_u32, Ordering::Relaxed, Ordering::Relaxed) {
            Err(current) if current != wanted_u32 => Err(differs("block size", wanted as u64, u64::from(current))),
            _ => Ok(()),
        }
    }

    /// The most bytes of blocks, if there is a bound.
    pub(super) fn quota_bytes(&self) -> Option<u64> {
        Some(self.quota_bytes.load(Ordering::Relaxed)).filter(|quota| *quota != u64::MAX)
    }

    /// Bounds the bytes of blocks, or lifts the bound.
    pub(super) fn set_quota_bytes(&self, store: &Store, quota_bytes: Option<u64>) {
        let before = self.quota_bytes.swap(quota_bytes.unwrap_or(u64::MAX), Ordering::Relaxed);
        match (quota_bytes, before) {
            (Some(_), u64::MAX) => {
                let shards = store.index.read_set(ShardSet::ALL);
                let ids = Index::shards().flat_map(|number| {
                    let shard = shards.shard(number);
                    let mine = move |slot: &u32| shard.entry(*slot).space() == self.space;
                    shard.slots().filter(mine).map(move |slot| Index::id(number, slot))
                });
                self.account(store).keep_order(ids);
            }
            (None, _) => self.account(store).forget_order(),
            (Some(_), _) => {}
        }
    }

    pub(super) fn account<'a>(&self, store: &'a Store) -> &'a Account {
        store.accounts.of(self.space).expect("a namespace has a space of its own")
    }

    /// A block's name, as the index knows it.
    pub(super) fn hashed<'a>(&self, store: &Store, hash: &'a [u8]) -> Hashed<'a> {
        store.index.hashed(Key::of(self.space, hash).expect("hashes are checked when they come in"))
    }

    /// Makes room under the quota for `block_bytes` more, giving up the blocks used longest ago.
    ///
    /// # Errors
    /// `QuotaExceeded` if what is left is held.
    pub(super) fn make_room(&self, store: &Store, block_bytes: usize) -> Result<()> {
        let Some(quota_bytes) = self.quota_bytes() else { return Ok(()) };
        let account = self.account(store);
        let mut refused = 0;
        while account.block_bytes.load(Ordering::Relaxed) + block_bytes as u64 > quota_bytes {
            let blocks = account.blocks.load(Ordering::Relaxed);
            let oldest = (refused <= blocks).then(|| account.oldest()).flatten();
            let Some(oldest) = oldest else {
                return Err(Error::new(
                    ErrorKind::QuotaExceeded,
                    "the namespace is at its quota, and its blocks are held",
                )
                .with("namespace", &self.name)
                .with("quota_bytes", quota_bytes)
                .with("block_bytes", block_bytes));
            };
            if store.give_up(oldest, self.space) {
                count(&self.traffic.quota_drops, 1);
            } else {
                refused += 1;
            }
        }
        Ok(())
    }
}

/// The space of the namespace called `name`. With a log it is the same after reopening.
fn register(store: &Store, name: &str, opened: usize) -> Result<Space> {
    let numbered = |count: usize| Space(Space::FIRST_NAMESPACE + u32::try_from(count).unwrap_or(u32::MAX >> 1));
    if !store.is_logged() {
        return Ok(numbered(opened));
    }
    let key = store.index.hashed(Key::of(Space::INTERNAL, name.as_bytes())?);
    if let Some(held) = store.hold(key)? {
        let mut number = [0; 4];
        if held.len() == number.len() && held.copy_into(&mut number) {
            return Ok(Space(u32::from_le_bytes(number)));
        }
        return Err(Error::new(ErrorKind::Corrupt, "the number of a namespace is damaged").with("namespace", name));
    }
    // Numbers are never taken back, so how many there are is the next one.
    let space = numbered(store.index.count_of(Space::INTERNAL));
    let change = store.stage(key, &space.0.to_le_bytes(), 0)?;
    store.commit_one(change)?;
    Ok(space)
}
