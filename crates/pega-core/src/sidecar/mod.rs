//! One engine shared by the processes of a user: control over a Unix socket, data through the arena itself.
//!
//! The server owns the engine. A client maps the same memory file, writes values into space reserved for it, and
//! copies values out of it; what travels over the socket is keys, places and checksums, never the bytes.

mod backend;
mod codec;
mod frame;
mod link;
mod reply;
mod request;

pub use backend::{Backend, Change, Place, Placed};
