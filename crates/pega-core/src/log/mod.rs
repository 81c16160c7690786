//! The disk tier: a log of records in append-only segment files.
//!
//! ```text
//! LOCK           one opener at a time, and who it is
//! FORMAT         the format version and the identity of the log
//! 00000001.seg   header page | record record … | zeros to a page | entries | trailer
//! 00000002.seg   header page | record record …   (being filled: no entries yet)
//! ```
//!
//! Every record has a sequence number, larger than that of all records before it, and segments follow each other in
//! that order; a record that cleaning writes again gets a new number. So the newest record of a key is the one with
//! the largest number, and opening is reading the entries in order.
//!
//! The log holds no index. Its owner maps keys to [`RecordAt`], tells the log which records are dead
//! ([`Log::mark_dead`]), and lends itself to cleaning as [`Residents`]. A write is:
//!
//! ```text
//! prepare → make_room → (hold off other writes to the keys: append, update the index) → commit
//! ```

#[cfg(target_os = "linux")]
mod ahead;
mod appender;
mod clean;
mod codec;
mod digest;
mod file;
mod flush;
mod footer;
#[doc(hidden)]
pub mod fuzz;
mod handle;
mod header;
mod history;
mod identity;
mod lock;
mod options;
mod place;
mod read;
mod record;
mod recovery;
mod scan;
mod segment;
mod shared;
mod stage;
mod stats;
#[cfg(test)]
mod tests;

pub use appender::{Prepared, Ticket, Write};
pub use clean::{Residents, Verdict};
pub use codec::Codec;
pub use footer::Entry;
pub use handle::Log;
pub use header::FORMAT_VERSION;
pub use history::{Change, History};
pub use options::{Durability, FileIo, LogOptions, MIN_SEGMENT_BYTES, MIN_SEGMENTS, OnDamage, OnFull};
pub use place::RecordAt;
pub use read::ValueInfo;
pub use record::RecordKind;
pub use recovery::Recovery;
pub use stats::LogStats;

use shared::Shared;
