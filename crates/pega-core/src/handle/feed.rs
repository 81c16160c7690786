//! Following an engine, wherever it runs.

use std::time::Duration;

use super::Handle;
use crate::engine::{Snapshot, Subscription};
use crate::error::{Error, Result};
#[cfg(target_os = "linux")]
use crate::sidecar::RemoteFeed;
use crate::store::FeedEvent;

/// The changes of an engine, as [`Subscription`] gives them.
pub enum SubscriptionHandle {
    /// Of this process.
    Here(Subscription),
    /// Of a sidecar.
    #[cfg(target_os = "linux")]
    There(RemoteFeed),
}

/// Everything in an engine, as [`Snapshot`] gives it.
pub enum SnapshotHandle {
    /// Of this process.
    Here(Snapshot),
    /// Of a sidecar.
    #[cfg(target_os = "linux")]
    There(RemoteFeed),
}

impl SubscriptionHandle {
    /// As [`Subscription::next`].
    ///
    /// # Errors
    /// As there; `Disconnected` if the sidecar is gone.
    pub fn next(&mut self, timeout: Option<Duration>) -> Result<Option<FeedEvent>> {
        match self {
            Self::Here(subscription) => subscription.next(timeout),
            #[cfg(target_os = "linux")]
            Self::There(feed) => feed.next(timeout),
        }
    }
}

impl SnapshotHandle {
    /// As [`Snapshot::seq`].
    #[must_use]
    pub fn seq(&self) -> u64 {
        match self {
            Self::Here(snapshot) => snapshot.seq(),
            #[cfg(target_os = "linux")]
            Self::There(feed) => feed.seq(),
        }
    }

    /// As [`Snapshot::next`].
    ///
    /// # Errors
    /// As there; `Disconnected` if the sidecar is gone.
    #[allow(clippy::should_implement_trait, reason = "the next change may be an error, and a later one not")]
    pub fn next(&mut self) -> Result<Option<FeedEvent>> {
        match self {
            Self::Here(snapshot) => snapshot.next().transpose(),
            #[cfg(target_os = "linux")]
            Self::There(feed) => feed.next(None),
        }
    }
}

/// What a sidecar does not do for its clients.
#[cfg(target_os = "linux")]
#[cold]
fn not_through_a_sidecar() -> Error {
    Error::invalid("changes of another engine are applied in the process that owns the engine, not through a sidecar")
}

impl Handle {
    /// As [`crate::PegaEngine::last_seq`].
    ///
    /// # Errors
    /// `Disconnected` if the sidecar is gone.
    pub fn last_seq(&self) -> Result<u64> {
        match self {
            Self::Here(engine) => Ok(engine.last_seq()),
            #[cfg(target_os = "linux")]
            Self::There(client) => Ok(client.position()?.0),
        }
    }

    /// As [`crate::PegaEngine::applied_seq`].
    ///
    /// # Errors
    /// As there; `Disconnected` if the sidecar is gone.
    pub fn applied_seq(&self) -> Result<u64> {
        match self {
            Self::Here(engine) => engine.applied_seq(),
            #[cfg(target_os = "linux")]
            Self::There(client) => Ok(client.position()?.1),
        }
    }

    /// As [`crate::PegaEngine::subscribe`].
    ///
    /// # Errors
    /// As there; `Disconnected` if the sidecar is gone.
    pub fn subscribe(&self, from_seq: Option<u64>) -> Result<SubscriptionHandle> {
        match self {
            Self::Here(engine) => engine.subscribe(from_seq).map(SubscriptionHandle::Here),
            #[cfg(target_os = "linux")]
            Self::There(client) => client.subscribe(from_seq).map(SubscriptionHandle::There),
        }
    }

    /// As [`crate::PegaEngine::snapshot`].
    ///
    /// # Errors
    /// As there; `Disconnected` if the sidecar is gone.
    pub fn snapshot(&self) -> Result<SnapshotHandle> {
        match self {
            Self::Here(engine) => engine.snapshot().map(SnapshotHandle::Here),
            #[cfg(target_os = "linux")]
            Self::There(client) => client.snapshot().map(SnapshotHandle::There),
        }
    }

    /// As [`crate::PegaEngine::apply`].
    ///
    /// # Errors
    /// As there; `InvalidArgument` for the engine of a sidecar.
    pub fn apply(&self, changes: &[FeedEvent]) -> Result<()> {
        match self {
            Self::Here(engine) => engine.apply(changes),
            #[cfg(target_os = "linux")]
            Self::There(_) => Err(not_through_a_sidecar()),
        }
    }

    /// As [`crate::PegaEngine::restore`].
    ///
    /// # Errors
    /// As there; `InvalidArgument` for the engine of a sidecar.
    pub fn restore(&self, seq: u64, changes: impl IntoIterator<Item = Result<FeedEvent>>) -> Result<()> {
        match self {
            Self::Here(engine) => engine.restore(seq, changes),
            #[cfg(target_os = "linux")]
            Self::There(_) => Err(not_through_a_sidecar()),
        }
    }
}
