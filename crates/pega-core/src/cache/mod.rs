//! The block cache of an LLM server: blocks of one size, named by hashes that the caller has chained.
//!
//! A block is found by [`BlockCache::match_prefix`], kept by a [`Lease`], and copied out by
//! [`BlockCache::load_into`]; [`BlockCache::store`] puts those in that are not there. Whatever is wrong with a block
//! is a miss: it is counted, and its bytes are never served.

mod estimate;
mod fill;
mod hashes;
mod hint;
mod lease;
#[cfg(target_os = "linux")]
mod lend;
mod load;
mod namespace;
mod pins;
mod spans;
mod stats;

use std::sync::Arc;
use std::time::Duration;

pub use hashes::{Hashes, MAX_HASH_BYTES, MIN_HASH_BYTES};
pub use hint::Action;
pub(crate) use lease::{Blocks, Leases};
use lease::{Kept, Leased};
pub use lease::{Lease, Token};
#[cfg(target_os = "linux")]
pub(crate) use lend::Lent;
pub use load::Target;
pub use namespace::MAX_NAMESPACE_BYTES;
pub(crate) use namespace::Namespace;
use namespace::count;
pub use spans::{Span, total_bytes};
pub use stats::CacheStats;

use crate::engine::PegaEngine;
use crate::error::{Error, ErrorKind, Result};
use crate::policy::Hint;
use crate::store::{Lookup, Store};
use crate::work::Job;

/// How long a lease lasts that nobody releases.
pub const DEFAULT_LEASE_AGE: Duration = Duration::from_secs(300);

/// How a block cache is opened. What is left out stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CacheOptions {
    /// The size of every block; by default that of the first one stored.
    pub block_bytes: Option<usize>,
    /// The most bytes of blocks in this namespace, in memory and on disk together.
    pub quota_bytes: Option<u64>,
}

/// The blocks of one namespace. Handles are cheap to clone; every method may be called from any thread.
#[derive(Clone)]
pub struct BlockCache {
    store: Arc<Store>,
    namespace: Arc<Namespace>,
}

impl BlockCache {
    /// The blocks of the namespace called `name`, which is made if there is none.
    ///
    /// # Errors
    /// `InvalidArgument` for a name that is empty or too long, or a block size that is not the namespace's; `Closed`.
    pub fn open(engine: &PegaEngine, name: &str, options: CacheOptions) -> Result<Self> {
        let store = Arc::clone(engine.store());
        let namespace = Namespace::open(&store, name)?;
        if let Some(block_bytes) = options.block_bytes {
            namespace.fix_block_bytes(block_bytes)?;
        }
        if options.quota_bytes.is_some() {
            namespace.set_quota_bytes(&store, options.quota_bytes);
        }
        Ok(Self { store, namespace })
    }

