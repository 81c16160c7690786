use super::*;
use crate::engine::Options;

const BLOCK: usize = 4096;
const AGE: Duration = Duration::from_secs(60);

fn engine(blocks: usize) -> PegaEngine {
    PegaEngine::open(Options { memory_bytes: (blocks * BLOCK) as u64, ..Options::default() }).unwrap()
}

fn on_disk(dir: &tempfile::TempDir, blocks: usize) -> PegaEngine {
    let options = Options { memory_bytes: (blocks * BLOCK) as u64, disk_bytes: 16 << 20, ..Options::at(dir.path()) };
    PegaEngine::open(options).unwrap()
}

fn cache(engine: &PegaEngine, name: &str) -> BlockCache {
    BlockCache::open(engine, name, CacheOptions::default()).unwrap()
}

/// The packed hashes of blocks.
fn names(blocks: std::ops::Range<u8>) -> Vec<u8> {
    blocks.flat_map(|i| [i; 16]).collect()
}

fn packed(names: &[u8]) -> Hashes<'_> {
    Hashes::packed(names, 16).unwrap()
}

fn store(cache: &BlockCache, blocks: std::ops::Range<u8>) -> Vec<usize> {
    let bytes: Vec<_> = blocks.clone().map(|i| vec![i; BLOCK]).collect();
    let bytes: Vec<&[u8]> = bytes.iter().map(AsRef::as_ref).collect();
    cache.store(packed(&names(blocks)), &bytes).unwrap()
}

fn load(cache: &BlockCache, lease: &Lease) -> (Vec<usize>, Vec<Vec<u8>>) {
    let mut bytes = vec![vec![0; BLOCK]; lease.present().len()];
    let mut buffers: Vec<&mut [u8]> = bytes.iter_mut().map(AsMut::as_mut).collect();
    let failed = cache.load_into(lease, &mut buffers).unwrap();
    (failed, bytes)
}

#[test]
fn what_is_stored_is_matched_leased_and_loaded() {
    let engine = engine(64);
    let cache = cache(&engine, "model");
    assert!(store(&cache, 0..10).is_empty());
    assert_eq!(cache.match_prefix(packed(&names(0..12))).unwrap(), 10);
    assert_eq!(cache.match_prefix(packed(&names(11..12))).unwrap(), 0);
    let lease = cache.lease(packed(&names(8..12)), AGE).unwrap();
    assert_eq!(lease.present(), [true, true, false, false]);
    let (failed, bytes) = load(&cache, &lease);
    assert_eq!(failed, [2, 3]);
    assert_eq!((&bytes[0], &bytes[1]), (&vec![8; BLOCK], &vec![9; BLOCK]));
}

#[test]
fn a_block_that_is_there_is_not_written_again() {
    let engine = engine(64);
    let cache = cache(&engine, "model");
    store(&cache, 0..4);
    store(&cache, 2..6);
    let stats = cache.stats();
    assert_eq!((stats.stored_blocks, stats.present_blocks, stats.blocks), (6, 2, 6));
    assert_eq!(engine.stats().counts.puts, 6);
}

#[test]
fn matching_changes_nothing() {
    let engine = engine(4);
    let cache = cache(&engine, "model");
    store(&cache, 0..4);
    let before = cache.stats();
    (0..100).for_each(|_| assert_eq!(cache.match_prefix(packed(&names(3..4))).unwrap(), 1));
    assert_eq!(cache.stats(), before);
    store(&cache, 4..5);
    // The chain was stored leaf last, so its leaf went, matched or not.
    assert_eq!(cache.match_prefix(packed(&names(0..4))).unwrap(), 3);
}

#[test]
fn leased_blocks_stay_until_the_lease_ends() {
    let engine = engine(8);
    let cache = cache(&engine, "model");
    store(&cache, 0..4);
    let lease = cache.lease(packed(&names(0..4)), AGE).unwrap();
    store(&cache, 10..30);
    assert!(load(&cache, &lease).0.is_empty());
    assert_eq!(cache.match_prefix(packed(&names(0..4))).unwrap(), 4);
    drop(lease);
    store(&cache, 30..38);
    assert_eq!(cache.match_prefix(packed(&names(0..4))).unwrap(), 0);
}

