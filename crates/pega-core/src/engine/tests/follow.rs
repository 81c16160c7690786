use std::time::Duration;

use super::*;

fn in_memory(feed_bytes: u64) -> PegaEngine {
    PegaEngine::open(Options { memory_bytes: 1 << 20, feed_bytes, ..Options::default() }).unwrap()
}

fn on_disk(dir: &tempfile::TempDir) -> PegaEngine {
    PegaEngine::open(Options { memory_bytes: 1 << 20, disk_bytes: 8 << 20, ..Options::at(dir.path()) }).unwrap()
}

/// Applies everything there is, and gives how many changes that was.
fn catch_up(follower: &PegaEngine, subscription: &mut Subscription) -> usize {
    let mut batch = Vec::new();
    let mut count = 0;
    while let Some(change) = subscription.next(Some(Duration::ZERO)).unwrap() {
        let more = change.more;
        batch.push(change);
        count += 1;
        if !more {
            follower.apply(&batch).unwrap();
            batch.clear();
        }
    }
    count
}

fn contents(engine: &PegaEngine) -> Vec<(Vec<u8>, Vec<u8>)> {
    engine.scan(b"").unwrap().into_iter().map(|key| (key.clone(), engine.get(&key).unwrap().unwrap())).collect()
}

fn write_some(engine: &PegaEngine, round: u32) {
    for i in 0..50_u32 {
        engine.put(&(i % 20).to_le_bytes(), &(round * 1000 + i).to_le_bytes()).unwrap();
        engine.remove(&(i * 3 % 20).to_le_bytes()).unwrap();
    }
    let mut batch = engine.transaction();
    batch.put(b"a", b"1", PutOptions::default()).unwrap().put(b"b", b"2", PutOptions::default()).unwrap();
    batch.commit().unwrap();
}

fn follows_and_catches_up_after_a_break(leader: &PegaEngine, follower: &PegaEngine) {
    let mut subscription = leader.subscribe(None).unwrap();
    write_some(leader, 1);
    catch_up(follower, &mut subscription);
    assert_eq!(contents(follower), contents(leader));
    drop(subscription);
    write_some(leader, 2);
    let mut subscription = leader.subscribe(Some(follower.applied_seq().unwrap() + 1)).unwrap();
    catch_up(follower, &mut subscription);
    assert_eq!(contents(follower), contents(leader));
    assert_eq!(follower.applied_seq().unwrap(), leader.last_seq());
}

#[test]
fn a_follower_catches_up_after_a_break() {
    follows_and_catches_up_after_a_break(&in_memory(1 << 20), &in_memory(0));
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    follows_and_catches_up_after_a_break(&on_disk(&dirs[0]), &on_disk(&dirs[1]));
}

#[test]
fn a_follower_remembers_its_position() {
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let (leader, follower) = (on_disk(&dirs[0]), on_disk(&dirs[1]));
    let mut subscription = leader.subscribe(Some(1)).unwrap();
    write_some(&leader, 1);
    catch_up(&follower, &mut subscription);
    follower.close().unwrap();
    let follower = on_disk(&dirs[1]);
    assert_eq!(follower.applied_seq().unwrap(), leader.last_seq());
    assert_eq!(contents(&follower), contents(&leader));
}

#[test]
fn changes_past_what_is_kept_need_a_snapshot() {
    let (leader, follower) = (in_memory(2000), in_memory(0));
    let mut subscription = leader.subscribe(None).unwrap();
    follower.put(b"gone at the leader", b"1").unwrap();
    write_some(&leader, 1);
    assert_eq!(subscription.next(None).unwrap_err().kind(), ErrorKind::SnapshotNeeded);
    assert_eq!(leader.subscribe(Some(1)).err().unwrap().kind(), ErrorKind::SnapshotNeeded);
    let snapshot = leader.snapshot().unwrap();
    leader.put(b"meanwhile", b"3").unwrap();
    let seq = snapshot.seq();
    follower.restore(seq, snapshot).unwrap();
    let mut subscription = leader.subscribe(Some(follower.applied_seq().unwrap() + 1)).unwrap();
    catch_up(&follower, &mut subscription);
    assert_eq!(contents(&follower), contents(&leader));
}

#[test]
fn applying_again_changes_nothing() {
    let (leader, follower) = (in_memory(1 << 20), in_memory(0));
    let mut subscription = leader.subscribe(None).unwrap();
    leader.put(b"key", b"old").unwrap();
    leader.put(b"key", b"new").unwrap();
    let first = subscription.next(None).unwrap().unwrap();
    catch_up(&follower, &mut subscription);
    follower.apply(&[first]).unwrap();
    assert_eq!(follower.get(b"key").unwrap().unwrap(), b"new");
}

#[test]
fn evictions_are_no_changes_but_times_are_kept() {
    let (leader, follower) = (in_memory(8 << 20), in_memory(0));
    let mut subscription = leader.subscribe(None).unwrap();
    (0..300_u32).for_each(|i| leader.put(&i.to_le_bytes(), &[1; 8000]).unwrap());
    leader.put_with(b"brief", b"1", PutOptions { ttl: Some(Duration::from_millis(1)) }).unwrap();
    assert!(leader.stats().counts.evictions > 0);
    assert_eq!(catch_up(&follower, &mut subscription), 301);
    while follower.contains(b"brief").unwrap() {
        std::thread::yield_now();
    }
}

#[test]
fn a_waiting_follower_is_woken_by_a_change_and_by_the_end() {
    for leader in [in_memory(1 << 20), on_disk(&tempfile::tempdir().unwrap())] {
        let mut subscription = leader.subscribe(None).unwrap();
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| (subscription.next(None), subscription.next(None)));
            leader.put(b"key", b"value").unwrap();
            leader.close().unwrap();
            let (first, second) = waiting.join().unwrap();
            match first {
                Ok(change) => assert_eq!(change.unwrap().key, b"key"),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Closed),
            }
            assert_eq!(second.unwrap_err().kind(), ErrorKind::Closed);
        });
    }
}