    /// The name of the namespace.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace.name
    }

    /// The size of every block, once it is known.
    #[must_use]
    pub fn block_bytes(&self) -> Option<usize> {
        self.namespace.block_bytes()
    }

    /// Bounds the bytes of blocks, or lifts the bound. Blocks beyond it go when the next one is stored.
    pub fn set_quota_bytes(&self, quota_bytes: Option<u64>) {
        self.namespace.set_quota_bytes(&self.store, quota_bytes);
    }

    /// How many of the first blocks are there, in memory or on disk, before the first one that is not. Changes and
    /// counts nothing.
    ///
    /// # Errors
    /// `Closed`.
    pub fn match_prefix(&self, hashes: Hashes<'_>) -> Result<usize> {
        self.store.check_open()?;
        Ok(self.store.count_leading(hashes.len(), |i| self.namespace.hashed(&self.store, hashes.get(i))))
    }

    /// Keeps the blocks that are there from leaving, wherever they are, until the lease ends. Counts as a use of them.
    ///
    /// # Errors
    /// `Closed`; `InvalidArgument` for a maximum age that no clock can tell.
    pub fn lease(&self, hashes: Hashes<'_>, max_age: Duration) -> Result<Lease> {
        self.store.check_open()?;
        self.store.leases.end_overdue();
        let leased = hashes.iter().map(|hash| Leased { hash: hash.into(), kept: self.keep(hash) }).collect::<Vec<_>>();
        // From here on the blocks are let go of whatever happens.
        let blocks = Blocks::new(&self.store, leased);
        fill::touch(&self.store, &self.namespace, hashes);
        let state = self.store.leases.enter(&self.namespace, blocks, max_age)?;
        Ok(Lease::own(Arc::clone(&self.store), state))
    }

    fn keep(&self, hash: &[u8]) -> Kept {
        let hashed = self.namespace.hashed(&self.store, hash);
        let traffic = &self.namespace.traffic;
        match self.store.lease_one(hashed) {
            Lookup::InMemory(extent, checksum) => {
                count(&traffic.memory_hits, 1);
                self.namespace.distinct.add(hashed.hash);
                Kept::InMemory { extent, checksum }
            }
            Lookup::OnDisk(id, seq) => {
                count(&traffic.disk_hits, 1);
                self.namespace.distinct.add(hashed.hash);
                Kept::OnDisk { id, seq }
            }
            Lookup::Absent => {
                count(&traffic.misses, 1);
                Kept::Absent
            }
        }
    }

    /// The lease that another handle of the same engine has taken. Dropping what this gives does not end it.
    ///
    /// # Errors
    /// `LeaseLost` if there is none of this token, in this namespace.
    pub fn attach(&self, token: Token) -> Result<Lease> {
        self.store.check_open()?;
        let state = self.store.leases.find(token);
        match state.filter(|state| Arc::ptr_eq(&state.namespace, &self.namespace)) {
            Some(state) => Ok(Lease::attach(Arc::clone(&self.store), state)),
            None => Err(Error::new(ErrorKind::LeaseLost, "there is no such lease; it was released or is too old")),
        }
    }

    /// Copies the blocks of a lease into `buffers`, one for each of its hashes. Gives the positions that failed.
    ///
    /// # Errors
    /// `LeaseLost`; `InvalidArgument` if there are not as many buffers as hashes; `Closed`.
    pub fn load_into(&self, lease: &Lease, buffers: &mut [&mut [u8]]) -> Result<Vec<usize>> {
        let targets: Vec<Target> = buffers.iter_mut().map(|buffer| Some(vec![Span::of_mut(buffer)])).collect();
        // SAFETY: the spans are of slices that are borrowed mutably for the call.
        unsafe { self.load_spans(lease, &targets) }
    }

    /// As [`Self::load_into`], to any memory, each block to one run or several.
    ///
    /// # Errors
    /// As [`Self::load_into`].
    ///
    /// # Safety
    /// The targets are valid for writes, none overlaps another, and nothing else uses them meanwhile.
    pub unsafe fn load_spans(&self, lease: &Lease, targets: &[Target]) -> Result<Vec<usize>> {
        self.store.check_open()?;
        // SAFETY: the caller's promise.
        unsafe { load::load(&self.store, &lease.state, &*lease.state.blocks()?, targets) }
    }

    /// As [`Self::load_spans`], in the background. The load keeps the blocks by itself, whatever becomes of the lease.
    ///
    /// # Errors
    /// `LeaseLost`, `Closed`, `Io` if no thread can be started. Other errors come with the job.
    ///
    /// # Safety
    /// The targets are valid for writes, none overlaps another, and nothing else uses them until the job is done.
    pub unsafe fn load_in_background(&self, lease: &Lease, targets: Vec<Target>) -> Result<Job<Result<Vec<usize>>>> {
        self.store.check_open()?;
        let keep = lease.state.blocks()?;
        let (store, state) = (Arc::clone(&self.store), Arc::clone(&lease.state));
        self.store.pool.submit(move || {
            // SAFETY: the caller's promise.
            unsafe { load::load(&store, &state, &keep, &targets) }
        })
    }

    /// Stores the blocks that are not there yet. Those that are count as used: pass the whole chain, from its start.
    /// Gives the positions for which there was no room; the rest are there when this returns, and durable as the
    /// engine promises.
    ///
    /// # Errors
    /// `InvalidArgument` if there are not as many blocks as hashes, or one has another size than the namespace's;
    /// `Io`, `Closed`.
    pub fn store(&self, hashes: Hashes<'_>, blocks: &[&[u8]]) -> Result<Vec<usize>> {
        let sources: Vec<_> = blocks.iter().map(|block| vec![Span::of(block)]).collect();
        // SAFETY: the spans are of slices that are borrowed for the call.
        unsafe { self.store_spans(hashes, &sources) }
    }

    /// As [`Self::store`], from any memory, each block from one run or several.
    ///
    /// # Errors
    /// As [`Self::store`].
    ///
    /// # Safety
    /// The sources are valid for reads.
    pub unsafe fn store_spans(&self, hashes: Hashes<'_>, sources: &[Vec<Span>]) -> Result<Vec<usize>> {
        // SAFETY: the caller's promise.
        unsafe { fill::store_blocks(&self.store, &self.namespace, hashes, sources) }
    }

    /// As [`Self::store_spans`], in the background.
    ///
    /// # Errors
    /// `Closed`, `Io` if no thread can be started. Other errors come with the job.
    ///
    /// # Safety
    /// The sources are valid for reads until the job is done.
    pub unsafe fn store_in_background(
        &self,
        hashes: Hashes<'_>,
        sources: Vec<Vec<Span>>,
    ) -> Result<Job<Result<Vec<usize>>>> {
        self.store.check_open()?;
        let (store, namespace) = (Arc::clone(&self.store), Arc::clone(&self.namespace));
        let hashes: Vec<Box<[u8]>> = hashes.iter().map(Into::into).collect();
        self.store.pool.submit(move || {
            let hashes: Vec<&[u8]> = hashes.iter().map(AsRef::as_ref).collect();
            // SAFETY: the caller's promise.
            unsafe { fill::store_blocks(&store, &namespace, Hashes::Each(&hashes), &sources) }
        })
    }

    /// Tells what is known about blocks. Hints about blocks that are not there are ignored.
    ///
    /// # Errors
    /// `Closed`; `InvalidArgument` for a pin longer than any clock can tell; `Io` if no thread can be started.
    pub fn hint(&self, hashes: Hashes<'_>, action: Action) -> Result<()> {
        self.store.check_open()?;
        match action {
            Action::Pin { for_ } => self.pin(hashes, for_)?,
            Action::Prefetch => hint::prefetch(&self.store, &self.namespace, hashes)?,
            Action::Demote => hint::demote(&self.store, &self.namespace, hashes),
            Action::Release => {
                self.unpin(hashes);
                hint::tell(&self.store, &self.namespace, hashes, Hint::Release);
            }
            Action::NextUse { after } => hint::next_use(&self.store, &self.namespace, hashes, after),
        }
        Ok(())
    }

    /// The state of the namespace.
    #[must_use]
    pub fn stats(&self) -> CacheStats {
        CacheStats::of(&self.store, &self.namespace)
    }
}

#[cfg(test)]
mod tests;