#[test]
fn a_cache_full_of_leases_refuses_and_recovers() {
    let engine = engine(4);
    let cache = cache(&engine, "model");
    store(&cache, 0..4);
    let lease = cache.lease(packed(&names(0..4)), AGE).unwrap();
    assert_eq!(store(&cache, 10..12), [0, 1]);
    assert_eq!(engine.stats().leases, 1);
    lease.release();
    assert_eq!(engine.stats().leases, 0);
    assert!(store(&cache, 10..12).is_empty());
    assert_eq!(cache.stats().refused_blocks, 2);
}

#[test]
fn a_lease_that_is_too_old_is_lost_and_its_blocks_may_go() {
    let engine = engine(4);
    let cache = cache(&engine, "model");
    store(&cache, 0..4);
    let lease = cache.lease(packed(&names(0..4)), Duration::ZERO).unwrap();
    assert!(!lease.is_held());
    let error = cache.load_into(&lease, &mut []).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LeaseLost);
    assert!(store(&cache, 10..14).is_empty());
}

#[test]
fn a_lease_is_attached_by_its_token_while_its_owner_keeps_it() {
    let engine = engine(8);
    let (scheduler, worker) = (cache(&engine, "model"), cache(&engine, "model"));
    store(&scheduler, 0..2);
    let lease = scheduler.lease(packed(&names(0..2)), AGE).unwrap();
    let attached = worker.attach(lease.token()).unwrap();
    assert!(load(&worker, &attached).0.is_empty());
    drop(attached);
    assert!(lease.is_held());
    assert_eq!(cache(&engine, "other").attach(lease.token()).err().unwrap().kind(), ErrorKind::LeaseLost);
    let attached = worker.attach(lease.token()).unwrap();
    drop(lease);
    assert_eq!(worker.load_into(&attached, &mut []).unwrap_err().kind(), ErrorKind::LeaseLost);
}

#[test]
fn a_load_under_way_keeps_its_blocks_by_itself() {
    let engine = engine(8);
    let cache = cache(&engine, "model");
    store(&cache, 0..8);
    let lease = cache.lease(packed(&names(0..8)), AGE).unwrap();
    let mut bytes = vec![vec![0; BLOCK]; 8];
    let targets = bytes.iter_mut().map(|bytes| Some(vec![Span::of_mut(bytes)])).collect();
    // SAFETY: the buffers live until the job is done.
    let job = unsafe { cache.load_in_background(&lease, targets) }.unwrap();
    drop(lease);
    store(&cache, 20..28);
    assert!(job.wait(None));
    assert!(job.take().unwrap().unwrap().is_empty());
    assert!(bytes.iter().zip(0_u8..).all(|(bytes, i)| bytes.iter().all(|byte| *byte == i)));
}

#[test]
fn blocks_scatter_to_layers_and_gather_from_them() {
    let engine = engine(8);
    let cache = cache(&engine, "model");
    let name = names(7..8);
    let layers: Vec<Vec<u8>> = (0..4_u8).map(|layer| vec![layer; 1000]).collect();
    let source = vec![layers.iter().map(|layer| Span::of(layer)).collect()];
    // SAFETY: the layers are alive.
    assert!(unsafe { cache.store_spans(packed(&name), &source) }.unwrap().is_empty());
    let lease = cache.lease(packed(&name), AGE).unwrap();
    let mut out: Vec<Vec<u8>> = vec![vec![9; 1000]; 4];
    let target = vec![Some(out.iter_mut().map(|layer| Span::of_mut(layer)).collect())];
    // SAFETY: the layers are alive and apart.
    assert!(unsafe { cache.load_spans(&lease, &target) }.unwrap().is_empty());
    assert_eq!(out, layers);
}

