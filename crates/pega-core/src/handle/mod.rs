//! An engine, wherever it runs: in this process, or in a sidecar that several share.

mod cache;
mod feed;

use std::ops::Deref;
use std::ptr::NonNull;

pub use self::cache::{CacheHandle, LeaseHandle};
pub use self::feed::{SnapshotHandle, SubscriptionHandle};
use crate::engine::{PegaEngine, PutOptions, Value, View};
use crate::error::Result;
#[cfg(target_os = "linux")]
use crate::sidecar::{self, Client};

/// An engine with the same operations and errors wherever it runs.
#[derive(Clone)]
pub enum Handle {
    /// In this process.
    Here(PegaEngine),
    /// In the sidecar to which this is a connection.
    #[cfg(target_os = "linux")]
    There(Client),
}

/// A key, and what is put under it; nothing removes it.
pub type BatchWrite<'a> = (&'a [u8], Option<(&'a [u8], PutOptions)>);

/// A value that was found, to be copied to where the caller wants it.
pub enum Found<'a> {
    /// In this process.
    Here(Value<'a>),
    /// In the arena of a sidecar.
    #[cfg(target_os = "linux")]
    There(sidecar::Value),
}

/// A value where it lies. It stays there, and as it is, for as long as this lives.
pub enum FoundView {
    /// In this process.
    Here(View),
    /// In the arena of a sidecar.
    #[cfg(target_os = "linux")]
    There(sidecar::View),
}

impl Handle {
    /// Whether every operation takes a round trip to another process.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        !matches!(self, Self::Here(_))
    }

    /// As [`PegaEngine::put_with`].
    ///
    /// # Errors
    /// As there; `Disconnected` if the sidecar is gone.
    #[inline]
    pub fn put_with(&self, key: &[u8], value: &[u8], options: PutOptions) -> Result<()> {
        match self {
            Self::Here(engine) => engine.put_with(key, value, options),
            #[cfg(target_os = "linux")]
            Self::There(client) => client.put_with(key, value, options),
        }
    }

    /// Puts values in order, each by itself.
    ///
    /// # Errors
    /// As [`Self::put_with`]; those before the one that failed are stored.
    pub fn put_many(&self, items: &[(&[u8], &[u8])], options: PutOptions) -> Result<()> {
        match self {
            Self::Here(engine) => items.iter().try_for_each(|(key, value)| engine.put_with(key, value, options)),
            #[cfg(target_os = "linux")]
            Self::There(client) => client.put_many(items, options),
        }
    }

    /// As [`PegaEngine::find`].
    ///
    /// # Errors
    /// As there; `Disconnected` if the sidecar is gone.
    #[inline]
    pub fn find<'a>(&'a self, key: &'a [u8]) -> Result<Option<Found<'a>>> {
        match self {
            Self::Here(engine) => Ok(engine.find(key)?.map(Found::Here)),
            #[cfg(target_os = "linux")]
            Self::There(client) => Ok(client.find(key)?.map(Found::There)),
        }
    }

    /// Copies the values of several keys to memory that `room` gives for the index and the size of each; gives their
    /// sizes, none for keys that are not there or for which there was no room. `room` may be asked again if a value
    /// changes meanwhile.
    ///
    /// # Errors
    /// As [`PegaEngine::get`]; `Disconnected` if the sidecar is gone.
    ///
    /// # Safety
    /// What `room` gives is valid for writes of the size that it was asked for.
    pub unsafe fn read_many(
        &self,
        keys: &[&[u8]],
        mut room: impl FnMut(usize, usize) -> Option<NonNull<u8>>,
    ) -> Result<Vec<Option<usize>>> {
        match self {
            Self::Here(engine) => {
                let mut sizes = Vec::with_capacity(keys.len());
                for (i, key) in keys.iter().enumerate() {
                    let found = engine.find(key)?;
                    let target = found.as_ref().and_then(|value| room(i, value.len()));
                    if let (Some(value), Some(target)) = (&found, target) {
                        // SAFETY: the caller's promise.
                        unsafe { value.copy_to(target)? };
                    }
                    sizes.push(found.filter(|_| target.is_some()).map(|value| value.len()));
                }
                Ok(sizes)
            }
            #[cfg(target_os = "linux")]
            Self::There(client) => {
                // SAFETY: the caller's promise.
                let reads = unsafe { client.read_many_with(keys, room)? };
                let size = |read| match read {
                    sidecar::Read::Copied(size_bytes) => Some(size_bytes),
                    sidecar::Read::Missing | sidecar::Read::TooSmall(_) => None,
                };
                Ok(reads.into_iter().map(size).collect())
            }
        }
    }

    /// As [`PegaEngine::get_into`].
    ///
    /// # Errors
    /// As there; `Disconnected` if the sidecar is gone.
    #[inline]
    pub fn get_into(&self, key: &[u8], buffer: &mut [u8]) -> Result<Option<usize>> {
        match self {
            Self::Here(engine) => engine.get_into(key, buffer),
            #[cfg(target_os = "linux")]
            Self::There(client) => client.get_into(key, buffer),
        }
    }

    /// As [`PegaEngine::get_view`].
    ///
    /// # Errors
    /// As there; `Disconnected` if the sidecar is gone.
    pub fn get_view(&self, key: &[u8]) -> Result<Option<FoundView>> {
        match self {
            Self::Here(engine) => Ok(engine.get_view(key)?.map(FoundView::Here)),
            #[cfg(target_os = "linux")]
            Self::There(client) => Ok(client.view(key)?.map(FoundView::There)),
        }
    }

    /// As [`PegaEngine::remove`], for several keys; gives for each whether it was there.
    ///
    /// # Errors
    /// As there; `Disconnected` if the sidecar is gone.
    pub fn remove_many(&self, keys: &[&[u8]]) -> Result<Vec<bool>> {
        match self {
            Self::Here(engine) => keys.iter().map(|key| engine.remove(key)).collect(),
            #[cfg(target_os = "linux")]
            Self::There(client) => client.remove_many(keys),
        }
    }

    /// As [`PegaEngine::remove`].
    ///
    /// # Errors
    /// As there; `Disconnected` if the sidecar is gone.
    #[inline]
    pub fn remove(&self, key: &[u8]) -> Result<bool> {
        match self {
            Self::Here(engine) => engine.remove(key),
            #[cfg(target_os = "linux")]
            Self::There(client) => Ok(client.remove_many(&[key])? == [true]),
        }
    }

    /// As [`PegaEngine::contains`].
    ///
    /// # Errors
    /// As there; `Disconnected` if the sidecar is gone.
    #[inline]
    pub fn contains(&self, key: &[u8]) -> Result<bool> {
        match self {
            Self::Here(engine) => engine.contains(key),
            #[cfg(target_os = "linux")]
            Self::There(client) => Ok(client.contains_many(&[key])? == [true]),
        }
    }

    /// Applies puts and removes in order, all or none; gives for each whether its key was there before.
    ///
    /// # Errors
    /// As [`crate::Transaction::commit`]; `Disconnected` if the sidecar is gone.
    pub fn commit(&self, writes: &[BatchWrite<'_>]) -> Result<Vec<bool>> {
        match self {
            Self::Here(engine) => {
                let mut transaction = engine.transaction();
                for (key, put) in writes {
                    match put {
                        Some((value, options)) => transaction.put(key, value, *options)?,
                        None => transaction.remove(key)?,
                    };
                }
                transaction.commit()
            }
            #[cfg(target_os = "linux")]
            Self::There(client) => client.commit(writes),
        }
    }

    /// Waits until everything written so far is on disk.
    ///
    /// # Errors
    /// `DiskFull`, `Io`, `Closed`; `Disconnected` if the sidecar is gone.
    pub fn flush(&self) -> Result<()> {
        match self {
            Self::Here(engine) => engine.store().flush(),
            #[cfg(target_os = "linux")]
            Self::There(client) => client.flush(),
        }
    }

    /// As [`PegaEngine::scan`].
    ///
    /// # Errors
    /// As there; `Disconnected` if the sidecar is gone.
    pub fn scan(&self, prefix: &[u8]) -> Result<Vec<Vec<u8>>> {
        match self {
            Self::Here(engine) => engine.scan(prefix),
            #[cfg(target_os = "linux")]
            Self::There(client) => client.scan(prefix),
        }
    }

    /// How many keys there are.
    ///
    /// # Errors
    /// `Disconnected` if the sidecar is gone, `Closed` if the connection is closed.
    pub fn count(&self) -> Result<u64> {
        match self {
            Self::Here(engine) => Ok(engine.len() as u64),
            #[cfg(target_os = "linux")]
            Self::There(client) => client.count(),
        }
    }

    /// Every figure of the engine, and of the sidecar if there is one, with its name.
    ///
    /// # Errors
    /// `Disconnected` if the sidecar is gone, `Closed` if the connection is closed.
    pub fn figures(&self) -> Result<Vec<(String, u64)>> {
        match self {
            Self::Here(engine) => {
                Ok(engine.stats().figures().into_iter().map(|(name, figure)| (name.to_owned(), figure)).collect())
            }
            #[cfg(target_os = "linux")]
            Self::There(client) => client.figures(),
        }
    }

    /// Closes the engine, or the connection: a sidecar goes on.
    ///
    /// # Errors
    /// What kept the last writes from the disk.
    pub fn close(&self) -> Result<()> {
        match self {
            Self::Here(engine) => engine.close(),
            #[cfg(target_os = "linux")]
            Self::There(client) => {
                client.close();
                Ok(())
            }
        }
    }

    /// Whether [`Self::close`] was called.
    #[must_use]
    pub fn is_closed(&self) -> bool {
        match self {
            Self::Here(engine) => engine.is_closed(),
            #[cfg(target_os = "linux")]
            Self::There(client) => client.is_closed(),
        }
    }
}

impl Found<'_> {
    /// How many bytes there are.
    #[must_use]
    #[inline]
    pub fn len(&self) -> usize {
        match self {
            Self::Here(value) => value.len(),
            #[cfg(target_os = "linux")]
            Self::There(value) => value.len(),
        }
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// As [`Value::copy_to`].
    ///
    /// # Errors
    /// `Corrupt` if the bytes are not what was put: what is in the target then must not be used.
    ///
    /// # Safety
    /// `target` is valid for writes of the value's length, and nothing else writes there meanwhile.
    #[inline]
    pub unsafe fn copy_to(&self, target: NonNull<u8>) -> Result<()> {
        match self {
            // SAFETY: the caller's promise.
            Self::Here(value) => unsafe { value.copy_to(target) },
            #[cfg(target_os = "linux")]
            // SAFETY: the caller's promise.
            Self::There(value) => unsafe { value.copy_to(target) },
        }
    }
}

impl Deref for FoundView {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Here(view) => view,
            #[cfg(target_os = "linux")]
            Self::There(view) => view,
        }
    }
}
