//! A value that was found, about to be copied out.

use std::ptr::NonNull;
use std::sync::Arc;

use super::View;
use crate::error::{Error, Result};
use crate::index::Hashed;
use crate::store::{Held, Store};

/// A value of a known length that stays where it is until it was copied out. Holding many for long keeps memory from
/// being used for anything else.
pub struct Value<'a> {
    store: &'a Arc<Store>,
    hashed: Hashed<'a>,
    held: Held<'a>,
}

impl<'a> Value<'a> {
    pub(super) fn new(store: &'a Arc<Store>, hashed: Hashed<'a>, held: Held<'a>) -> Self {
        Self { store, hashed, held }
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Copies the value to the start of `buffer` and gives its length.
    ///
    /// # Errors
    /// `InvalidArgument` if the buffer is shorter than the value, which then stays untouched; `Corrupt` if the bytes
    /// are not what was put: what is in the buffer then must not be used.
    pub fn copy_into(&self, buffer: &mut [u8]) -> Result<usize> {
        let Some(target) = buffer.get_mut(..self.len()) else {
            return Err(Error::invalid("the buffer is shorter than the value")
                .with("buffer_bytes", buffer.len())
                .with("value_bytes", self.len()));
        };
        // SAFETY: a slice of the value's length, borrowed mutably.
        unsafe { self.copy_to(NonNull::from(target).cast()) }?;
        Ok(self.len())
    }

    /// Copies the value to memory that need not be initialised.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are not what was put: what is in the target then must not be used.
    ///
    /// # Safety
    /// `target` is valid for writes of the value's length, and nothing else writes there meanwhile.
    pub unsafe fn copy_to(&self, target: NonNull<u8>) -> Result<()> {
        // SAFETY: the caller's promise.
        if unsafe { self.held.copy_to(target) } {
            return Ok(());
        }
        Err(self.store.condemn(self.hashed, &self.held))
    }

    /// The value where it lies, for as long as the view lives.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are not what was put.
    pub fn into_view(self) -> Result<View> {
        if !self.held.verify_once() {
            return Err(self.store.condemn(self.hashed, &self.held));
        }
        Ok(View::adopt(Arc::clone(self.store), self.held.into_extent()))
    }
}