#[test]
fn namespaces_do_not_see_each_other() {
    let engine = engine(64);
    let (one, two) = (cache(&engine, "one"), cache(&engine, "two"));
    store(&one, 0..4);
    assert_eq!(two.match_prefix(packed(&names(0..4))).unwrap(), 0);
    assert_eq!(engine.len(), 0);
    assert_eq!(engine.get(&[0; 16]).unwrap(), None);
    assert_eq!((one.stats().blocks, two.stats().blocks), (4, 0));
}

#[test]
fn blocks_and_namespaces_outlast_the_engine() {
    let dir = tempfile::tempdir().unwrap();
    let engine = on_disk(&dir, 64);
    store(&cache(&engine, "one"), 0..4);
    store(&cache(&engine, "two"), 4..6);
    engine.close().unwrap();
    let engine = on_disk(&dir, 64);
    let (two, one) = (cache(&engine, "two"), cache(&engine, "one"));
    assert_eq!(one.match_prefix(packed(&names(0..6))).unwrap(), 4);
    assert_eq!(two.match_prefix(packed(&names(4..6))).unwrap(), 2);
    assert_eq!((one.stats().blocks, one.block_bytes()), (4, Some(BLOCK)));
    let lease = two.lease(packed(&names(4..6)), AGE).unwrap();
    assert_eq!(load(&two, &lease), (vec![], vec![vec![4; BLOCK], vec![5; BLOCK]]));
    assert_eq!(two.stats().disk_hits, 2);
}

#[test]
fn a_quota_is_kept_by_giving_up_the_oldest() {
    let engine = engine(64);
    let cache = cache(&engine, "tenant");
    cache.set_quota_bytes(Some(4 * BLOCK as u64));
    store(&cache, 0..4);
    drop(cache.lease(packed(&names(0..2)), AGE).unwrap());
    store(&cache, 4..6);
    assert_eq!(cache.match_prefix(packed(&names(0..2))).unwrap(), 2);
    assert_eq!(cache.match_prefix(packed(&names(2..4))).unwrap(), 0);
    assert_eq!((cache.stats().blocks, cache.stats().quota_drops), (4, 2));
    let lease = cache.lease(packed(&names(0..2)), AGE).unwrap();
    let others = cache.lease(packed(&names(4..6)), AGE).unwrap();
    assert_eq!(store(&cache, 6..7), [0]);
    drop((lease, others));
    assert!(store(&cache, 6..7).is_empty());
}

