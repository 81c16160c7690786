//! A key-value storage engine that holds values from bytes to megabytes at memory speed.

pub mod arena;
pub mod cache;
pub mod checksum;
pub mod engine;
pub mod error;
pub mod handle;
mod index;
pub mod key;
pub mod log;
pub mod policy;
pub mod replay;
#[cfg(target_os = "linux")]
pub mod sidecar;
mod store;
pub mod work;

pub use cache::{BlockCache, CacheOptions, Lease};
pub use engine::{
    FeedEvent, FeedOp, Options, PegaEngine, PutOptions, Snapshot, Stats, Subscription, Transaction, Value, View,
};
pub use error::{Error, ErrorKind, Result};
pub use handle::{Found, FoundView, Handle};

/// The longest key the engine accepts, in bytes.
pub const MAX_KEY_BYTES: usize = 4096;
