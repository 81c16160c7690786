//! A value that was found, about to be copied out.

use std::ptr::NonNull;
use std::sync::Arc;

use super::View;
use crate::error::{Error, ErrorKind, Result};
use crate::index::Hashed;
use crate::store::{Found, Store, corrupt_in_memory, no_room};

/// A value of a known length that stays where it is until it was copied out. Holding many for long keeps memory from
/// being used for anything else.
pub struct Value<'a> {
    store: &'a Arc<Store>,
    hashed: Hashed<'a>,
    found: Found<'a>,
}

impl<'a> Value<'a> {
    pub(super) fn new(store: &'a Arc<Store>, hashed: Hashed<'a>, found: Found<'a>) -> Self {
        Self { store, hashed, found }
    }

    /// How many bytes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.found {
            Found::Held(held) => held.len(),
            Found::OnDisk { value_bytes } => *value_bytes,
        }
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
    /// `Corrupt` if the bytes are not what was put: what is in the target then must not be used. `Io` from the disk.
    ///
    /// # Safety
    /// `target` is valid for writes of the value's length, and nothing else writes there meanwhile.
    pub unsafe fn copy_to(&self, target: NonNull<u8>) -> Result<()> {
        if let Found::Held(held) = &self.found {
            // SAFETY: the caller's promise.
            if unsafe { held.copy_to(target) } {
                return Ok(());
            }
            if !self.store.condemn(self.hashed, held) {
                return Err(corrupt_in_memory(self.len()));
            }
        }
        // SAFETY: the caller's promise; zeroed, since reading fills a slice, which must be initialised.
        let target = unsafe {
            target.write_bytes(0, self.len());
            std::slice::from_raw_parts_mut(target.as_ptr(), self.len())
        };
        if self.store.read_through(self.hashed, target)? { Ok(()) } else { Err(changed()) }
    }

    /// The value where it lies, for as long as the view lives.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are not what was put; `MemoryFull` if the value is on disk and finds no room.
    pub fn into_view(self) -> Result<View> {
        let len = self.len();
        match self.found {
            Found::Held(held) if held.verify_once() => Ok(View::adopt(Arc::clone(self.store), held.into_extent())),
            Found::Held(held) => {
                if self.store.condemn(self.hashed, &held)
                    && let Some(Found::Held(again)) = self.store.find(self.hashed)?
                    && again.verify_once()
                {
                    return Ok(View::adopt(Arc::clone(self.store), again.into_extent()));
                }
                Err(corrupt_in_memory(len))
            }
            Found::OnDisk { value_bytes } => Err(no_room(value_bytes)),
        }
    }
}

/// The value was replaced or removed after it was found, before it was read from disk.
#[cold]
fn changed() -> Error {
    Error::new(ErrorKind::TimedOut, "the value was replaced while it was read from disk; get it again")
}
