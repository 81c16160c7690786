//! A block cache, wherever its engine runs.

use std::time::Duration;

use super::Handle;
use crate::cache::{Action, BlockCache, CacheOptions, CacheStats, Hashes, Lease, Span, Target, Token};
use crate::error::{Error, Result};
#[cfg(target_os = "linux")]
use crate::sidecar::{RemoteCache, RemoteLease};
use crate::work::Job;

/// A block cache with the same operations and errors wherever it runs.
#[derive(Clone)]
pub enum CacheHandle {
    /// In this process.
    Here(BlockCache),
    /// In a sidecar.
    #[cfg(target_os = "linux")]
    There(RemoteCache),
}

/// A lease of blocks, wherever they are.
pub enum LeaseHandle {
    /// In this process.
    Here(Lease),
    /// In a sidecar.
    #[cfg(target_os = "linux")]
    There(RemoteLease),
}

/// A lease of one engine, used with another.
#[cfg(target_os = "linux")]
#[cold]
fn foreign() -> Error {
    Error::invalid("the lease was taken from another engine; attach it by its token")
}

impl CacheHandle {
    /// As [`BlockCache::open`].
    ///
    /// # Errors
    /// As there; `Disconnected` if the sidecar is gone.
    pub fn open(engine: &Handle, name: &str, options: CacheOptions) -> Result<Self> {
        match engine {
            Handle::Here(engine) => BlockCache::open(engine, name, options).map(Self::Here),
            #[cfg(target_os = "linux")]
            Handle::There(client) => RemoteCache::open(client, name, options).map(Self::There),
        }
    }

    /// Whether every operation takes a round trip to another process.
    #[must_use]
    pub fn is_remote(&self) -> bool {
        !matches!(self, Self::Here(_))
    }

