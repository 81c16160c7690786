//! Gets and the questions about what is there.

use std::ops::Deref;
use std::ptr::NonNull;
use std::sync::Arc;

use super::view::View;
use super::{Client, MAX_BATCH, MAX_BATCH_BYTES};
use crate::error::{Error, Result};
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

/// Values smaller than this are copied at once and twice; the second copy takes less than telling the server that a
/// value is no longer held.
const COPIED_BYTES: u64 = 32 << 10;

/// All values are held.
const HELD: u64 = 0;

/// No value is held.
const UNHELD: u64 = u64::MAX;

/// A value that was found, here or where it lies.
pub enum Value {
    /// A copy, checked.
    Copied(Vec<u8>),
    /// The value in the arena, verified by the sidecar.
    Held(View),
}

impl Deref for Value {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Copied(bytes) => bytes,
            Self::Held(view) => view,
        }
    }
}

impl Value {
    /// Copies the value out and checks the copy.
    ///
    /// # Safety
    /// `target` is valid for writes of the value's length.
    ///
    /// # Errors
    /// `Corrupt` if the bytes are not what was put.
    pub unsafe fn copy_to(&self, target: NonNull<u8>) -> Result<()> {
        match self {
            // SAFETY: the caller's promise; a fresh copy overlaps nothing.
            Self::Copied(bytes) => unsafe {
                target.copy_from_nonoverlapping(NonNull::from(&**bytes).cast(), bytes.len());
                Ok(())
            },
            // SAFETY: the caller's promise.
            Self::Held(view) => unsafe { view.copy_to(target) },
        }
    }
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
            for held in self.locate(UNHELD, batch)? {
                let index = reads.len();
                reads.push(match held {
                    None => Read::Missing,
                    // SAFETY: the caller's promise.
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
        unsafe { view.copy_to(target)? };
        Ok(Read::Copied(view.len()))
    }

    fn locate(&self, hold_from_bytes: u64, keys: &[&[u8]]) -> Result<Vec<Option<Numbered>>> {
        let found: Vec<_> = self.with(|lane| lane.ask(&Request::Locate { hold_from_bytes, keys: keys.to_vec() }))?;
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
        let held = self.locate(HELD, &[key])?.first().copied().flatten();
        held.map(|held| View::new(Arc::clone(&self.shared), held)).transpose()
    }

    /// The value of `key`, by one round trip: a copy of a small one, a view of a larger one.
    ///
    /// # Errors
    /// Those of [`Self::read_with`].
    pub fn find(&self, key: &[u8]) -> Result<Option<Value>> {
        Key::user(key)?;
        let Some(found) = self.locate(COPIED_BYTES, &[key])?.first().copied().flatten() else { return Ok(None) };
        if found.number != 0 {
            return Ok(Some(Value::Held(View::new(Arc::clone(&self.shared), found)?)));
        }
        let mut copy = Vec::new();
        let room = |size_bytes| {
            copy = Vec::with_capacity(size_bytes);
            NonNull::new(copy.as_mut_ptr())
        };
        // SAFETY: the vector has room for the size asked for, and is not touched between the two.
        let Read::Copied(size_bytes) = (unsafe { self.copy(key, found, room)? }) else { return Ok(None) };
        // SAFETY: so many bytes were copied into it.
        unsafe { copy.set_len(size_bytes) };
        Ok(Some(Value::Copied(copy)))
    }

    /// A copy of the value of `key`.
    ///
    /// # Errors
    /// Those of [`Self::read_with`].
    pub fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        let held = match self.find(key)? {
            None => return Ok(None),
            Some(Value::Copied(copy)) => return Ok(Some(copy)),
            Some(Value::Held(view)) => view,
        };
        let mut copy = Vec::with_capacity(held.len());
        // SAFETY: the vector has room for the value, which is written before its length is set.
        unsafe {
            held.copy_to(NonNull::new_unchecked(copy.as_mut_ptr()))?;
            copy.set_len(held.len());
        }
        Ok(Some(copy))
    }

    /// Copies the value of `key` to the start of `buffer` and gives its length.
    ///
    /// # Errors
    /// Those of [`Self::read_with`]; `InvalidArgument` if the buffer is shorter than the value.
    pub fn get_into(&self, key: &[u8], buffer: &mut [u8]) -> Result<Option<usize>> {
        let buffer_bytes = buffer.len();
        let target = NonNull::from(buffer).cast();
        // SAFETY: the buffer is given only for values that it has room for.
        match unsafe { self.read_with(key, |size_bytes| (size_bytes <= buffer_bytes).then_some(target)) }? {
            Read::Missing => Ok(None),
            Read::Copied(size_bytes) => Ok(Some(size_bytes)),
            Read::TooSmall(size_bytes) => Err(Error::invalid("the buffer is shorter than the value")
                .with("buffer_bytes", buffer_bytes)
                .with("value_bytes", size_bytes)),
        }
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
    pub fn figures(&self) -> Result<Vec<(String, u64)>> {
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
