use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::log::{Codec, Durability, OnFull};

fn options(path: &Path, memory_bytes: u64) -> Options {
    let (path, durability) = (Some(path.to_owned()), Durability::None);
    Options { path, memory_bytes, disk_bytes: 16 << 20, durability, ..Options::default() }
}

fn open(path: &Path, memory_bytes: u64) -> PegaEngine {
    PegaEngine::open(options(path, memory_bytes)).unwrap()
}

fn value(i: u32) -> Vec<u8> {
    (0..1000 + i as usize % 3000).map(|j| (i as usize * 31 + j) as u8).collect()
}

#[test]
fn what_was_put_is_there_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), 1 << 20);
    for i in 0..100_u32 {
        engine.put(&i.to_le_bytes(), &value(i)).unwrap();
    }
    engine.remove(&7_u32.to_le_bytes()).unwrap();
    engine.put(&8_u32.to_le_bytes(), b"again").unwrap();
    engine.close().unwrap();
    let engine = open(dir.path(), 1 << 20);
    assert_eq!(engine.len(), 99);
    for i in (0..100_u32).filter(|i| ![7, 8].contains(i)) {
        assert_eq!(engine.get(&i.to_le_bytes()).unwrap().unwrap(), value(i));
    }
    assert_eq!(engine.get(&7_u32.to_le_bytes()).unwrap(), None);
    assert_eq!(engine.get(&8_u32.to_le_bytes()).unwrap().unwrap(), b"again");
}

#[test]
fn what_leaves_memory_is_read_from_disk_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), 1 << 16);
    for i in 0..200_u32 {
        engine.put(&i.to_le_bytes(), &value(i)).unwrap();
    }
    for i in 0..200_u32 {
        assert_eq!(engine.get(&i.to_le_bytes()).unwrap().unwrap(), value(i));
    }
    let counts = engine.stats().counts;
    assert!(counts.demotions > 150 && counts.disk_hits > 150 && counts.promotions > 150, "{counts:?}");
    assert_eq!(counts.evictions, 0);
    engine.get(&199_u32.to_le_bytes()).unwrap();
    assert_eq!(engine.stats().counts.disk_hits, counts.disk_hits);
}

#[test]
fn values_are_read_past_a_memory_that_is_held() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), 4096);
    engine.put(b"one", &[1; 4096]).unwrap();
    let view = engine.get_view(b"one").unwrap().unwrap();
    engine.put(b"two", &[2; 4096]).unwrap();
    assert_eq!(engine.get(b"two").unwrap().unwrap(), [2; 4096]);
    assert_eq!(engine.get_view(b"two").unwrap_err().kind(), ErrorKind::MemoryFull);
    assert_eq!(engine.put(b"three", &[3; 4097]).unwrap_err().kind(), ErrorKind::TooLarge);
    drop(view);
    assert_eq!(&*engine.get_view(b"two").unwrap().unwrap(), [2; 4096]);
}

#[test]
fn overwriting_goes_on_for_ever_within_the_bound() {
    let dir = tempfile::tempdir().unwrap();
    let engine = PegaEngine::open(Options { disk_bytes: 2 << 20, ..options(dir.path(), 1 << 18) }).unwrap();
    let mut model = BTreeMap::new();
    for i in 0..8000_u32 {
        let key = (i * 7 % 301).to_le_bytes();
        engine.put(&key, &value(i)).unwrap();
        model.insert(key, value(i));
    }
    engine.close().unwrap();
    let engine = PegaEngine::open(Options { disk_bytes: 2 << 20, ..options(dir.path(), 1 << 18) }).unwrap();
    assert_eq!(engine.len(), model.len());
    for (key, value) in model {
        assert_eq!(engine.get(&key).unwrap().unwrap(), value);
    }
}

#[test]
fn a_full_disk_refuses_and_keeps_what_it_has() {
    let dir = tempfile::tempdir().unwrap();
    let engine = PegaEngine::open(Options { disk_bytes: 1 << 20, ..options(dir.path(), 1 << 16) }).unwrap();
    let mut kept = 0;
    let error = loop {
        match engine.put(&u32::to_le_bytes(kept), &value(kept)) {
            Ok(()) => kept += 1,
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind(), ErrorKind::DiskFull);
    for i in 0..kept {
        assert_eq!(engine.get(&i.to_le_bytes()).unwrap().unwrap(), value(i));
    }
    for i in 0..kept / 2 {
        engine.remove(&i.to_le_bytes()).unwrap();
    }
    engine.put(b"room again", b"value").unwrap();
}

#[test]
fn a_full_disk_that_may_evict_gives_up_the_oldest() {
    let dir = tempfile::tempdir().unwrap();
    let evicting = Options { disk_bytes: 1 << 20, on_full: Some(OnFull::Evict), ..options(dir.path(), 1 << 16) };
    let engine = PegaEngine::open(evicting).unwrap();
    for i in 0..2000_u32 {
        engine.put(&i.to_le_bytes(), &value(i)).unwrap();
    }
    assert_eq!(engine.get(&1999_u32.to_le_bytes()).unwrap().unwrap(), value(1999));
    assert_eq!(engine.get(&0_u32.to_le_bytes()).unwrap(), None);
    assert!(engine.len() > 100);
}

#[test]
fn a_transaction_is_whole_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), 1 << 20);
    engine.put(b"old", b"1").unwrap();
    let mut batch = engine.transaction();
    batch.put(b"a", b"1", PutOptions::default()).unwrap().remove(b"old").unwrap();
    assert_eq!(batch.commit().unwrap(), [false, true]);
    engine.close().unwrap();
    assert_eq!(open(dir.path(), 1 << 20).scan(b"").unwrap(), [b"a".to_vec()]);
}