    /// The name of the namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        match self {
            Self::Here(cache) => cache.namespace(),
            #[cfg(target_os = "linux")]
            Self::There(cache) => cache.namespace(),
        }
    }

    /// As [`BlockCache::block_bytes`].
    ///
    /// # Errors
    /// `Disconnected` if the sidecar is gone.
    pub fn block_bytes(&self) -> Result<Option<usize>> {
        match self {
            Self::Here(cache) => Ok(cache.block_bytes()),
            #[cfg(target_os = "linux")]
            Self::There(cache) => cache.block_bytes(),
        }
    }

    /// As [`BlockCache::set_quota_bytes`].
    ///
    /// # Errors
    /// `Disconnected` if the sidecar is gone.
    pub fn set_quota_bytes(&self, quota_bytes: Option<u64>) -> Result<()> {
        match self {
            Self::Here(cache) => {
                cache.set_quota_bytes(quota_bytes);
                Ok(())
            }
            #[cfg(target_os = "linux")]
            Self::There(cache) => cache.set_quota_bytes(quota_bytes),
        }
    }

    /// As [`BlockCache::match_prefix`].
    ///
    /// # Errors
    /// As there; `Disconnected` if the sidecar is gone.
    pub fn match_prefix(&self, hashes: Hashes<'_>) -> Result<usize> {
        match self {
            Self::Here(cache) => cache.match_prefix(hashes),
            #[cfg(target_os = "linux")]
            Self::There(cache) => cache.match_prefix(hashes),
        }
    }

    /// As [`BlockCache::lease`].
    ///
    /// # Errors
    /// As there; `Disconnected` if the sidecar is gone.
    pub fn lease(&self, hashes: Hashes<'_>, max_age: Duration) -> Result<LeaseHandle> {
        match self {
            Self::Here(cache) => cache.lease(hashes, max_age).map(LeaseHandle::Here),
            #[cfg(target_os = "linux")]
            Self::There(cache) => cache.lease(hashes, max_age).map(LeaseHandle::There),
        }
    }

    /// As [`BlockCache::attach`].
    ///
    /// # Errors
    /// As there; `Disconnected` if the sidecar is gone.
    pub fn attach(&self, token: Token) -> Result<LeaseHandle> {
        match self {
            Self::Here(cache) => cache.attach(token).map(LeaseHandle::Here),
            #[cfg(target_os = "linux")]
            Self::There(cache) => cache.attach(token).map(LeaseHandle::There),
        }
    }

    /// As [`BlockCache::load_spans`].
    ///
    /// # Errors
    /// As there; `Disconnected` if the sidecar is gone.
    ///
    /// # Safety
    /// As there.
    pub unsafe fn load_spans(&self, lease: &LeaseHandle, targets: &[Target]) -> Result<Vec<usize>> {
        match (self, lease) {
            // SAFETY: the caller's promise.
            (Self::Here(cache), LeaseHandle::Here(lease)) => unsafe { cache.load_spans(lease, targets) },
            #[cfg(target_os = "linux")]
            // SAFETY: the caller's promise.
            (Self::There(cache), LeaseHandle::There(lease)) => unsafe { cache.load_spans(lease, targets) },
            #[cfg(target_os = "linux")]
            _ => Err(foreign()),
        }
    }

    /// As [`BlockCache::load_in_background`].
    ///
    /// # Errors
    /// As there; `Disconnected` if the sidecar is gone.
    ///
    /// # Safety
    /// As there.
    pub unsafe fn load_in_background(
        &self,
        lease: &LeaseHandle,
        targets: Vec<Target>,
    ) -> Result<Job<Result<Vec<usize>>>> {
        match (self, lease) {
            // SAFETY: the caller's promise.
            (Self::Here(cache), LeaseHandle::Here(lease)) => unsafe { cache.load_in_background(lease, targets) },
            #[cfg(target_os = "linux")]
            // SAFETY: the caller's promise.
            (Self::There(cache), LeaseHandle::There(lease)) => unsafe { cache.load_in_background(lease, targets) },
            #[cfg(target_os = "linux")]
            _ => Err(foreign()),
        }
    }

    /// As [`BlockCache::store_spans`].
    ///
    /// # Errors
    /// As there; `Disconnected` if the sidecar is gone.
    ///
    /// # Safety
    /// As there.
    pub unsafe fn store_spans(&self, hashes: Hashes<'_>, sources: &[Vec<Span>]) -> Result<Vec<usize>> {
        match self {
            // SAFETY: the caller's promise.
            Self::Here(cache) => unsafe { cache.store_spans(hashes, sources) },
            #[cfg(target_os = "linux")]
            // SAFETY: the caller's promise.
            Self::There(cache) => unsafe { cache.store_spans(hashes, sources) },
        }
    }

    /// As [`BlockCache::store_in_background`].
    ///
    /// # Errors
    /// As there; `Disconnected` if the sidecar is gone.
    ///
    /// # Safety
    /// As there.
    pub unsafe fn store_in_background(
        &self,
        hashes: Hashes<'_>,
        sources: Vec<Vec<Span>>,
    ) -> Result<Job<Result<Vec<usize>>>> {
        match self {
            // SAFETY: the caller's promise.
            Self::Here(cache) => unsafe { cache.store_in_background(hashes, sources) },
            #[cfg(target_os = "linux")]
            // SAFETY: the caller's promise.
            Self::There(cache) => unsafe { cache.store_in_background(hashes, sources) },
        }
    }

    /// As [`BlockCache::hint`].
    ///
    /// # Errors
    /// As there; `Disconnected` if the sidecar is gone.
    pub fn hint(&self, hashes: Hashes<'_>, action: Action) -> Result<()> {
        match self {
            Self::Here(cache) => cache.hint(hashes, action),
            #[cfg(target_os = "linux")]
            Self::There(cache) => cache.hint(hashes, action),
        }
    }

    /// As [`BlockCache::stats`].
    ///
    /// # Errors
    /// `Disconnected` if the sidecar is gone.
    pub fn stats(&self) -> Result<CacheStats> {
        match self {
            Self::Here(cache) => Ok(cache.stats()),
            #[cfg(target_os = "linux")]
            Self::There(cache) => cache.stats(),
        }
    }
}

impl LeaseHandle {
    /// What another client of the same engine needs to attach the lease.
    #[must_use]
    pub fn token(&self) -> Token {
        match self {
            Self::Here(lease) => lease.token(),
            #[cfg(target_os = "linux")]
            Self::There(lease) => lease.token(),
        }
    }

    /// For each hash that was asked for, whether its block was there and is kept.
    #[must_use]
    pub fn present(&self) -> &[bool] {
        match self {
            Self::Here(lease) => lease.present(),
            #[cfg(target_os = "linux")]
            Self::There(lease) => lease.present(),
        }
    }

    /// For each hash that was asked for, whether its block was on disk only when the lease was taken.
    #[must_use]
    pub fn on_disk(&self) -> &[bool] {
        match self {
            Self::Here(lease) => lease.on_disk(),
            #[cfg(target_os = "linux")]
            Self::There(lease) => lease.on_disk(),
        }
    }

    /// Whether blocks can still be loaded by the lease.
    #[must_use]
    pub fn is_held(&self) -> bool {
        match self {
            Self::Here(lease) => lease.is_held(),
            #[cfg(target_os = "linux")]
            Self::There(lease) => lease.is_held(),
        }
    }

    /// Lets the blocks go, for everyone who attached the lease too. Again: does nothing.
    ///
    /// # Errors
    /// `Disconnected` if the sidecar is gone: the lease is too then.
    pub fn release(&self) -> Result<()> {
        match self {
            Self::Here(lease) => {
                lease.release();
                Ok(())
            }
            #[cfg(target_os = "linux")]
            Self::There(lease) => lease.release(),
        }
    }
}
