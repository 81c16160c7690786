//! Following a log from a sequence number on.

use std::time::Duration;

use super::table::{Table, copy_of, noise};
use crate::error::ErrorKind;
use crate::log::LogOptions;

fn options() -> LogOptions {
    LogOptions { segment_bytes: Some(64 << 10), ..LogOptions::new(1 << 20) }
}

#[test]
fn a_follower_sees_every_change_in_order_and_transactions_marked() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::open(dir.path(), options()).unwrap();
    table.put(b"a", &noise(1, 50_000)).unwrap();
    table.apply(&[(b"b", Some(b"2")), (b"a", None), (b"c", Some(&noise(3, 50_000)))]).unwrap();
    let mut history = table.log.history(1).unwrap().unwrap();
    let mut seen = Vec::new();
    while let Some(change) = history.next_change().unwrap() {
        seen.push((change.seq, change.key, change.value, change.more));
    }
    let expected = [
        (1, b"a".to_vec(), Some(noise(1, 50_000)), false),
        (2, b"b".to_vec(), Some(b"2".to_vec()), true),
        (3, b"a".to_vec(), None, true),
        (4, b"c".to_vec(), Some(noise(3, 50_000)), false),
    ];
    assert!(seen == expected);
    table.put(b"d", b"4").unwrap();
    assert!(table.log.wait_for_news(4, Duration::from_secs(10)));
    assert_eq!(history.next_change().unwrap().unwrap().key, b"d");
}

#[test]
fn a_follower_goes_on_where_it_was_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..30_u64 {
        let table = Table::open(dir.path(), options()).unwrap();
        table.put(&i.to_le_bytes(), &noise(i, 9000)).unwrap();
    }
    let table = Table::open(dir.path(), options()).unwrap();
    for from in 1..=30_u64 {
        let mut history = table.log.history(from).unwrap().unwrap();
        for i in from - 1..30 {
            assert_eq!(history.next_change().unwrap().unwrap().key, i.to_le_bytes());
        }
        assert_eq!(history.next_change().unwrap(), None);
    }
}

#[test]
fn what_was_cleaned_or_never_was_needs_a_snapshot() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::open(dir.path(), options()).unwrap();
    for i in 0..500_u64 {
        table.put(&(i % 10).to_le_bytes(), &noise(i, 5000)).unwrap();
    }
    for from in [0, 1, table.log.last_seq() + 2, u64::MAX - 1] {
        let error = table.log.history(from).err().unwrap();
        assert_eq!(error.kind(), ErrorKind::SnapshotNeeded);
    }
    let retained = table.log.stats().retained_from_seq;
    table.log.history(retained).unwrap().unwrap().next_change().unwrap().unwrap();
    drop(table);
    let again = Table::open(dir.path(), options()).unwrap();
    assert!(again.log.stats().retained_from_seq <= retained);
    assert_eq!(again.log.history(1).err().unwrap().kind(), ErrorKind::SnapshotNeeded);
}

#[test]
fn what_is_to_come_can_be_followed_after_a_crash_before_anything_comes() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::open(dir.path(), options()).unwrap();
    table.put(b"before", b"1").unwrap();
    table.log.flush().unwrap();
    let copy = copy_of(dir.path());
    let after = Table::open(copy.path(), options()).unwrap();
    let mut history = after.log.history(after.log.last_seq() + 1).unwrap().unwrap();
    assert_eq!(history.next_change().unwrap(), None);
    after.put(b"after", b"2").unwrap();
    assert_eq!(history.next_change().unwrap().unwrap().key, b"after");
}

#[test]
fn numbers_lost_in_a_crash_are_not_given_out_again() {
    let dir = tempfile::tempdir().unwrap();
    let table = Table::open(dir.path(), options()).unwrap();
    table.put(b"kept", b"1").unwrap();
    table.log.flush().unwrap();
    let copy = copy_of(dir.path());
    table.put(b"lost", b"2").unwrap();
    let seen_by_follower = table.log.last_seq();
    let after = Table::open(copy.path(), options()).unwrap();
    after.put(b"other", b"3").unwrap();
    assert!(after.log.last_seq() > seen_by_follower + 1);
    let error = after.log.history(seen_by_follower + 1).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::SnapshotNeeded);
}
