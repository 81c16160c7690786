//! Reclaiming space, and what happens when there is none to reclaim.

use std::collections::HashMap;

use proptest::prelude::*;

use super::table::{Table, noise};
use crate::error::ErrorKind;
use crate::log::{LogOptions, OnFull};

const SEGMENT_BYTES: u64 = 64 << 10;

fn options() -> LogOptions {
    LogOptions { segment_bytes: Some(SEGMENT_BYTES), ..LogOptions::new(16 * SEGMENT_BYTES) }
}

fn size_on_disk(dir: &std::path::Path) -> u64 {
    let sizes = std::fs::read_dir(dir).unwrap().map(|file| file.unwrap().metadata().unwrap().len());
    sizes.sum()
}

#[test]
fn overwriting_forever_stays_within_disk_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::open(dir.path(), options()).unwrap();
    for i in 0..2000_u64 {
        table.put(&(i * 7 % 50).to_le_bytes(), &noise(i, 5000)).unwrap();
        assert!(size_on_disk(dir.path()) <= options().disk_bytes + 4096, "after {i}");
    }
    let stats = table.log.stats();
    assert!(stats.cleaned_segments > 50, "{stats:?}");
    drop(table);
    let table = Table::open(dir.path(), options()).unwrap();
    for i in 1950..2000_u64 {
        assert!(table.get(&(i * 7 % 50).to_le_bytes()).unwrap() == Some(noise(i, 5000)));
    }
}

#[test]
fn a_full_log_refuses_keeps_what_it_has_and_goes_on_after_removes() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::open(dir.path(), options()).unwrap();
    let mut held = 0_u64;
    let error = loop {
        match table.put(&held.to_le_bytes(), &noise(held, 5000)) {
            Ok(()) => held += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::DiskFull);
    assert!(held * 5000 > options().disk_bytes / 4 * 3, "{held}");
    for i in 0..held {
        assert!(table.get(&i.to_le_bytes()).unwrap() == Some(noise(i, 5000)));
    }
    for i in 0..held / 2 {
        table.remove(&i.to_le_bytes()).unwrap();
    }
    for i in held..held + held / 4 {
        table.put(&i.to_le_bytes(), &noise(i, 5000)).unwrap();
    }
}

#[test]
fn a_log_full_of_small_values_can_be_emptied_and_filled_again() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::open(dir.path(), options()).unwrap();
    let mut capacities = Vec::new();
    for round in 0..3_u64 {
        let key = |i: u64| [i, round].map(u64::to_le_bytes).concat();
        let held = (0..).find(|i| table.put(&key(*i), &[7; 40]).is_err()).unwrap();
        // Scattered, so that for long every segment has a few dead records and none has many.
        for i in (0..held).map(|i| i * 7919 % held).chain(0..held) {
            table.remove(&key(i)).unwrap();
        }
        assert!(table.keys().is_empty());
        capacities.push(held);
    }
    assert!(capacities.iter().all(|held| held * 2 > capacities[0]), "{capacities:?}");
}

#[test]
fn a_full_cache_gives_up_the_oldest_but_not_what_is_pinned() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::open(dir.path(), LogOptions { on_full: OnFull::Evict, ..options() }).unwrap();
    table.put(b"pinned", &noise(1, 5000)).unwrap();
    for i in 0..3000_u64 {
        table.put(&i.to_le_bytes(), &noise(i, 5000)).unwrap();
    }
    for round in 0..2 {
        let table = if round == 0 { &table } else { &Table::open(dir.path(), options()).unwrap_or_else(|_| panic!()) };
        assert!(table.get(b"pinned").unwrap() == Some(noise(1, 5000)));
        assert_eq!(table.get(&0_u64.to_le_bytes()).unwrap(), None);
        assert!(table.get(&2999_u64.to_le_bytes()).unwrap() == Some(noise(2999, 5000)));
        if round == 0 {
            table.log.close().unwrap();
            break;
        }
    }
}

#[test]
fn removed_keys_stay_removed_and_their_tombstones_go_in_the_end() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::open(dir.path(), options()).unwrap();
    table.put(b"eternal", b"1").unwrap();
    for i in 0..40_000_u64 {
        table.put(&i.to_le_bytes(), b"short-lived").unwrap();
        table.remove(&i.to_le_bytes()).unwrap();
    }
    assert!(table.log.stats().tombstone_bytes < options().disk_bytes / 2);
    drop(table);
    let table = Table::open(dir.path(), options()).unwrap();
    assert_eq!(table.keys(), [b"eternal".to_vec()]);
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8, u16),
    Remove(u8),
    Batch(Vec<(u8, Option<u16>)>),
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0_u8..24;
    prop_oneof![
        20 => (key.clone(), 0_u16..20_000).prop_map(|(key, len)| Step::Put(key, len)),
        6 => key.clone().prop_map(Step::Remove),
        3 => prop::collection::vec((key, prop::option::of(0_u16..9000)), 1..6).prop_map(Step::Batch),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn a_log_of_few_segments_agrees_with_a_map(steps in prop::collection::vec(step(), 1..300)) {
        let dir = tempfile::tempdir().unwrap();
        let mut table = Table::open(dir.path(), options()).unwrap();
        let mut model: HashMap<Vec<u8>, Vec<u8>> = HashMap::new();
        for (i, step) in steps.into_iter().enumerate() {
            let changes = match step {
                Step::Put(key, len) => vec![(key, Some(len))],
                Step::Remove(key) => vec![(key, None)],
                Step::Batch(changes) => changes,
                Step::Reopen => {
                    drop(table);
                    table = Table::open(dir.path(), options()).unwrap();
                    vec![]
                }
            };
            let owned: Vec<_> = changes.iter()
                .map(|(key, len)| (vec![b'k', *key], len.map(|len| noise(i as u64, len.into())))).collect();
            let borrowed: Vec<_> = owned.iter().map(|(key, value)| (&key[..], value.as_deref())).collect();
            if !borrowed.is_empty() {
                table.apply(&borrowed).unwrap();
            }
            for (key, value) in owned {
                match value {
                    Some(value) => drop(model.insert(key, value)),
                    None => drop(model.remove(&key)),
                }
            }
        }
        prop_assert_eq!(table.keys().len(), model.len());
        for (key, value) in &model {
            prop_assert!(table.get(key).unwrap().as_ref() == Some(value));
        }
    }
}
