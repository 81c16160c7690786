//! Puts and removes: values are copied into reserved space, then committed with their length and checksum.

use std::time::Duration;

use super::lane::Lane;
use super::window::Window;
use super::{Client, MAX_BATCH, MAX_BATCH_BYTES};
use crate::engine::PutOptions;
use crate::error::{Error, ErrorKind, Result};
use crate::handle::BatchWrite;
use crate::key::Key;
use crate::sidecar::reply::{Committed, Numbered};
use crate::sidecar::request::{Change, Request, Written};
use crate::store::now_ms;

/// The space that a lane keeps for small values.
const STAGING_BYTES: u64 = 256 << 10;

/// Values up to this size pass through the staging space and are copied once more by the server: a few microseconds,
/// less than the round trip that a reservation of their own would take.
const SMALL_BYTES: usize = 32 << 10;

/// A value to be stored.
#[derive(Clone, Copy, Debug)]
pub struct Put<'a> {
    /// Its key.
    pub key: &'a [u8],
    /// Its bytes.
    pub value: &'a [u8],
    /// It is gone after this long.
    pub ttl: Option<Duration>,
}

/// One change of a batch.
#[derive(Clone, Copy, Debug)]
pub enum Write<'a> {
    /// Store a value.
    Put(Put<'a>),
    /// Remove a key.
    Remove(&'a [u8]),
}

impl<'a> Write<'a> {
    fn key(&self) -> &'a [u8] {
        match self {
            Self::Put(put) => put.key,
            Self::Remove(key) => key,
        }
    }

    fn value_bytes(&self) -> usize {
        match self {
            Self::Put(put) => put.value.len(),
            Self::Remove(_) => 0,
        }
    }
}

impl Client {
    /// Stores a value.
    ///
    /// # Errors
    /// `InvalidKey`, `TooLarge`, `MemoryFull`, `DiskFull`, `Disconnected`, `Closed`.
    pub fn put(&self, key: &[u8], value: &[u8], ttl: Option<Duration>) -> Result<()> {
        self.write(&[Write::Put(Put { key, value, ttl })]).map(drop)
    }

    /// As [`Self::put`], with options.
    ///
    /// # Errors
    /// Those of [`Self::put`]; `InvalidArgument` for a time to live of zero.
    pub fn put_with(&self, key: &[u8], value: &[u8], options: PutOptions) -> Result<()> {
        options.expires_at_ms(now_ms)?;
        self.put(key, value, options.ttl)
    }

    /// Stores values in order, each by itself.
    ///
    /// # Errors
    /// Those of [`Self::put_with`]; the values before the failing round are stored.
    pub fn put_many(&self, items: &[(&[u8], &[u8])], options: PutOptions) -> Result<()> {
        options.expires_at_ms(now_ms)?;
        let puts: Vec<_> = items.iter().map(|&(key, value)| Write::Put(Put { key, value, ttl: options.ttl })).collect();
        self.write(&puts).map(drop)
    }

