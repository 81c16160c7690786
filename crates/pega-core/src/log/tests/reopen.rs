//! What is there after closing, and after a kill.

use super::table::{Table, copy_of, noise};
use crate::error::ErrorKind;
use crate::key::MAX_STORED_KEY_BYTES;
use crate::log::codec::Codec;
use crate::log::{Durability, FileIo, LogOptions};

const MIB: usize = 1 << 20;

fn options() -> LogOptions {
    LogOptions { segment_bytes: Some(1 << 20), ..LogOptions::new(64 << 20) }
}

#[test]
fn values_of_every_size_come_back_before_and_after_closing() {
    let dir = tempfile::tempdir().unwrap();
    let sizes = [0, 1, 7, 8, 9, 4000, 4096, 65_536, MIB - 300, MIB, 5 * MIB + 3];
    for file_io in [FileIo::Direct, FileIo::Buffered] {
        let table = Table::open(dir.path(), LogOptions { file_io, ..options() }).unwrap();
        for (i, size) in sizes.into_iter().enumerate() {
            let (key, value) = (format!("{file_io:?}{i}"), noise(i as u64, size));
            table.put(key.as_bytes(), &value).unwrap();
            assert!(table.get(key.as_bytes()).unwrap() == Some(value), "{size} bytes, just put");
        }
        table.log.flush().unwrap();
        for (i, size) in sizes.into_iter().enumerate() {
            assert!(table.get(format!("{file_io:?}{i}").as_bytes()).unwrap() == Some(noise(i as u64, size)));
        }
        table.log.close().unwrap();
    }
    let table = Table::open(dir.path(), options()).unwrap();
    assert_eq!((table.scanned_segments, table.keys().len()), (0, sizes.len() * 2));
    for (i, size) in sizes.into_iter().enumerate() {
        assert!(table.get(format!("Direct{i}").as_bytes()).unwrap() == Some(noise(i as u64, size)));
    }
}

#[test]
fn the_newest_change_of_a_key_counts_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    for round in 0..5_u8 {
        let table = Table::open(dir.path(), options()).unwrap();
        assert_eq!(table.get(b"removed").unwrap(), None);
        if round > 0 {
            assert_eq!(table.get(b"changed").unwrap(), Some(vec![round - 1]));
        }
        table.put(b"changed", &[99]).unwrap();
        table.put(b"changed", &[round]).unwrap();
        table.put(b"removed", &[round]).unwrap();
        table.remove(b"removed").unwrap();
    }
    let segments = std::fs::read_dir(dir.path())
        .unwrap()
        .filter(|file| file.as_ref().unwrap().path().extension().is_some_and(|extension| extension == "seg"));
    assert_eq!(segments.count(), 1, "reopening goes on with the last segment");
}

#[test]
fn what_was_acknowledged_under_sync_is_there_after_a_kill() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::open(dir.path(), LogOptions { durability: Durability::Sync, ..options() }).unwrap();
    for i in 0..200_u64 {
        table.put(&i.to_le_bytes(), &noise(i, 1000 + i as usize * 50)).unwrap();
        if i % 40 == 39 {
            let copy = copy_of(dir.path());
            let found = Table::open(copy.path(), options()).unwrap();
            for j in 0..=i {
                assert!(found.get(&j.to_le_bytes()).unwrap() == Some(noise(j, 1000 + j as usize * 50)), "{j} of {i}");
            }
        }
    }
}

#[test]
fn a_killed_log_goes_on_after_what_it_had() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::open(dir.path(), options()).unwrap();
    table.put(b"a", b"1").unwrap();
    table.log.flush().unwrap();
    let copy = copy_of(dir.path());
    for round in 0..3 {
        let found = Table::open(copy.path(), options()).unwrap();
        assert_eq!(found.scanned_segments, usize::from(round == 0));
        assert_eq!(found.get(b"a").unwrap(), Some(b"1".to_vec()));
        found.put(b"b", &[round]).unwrap();
        assert_eq!(found.get(b"b").unwrap(), Some(vec![round]));
    }
}

#[test]
fn compressed_values_come_back_and_take_less_room() {
    let value = b"the same few words ".repeat(5000);
    for codec in [Codec::Lz4, Codec::Zstd] {
        let dir = tempfile::tempdir().unwrap();
        let compressing = LogOptions { compression: Some(codec), ..options() };
        let table = Table::open(dir.path(), compressing).unwrap();
        table.put(b"words", &value).unwrap();
        table.put(b"noise", &noise(1, 5000)).unwrap();
        assert!(table.at(b"words").len_bytes() < value.len() as u64 / 10);
        drop(table);
        let plain = Table::open(dir.path(), options()).unwrap();
        assert!(plain.get(b"words").unwrap() == Some(value.clone()));
        assert!(plain.get(b"noise").unwrap() == Some(noise(1, 5000)));
    }
}

#[test]
fn a_second_opener_is_refused_and_told_who_has_the_log() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::open(dir.path(), options()).unwrap();
    let error = Table::open(dir.path(), options()).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert_eq!(error.get("holder_pid"), Some(std::process::id().to_string().as_str()));
    drop(table);
    Table::open(dir.path(), options()).unwrap();
}

#[test]
fn a_segment_of_another_version_or_log_is_refused() {
    let (dir, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for path in [dir.path(), other.path()] {
        Table::open(path, options()).unwrap().put(b"a", b"1").unwrap();
    }
    let segment = dir.path().join("00000001.seg");
    let good = std::fs::read(&segment).unwrap();
    let mut newer = good.clone();
    newer[8] = 2;
    std::fs::write(&segment, &newer).unwrap();
    assert_eq!(Table::open(dir.path(), options()).err().unwrap().kind(), ErrorKind::UnsupportedFormat);
    std::fs::copy(other.path().join("00000001.seg"), &segment).unwrap();
    assert_eq!(Table::open(dir.path(), options()).err().unwrap().kind(), ErrorKind::Corrupt);
    std::fs::write(&segment, &good).unwrap();
    assert_eq!(Table::open(dir.path(), options()).unwrap().get(b"a").unwrap(), Some(b"1".to_vec()));
}

#[test]
fn a_closed_log_refuses_writes_and_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::open(dir.path(), options()).unwrap();
    table.put(b"a", b"1").unwrap();
    table.log.close().unwrap();
    assert_eq!(table.put(b"b", b"1").unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(table.get(b"a").unwrap(), Some(b"1".to_vec()));
}

#[test]
fn hostile_keys_and_values_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::open(dir.path(), LogOptions::new(1 << 20)).unwrap();
    assert_eq!(table.put(b"", b"1").unwrap_err().kind(), ErrorKind::InvalidKey);
    assert_eq!(table.put(&[7; MAX_STORED_KEY_BYTES + 1], b"1").unwrap_err().kind(), ErrorKind::InvalidKey);
    assert_eq!(table.put(b"a", &vec![0; 1 << 20]).unwrap_err().kind(), ErrorKind::TooLarge);
    table.put(&[7; MAX_STORED_KEY_BYTES], b"1").unwrap();
    assert_eq!(table.get(&[7; MAX_STORED_KEY_BYTES]).unwrap(), Some(b"1".to_vec()));
}
