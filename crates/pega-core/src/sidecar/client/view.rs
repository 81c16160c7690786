//! A value where it lies in the arena.

use std::ops::Deref;
use std::sync::Arc;

use super::Connection;
use crate::error::Result;
use crate::sidecar::place::Place;
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
        let address = view.connection.window.address(held.place)?;
        let size_bytes = usize::try_from(held.place.size_bytes).unwrap_or(usize::MAX);
        view.bytes = std::ptr::slice_from_raw_parts(address.as_ptr(), size_bytes);
        Ok(view)
    }

    /// Where the bytes are, and the checksum they must have.
    pub(super) fn place(&self) -> Place {
        self.held.place
    }

    /// Tells the server that the bytes do not match their checksum; it looks for itself.
    pub(super) fn distrust(&self) -> Result<()> {
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
        self.connection.let_go([self.held.number]);
    }
}
