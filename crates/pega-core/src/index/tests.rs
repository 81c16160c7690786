use super::*;

fn value(seq: u64, expires_at_ms: u64) -> Value {
    Value { seq, checksum: 0, expires_at_ms, extent: None, at: None, value_bytes: 0 }
}

fn key(bytes: &[u8]) -> Key<'_> {
    Key::user(bytes).unwrap()
}

#[test]
fn entries_are_found_by_their_whole_key() {
    let index = Index::new();
    for i in 0..20_000_u32 {
        let bytes = i.to_le_bytes();
        let hashed = index.hashed(key(&bytes));
        index.write(hashed.shard()).insert(hashed.hash, hashed.key, value(u64::from(i), 0));
    }
    assert_eq!(index.user_entries(), 20_000);
    for i in 0..20_000_u32 {
        let bytes = i.to_le_bytes();
        let hashed = index.hashed(key(&bytes));
        let shard = index.read(hashed.shard());
        let slot = shard.find(hashed.hash, hashed.key).unwrap();
        assert_eq!(shard.entry(slot).seq, u64::from(i));
        assert_eq!(shard.key(slot), key(&bytes));
    }
}

#[test]
fn slots_of_removed_entries_are_used_again() {
    let mut shard = Shard::default();
    for i in 0..5000_u64 {
        let slot = shard.insert(7, key(b"same"), value(i, 0));
        assert_eq!(slot, 0);
        assert_eq!(shard.remove(slot).unwrap().seq, i);
    }
    assert_eq!(shard.user_entries(), 0);
}

#[test]
fn entries_expire_in_the_order_of_their_times() {
    let mut shard = Shard::default();
    for (i, at) in [(0_u64, 50), (1, 20), (2, 0), (3, 90)] {
        shard.insert(i, key(&i.to_le_bytes()), value(i, at));
    }
    let mut expired = Vec::new();
    while let Some(slot) = shard.next_expired(60) {
        expired.push(shard.remove(slot).unwrap().seq);
    }
    assert_eq!(expired, [1, 0]);
    assert!(!shard.has_due(60) && shard.has_due(90));
}

#[test]
fn putting_one_key_with_a_time_again_and_again_costs_no_memory() {
    let mut shard = Shard::default();
    let slot = shard.insert(1, key(b"k"), value(0, 1));
    for i in 1..100_000 {
        shard.replace(slot, value(i, i + 1));
    }
    assert!(shard.heap_bytes() < 400_000, "{}", shard.heap_bytes());
}

#[test]
fn an_entry_takes_the_bytes_that_are_stated() {
    assert_eq!(size_of::<Option<Entry>>(), 112);
}
