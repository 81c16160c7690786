//! The general engine: any bytes under any key.

mod follow;
mod options;
mod stats;
mod transaction;
mod value;
mod view;

use std::ptr::NonNull;
use std::sync::Arc;

pub use follow::{Snapshot, Subscription};
pub use options::{Options, PutOptions};
pub use stats::Stats;
pub use transaction::Transaction;
pub use value::Value;
pub use view::View;

use crate::error::Result;
use crate::index::Index;
use crate::key::{Key, Space};
pub use crate::store::{FeedEvent, FeedOp};
use crate::store::{Store, now_ms};

/// A key-value engine. Handles are cheap to clone and share one engine; every method may be called from any thread.
///
/// ```
/// # fn main() -> pega_core::Result<()> {
/// use pega_core::PegaEngine;
///
/// let engine = PegaEngine::new()?;
/// engine.put(b"greeting", b"hello")?;
/// assert_eq!(engine.get(b"greeting")?.as_deref(), Some(&b"hello"[..]));
/// assert!(engine.remove(b"greeting")?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct PegaEngine {
    store: Arc<Store>,
}

impl PegaEngine {
    /// An engine in memory, with default options.
    ///
    /// # Errors
    /// `MemoryFull` if the system does not have the memory.
    pub fn new() -> Result<Self> {
        Self::open(Options::default())
    }

