use std::time::Duration;

use super::*;
use crate::policy::PolicyKind;

fn small(memory_bytes: u64) -> PegaEngine {
    PegaEngine::open(Options { memory_bytes, ..Options::default() }).unwrap()
}

#[test]
fn what_is_put_is_got_until_it_is_removed() {
    let engine = small(1 << 20);
    engine.put(b"key", b"value").unwrap();
    assert!(engine.contains(b"key").unwrap());
    assert_eq!(engine.get(b"key").unwrap().unwrap(), b"value");
    assert!(engine.remove(b"key").unwrap());
    assert!(!engine.remove(b"key").unwrap());
    assert_eq!(engine.get(b"key").unwrap(), None);
}

#[test]
fn values_of_every_size_come_back_whole() {
    let engine = small(8 << 20);
    for size in [0, 1, 63, 64, 65, 4096, 16 * 1024 + 1, 1 << 20, 3_000_001] {
        let value: Vec<u8> = (0..size).map(|i| (i * 7) as u8).collect();
        engine.put(b"key", &value).unwrap();
        assert_eq!(engine.get(b"key").unwrap().unwrap(), value, "{size} bytes");
        assert_eq!(&*engine.get_view(b"key").unwrap().unwrap(), value, "{size} bytes");
    }
}

#[test]
fn a_full_memory_evicts_the_least_recently_used() {
    let engine = small(10 * 4096);
    for i in 0..10_u8 {
        engine.put(&[i], &[i; 4096]).unwrap();
    }
    assert!(engine.get(&[0]).unwrap().is_some());
    engine.put(b"more", &[9; 4096]).unwrap();
    assert!(engine.contains(&[0]).unwrap());
    assert!(!engine.contains(&[1]).unwrap());
    assert_eq!(engine.stats().counts.evictions, 1);
}

#[test]
fn every_policy_keeps_memory_within_its_bound() {
    for kind in PolicyKind::ALL {
        let engine = PegaEngine::open(Options { memory_bytes: 1 << 16, policy: *kind, ..Options::default() }).unwrap();
        for i in 0..2000_u32 {
            engine.put(&(i % 97).to_le_bytes(), &vec![i as u8; (i % 50 * 100) as usize]).unwrap();
            engine.get(&(i % 31).to_le_bytes()).unwrap();
        }
        assert!(engine.stats().memory_used_bytes <= 1 << 16);
        assert!(engine.len() > 5, "{}", kind.name());
    }
}

#[test]
fn a_view_outlives_its_entry_and_its_engine() {
    let engine = small(1 << 16);
    engine.put(b"key", &[7; 30_000]).unwrap();
    let view = engine.get_view(b"key").unwrap().unwrap();
    engine.put(b"key", &[8; 30_000]).unwrap();
    assert_eq!(engine.put(b"other", &[9; 50_000]).unwrap_err().kind(), ErrorKind::MemoryFull);
    engine.close().unwrap();
    drop(engine);
    assert!(view.iter().all(|byte| *byte == 7));
}

#[test]
fn a_value_larger_than_the_arena_is_refused() {
    let engine = small(1 << 16);
    engine.put(b"key", b"stays").unwrap();
    let error = engine.put(b"key", &[0; (1 << 16) + 1]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert_eq!(engine.get(b"key").unwrap().unwrap(), b"stays");
}

#[test]
fn a_value_is_gone_when_its_time_is_over() {
    let engine = small(1 << 16);
    let options = PutOptions { ttl: Some(Duration::from_millis(1)) };
    engine.put_with(b"brief", b"value", options).unwrap();
    engine.put(b"lasting", b"value").unwrap();
    while engine.contains(b"brief").unwrap() {
        std::thread::yield_now();
    }
    assert_eq!(engine.get(b"brief").unwrap(), None);
    assert_eq!(engine.len(), 1);
    assert!(!engine.remove(b"brief").unwrap());
    let zero = PutOptions { ttl: Some(Duration::ZERO) };
    assert_eq!(engine.put_with(b"k", b"v", zero).unwrap_err().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn a_transaction_happens_whole_or_not_at_all() {
    let engine = small(1 << 16);
    engine.put(b"old", b"1").unwrap();
    let mut batch = engine.transaction();
    batch.put(b"a", b"1", PutOptions::default()).unwrap().remove(b"old").unwrap();
    assert_eq!(batch.commit().unwrap(), [false, true]);
    let (large, larger) = (vec![1; 40_000], vec![2; 40_000]);
    let mut batch = engine.transaction();
    batch.put(b"b", &large, PutOptions::default()).unwrap().put(b"c", &larger, PutOptions::default()).unwrap();
    assert_eq!(batch.commit().unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(engine.scan(b"").unwrap(), [b"a".to_vec()]);
}

#[test]
fn a_scan_gives_the_keys_of_a_prefix_in_order() {
    let engine = small(1 << 16);
    for key in ["b/2", "a/1", "b/1", "b", "c"] {
        engine.put(key.as_bytes(), b"").unwrap();
    }
    assert_eq!(engine.scan(b"b/").unwrap(), [b"b/1".to_vec(), b"b/2".to_vec()]);
}

#[test]
fn a_buffer_that_is_too_short_stays_untouched() {
    let engine = small(1 << 16);
    engine.put(b"key", b"value").unwrap();
    let mut buffer = [0; 8];
    assert_eq!(engine.get_into(b"key", &mut buffer).unwrap(), Some(5));
    assert_eq!(&buffer, b"value\0\0\0");
    assert_eq!(engine.get_into(b"key", &mut buffer[..4]).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(engine.get_into(b"none", &mut buffer).unwrap(), None);
}

#[test]
fn a_changed_byte_in_memory_is_an_error_and_never_served() {
    let engine = small(1 << 16);
    for read_by_view in [false, true] {
        engine.put(b"key", &[7; 5000]).unwrap();
        let hashed = engine.store.index.hashed(Key::user(b"key").unwrap());
        let Some(Found::Held(held)) = engine.store.find(hashed).unwrap() else { panic!("in memory") };
        // SAFETY: this thread alone uses the engine.
        unsafe { engine.store.arena.address(held.extent()).add(4000).write(6) };
        drop(held);
        let error = if read_by_view { engine.get_view(b"key").unwrap_err() } else { engine.get(b"key").unwrap_err() };
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert_eq!(engine.get(b"key").unwrap(), None);
    }
    assert_eq!(engine.stats().counts.corruptions, 2);
}

#[test]
fn a_closed_engine_refuses_everything() {
    let engine = small(1 << 16);
    engine.close().unwrap();
    engine.close().unwrap();
    assert_eq!(engine.put(b"k", b"v").unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(engine.get(b"k").unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(engine.remove(b"k").unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(engine.scan(b"").unwrap_err().kind(), ErrorKind::Closed);
}

#[test]
fn threads_see_whole_values_only() {
    let engine = small(1 << 18);
    std::thread::scope(|scope| {
        for writer in 0..3_u8 {
            let engine = &engine;
            scope.spawn(move || {
                for i in 0..3000_u32 {
                    let key = [(i % 5) as u8];
                    engine.put(&key, &vec![writer * 50 + i as u8 % 50; 1000 + i as usize % 3000]).unwrap();
                    if let Some(value) = engine.get(&key).unwrap() {
                        assert!(value.iter().all(|byte| *byte == value[0]));
                    }
                    if i % 7 == 0 {
                        engine.remove(&key).unwrap();
                    }
                }
            });
        }
    });
    engine.scan(b"").unwrap().iter().for_each(|key| assert!(engine.remove(key).unwrap()));
    assert_eq!(engine.stats().memory_used_bytes, 0);
}
