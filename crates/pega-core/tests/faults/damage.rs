//! Bits flipped in every kind of file, and files cut at every byte of their last two records, under a whole engine.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use pega_core::log::{Durability, FileIo, OnDamage};
use pega_core::{ErrorKind, Options, PegaEngine, PutOptions};
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};

use super::scale;

type Model = HashMap<Vec<u8>, Option<Vec<u8>>>;

fn options(dir: &Path) -> Options {
    Options {
        memory_bytes: 64 << 10,
        disk_bytes: 2 << 20,
        segment_bytes: Some(64 << 10),
        durability: Durability::Sync,
        // Reading past the page cache what was just copied would wait for the copy to reach the disk.
        file_io: FileIo::Buffered,
        ..Options::at(dir)
    }
}

fn noise(rng: &mut SmallRng) -> Vec<u8> {
    let mut bytes = vec![0; rng.random_range(1..2500)];
    rng.fill_bytes(&mut bytes);
    bytes
}

/// An engine whose keys were put, changed and removed, some in transactions. The last key is put once.
fn busy_engine(dir: &Path) -> (PegaEngine, Model) {
    let engine = PegaEngine::open(options(dir)).unwrap();
    let mut rng = SmallRng::seed_from_u64(11);
    let mut model = Model::new();
    for i in 0..300 {
        let key = format!("key {}", rng.random_range(0..160)).into_bytes();
        let value = (rng.random_range(0..6) > 0).then(|| noise(&mut rng));
        let other = format!("other {i}").into_bytes();
        let mut transaction = engine.transaction();
        match &value {
            Some(value) => transaction.put(&key, value, PutOptions::default()).unwrap(),
            None => transaction.remove(&key).unwrap(),
        };
        if i % 3 == 0 {
            transaction.put(&other, b"small", PutOptions::default()).unwrap();
        }
        transaction.commit().unwrap();
        if i % 3 == 0 {
            model.insert(other, Some(b"small".to_vec()));
        }
        model.insert(key, value);
    }
    let last = noise(&mut rng);
    engine.put(b"the last", &last).unwrap();
    model.insert(b"the last".to_vec(), Some(last));
    (engine, model)
}

fn copy_of(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in std::fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

#[derive(Debug, Default)]
struct Counts {
    flips: usize,
    refused: usize,
    missed: usize,
    unaffected: usize,
}

/// Compares everything; gives how many values are missing.
fn misses(engine: &PegaEngine, model: &Model, what: &str) -> usize {
    let mut misses = 0;
    for (key, expected) in model {
        let found = match engine.get(key) {
            Err(error) if error.kind() == ErrorKind::Corrupt => None,
            other => other.unwrap(),
        };
        assert!(found.is_none() || found == *expected, "a wrong value after {what}");
        misses += usize::from(found.is_none() && expected.is_some());
    }
    misses
}

/// Where a bit is flipped: a file, and the part of it that gets a share of flips of its own.
fn targets(dir: &Path) -> Vec<(PathBuf, std::ops::Range<usize>)> {
    let mut targets = Vec::new();
    for file in std::fs::read_dir(dir).unwrap() {
        let path = file.unwrap().path();
        let len = std::fs::metadata(&path).unwrap().len() as usize;
        if path.extension().is_some_and(|extension| extension == "seg") {
            targets.push((path.clone(), 0..64));
            targets.push((path.clone(), 4096..len));
            targets.push((path.clone(), 4096..len));
            targets.push((path, len.saturating_sub(1500)..len));
        } else {
            targets.push((path, 0..len));
        }
    }
    targets
}

fn flip_bits(dir: &Path, model: &Model, flips: usize, on_damage: OnDamage) -> Counts {
    let mut rng = SmallRng::seed_from_u64(flips as u64);
    let mut counts = Counts { flips, ..Counts::default() };
    let targets = targets(dir);
    for _ in 0..flips {
        let copy = copy_of(dir);
        let (path, range) = &targets[rng.random_range(0..targets.len())];
        let (byte, bit) = (rng.random_range(range.clone()), rng.random_range(0..8));
        let mut bytes = std::fs::read(path).unwrap();
        bytes[byte] ^= 1 << bit;
        let name = path.file_name().unwrap();
        std::fs::write(copy.path().join(name), bytes).unwrap();
        match PegaEngine::open(Options { on_damage, ..options(copy.path()) }) {
            Err(error) => {
                assert!([ErrorKind::Corrupt, ErrorKind::UnsupportedFormat].contains(&error.kind()), "{error}");
                counts.refused += 1;
            }
            Ok(engine) => match misses(&engine, model, &format!("flipping bit {bit} of byte {byte} of {name:?}")) {
                0 => counts.unaffected += 1,
                _ => counts.missed += 1,
            },
        }
    }
    counts
}

#[test]
fn no_flipped_bit_gives_wrong_bytes() {
    let (closed, killed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (engine, model) = busy_engine(closed.path());
    engine.close().unwrap();
    let (_running, same_model) = busy_engine(killed.path());
    assert!(model == same_model);
    for (what, dir, on_damage) in [
        ("a closed log", closed.path(), OnDamage::Refuse),
        ("a killed log", killed.path(), OnDamage::Refuse),
        ("a killed log of a cache", killed.path(), OnDamage::Forget),
    ] {
        let counts = flip_bits(dir, &model, scale::of(100, 700), on_damage);
        println!("flipped bits of {what}: {counts:?}");
        assert!(counts.missed > counts.flips / 10 && counts.unaffected > 0);
    }
}

#[test]
fn a_file_cut_at_any_byte_of_its_last_two_records_keeps_all_before() {
    let dir = tempfile::tempdir().unwrap();
    let engine = PegaEngine::open(options(dir.path())).unwrap();
    for value in [&b"first"[..], b"second"] {
        engine.put(b"kept", value).unwrap();
    }
    engine.put(b"last but one", &[1; 300]).unwrap();
    engine.put(b"last", &[2; 200]).unwrap();
    let bytes = std::fs::read(dir.path().join("00000001.seg")).unwrap();
    let end = bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    // A header of 64 bytes, four for the space, the key, the value, and zeros up to a multiple of eight.
    let start = end - (68 + 4 + 200) - (68 + 12 + 300 + 4);
    let mut cuts = 0;
    for len in start..=end {
        let copy = copy_of(dir.path());
        std::fs::write(copy.path().join("00000001.seg"), &bytes[..len]).unwrap();
        let found = PegaEngine::open(options(copy.path())).unwrap();
        assert_eq!(found.get(b"kept").unwrap(), Some(b"second".to_vec()));
        let [older, newer] = [&b"last but one"[..], b"last"].map(|key| found.get(key).unwrap());
        assert!(
            older.as_ref().is_none_or(|value| *value == [1; 300])
                && newer.as_ref().is_none_or(|value| *value == [2; 200])
        );
        assert!(newer.is_none() || older.is_some(), "a record is there without the one before");
        assert!(newer.is_some() == (len == end));
        cuts += 1;
    }
    println!("a file cut at {cuts} places of its last two records: all before it was there each time");
}
