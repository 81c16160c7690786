//! Finding values, wherever they lie.

use std::ptr::NonNull;
use std::sync::atomic::Ordering;

use super::disk::Disk;
use super::staged::{Held, Staged};
use super::{Store, now_ms};
use crate::error::{Error, ErrorKind, Result};
use crate::index::{Entry, Hashed, Index, Shard, SlotId};
use crate::log::RecordAt;

/// How often a value is looked for again that moved on disk between being found and being read. Each time takes a
/// whole segment being cleaned.
const PATIENCE: usize = 100;

/// A value that was found.
pub(crate) enum Found<'a> {
    /// In memory, and held there.
    Held(Held<'a>),
    /// On disk, and no room for it in memory now.
    OnDisk {
        /// Its length.
        value_bytes: usize,
    },
}

/// Where an entry's value lies.
pub(super) enum Whereabouts<'a> {
    Memory(Held<'a>, SlotId),
    Disk { at: RecordAt, value_bytes: usize },
}

fn is_present(entry: &Entry) -> bool {
    !entry.is_timed() || !entry.is_expired(now_ms())
}

impl Store {
    /// Whether there is a value under the key.
    pub(crate) fn contains(&self, hashed: Hashed<'_>) -> bool {
        let shard = self.index.read(hashed.shard());
        shard.find(hashed.hash, hashed.key).is_some_and(|slot| is_present(shard.entry(slot)))
    }

