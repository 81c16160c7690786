//! A value where it lies in the arena.

use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;

use super::Connection;
use crate::error::{Error, ErrorKind, Result};
use crate::sidecar::reply::Numbered;
use crate::sidecar::request::Request;

/// A value that the sidecar holds in place while this lives. Its bytes are those of the arena, read-only.
///
/// A sidecar that ends leaves them readable: the memory goes when the last process has unmapped it.
pub struct View {
    connection: Arc<Connection>,
    held: Numbered,
    bytes: *const [u8],
}

// SAFETY: the bytes are in a mapping that `connection` keeps, and nobody writes to them while they are held.
unsafe impl Send for View {}
// SAFETY: as above.
unsafe impl Sync for View {}

impl View {
    /// Takes over what the server holds, also if it does not lie in the arena, which is an error.
    pub(super) fn new(connection: Arc<Connection>, held: Numbered) -> Result<Self> {
        let mut view = Self { connection, held, bytes: &[] };
        view.connection.pool.add_view()?;
        let address = view.connection.window.address(held.place)?;
        let size_bytes = usize::try_from(held.place.size_bytes).unwrap_or(usize::MAX);
        view.bytes = std::ptr::slice_from_raw_parts(address.as_ptr(), size_bytes);
        Ok(view)
    }

    /// Copies the value out and checks the copy.
    ///
    /// # Safety
    /// `target` is valid for writes of the value's length.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are not what was put; the sidecar is told, and looks for itself.
    pub unsafe fn copy_to(&self, target: NonNull<u8>) -> Result<()> {
        // SAFETY: the caller's promise.
        if unsafe { self.connection.window.copy_out(self.held.place, target)? } {
            return Ok(());
        }
        self.distrust()?;
        Err(Error::new(ErrorKind::Corrupt, "a value in memory does not match its checksum, and was dropped")
            .with("value_bytes", self.len()))
    }

    /// Tells the server that the bytes do not match their checksum; it looks for itself.
    fn distrust(&self) -> Result<()> {
        self.connection.with(|lane| {
            lane.tell(&Request::Distrust { pins: vec![self.held.number] })?;
            lane.flush()
        })
    }
}

impl Deref for View {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: within the mapping that `connection` keeps, as checked when this was made; held by the server.
        unsafe { &*self.bytes }
    }
}

impl Drop for View {
    fn drop(&mut self) {
        self.connection.pool.remove_view();
        self.connection.let_go([self.held.number]);
    }
}
