//! Several changes that become visible and durable together.

use crate::error::Result;
use crate::key::Key;
use crate::store::{Change, Store};

use super::PutOptions;

/// An atomic batch of writes. Nothing happens before [`Transaction::commit`]; a transaction that is dropped leaves no
/// trace. It does not read: what it writes does not depend on what others write meanwhile.
pub struct Transaction<'a> {
    store: &'a Store,
    writes: Vec<Write<'a>>,
}

enum Write<'a> {
    Put { key: &'a [u8], value: &'a [u8], expires_at_ms: u64 },
    Remove { key: &'a [u8] },
}

impl<'a> Transaction<'a> {
    pub(super) fn new(store: &'a Store) -> Self {
        Self { store, writes: Vec::new() }
    }

    /// Adds a put.
    ///
    /// # Errors
    /// `InvalidKey`; `InvalidArgument` for a time to live of zero.
    pub fn put(&mut self, key: &'a [u8], value: &'a [u8], options: PutOptions) -> Result<&mut Self> {
        Key::user(key)?;
        let expires_at_ms = options.expires_at_ms(crate::store::now_ms)?;
        self.writes.push(Write::Put { key, value, expires_at_ms });
        Ok(self)
    }

    /// Adds a removal.
    ///
    /// # Errors
    /// `InvalidKey`.
    pub fn remove(&mut self, key: &'a [u8]) -> Result<&mut Self> {
        Key::user(key)?;
        self.writes.push(Write::Remove { key });
        Ok(self)
    }

    /// Applies all of it or none, in the order in which it was added. Gives for each write whether its key was there.
    ///
    /// # Errors
    /// `TooLarge` if the values together are larger than the arena; what [`crate::PegaEngine::put`] gives. After an
    /// error nothing was applied.
    pub fn commit(self) -> Result<Vec<bool>> {
        let store = self.store;
        let changes = self.writes.iter().map(|write| match *write {
            Write::Put { key, value, expires_at_ms } => (key, Some((value, expires_at_ms))),
            Write::Remove { key } => (key, None),
        });
        store.commit_batch(changes)
    }
}

impl Store {
    /// Stages and commits a batch of puts and removes of user keys.
    pub(crate) fn commit_batch<'a>(
        &'a self,
        writes: impl Iterator<Item = (&'a [u8], Option<(&'a [u8], u64)>)> + Clone,
    ) -> Result<Vec<bool>> {
        let total = writes.clone().filter_map(|(_, put)| put).map(|(value, _)| value.len()).sum();
        self.check_size(total)?;
        let mut changes = Vec::new();
        for (key, put) in writes {
            let hashed = self.index.hashed(Key::user(key)?);
            changes.push(match put {
                Some((value, expires_at_ms)) => self.stage(hashed, value, expires_at_ms)?,
                None => Change::remove(hashed),
            });
        }
        self.commit(&mut changes)?;
        Ok(changes.iter().map(|change| change.existed).collect())
    }
}
