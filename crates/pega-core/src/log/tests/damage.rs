//! Files that were cut or changed behind the log's back.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::table::{Table, copy_of, noise};
use crate::error::ErrorKind;
use crate::log::header::HEADER_BYTES;
use crate::log::{Durability, FileIo, LogOptions, OnDamage};

const SEGMENT_BYTES: u64 = 64 << 10;

fn options() -> LogOptions {
    let durability = Durability::Sync;
    LogOptions { segment_bytes: Some(SEGMENT_BYTES), durability, ..LogOptions::new(16 * SEGMENT_BYTES) }
}

fn segment(dir: &Path, id: u32) -> PathBuf {
    dir.join(format!("{id:08}.seg"))
}

/// Opens a copy of `dir` in which the first segment ends after `len` bytes.
fn cut_copy(dir: &Path, len: u64) -> (tempfile::TempDir, Table) {
    let copy = copy_of(dir);
    let file = std::fs::OpenOptions::new().write(true).open(segment(copy.path(), 1)).unwrap();
    file.set_len(len).unwrap();
    // Reading a file past the page cache right after copying it would wait for the copy to reach the disk.
    let table = Table::open(copy.path(), LogOptions { file_io: FileIo::Buffered, ..options() }).unwrap();
    (copy, table)
}

#[test]
fn a_file_cut_at_any_byte_of_its_last_two_records_keeps_all_before() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::open(dir.path(), options()).unwrap();
    table.put(b"changed", b"old").unwrap();
    table.put(b"whole", &noise(1, 300)).unwrap();
    table.put(b"changed", &noise(2, 90)).unwrap();
    table.put(b"last", &noise(3, 120)).unwrap();
    let (second, last) = (table.at(b"changed"), table.at(b"last"));
    let ends = [second.offset_bytes() + 64 + 7 + 90, last.offset_bytes() + 64 + 4 + 120];
    for len in second.offset_bytes()..=last.offset_bytes() + last.len_bytes() {
        let (_copy, found) = cut_copy(dir.path(), len);
        let [has_second, has_last] = ends.map(|end| len >= end);
        assert!(found.get(b"whole").unwrap() == Some(noise(1, 300)));
        assert!(
            found.get(b"changed").unwrap() == Some(if has_second { noise(2, 90) } else { b"old".to_vec() }),
            "{len}"
        );
        assert!(found.get(b"last").unwrap() == has_last.then(|| noise(3, 120)), "{len}");
        let at_a_seam = len == second.offset_bytes() || (has_second && len <= last.offset_bytes());
        assert_eq!(found.torn_segments, usize::from(!has_last && !at_a_seam), "{len}");
    }
}

#[test]
fn a_transaction_cut_at_any_byte_is_whole_or_absent() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::open(dir.path(), options()).unwrap();
    table.put(b"removed", b"still here").unwrap();
    table.apply(&[(b"a", Some(&noise(1, 100))), (b"removed", None), (b"b", Some(&noise(2, 77)))]).unwrap();
    let last = table.at(b"b");
    for len in table.at(b"a").offset_bytes()..=last.offset_bytes() + last.len_bytes() {
        let (_copy, found) = cut_copy(dir.path(), len);
        let seen: Vec<_> = [&b"a"[..], b"removed", b"b"].map(|key| found.get(key).unwrap()).into();
        let whole = seen == [Some(noise(1, 100)), None, Some(noise(2, 77))];
        assert!(whole || seen == [None, Some(b"still here".to_vec()), None], "cut after {len} bytes");
    }
}

#[test]
fn a_closed_file_cut_at_any_byte_of_its_index_loses_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::open(dir.path(), options()).unwrap();
    (0..6_u64).for_each(|i| table.put(&i.to_le_bytes(), &noise(i, 100)).unwrap());
    let last = table.at(&5_u64.to_le_bytes());
    drop(table);
    let size = std::fs::metadata(segment(dir.path(), 1)).unwrap().len();
    let index_start = (last.offset_bytes() + last.len_bytes()).next_multiple_of(4096);
    for len in index_start..size {
        let (_copy, found) = cut_copy(dir.path(), len);
        (0..6_u64).for_each(|i| assert!(found.get(&i.to_le_bytes()).unwrap() == Some(noise(i, 100))));
    }
}

/// Keys and what they hold; removed ones hold nothing.
type Model = HashMap<Vec<u8>, Option<Vec<u8>>>;

/// A log of several segments in which most keys were changed and some removed; the last record's key is new.
fn busy_log(dir: &Path) -> (Table, Model) {
    let table = Table::open(dir, options()).unwrap();
    let mut model = Model::new();
    let mut rng = SmallRng::seed_from_u64(7);
    for i in 0..240_u64 {
        let key = format!("key {}", rng.random_range(0..150)).into_bytes();
        let value = (rng.random_range(0..5) > 0).then(|| noise(i, rng.random_range(1..2500)));
        let other = format!("other {i}").into_bytes();
        let changes = [(&key[..], value.as_deref()), (&other[..], Some(&b"small"[..]))];
        table.apply(&changes[..1 + usize::from(i % 3 == 0)]).unwrap();
        if i % 3 == 0 {
            model.insert(other, Some(b"small".to_vec()));
        }
        model.insert(key, value);
    }
    table.put(b"the last", &noise(1, 700)).unwrap();
    model.insert(b"the last".to_vec(), Some(noise(1, 700)));
    (table, model)
}