    /// An engine with these options.
    ///
    /// # Errors
    /// `InvalidArgument` for options that no engine can have, `MemoryFull` if the system does not have the memory.
    pub fn open(options: Options) -> Result<Self> {
        Ok(Self { store: Arc::new(Store::open(options)?) })
    }

    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.store
    }

    /// Whether the engine has a log, so that operations may wait for a disk.
    #[must_use]
    pub fn is_logged(&self) -> bool {
        self.store.is_logged()
    }

    /// Binds `key` to `value`; other threads see the old value or the new one, whole.
    ///
    /// # Errors
    /// `InvalidKey`, `TooLarge`, `MemoryFull` if everything in memory is held, `Closed`.
    pub fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.put_with(key, value, PutOptions::default())
    }

    /// As [`Self::put`], with options.
    ///
    /// # Errors
    /// As [`Self::put`]; `InvalidArgument` for a time to live of zero.
    pub fn put_with(&self, key: &[u8], value: &[u8], options: PutOptions) -> Result<()> {
        self.store.check_open()?;
        let hashed = self.store.index.hashed(Key::user(key)?);
        let expires_at_ms = options.expires_at_ms(now_ms)?;
        let change = self.store.stage(hashed, value, expires_at_ms)?;
        self.store.commit_one(change).map(drop)
    }

    /// Puts values one after the other, each by itself, and waits once until all are as safe as they should be.
    ///
    /// # Errors
    /// As [`Self::put_with`]; those before the one that failed are stored.
    pub fn put_many(&self, items: &[(&[u8], &[u8])], options: PutOptions) -> Result<()> {
        let expires_at_ms = options.expires_at_ms(now_ms)?;
        let mut receipt = None;
        for (key, value) in items {
            self.store.check_open()?;
            let hashed = self.store.index.hashed(Key::user(key)?);
            let change = self.store.stage(hashed, value, expires_at_ms)?;
            receipt = self.store.apply_batch(&mut [change])?.or(receipt);
        }
        self.store.settle(receipt)
    }

    /// Removes `key`; false if it was not there.
    ///
    /// # Errors
    /// `InvalidKey`, `Closed`.
    pub fn remove(&self, key: &[u8]) -> Result<bool> {
        self.store.remove(self.store.index.hashed(Key::user(key)?))
    }

    /// Whether reading `key` takes no disk: its value is in memory, or there is none. Counts as no use.
    ///
    /// # Errors
    /// `InvalidKey`, `Closed`.
    pub fn is_resident(&self, key: &[u8]) -> Result<bool> {
        self.store.check_open()?;
        Ok(!self.store.is_on_disk_only(self.store.index.hashed(Key::user(key)?)))
    }

    /// Whether `key` is there. Counts as no use.
    ///
    /// # Errors
    /// `InvalidKey`, `Closed`.
    pub fn contains(&self, key: &[u8]) -> Result<bool> {
        self.store.check_open()?;
        Ok(self.store.contains(self.store.index.hashed(Key::user(key)?)))
    }

    /// The value under `key`.
    ///
    /// # Errors
    /// `InvalidKey`, `Corrupt` if the bytes are not what was put, `Closed`.
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let Some(value) = self.find(key)? else { return Ok(None) };
        let mut bytes = Vec::with_capacity(value.len());
        let target = NonNull::new(bytes.as_mut_ptr()).expect("a vector's pointer is never null");
        // SAFETY: the vector has room for the value, and holds it after the copy.
        unsafe {
            value.copy_to(target)?;
            bytes.set_len(value.len());
        }
        Ok(Some(bytes))
    }

    /// Finds the value under `key`, to be copied to where the caller wants it once its length is known.
    ///
    /// # Errors
    /// `InvalidKey`, `Closed`.
    pub fn find<'a>(&'a self, key: &'a [u8]) -> Result<Option<Value<'a>>> {
        let hashed = self.store.index.hashed(Key::user(key)?);
        let found = self.store.find(hashed)?;
        Ok(found.map(|found| Value::new(&self.store, hashed, found)))
    }

    /// Copies the value under `key` to the start of `buffer` and gives its length.
    ///
    /// # Errors
    /// As [`Self::get`]; `InvalidArgument` if the buffer is shorter than the value.
    pub fn get_into(&self, key: &[u8], buffer: &mut [u8]) -> Result<Option<usize>> {
        self.find(key)?.map(|value| value.copy_into(buffer)).transpose()
    }

    /// The value under `key`, where it lies. Its checksum is compared once for as long as it stays in memory.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub fn get_view(&self, key: &[u8]) -> Result<Option<View>> {
        self.find(key)?.map(Value::into_view).transpose()
    }

    /// A batch of writes that become visible and durable together.
    #[must_use]
    pub fn transaction(&self) -> Transaction<'_> {
        Transaction::new(&self.store)
    }

    /// The keys that start with `prefix`, in order. Sees every key that was there all the time while it ran.
    ///
    /// # Errors
    /// `Closed`.
    pub fn scan(&self, prefix: &[u8]) -> Result<Vec<Vec<u8>>> {
        self.store.check_open()?;
        self.store.drop_all_expired();
        let now = now_ms();
        let mut keys = Vec::new();
        for number in Index::shards() {
            let shard = self.store.index.read(number);
            // What is over stays in the index for as long as its record is on disk.
            let present = shard.slots().filter(|slot| !shard.entry(*slot).is_expired(now));
            let found = present.map(|slot| shard.key(slot)).filter(|key| key.space() == Space::USER);
            keys.extend(found.filter(|key| key.bytes().starts_with(prefix)).map(|key| key.bytes().to_vec()));
        }
        keys.sort_unstable();
        Ok(keys)
    }

    /// How many keys there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.store.drop_all_expired();
        self.store.index.user_entries()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The state of the engine.
    #[must_use]
    pub fn stats(&self) -> Stats {
        // Nobody need take a lease for those of pins to be over.
        self.store.leases.end_overdue();
        Stats {
            entries: self.len() as u64,
            memory_used_bytes: self.store.arena.used_bytes(),
            memory_bytes: self.store.arena.capacity_bytes(),
            index_bytes: self.store.index.heap_bytes() as u64,
            leases: self.store.leases.count() as u64,
            counts: self.store.counts(),
            log: self.store.log_stats(),
        }
    }

    /// Waits until everything written before is synced. Does nothing without a path.
    ///
    /// # Errors
    /// `DiskFull`, `Io`: what keeps it from being written; `Closed`.
    pub fn flush(&self) -> Result<()> {
        self.store.flush()
    }

    /// Whether [`Self::close`] was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        self.store.is_closed()
    }

    /// Closes the engine for all its handles. Views stay valid. Closing again does nothing.
    ///
    /// # Errors
    /// What kept the last writes from the disk.
    pub fn close(&self) -> Result<()> {
        self.store.close()
    }
}

#[cfg(test)]
mod tests;