#[test]
fn a_value_whose_time_is_over_does_not_give_way_to_an_older_one() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), 1 << 20);
    engine.put(b"key", b"older").unwrap();
    engine.put_with(b"key", b"newer", PutOptions { ttl: Some(Duration::from_millis(1)) }).unwrap();
    while engine.contains(b"key").unwrap() {
        std::thread::yield_now();
    }
    assert_eq!((engine.len(), engine.get(b"key").unwrap()), (0, None));
    engine.close().unwrap();
    let engine = open(dir.path(), 1 << 20);
    assert_eq!((engine.len(), engine.get(b"key").unwrap()), (0, None));
    engine.put(b"key", b"newest").unwrap();
    assert_eq!((engine.len(), engine.get(b"key").unwrap().unwrap()), (1, b"newest".to_vec()));
}

#[test]
fn a_directory_has_one_engine_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), 1 << 16);
    let error = PegaEngine::open(options(dir.path(), 1 << 16)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.to_string().contains(&std::process::id().to_string()), "{error}");
    engine.close().unwrap();
    drop(engine);
    open(dir.path(), 1 << 16);
}

#[test]
fn compressed_values_come_back_as_they_were() {
    for codec in [Codec::Lz4, Codec::Zstd] {
        let dir = tempfile::tempdir().unwrap();
        let compressing = Options { compression: Some(codec), ..options(dir.path(), 1 << 16) };
        let engine = PegaEngine::open(compressing).unwrap();
        (0..300_u32).for_each(|i| engine.put(&i.to_le_bytes(), &vec![i as u8; 5000]).unwrap());
        for i in 0..300_u32 {
            assert_eq!(engine.get(&i.to_le_bytes()).unwrap().unwrap(), vec![i as u8; 5000]);
        }
    }
}

#[test]
fn a_changed_byte_in_memory_is_read_again_from_disk() {
    let dir = tempfile::tempdir().unwrap();
    let engine = open(dir.path(), 1 << 16);
    engine.put(b"key", &[7; 5000]).unwrap();
    let hashed = engine.store.index.hashed(Key::user(b"key").unwrap());
    let Some(Found::Held(held)) = engine.store.find(hashed).unwrap() else { panic!("in memory") };
    // SAFETY: this thread alone uses the engine.
    unsafe { engine.store.arena.address(held.extent()).add(4000).write(6) };
    drop(held);
    assert_eq!(engine.get(b"key").unwrap().unwrap(), [7; 5000]);
    assert_eq!(engine.stats().counts.corruptions, 1);
}

#[test]
fn longest_keys_survive_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let key = vec![b'k'; crate::MAX_KEY_BYTES];
    open(dir.path(), 1 << 20).put(&key, b"value").unwrap();
    assert_eq!(open(dir.path(), 1 << 20).get(&key).unwrap().unwrap(), b"value");
}

#[test]
fn threads_and_cleaning_lose_no_write() {
    let dir = tempfile::tempdir().unwrap();
    let small = Options { disk_bytes: 4 << 20, ..options(dir.path(), 1 << 17) };
    let engine = PegaEngine::open(small.clone()).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..3_u32 {
            let engine = &engine;
            scope.spawn(move || {
                for i in 0..4000_u32 {
                    let key = [thread as u8, (i % 90) as u8];
                    engine.put(&key, &value(i)).unwrap();
                    let other = [thread as u8, (i * 13 % 90) as u8];
                    if let Some(found) = engine.get(&other).unwrap() {
                        assert!((0..90).any(|back| found == value(i.saturating_sub(back))), "thread {thread}, {i}");
                    }
                }
            });
        }
    });
    engine.close().unwrap();
    let engine = PegaEngine::open(small).unwrap();
    for (thread, slot) in (0..3_u8).flat_map(|thread| (0..90_u32).map(move |slot| (thread, slot))) {
        let last = (0..4000_u32).rev().find(|i| i % 90 == slot).unwrap();
        assert_eq!(engine.get(&[thread, slot as u8]).unwrap().unwrap(), value(last));
    }
}