#[derive(Debug, Default)]
struct Outcomes {
    refused: usize,
    missed: usize,
    unaffected: usize,
}

/// Flips one bit of one segment file of a copy of `dir` at a time, and opens it: a miss or an error is all it may cost.
fn flip_bits(dir: &Path, model: &Model, flips: usize, on_damage: OnDamage) -> Outcomes {
    let mut outcomes = Outcomes::default();
    let mut rng = SmallRng::seed_from_u64(flips as u64);
    let originals: Vec<_> = (1..=5).map(|id| std::fs::read(segment(dir, id)).unwrap()).collect();
    for _ in 0..flips {
        let copy = copy_of(dir);
        let id = rng.random_range(0..originals.len());
        let mut bytes = originals[id].clone();
        // Headers are few bytes among many, so they get a share of their own.
        let end = if rng.random_range(0..8) == 0 { 64 } else { bytes.len() };
        let (byte, bit) = (rng.random_range(0..end), rng.random_range(0..8));
        bytes[byte] ^= 1 << bit;
        std::fs::write(segment(copy.path(), id as u32 + 1), bytes).unwrap();
        let opened = Table::open(copy.path(), LogOptions { on_damage, file_io: FileIo::Buffered, ..options() });
        match opened {
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::UnsupportedFormat), "{error}");
                outcomes.refused += 1;
            }
            Ok(table) => {
                let misses = model.iter().filter(|(key, value)| {
                    let found = table.get_or_miss(key);
                    assert!(found.is_none() || found == **value, "bit {bit} of byte {byte} of segment {}", id + 1);
                    found.is_none() && value.is_some()
                });
                if misses.count() > 0 { outcomes.missed += 1 } else { outcomes.unaffected += 1 }
            }
        }
    }
    outcomes
}

#[test]
fn no_flipped_bit_of_a_closed_log_gives_wrong_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (table, model) = busy_log(dir.path());
    drop(table);
    let outcomes = flip_bits(dir.path(), &model, 500, OnDamage::Refuse);
    println!("500 flipped bits of a closed log: {outcomes:?}");
    assert!(outcomes.missed > 100 && outcomes.refused < 50);
}

#[test]
fn no_flipped_bit_of_a_killed_log_gives_wrong_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let (table, model) = busy_log(dir.path());
    let killed = copy_of(dir.path());
    drop(table);
    for on_damage in [OnDamage::Refuse, OnDamage::Forget] {
        let outcomes = flip_bits(killed.path(), &model, 300, on_damage);
        println!("300 flipped bits of a killed log, {on_damage:?}: {outcomes:?}");
        assert!(outcomes.missed > 60);
    }
}

#[test]
fn damage_that_hides_which_key_it_hit_is_refused_or_all_before_is_given_up_for_good() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::open(dir.path(), options()).unwrap();
    for value in [b"first", b"later"] {
        table.put(b"key", value).unwrap();
    }
    table.put(b"behind", b"whole").unwrap();
    let killed = copy_of(dir.path());
    let path = segment(killed.path(), 1);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[table.at(b"key").offset_bytes() as usize + 65] ^= 1;
    std::fs::write(&path, bytes).unwrap();
    let error = Table::open(killed.path(), options()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    for _ in 0..2 {
        let table = Table::open(killed.path(), LogOptions { on_damage: OnDamage::Forget, ..options() }).unwrap();
        assert_eq!(table.get(b"key").unwrap(), None);
        assert_eq!(table.get(b"behind").unwrap(), Some(b"whole".to_vec()));
        assert_eq!(table.log.history(1).err().unwrap().kind(), ErrorKind::SnapshotNeeded);
    }
}

#[test]
fn a_log_without_its_identity_file_takes_it_from_a_segment() {
    let dir = tempfile::tempdir().unwrap();
    Table::open(dir.path(), options()).unwrap().put(b"a", b"1").unwrap();
    for damaged in [None, Some("pegaflow log\nversion 1\nid zz")] {
        let path = dir.path().join("FORMAT");
        damaged.map_or_else(|| std::fs::remove_file(&path), |text| std::fs::write(&path, text)).unwrap();
        assert_eq!(Table::open(dir.path(), options()).unwrap().get(b"a").unwrap(), Some(b"1".to_vec()));
    }
    std::fs::write(dir.path().join("FORMAT"), "pegaflow log\nversion 2\n").unwrap();
    assert_eq!(Table::open(dir.path(), options()).err().unwrap().kind(), ErrorKind::UnsupportedFormat);
}

#[test]
fn a_segment_shorter_than_its_header_holds_nothing() {
    let dir = tempfile::tempdir().unwrap();
    Table::open(dir.path(), options()).unwrap().put(b"a", b"1").unwrap();
    for len in [0, 1, 63, 64, HEADER_BYTES as u64 - 1, HEADER_BYTES as u64] {
        let (_copy, found) = cut_copy(dir.path(), len);
        assert_eq!(found.get(b"a").unwrap(), None);
        found.put(b"a", b"2").unwrap();
        assert_eq!(found.get(b"a").unwrap(), Some(b"2".to_vec()));
    }
}
