//! A map over a log: what the engine is to the log, without anything else.

use std::collections::HashMap;
use std::path::Path;

use parking_lot::Mutex;

use crate::checksum;
use crate::error::{ErrorKind, Result};
use crate::log::{Log, LogOptions, RecordAt, RecordKind, Recovery, Residents, Verdict, Write};

/// Where each key is and how large its value.
type Index = HashMap<Vec<u8>, (RecordAt, u32)>;

pub(super) struct Table {
    pub(super) log: Log,
    index: Mutex<Index>,
    pub(super) scanned_segments: usize,
    pub(super) torn_segments: usize,
}

impl Residents for Mutex<Index> {
    fn visit(&self, key: &[u8], step: &mut dyn FnMut(Option<RecordAt>) -> Verdict) {
        let mut index = self.lock();
        match step(index.get(key).map(|(at, _)| *at)) {
            Verdict::Keep => {}
            Verdict::MovedTo(at) => index.get_mut(key).expect("it was there").0 = at,
            Verdict::Dropped => drop(index.remove(key)),
        }
    }

    fn may_drop(&self, key: &[u8], _at: RecordAt) -> bool {
        !key.starts_with(b"pinned")
    }
}

impl Table {
    pub(super) fn open(dir: &Path, options: LogOptions) -> Result<Self> {
        let (log, recovery) = Log::open(dir, options)?;
        let index = index_of(&log, &recovery);
        let Recovery { scanned_segments, torn_segments, .. } = recovery;
        Ok(Self { log, index: Mutex::new(index), scanned_segments, torn_segments })
    }

    pub(super) fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        self.apply(&[(key, Some(value))])
    }

    pub(super) fn remove(&self, key: &[u8]) -> Result<()> {
        self.apply(&[(key, None)])
    }

    /// Puts and removes, all or none.
    pub(super) fn apply(&self, changes: &[(&[u8], Option<&[u8]>)]) -> Result<()> {
        let writes = changes.iter().map(|(key, value)| match value {
            Some(value) => Write::Put { key, value, checksum: checksum::of(value), expires_at_ms: 0 },
            None => Write::Remove { key },
        });
        let group = writes.map(|write| self.log.prepare(write)).collect::<Result<Vec<_>>>()?;
        let mut places = vec![RecordAt::new(0, 0, 0); group.len()];
        let ticket = loop {
            self.log.make_room(&group, &self.index)?;
            let mut index = self.index.lock();
            let Some(ticket) = self.log.append(&group, &mut places)? else { continue };
            for ((key, value), at) in changes.iter().zip(&places) {
                let before = match value {
                    Some(value) => index.insert(key.to_vec(), (*at, value.len() as u32)),
                    None => index.remove(*key),
                };
                before.into_iter().for_each(|(at, _)| self.log.mark_dead(at));
            }
            break ticket;
        };
        self.log.commit(ticket)
    }

    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>> {
        loop {
            let Some((at, len)) = self.index.lock().get(key).copied() else { return Ok(None) };
            let mut value = vec![0; len as usize];
            if self.log.read_into(at, key, &mut value)?.is_some() {
                return Ok(Some(value));
            }
        }
    }

    /// A value that is damaged is a miss.
    pub(super) fn get_or_miss(&self, key: &[u8]) -> Option<Vec<u8>> {
        match self.get(key) {
            Err(error) if error.kind() == ErrorKind::Corrupt => None,
            other => other.unwrap(),
        }
    }

    pub(super) fn keys(&self) -> Vec<Vec<u8>> {
        self.index.lock().keys().cloned().collect()
    }

    pub(super) fn at(&self, key: &[u8]) -> RecordAt {
        self.index.lock()[key].0
    }
}

fn index_of(log: &Log, recovery: &Recovery) -> Index {
    let mut index = Index::new();
    for entry in recovery.entries() {
        let before = match entry.kind {
            RecordKind::Put => index.insert(entry.key.to_vec(), (entry.at, entry.value_bytes)),
            RecordKind::Remove | RecordKind::Forget => index.remove(entry.key),
        };
        before.into_iter().for_each(|(at, _)| log.mark_dead(at));
    }
    index
}

/// Bytes that differ from those of any other seed.
pub(super) fn noise(seed: u64, len: usize) -> Vec<u8> {
    use rand::{RngCore, SeedableRng};
    let mut bytes = vec![0; len];
    rand::rngs::SmallRng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

/// Copies the files of a log that is open, as a kill at this moment would leave them.
pub(super) fn copy_of(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}
