//! The block cache of a sidecar, with the operations of [`crate::cache::BlockCache`].

use std::sync::Arc;
use std::time::Duration;

use super::Client;
use super::lease::RemoteLease;
use super::transfer;
use crate::cache::{Action, CacheOptions, CacheStats, Hashes, MAX_NAMESPACE_BYTES, Span, Target, Token};
use crate::error::{Error, Result};
use crate::sidecar::cache_request::{CacheRequest, PackedHashes, pack};
use crate::sidecar::reply::{Leased, Payload};
use crate::sidecar::request::Request;
use crate::work::Job;

/// Hashes in one frame.
const HASHES: usize = 8192;

/// The blocks of one namespace of a sidecar. Clones share one connection; any thread may call every method.
#[derive(Clone)]
pub struct RemoteCache {
    client: Client,
    namespace: Arc<str>,
    block_bytes: Option<usize>,
}

impl RemoteCache {
    /// As [`crate::cache::BlockCache::open`].
    ///
    /// # Errors
    /// As there; `Disconnected`.
    pub fn open(client: &Client, namespace: &str, options: CacheOptions) -> Result<Self> {
        if namespace.is_empty() || namespace.len() > MAX_NAMESPACE_BYTES {
            return Err(Error::invalid(format!("a namespace has a name of 1 to {MAX_NAMESPACE_BYTES} bytes"))
                .with("name_bytes", namespace.len()));
        }
        let mut cache = Self { client: client.clone(), namespace: namespace.into(), block_bytes: None };
        let block_bytes: Option<u64> = cache.ask(CacheRequest::Open {
            block_bytes: options.block_bytes.map_or(0, |bytes| bytes as u64),
            quota_bytes: options.quota_bytes.unwrap_or(0),
        })?;
        cache.block_bytes = block_bytes.and_then(|bytes| usize::try_from(bytes).ok());
        Ok(cache)
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn ask<T: Payload>(&self, ask: CacheRequest<'_>) -> Result<T> {
        self.client.with(|lane| lane.ask(&Request::Cache { namespace: &self.namespace, ask }))
    }

    /// The name of the namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The size of every block.
    ///
    /// # Errors
    /// `Disconnected`, `Closed`.
    pub fn block_bytes(&self) -> Result<Option<usize>> {
        if self.block_bytes.is_some() {
            return Ok(self.block_bytes);
        }
        let block_bytes: Option<u64> = self.ask(CacheRequest::Open { block_bytes: 0, quota_bytes: 0 })?;
        Ok(block_bytes.and_then(|bytes| usize::try_from(bytes).ok()))
    }

    /// As [`crate::cache::BlockCache::set_quota_bytes`].
    ///
    /// # Errors
    /// `Disconnected`, `Closed`.
    pub fn set_quota_bytes(&self, quota_bytes: Option<u64>) -> Result<()> {
        // No quota travels as zero, so a quota of nothing goes as one byte, which has room for no block either.
        self.ask(CacheRequest::SetQuota { quota_bytes: quota_bytes.map_or(0, |quota| quota.max(1)) })
    }

    /// Calls `each` with runs of hashes that fit one frame, until it gives false.
    pub(super) fn in_frames(hashes: Hashes<'_>, mut each: impl FnMut(PackedHashes<'_>) -> Result<bool>) -> Result<()> {
        let (packed, hash_bytes) = pack(hashes)?;
        for packed in packed.chunks(HASHES * hash_bytes) {
            if !each(PackedHashes { hash_bytes, packed })? {
                break;
            }
        }
        Ok(())
    }

    /// As [`crate::cache::BlockCache::match_prefix`].
    ///
    /// # Errors
    /// `Disconnected`, `Closed`.
    pub fn match_prefix(&self, hashes: Hashes<'_>) -> Result<usize> {
        let mut matched = 0;
        Self::in_frames(hashes, |hashes| {
            let found: u64 = self.ask(CacheRequest::Match { hashes })?;
            matched += usize::try_from(found).unwrap_or(usize::MAX);
            Ok(found as usize == hashes.packed.len() / hashes.hash_bytes)
        })?;
        Ok(matched)
    }

