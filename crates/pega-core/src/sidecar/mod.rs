//! One engine shared by the processes of a user: control over a Unix socket, data through the arena itself.
//!
//! The server owns the engine. A client maps the same memory file, writes values into room reserved for it, and
//! copies values out of it; what travels over the socket is keys, places and checksums, never the bytes.

mod cache_request;
mod client;
mod codec;
mod frame;
#[doc(hidden)]
pub mod fuzz;
mod link;
mod place;
mod prometheus;
mod reply;
mod request;
mod server;
mod socket;

pub use client::{Client, Put, Read, RemoteCache, RemoteFeed, RemoteLease, Value, View, Write};
pub use place::Place;
pub use prometheus::prometheus_text;
pub use server::{ServeOptions, Server};
pub use socket::FileLock;