#[test]
fn blocks_of_another_size_are_refused() {
    let engine = engine(8);
    let cache = cache(&engine, "model");
    store(&cache, 0..1);
    let name = names(1..2);
    assert_eq!(cache.store(packed(&name), &[&[1; 100]]).unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(cache.store(packed(&name), &[]).unwrap_err().kind(), ErrorKind::InvalidArgument);
    let lease = cache.lease(packed(&names(0..1)), AGE).unwrap();
    assert_eq!(cache.load_into(&lease, &mut [&mut [0; 100]]).unwrap(), [0]);
}

#[test]
fn pins_that_are_over_are_no_leases() {
    let engine = engine(8);
    let cache = cache(&engine, "model");
    store(&cache, 0..2);
    cache.hint(packed(&names(0..2)), Action::Pin { for_: Duration::ZERO }).unwrap();
    assert_eq!(engine.stats().leases, 0);
}

#[test]
fn pinned_blocks_stay_until_released() {
    let engine = engine(8);
    let cache = cache(&engine, "model");
    store(&cache, 0..2);
    cache.hint(packed(&names(0..2)), Action::Pin { for_: AGE }).unwrap();
    store(&cache, 10..30);
    assert_eq!(cache.match_prefix(packed(&names(0..2))).unwrap(), 2);
    cache.hint(packed(&names(0..2)), Action::Release).unwrap();
    store(&cache, 30..32);
    assert_eq!(cache.match_prefix(packed(&names(0..2))).unwrap(), 0);
    cache.hint(packed(&names(30..31)), Action::Pin { for_: Duration::ZERO }).unwrap();
    store(&cache, 40..48);
    assert_eq!(cache.match_prefix(packed(&names(30..31))).unwrap(), 0);
}

#[test]
fn prefetching_and_demoting_move_blocks_between_tiers() {
    let dir = tempfile::tempdir().unwrap();
    let engine = on_disk(&dir, 8);
    let cache = cache(&engine, "model");
    store(&cache, 0..4);
    cache.hint(packed(&names(0..4)), Action::Demote).unwrap();
    assert_eq!(engine.stats().memory_used_bytes, 64);
    cache.hint(packed(&names(0..4)), Action::Prefetch).unwrap();
    while engine.stats().counts.promotions < 4 {
        std::thread::yield_now();
    }
    let lease = cache.lease(packed(&names(0..4)), AGE).unwrap();
    assert_eq!(cache.stats().memory_hits, 4);
    assert!(load(&cache, &lease).0.is_empty());
}

#[test]
fn what_an_infinite_cache_would_hit_is_told() {
    let engine = engine(10);
    let cache = cache(&engine, "model");
    for _ in 0..3 {
        store(&cache, 0..40);
    }
    let stats = cache.stats();
    assert_eq!(stats.hit_rate, Some(0.0));
    assert!((stats.infinite_hit_rate.unwrap() - 2.0 / 3.0).abs() < 0.02, "{stats:?}");
}

#[test]
fn hashes_of_no_fit_size_are_refused() {
    assert_eq!(Hashes::packed(&[0; 30], 15).unwrap_err().kind(), ErrorKind::InvalidKey);
    assert_eq!(Hashes::packed(&[0; 33], 33).unwrap_err().kind(), ErrorKind::InvalidKey);
    assert_eq!(Hashes::packed(&[0; 40], 32).unwrap_err().kind(), ErrorKind::InvalidKey);
    assert_eq!(Hashes::packed(&[], 0).unwrap_err().kind(), ErrorKind::InvalidKey);
    assert_eq!(Hashes::each(&[&[0; 16], b"short"]).unwrap_err().kind(), ErrorKind::InvalidKey);
}

#[test]
fn a_changed_byte_is_a_miss() {
    let engine = engine(8);
    let cache = cache(&engine, "model");
    store(&cache, 0..2);
    let lease = cache.lease(packed(&names(0..2)), AGE).unwrap();
    let hash = [1; 16];
    let held = cache.store.hold(cache.namespace.hashed(&cache.store, &hash)).unwrap().unwrap();
    // SAFETY: this thread alone uses the engine.
    unsafe { cache.store.arena.address(held.extent()).write(77) };
    assert_eq!(load(&cache, &lease).0, [1]);
    assert_eq!(cache.match_prefix(packed(&names(0..2))).unwrap(), 1);
}

#[test]
fn a_block_that_is_corrupt_on_disk_is_missed_and_stored_again() {
    let dir = tempfile::tempdir().unwrap();
    {
        let engine = on_disk(&dir, 8);
        store(&cache(&engine, "model"), 0..4);
        engine.close().unwrap();
    }
    for file in std::fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().path()) {
        let mut bytes = std::fs::read(&file).unwrap();
        if let Some(at) = bytes.windows(BLOCK).position(|run| run.iter().all(|byte| *byte == 2)) {
            bytes[at + 100] ^= 1;
            std::fs::write(&file, bytes).unwrap();
        }
    }
    let engine = on_disk(&dir, 8);
    let cache = cache(&engine, "model");
    assert_eq!(cache.match_prefix(packed(&names(0..4))).unwrap(), 4);
    let lease = cache.lease(packed(&names(0..4)), AGE).unwrap();
    assert_eq!(load(&cache, &lease).0, [2]);
    assert_eq!(engine.stats().counts.corruptions, 1);
    assert_eq!(cache.match_prefix(packed(&names(0..4))).unwrap(), 2);
    assert!(store(&cache, 0..4).is_empty());
    let lease = cache.lease(packed(&names(0..4)), AGE).unwrap();
    assert!(load(&cache, &lease).0.is_empty());
}