    /// Applies changes in order, each by itself; gives for each whether its key was there before.
    ///
    /// # Errors
    /// Those of [`Self::put`]; the changes before the failing round are applied.
    pub fn write(&self, writes: &[Write<'_>]) -> Result<Vec<bool>> {
        check_keys(writes)?;
        let mut existed = Vec::with_capacity(writes.len());
        let mut rest = writes;
        while !rest.is_empty() {
            let (round, later) = rest.split_at(round_length(rest, self.round_bytes()));
            existed.extend(self.with(|lane| commit(lane, &self.shared.window, round, false))?);
            rest = later;
        }
        Ok(existed)
    }

    /// As [`Self::write_atomic`], of pairs.
    ///
    /// # Errors
    /// As there; `InvalidArgument` for a time to live of zero.
    pub fn commit(&self, writes: &[BatchWrite<'_>]) -> Result<Vec<bool>> {
        let mut changes = Vec::with_capacity(writes.len());
        for &(key, put) in writes {
            changes.push(match put {
                Some((value, options)) => {
                    options.expires_at_ms(now_ms)?;
                    Write::Put(Put { key, value, ttl: options.ttl })
                }
                None => Write::Remove(key),
            });
        }
        self.write_atomic(&changes)
    }

    /// Applies changes all at once or not at all.
    ///
    /// # Errors
    /// Those of [`Self::put`]; `TooLarge` if the batch does not fit the arena or its keys one frame.
    pub fn write_atomic(&self, writes: &[Write<'_>]) -> Result<Vec<bool>> {
        check_keys(writes)?;
        // Checked before room is reserved: what was reserved and never committed would stay until the lane closes.
        if round_length(writes, usize::MAX) < writes.len() {
            return Err(Error::new(ErrorKind::TooLarge, "a transaction has more changes or keys than one frame holds")
                .with("changes", writes.len())
                .with("max_changes", MAX_BATCH)
                .with("max_bytes", MAX_BATCH_BYTES));
        }
        self.with(|lane| commit(lane, &self.shared.window, writes, true))
    }
}

/// Refuses what the server would refuse before any byte is copied.
fn check_keys(writes: &[Write<'_>]) -> Result<()> {
    writes.iter().try_for_each(|write| Key::user(write.key()).map(drop))
}

/// How many of the changes go into one frame and one round of reservations; at least one.
fn round_length(writes: &[Write<'_>], round_bytes: usize) -> usize {
    let (mut key_bytes, mut value_bytes) = (0, 0);
    let fits = writes.iter().take(MAX_BATCH).take_while(|write| {
        key_bytes += write.key().len() + 64;
        value_bytes += write.value_bytes();
        key_bytes <= MAX_BATCH_BYTES && value_bytes <= round_bytes
    });
    fits.count().max(1)
}

/// Where the value of a put goes.
enum Target {
    Staged { space: Numbered, start: u64 },
    Own(Numbered),
}

fn commit(lane: &mut Lane, window: &Window, writes: &[Write<'_>], atomic: bool) -> Result<Vec<bool>> {
    let targets = targets(lane, writes)?;
    let mut changes = Vec::with_capacity(writes.len());
    for (write, target) in writes.iter().zip(&targets) {
        changes.push(fill(window, write, target.as_ref())?);
    }
    let renew = matches!(targets[..], [Some(Target::Own(_))]);
    let committed: Committed = lane.ask(&Request::Commit { atomic, renew, changes })?;
    if renew {
        lane.spare = committed.renewed.first().copied();
    }
    Ok(committed.existed)
}

/// Chooses for every put its space, reserving what the lane does not have.
fn targets(lane: &mut Lane, writes: &[Write<'_>]) -> Result<Vec<Option<Target>>> {
    let mut staged_bytes = 0;
    let mut sizes_bytes = Vec::new();
    let mut targets: Vec<Option<Target>> = Vec::with_capacity(writes.len());
    let mut own = Vec::new();
    for (index, write) in writes.iter().enumerate() {
        let Write::Put(put) = write else {
            targets.push(None);
            continue;
        };
        let size_bytes = put.value.len() as u64;
        let staging = if put.value.len() <= SMALL_BYTES { staging(lane)? } else { None };
        match staging {
            Some(space) if staged_bytes + size_bytes <= space.place.size_bytes => {
                targets.push(Some(Target::Staged { space, start: staged_bytes }));
                staged_bytes += size_bytes;
            }
            _ => {
                own.push(index);
                sizes_bytes.push(size_bytes);
                targets.push(None);
            }
        }
    }
    for (index, space) in own.into_iter().zip(reserve(lane, sizes_bytes)?) {
        targets[index] = Some(Target::Own(space));
    }
    Ok(targets)
}

/// The lane's space for small values; none in an arena that has no room for it.
fn staging(lane: &mut Lane) -> Result<Option<Numbered>> {
    if lane.staging.is_none() {
        lane.staging = match lane.ask::<Vec<Numbered>>(&Request::Reserve { sizes_bytes: vec![STAGING_BYTES] }) {
            Ok(spaces) => spaces.first().copied(),
            Err(error) if matches!(error.kind(), ErrorKind::MemoryFull | ErrorKind::TooLarge) => None,
            Err(error) => return Err(error),
        };
    }
    Ok(lane.staging)
}

fn reserve(lane: &mut Lane, sizes_bytes: Vec<u64>) -> Result<Vec<Numbered>> {
    if sizes_bytes.is_empty() {
        return Ok(Vec::new());
    }
    if let Some(spare) = lane.spare.take() {
        if sizes_bytes == [spare.place.size_bytes] {
            return Ok(vec![spare]);
        }
        lane.tell(&Request::Return { reservations: vec![spare.number] })?;
    }
    let spaces: Vec<Numbered> = lane.ask(&Request::Reserve { sizes_bytes: sizes_bytes.clone() })?;
    let is_as_asked = spaces.len() == sizes_bytes.len()
        && spaces.iter().zip(&sizes_bytes).all(|(space, size)| space.place.size_bytes == *size);
    if is_as_asked {
        Ok(spaces)
    } else {
        Err(crate::sidecar::codec::broken("the sidecar reserved other than was asked for"))
    }
}

/// Copies the value of a change to its space and describes the change.
fn fill<'a>(window: &Window, write: &Write<'a>, target: Option<&Target>) -> Result<Change<'a>> {
    let (put, target) = match (write, target) {
        (Write::Remove(key), _) => return Ok(Change::Remove { key }),
        (Write::Put(put), Some(target)) => (put, target),
        (Write::Put(_), None) => return Err(crate::sidecar::codec::broken("the sidecar reserved too little")),
    };
    let (space, start) = match target {
        Target::Staged { space, start } => (space, *start),
        Target::Own(space) => (space, 0),
    };
    let checksum = window.copy_in(space.place, start, put.value)?;
    let written = Written { reservation: space.number, start, size_bytes: put.value.len() as u64, checksum };
    let ttl_ms = put.ttl.map_or(0, milliseconds);
    Ok(match target {
        Target::Staged { .. } => Change::Copy { key: put.key, written, ttl_ms },
        Target::Own(_) => Change::Adopt { key: put.key, written, ttl_ms },
    })
}

/// At least one, since none would mean for ever.
fn milliseconds(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX).max(1)
}
