//! A lease in a sidecar.

use super::cache::RemoteCache;
use crate::cache::Token;
use crate::error::Result;
use crate::sidecar::cache_request::CacheRequest;
use crate::sidecar::reply::Leased;

/// Blocks that the sidecar keeps until this is released or dropped, its client ends, or it is too old.
pub struct RemoteLease {
    cache: RemoteCache,
    token: Token,
    present: Vec<bool>,
    on_disk: Vec<bool>,
    /// Attached by its token: dropping it leaves the owner's lease alone.
    is_attached: bool,
}

impl RemoteLease {
    pub(super) fn new(cache: RemoteCache, leased: Leased, is_attached: bool) -> Self {
        let Leased { token, present, on_disk } = leased;
        Self { cache, token: u128::from_le_bytes(token), present, on_disk, is_attached }
    }

    /// What another client of the same sidecar needs to attach the lease.
    #[must_use]
    pub fn token(&self) -> Token {
        self.token
    }

    /// For each hash that was asked for, whether its block was there and is kept.
    #[must_use]
    pub fn present(&self) -> &[bool] {
        &self.present
    }

    /// For each hash that was asked for, whether its block was on disk only when the lease was taken.
    #[must_use]
    pub fn on_disk(&self) -> &[bool] {
        &self.on_disk
    }

    /// Whether blocks can still be loaded by the lease.
    #[must_use]
    pub fn is_held(&self) -> bool {
        self.cache.attach(self.token).is_ok()
    }

    /// Lets the blocks go, for everyone who attached the lease too. Again: does nothing.
    ///
    /// # Errors
    /// `Disconnected`: the lease is gone then too.
    pub fn release(&self) -> Result<()> {
        self.cache.ask(CacheRequest::Release { token: self.token.to_le_bytes() })
    }
}

impl Drop for RemoteLease {
    fn drop(&mut self) {
        if !self.is_attached {
            // A connection that is gone has released it.
            let _ = self.release();
        }
    }
}
