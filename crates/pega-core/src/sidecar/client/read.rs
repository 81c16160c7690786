//! Gets and the questions about what is there.

use std::ptr::NonNull;
use std::sync::Arc;

use super::view::View;
use super::{Client, MAX_BATCH, MAX_BATCH_BYTES};
use crate::error::{Error, ErrorKind, Result};
use crate::key::Key;
use crate::sidecar::codec::broken;
use crate::sidecar::reply::Numbered;
use crate::sidecar::request::Request;

/// What became of one key of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// There is no such key.
    Missing,
    /// The value was copied; so many bytes.
    Copied(usize),
    /// The room given was for fewer bytes than the value has.
    TooSmall(usize),
}

impl Client {
    /// Copies the value of `key` to the memory that `room` gives for its size, checking the copy. `room` may be
    /// asked again if the value changes meanwhile, and may decline with `None`.
    ///
    /// # Safety
    /// What `room` gives is valid for writes of the size it was asked for.
    ///
    /// # Errors
    /// `InvalidKey`, `Corrupt` if the bytes are not what was put, `MemoryFull` if a value on disk finds no room, `Io`, `Disconnected`, `Closed`.
    pub unsafe fn read_with(&self, key: &[u8], mut room: impl FnMut(usize) -> Option<NonNull<u8>>) -> Result<Read> {
        // SAFETY: the caller's promise.
        let read = unsafe { self.read_many_with(&[key], |_, size_bytes| room(size_bytes)) }?;
        Ok(read.first().copied().unwrap_or(Read::Missing))
    }

    /// Copies the values of several keys, as [`Self::read_with`] does; `room` gets the index of the key.
    ///
    /// # Safety
    /// What `room` gives is valid for writes of the size it was asked for.
    ///
    /// # Errors
    /// Those of [`Self::read_with`].
    pub unsafe fn read_many_with(
        &self,
        keys: &[&[u8]],
        mut room: impl FnMut(usize, usize) -> Option<NonNull<u8>>,
    ) -> Result<Vec<Read>> {
        let mut reads = Vec::with_capacity(keys.len());
        for batch in batches(keys)? {
            for held in self.locate(false, batch)? {
                let index = reads.len();
                // SAFETY: the caller's promise.
                reads.push(match held {
                    None => Read::Missing,
                    Some(held) => unsafe { self.copy(keys[index], held, |size_bytes| room(index, size_bytes))? },
                });
            }
        }
        Ok(reads)
    }

    /// Copies a value that nobody holds, and if that was overwritten meanwhile, once more while it is held.
    unsafe fn copy(
        &self,
        key: &[u8],
        found: Numbered,
        mut room: impl FnMut(usize) -> Option<NonNull<u8>>,
    ) -> Result<Read> {
        let window = &self.shared.window;
        let size_bytes = size_of_value(found);
        let Some(target) = room(size_bytes) else { return Ok(Read::TooSmall(size_bytes)) };
        // SAFETY: `room` gave memory for as many bytes.
        if unsafe { window.copy_out(found.place, target)? } {
            return Ok(Read::Copied(size_bytes));
        }
        let Some(view) = self.view(key)? else { return Ok(Read::Missing) };
        let Some(target) = room(view.len()) else { return Ok(Read::TooSmall(view.len())) };
        // SAFETY: as above.
        if unsafe { window.copy_out(view.place(), target)? } {
            return Ok(Read::Copied(view.len()));
        }
        view.distrust()?;
        Err(Error::new(ErrorKind::Corrupt, "a value in memory does not match its checksum, and was dropped")
            .with("value_bytes", view.len()))
    }

    fn locate(&self, hold: bool, keys: &[&[u8]]) -> Result<Vec<Option<Numbered>>> {
        let found: Vec<_> = self.with(|lane| lane.ask(&Request::Locate { hold, keys: keys.to_vec() }))?;
        if found.len() == keys.len() {
            Ok(found)
        } else {
            Err(broken("the sidecar found other keys than were asked for"))
        }
    }

