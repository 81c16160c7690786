//! A value read where it lies.

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;

use crate::arena::Extent;
use crate::store::Store;

/// The bytes of a value, in the arena. They stay as they are for as long as the view lives, whatever is put or removed
/// meanwhile, and the room they take cannot be used for anything else.
pub struct View {
    store: Arc<Store>,
    extent: Extent,
}

impl View {
    /// Takes over one hold of `extent`.
    pub(crate) fn adopt(store: Arc<Store>, extent: Extent) -> Self {
        Self { store, extent }
    }
}

impl Deref for View {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: held by this view, and nobody writes to a value that an entry named.
        unsafe { self.store.arena.bytes(self.extent) }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.store.arena.release(self.extent);
    }
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "View({} bytes)", self.len())
    }
}