    /// As [`crate::cache::BlockCache::lease`]; the lease also ends when this client does.
    ///
    /// # Errors
    /// As there; `TooLarge` for more hashes than one frame holds; `Disconnected`.
    pub fn lease(&self, hashes: Hashes<'_>, max_age: Duration) -> Result<RemoteLease> {
        let (packed, hash_bytes) = pack(hashes)?;
        let hashes = PackedHashes { hash_bytes, packed: &packed };
        let max_age_ms = u64::try_from(max_age.as_millis()).unwrap_or(u64::MAX);
        let leased: Leased = self.ask(CacheRequest::Lease { hashes, max_age_ms })?;
        Ok(RemoteLease::new(self.clone(), leased, false))
    }

    /// As [`crate::cache::BlockCache::attach`]; the lease may be of another client.
    ///
    /// # Errors
    /// `LeaseLost`, `Disconnected`, `Closed`.
    pub fn attach(&self, token: Token) -> Result<RemoteLease> {
        let leased = self.ask(CacheRequest::Attach { token: token.to_le_bytes() })?;
        Ok(RemoteLease::new(self.clone(), leased, true))
    }

    /// As [`crate::cache::BlockCache::load_spans`].
    ///
    /// # Errors
    /// As there; `Disconnected`.
    ///
    /// # Safety
    /// The targets are valid for writes, none overlaps another, and nothing else uses them meanwhile.
    pub unsafe fn load_spans(&self, lease: &RemoteLease, targets: &[Target]) -> Result<Vec<usize>> {
        let load = transfer::Load::begin(self, lease, targets.len())?;
        // SAFETY: the caller's promise.
        unsafe { load.run(targets) }
    }

    /// As [`crate::cache::BlockCache::load_in_background`].
    ///
    /// # Errors
    /// As there; `Disconnected`.
    ///
    /// # Safety
    /// The targets are valid for writes, none overlaps another, and nothing else uses them until the job is done.
    pub unsafe fn load_in_background(
        &self,
        lease: &RemoteLease,
        targets: Vec<Target>,
    ) -> Result<Job<Result<Vec<usize>>>> {
        let load = transfer::Load::begin(self, lease, targets.len())?;
        // SAFETY: the caller's promise.
        self.client.work().submit(move || unsafe { load.run(&targets) })
    }

    /// As [`crate::cache::BlockCache::store_spans`].
    ///
    /// # Errors
    /// As there; `Disconnected`.
    ///
    /// # Safety
    /// The sources are valid for reads.
    pub unsafe fn store_spans(&self, hashes: Hashes<'_>, sources: &[Vec<Span>]) -> Result<Vec<usize>> {
        let (packed, hash_bytes) = pack(hashes)?;
        // SAFETY: the caller's promise.
        unsafe { transfer::store(self, PackedHashes { hash_bytes, packed: &packed }, sources) }
    }

    /// As [`crate::cache::BlockCache::store_in_background`].
    ///
    /// # Errors
    /// As there; `Disconnected`.
    ///
    /// # Safety
    /// The sources are valid for reads until the job is done.
    pub unsafe fn store_in_background(
        &self,
        hashes: Hashes<'_>,
        sources: Vec<Vec<Span>>,
    ) -> Result<Job<Result<Vec<usize>>>> {
        let (packed, hash_bytes) = pack(hashes)?;
        let cache = self.clone();
        self.client.work().submit(move || {
            // SAFETY: the caller's promise.
            unsafe { transfer::store(&cache, PackedHashes { hash_bytes, packed: &packed }, &sources) }
        })
    }

    /// As [`crate::cache::BlockCache::hint`].
    ///
    /// # Errors
    /// As there; `Disconnected`.
    pub fn hint(&self, hashes: Hashes<'_>, action: Action) -> Result<()> {
        Self::in_frames(hashes, |hashes| self.ask(CacheRequest::Hint { hashes, action }).map(|()| true))
    }

    /// As [`crate::cache::BlockCache::stats`].
    ///
    /// # Errors
    /// `Disconnected`, `Closed`.
    pub fn stats(&self) -> Result<CacheStats> {
        self.ask(CacheRequest::Stats)
    }
}