    /// The value of `key` where it lies, verified by the sidecar once for as long as it stays in memory.
    ///
    /// # Errors
    /// Those of [`Self::read_with`].
    pub fn view(&self, key: &[u8]) -> Result<Option<View>> {
        Key::user(key)?;
        let held = self.locate(true, &[key])?.first().copied().flatten();
        held.map(|held| View::new(Arc::clone(&self.shared), held)).transpose()
    }

    /// The value of `key`.
    ///
    /// # Errors
    /// Those of [`Self::read_with`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let mut value = Vec::new();
        // SAFETY: the vector has room for the size asked for, and is not touched between the two.
        let read = unsafe {
            self.read_with(key, |size_bytes| {
                value = Vec::with_capacity(size_bytes);
                NonNull::new(value.as_mut_ptr())
            })
        }?;
        let Read::Copied(size_bytes) = read else { return Ok(None) };
        // SAFETY: so many bytes were copied into it.
        unsafe { value.set_len(size_bytes) };
        Ok(Some(value))
    }

    /// Removes keys; gives for each whether it was there.
    ///
    /// # Errors
    /// `InvalidKey`, `DiskFull`, `Io`, `Disconnected`, `Closed`.
    pub fn remove_many(&self, keys: &[&[u8]]) -> Result<Vec<bool>> {
        let writes: Vec<_> = keys.iter().map(|key| super::Write::Remove(key)).collect();
        self.write(&writes)
    }

    /// Says for each key whether it is there.
    ///
    /// # Errors
    /// `InvalidKey`, `Disconnected`, `Closed`.
    pub fn contains_many(&self, keys: &[&[u8]]) -> Result<Vec<bool>> {
        let mut contained = Vec::with_capacity(keys.len());
        for batch in batches(keys)? {
            let found: Vec<bool> = self.with(|lane| lane.ask(&Request::Contains { keys: batch.to_vec() }))?;
            contained.extend(found);
        }
        Ok(contained)
    }

    /// How many keys there are.
    ///
    /// # Errors
    /// `Disconnected`, `Closed`.
    pub fn count(&self) -> Result<u64> {
        self.with(|lane| lane.ask(&Request::Count))
    }

    /// The keys that begin with `prefix`, in order.
    ///
    /// # Errors
    /// `InvalidKey` if the prefix is longer than a key, `Disconnected`, `Closed`.
    pub fn scan(&self, prefix: &[u8]) -> Result<Vec<Vec<u8>>> {
        if !prefix.is_empty() {
            Key::user(prefix)?;
        }
        let mut keys = Vec::new();
        self.with(|lane| lane.ask_parts(&Request::Scan { prefix }, |part: Vec<Vec<u8>>| keys.extend(part)))?;
        Ok(keys)
    }

    /// The figures of the engine and of the server, by name.
    ///
    /// # Errors
    /// `Disconnected`, `Closed`.
    pub fn figures(&self) -> Result<Vec<(String, f64)>> {
        self.with(|lane| lane.ask(&Request::Stats))
    }

    /// Waits until what is acknowledged is on disk.
    ///
    /// # Errors
    /// `DiskFull`, `Io`, `Disconnected`, `Closed`.
    pub fn flush(&self) -> Result<()> {
        self.with(|lane| lane.ask(&Request::Flush))
    }
}

fn size_of_value(found: Numbered) -> usize {
    usize::try_from(found.place.size_bytes).unwrap_or(usize::MAX)
}

/// Checks keys and cuts them into runs that fit one frame each.
fn batches<'k, 'a>(keys: &'k [&'a [u8]]) -> Result<Vec<&'k [&'a [u8]]>> {
    keys.iter().try_for_each(|key| Key::user(key).map(drop))?;
    let mut batches = Vec::new();
    let mut rest = keys;
    while !rest.is_empty() {
        let mut bytes = 0;
        let fitting = rest.iter().take(MAX_BATCH).take_while(|key| {
            bytes += key.len() + 4;
            bytes <= MAX_BATCH_BYTES
        });
        let (batch, later) = rest.split_at(fitting.count());
        batches.push(batch);
        rest = later;
    }
    Ok(batches)
}