    /// Finds a value and holds it in memory, bringing it there if it is on disk only.
    ///
    /// # Errors
    /// `Io` and `Corrupt` from the disk.
    pub(crate) fn find(&self, hashed: Hashed<'_>) -> Result<Option<Found<'_>>> {
        self.check_open()?;
        match self.locate(hashed) {
            None => {
                self.counters.misses.fetch_add(1, Ordering::Relaxed);
                Ok(None)
            }
            Some(Whereabouts::Memory(held, id)) => {
                self.gate.touch(id);
                self.counters.memory_hits.fetch_add(1, Ordering::Relaxed);
                Ok(Some(Found::Held(held)))
            }
            Some(Whereabouts::Disk { at, value_bytes }) => {
                self.counters.disk_hits.fetch_add(1, Ordering::Relaxed);
                self.promote(hashed, at, value_bytes)
            }
        }
    }

    /// Finds a value and holds it in memory.
    ///
    /// # Errors
    /// As [`Self::find`]; `MemoryFull` if the value is on disk and there is no room for it.
    pub(crate) fn hold(&self, hashed: Hashed<'_>) -> Result<Option<Held<'_>>> {
        match self.find(hashed)? {
            None => Ok(None),
            Some(Found::Held(held)) => Ok(Some(held)),
            Some(Found::OnDisk { value_bytes }) => Err(no_room(value_bytes)),
        }
    }

    pub(super) fn locate(&self, hashed: Hashed<'_>) -> Option<Whereabouts<'_>> {
        let shard = self.index.read(hashed.shard());
        let slot = shard.find(hashed.hash, hashed.key)?;
        if let Some(held) = self.hold_slot(&shard, slot) {
            return Some(Whereabouts::Memory(held, Index::id(hashed.shard(), slot)));
        }
        let entry = shard.entry(slot);
        let at = entry.at.filter(|_| is_present(entry))?;
        Some(Whereabouts::Disk { at, value_bytes: entry.value_bytes as usize })
    }

    /// Holds the value in a slot, if it is in memory and its time is not over. The caller holds the shard's lock.
    pub(crate) fn hold_slot(&self, shard: &Shard, slot: u32) -> Option<Held<'_>> {
        let entry = shard.entry(slot);
        let extent = entry.extent.filter(|_| is_present(entry))?;
        self.arena.hold(extent);
        Some(Held::adopt(&self.arena, extent, entry.checksum))
    }

    /// Brings a value from disk to memory, if there is room, and holds it there.
    #[cold]
    fn promote(&self, hashed: Hashed<'_>, mut at: RecordAt, mut value_bytes: usize) -> Result<Option<Found<'_>>> {
        let Some(disk) = &self.disk else { return Ok(None) };
        if self.gate.announces() {
            self.gate.announce(hashed.hash);
        }
        for _ in 0..PATIENCE {
            let mut room = match self.make_room(value_bytes) {
                Ok(room) => room,
                Err(error) if error.kind() == ErrorKind::MemoryFull => return Ok(Some(Found::OnDisk { value_bytes })),
                Err(error) => return Err(error),
            };
            let read = disk.log.read_into(at, &hashed.key.to_stored(), room.bytes_mut());
            if let Some(info) = read.inspect_err(|error| self.note_failed_read(hashed, at, error))? {
                return Ok(Some(Found::Held(self.move_to_memory(hashed, at, room, info.checksum))));
            }
            match self.locate(hashed) {
                None => return Ok(None),
                Some(Whereabouts::Memory(held, _)) => return Ok(Some(Found::Held(held))),
                Some(Whereabouts::Disk { at: moved, value_bytes: len }) => (at, value_bytes) = (moved, len),
            }
        }
        Err(moving_target())
    }

    /// Makes what was read from `at` the resident value of its entry, unless that has changed meanwhile. Either way
    /// it is what the key held when it was read.
    fn move_to_memory<'a>(&'a self, hashed: Hashed<'_>, at: RecordAt, room: Staged<'a>, checksum: u64) -> Held<'a> {
        let mut shard = self.index.write(hashed.shard());
        if let Some(slot) = shard.find(hashed.hash, hashed.key)
            && let Some(entry) = shard.get_mut(slot)
            && entry.at == Some(at)
            && entry.extent.is_none()
        {
            let extent = room.into_extent();
            entry.extent = Some(extent);
            entry.checksum = checksum;
            self.arena.hold(extent);
            self.arena.set_verified(extent);
            self.gate.arrive(Index::id(hashed.shard(), slot), hashed.hash, extent);
            self.note_arrival(hashed.key.space(), Index::id(hashed.shard(), slot), false);
            self.counters.promotions.fetch_add(1, Ordering::Relaxed);
            return Held::adopt(&self.arena, extent, checksum);
        }
        Held::adopt(&self.arena, room.into_extent(), checksum)
    }

    /// Copies a value from where it is, and leaves it there. False if it is not there any more, or has another size.
    ///
    /// # Errors
    /// `Io`, `Corrupt`.
    pub(crate) fn read_through(&self, hashed: Hashed<'_>, target: &mut [u8]) -> Result<bool> {
        for _ in 0..PATIENCE {
            match (self.locate(hashed), &self.disk) {
                (Some(Whereabouts::Memory(held, _)), _) => return copy_held(&held, target),
                (Some(Whereabouts::Disk { at, value_bytes }), Some(disk)) if value_bytes == target.len() => {
                    if self.read_at(disk, hashed, at, target)? {
                        return Ok(true);
                    }
                }
                _ => return Ok(false),
            }
        }
        Err(moving_target())
    }

    fn read_at(&self, disk: &Disk, hashed: Hashed<'_>, at: RecordAt, target: &mut [u8]) -> Result<bool> {
        let read = disk.log.read_into(at, &hashed.key.to_stored(), target);
        Ok(read.inspect_err(|error| self.note_failed_read(hashed, at, error))?.is_some())
    }

    /// Counts what is corrupt on disk. A block that is so is dropped, so that it is missed from now on and can be stored
    /// again; a value of the user's stays, so that its reader hears of it each time.
    #[cold]
    fn note_failed_read(&self, hashed: Hashed<'_>, at: RecordAt, error: &Error) {
        if error.kind() != ErrorKind::Corrupt {
            return;
        }
        self.counters.corruptions.fetch_add(1, Ordering::Relaxed);
        let mut shard = self.index.write(hashed.shard());
        if hashed.key.space().is_namespace()
            && let Some(slot) = shard.find(hashed.hash, hashed.key)
            && shard.entry(slot).at == Some(at)
            && shard.entry(slot).extent.is_none()
        {
            self.drop_entry(&mut shard, Index::id(hashed.shard(), slot));
        }
    }

    /// Takes a value out of memory whose bytes are not what they were. True if there is another copy on disk.
    #[cold]
    pub(crate) fn condemn(&self, hashed: Hashed<'_>, held: &Held<'_>) -> bool {
        self.counters.corruptions.fetch_add(1, Ordering::Relaxed);
        let mut shard = self.index.write(hashed.shard());
        let Some(slot) = shard.find(hashed.hash, hashed.key) else { return false };
        let id = Index::id(hashed.shard(), slot);
        let entry = shard.entry(slot);
        let is_on_disk = entry.at.is_some();
        if entry.extent != Some(held.extent()) {
            return is_on_disk;
        }
        if !is_on_disk {
            self.drop_entry(&mut shard, id);
        } else if let Some(extent) = shard.get_mut(slot).and_then(|entry| entry.extent.take()) {
            self.gate.depart(id);
            self.arena.release(extent);
        }
        is_on_disk
    }

    /// Drops every entry whose time is over.
    pub(crate) fn drop_all_expired(&self) {
        let now = now_ms();
        for number in Index::shards() {
            let has_due = self.index.read(number).has_due(now);
            if has_due {
                self.drop_expired(&mut self.index.write(number), number);
            }
        }
    }
}

fn copy_held(held: &Held<'_>, target: &mut [u8]) -> Result<bool> {
    if held.len() != target.len() {
        return Ok(false);
    }
    // SAFETY: a slice of the value's length, borrowed mutably.
    if unsafe { held.copy_to(NonNull::from(target).cast()) } { Ok(true) } else { Err(corrupt_in_memory(held.len())) }
}

#[cold]
pub(crate) fn corrupt_in_memory(value_bytes: usize) -> Error {
    Error::new(ErrorKind::Corrupt, "a value in memory does not match its checksum, and was dropped")
        .with("value_bytes", value_bytes)
}

#[cold]
pub(crate) fn no_room(value_bytes: usize) -> Error {
    Error::new(ErrorKind::MemoryFull, "no room in memory for a value on disk: everything there is held")
        .with("value_bytes", value_bytes)
}

#[cold]
fn moving_target() -> Error {
    Error::new(ErrorKind::TimedOut, "a value was moved on disk each time it was about to be read; try again")
}
