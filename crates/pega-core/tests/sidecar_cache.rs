//! The block cache of a sidecar: one client stores, leases and hints, another loads.

#![cfg(target_os = "linux")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use pega_core::cache::{Action, CacheOptions, Hashes, Span};
use pega_core::sidecar::{Client, RemoteCache, RemoteLease, ServeOptions, Server};
use pega_core::{ErrorKind, Options};
use tempfile::TempDir;

const BLOCK_BYTES: usize = 100_000;
const LONG: Duration = Duration::from_secs(60);

struct Sidecar {
    server: Server,
    path: PathBuf,
    directory: TempDir,
}

fn sidecar(memory_bytes: u64) -> Sidecar {
    serve(Options { memory_bytes, ..Options::default() }, tempfile::tempdir().unwrap())
}

fn serve(options: Options, directory: TempDir) -> Sidecar {
    let path = directory.path().join("socket");
    let server = Server::open(options, ServeOptions::new(&path)).unwrap();
    Sidecar { server, path, directory }
}

impl Sidecar {
    fn cache(&self, namespace: &str) -> RemoteCache {
        RemoteCache::open(&Client::connect(&self.path).unwrap(), namespace, CacheOptions::default()).unwrap()
    }

    fn figure(&self, name: &str) -> u64 {
        self.server.figures().into_iter().find(|(known, _)| known == name).unwrap().1
    }
}

/// The hashes of `blocks`, one after the other.
fn names(blocks: std::ops::Range<u8>) -> Vec<u8> {
    blocks.flat_map(|block| [block; 32]).collect()
}

fn packed(names: &[u8]) -> Hashes<'_> {
    Hashes::packed(names, 32).unwrap()
}

fn store(cache: &RemoteCache, blocks: std::ops::Range<u8>) -> Vec<usize> {
    let bytes: Vec<Vec<u8>> = blocks.clone().map(|block| vec![block; BLOCK_BYTES]).collect();
    // Each block comes from two runs.
    let sources: Vec<_> = bytes.iter().map(|block| vec![Span::of(&block[..1000]), Span::of(&block[1000..])]).collect();
    // SAFETY: the spans are of slices that live until the call returns.
    unsafe { cache.store_spans(packed(&names(blocks)), &sources) }.unwrap()
}

/// Loads every block of a lease and gives what arrived, and which failed.
fn load(cache: &RemoteCache, lease: &RemoteLease) -> (Vec<Vec<u8>>, Vec<usize>) {
    let mut buffers = vec![vec![0; BLOCK_BYTES]; lease.present().len()];
    let targets: Vec<_> = buffers
        .iter_mut()
        .map(|buffer| {
            let (head, tail) = buffer.split_at_mut(77);
            Some(vec![Span::of_mut(head), Span::of_mut(tail)])
        })
        .collect();
    // SAFETY: the spans are of slices that are borrowed mutably until the call returns.
    let failed = unsafe { cache.load_spans(lease, &targets) }.unwrap();
    (buffers, failed)
}

#[test]
fn what_one_client_stores_another_loads_by_the_token_of_a_third() {
    let sidecar = sidecar(16 << 20);
    let [writer, scheduler, worker] = [(); 3].map(|()| sidecar.cache("model"));
    assert!(store(&writer, 0..20).is_empty());
    assert_eq!(scheduler.match_prefix(packed(&names(0..30))).unwrap(), 20);
    let lease = scheduler.lease(packed(&names(5..9)), LONG).unwrap();
    assert_eq!(lease.present(), [true; 4]);
    let attached = worker.attach(lease.token()).unwrap();
    let (blocks, failed) = load(&worker, &attached);
    assert!(failed.is_empty());
    assert_eq!(blocks, (5..9).map(|block| vec![block; BLOCK_BYTES]).collect::<Vec<_>>());
}

#[test]
fn blocks_that_are_absent_fail_by_position() {
    let sidecar = sidecar(16 << 20);
    let cache = sidecar.cache("model");
    store(&cache, 0..3);
    let lease = cache.lease(packed(&names(1..5)), LONG).unwrap();
    assert_eq!(lease.present(), [true, true, false, false]);
    assert_eq!(load(&cache, &lease).1, [2, 3]);
}

#[test]
fn a_block_that_is_there_is_not_written_again() {
    let sidecar = sidecar(16 << 20);
    let cache = sidecar.cache("model");
    store(&cache, 0..5);
    store(&cache, 0..8);
    let stats = cache.stats().unwrap();
    assert_eq!((stats.stored_blocks, stats.present_blocks, stats.blocks), (8, 5, 8));
}

#[test]
fn namespaces_do_not_see_each_other() {
    let sidecar = sidecar(16 << 20);
    let (one, other) = (sidecar.cache("one"), sidecar.cache("other"));
    store(&one, 0..5);
    assert_eq!(other.match_prefix(packed(&names(0..5))).unwrap(), 0);
}

#[test]
fn leased_blocks_stay_while_others_are_refused() {
    let sidecar = sidecar(10 * BLOCK_BYTES as u64);
    let cache = sidecar.cache("model");
    store(&cache, 0..8);
    let lease = cache.lease(packed(&names(0..8)), LONG).unwrap();
    assert!(!store(&cache, 100..110).is_empty());
    assert!(load(&cache, &lease).1.is_empty());
    lease.release().unwrap();
    assert_eq!(cache.attach(lease.token()).err().unwrap().kind(), ErrorKind::LeaseLost);
    assert!(store(&cache, 110..114).is_empty());
}

#[test]
fn the_leases_of_a_client_end_with_it() {
    let sidecar = sidecar(16 << 20);
    let (owner, other) = (sidecar.cache("model"), sidecar.cache("model"));
    store(&owner, 0..3);
    let lease = owner.lease(packed(&names(0..3)), LONG).unwrap();
    let token = lease.token();
    std::mem::forget(lease);
    assert!(other.attach(token).is_ok());
    let client = Client::connect(&sidecar.path).unwrap();
    let mine = RemoteCache::open(&client, "model", CacheOptions::default()).unwrap();
    let token = mine.lease(packed(&names(0..3)), LONG).map(|lease| (lease.token(), std::mem::forget(lease))).unwrap().0;
    client.close();
    let deadline = Instant::now() + Duration::from_secs(10);
    while other.attach(token).is_ok() {
        assert!(Instant::now() < deadline);
    }
    assert_eq!(sidecar.figure("sidecar_reclaimed_leases_total"), 1);
}

#[test]
fn a_load_under_way_keeps_its_blocks_beyond_the_lease() {
    let sidecar = sidecar(16 << 20);
    let cache = sidecar.cache("model");
    store(&cache, 0..3);
    let lease = cache.lease(packed(&names(0..3)), LONG).unwrap();
    let mut buffers = vec![vec![0; BLOCK_BYTES]; 3];
    let targets = buffers.iter_mut().map(|buffer| Some(vec![Span::of_mut(buffer)])).collect();
    // SAFETY: the buffers are not used until the job is done.
    let job = unsafe { cache.load_in_background(&lease, targets) }.unwrap();
    drop(lease);
    assert!(job.wait(Some(Duration::from_secs(10))));
    assert_eq!(job.take().unwrap().unwrap(), Vec::<usize>::new());
    assert_eq!(buffers[2], vec![2; BLOCK_BYTES]);
}

#[test]
fn blocks_of_another_size_are_refused() {
    let sidecar = sidecar(16 << 20);
    let cache = sidecar.cache("model");
    store(&cache, 0..1);
    let block = vec![1; 5];
    // SAFETY: the span is of a slice that lives until the call returns.
    let stored = unsafe { cache.store_spans(packed(&names(1..2)), &[vec![Span::of(&block)]]) };
    assert_eq!(stored.unwrap_err().kind(), ErrorKind::InvalidArgument);
    assert_eq!(cache.block_bytes().unwrap(), Some(BLOCK_BYTES));
}

#[test]
fn a_quota_gives_up_what_was_used_longest_ago() {
    let sidecar = sidecar(16 << 20);
    let cache = sidecar.cache("model");
    cache.set_quota_bytes(Some(4 * BLOCK_BYTES as u64)).unwrap();
    for block in 0..6 {
        store(&cache, block..block + 1);
    }
    assert_eq!(cache.stats().unwrap().blocks, 4);
    assert_eq!(cache.match_prefix(packed(&names(2..6))).unwrap(), 4);
}

#[test]
fn hints_reach_the_sidecar() {
    let sidecar = sidecar(10 * BLOCK_BYTES as u64);
    let cache = sidecar.cache("model");
    store(&cache, 0..8);
    cache.hint(packed(&names(0..4)), Action::Pin { for_: LONG }).unwrap();
    store(&cache, 50..60);
    assert_eq!(cache.match_prefix(packed(&names(0..4))).unwrap(), 4);
    cache.hint(packed(&names(0..4)), Action::Release).unwrap();
    store(&cache, 60..70);
    assert_eq!(cache.match_prefix(packed(&names(0..4))).unwrap(), 0);
}

#[test]
fn blocks_come_back_from_the_disk_of_an_earlier_sidecar() {
    let directory = tempfile::tempdir().unwrap();
    let options = Options { memory_bytes: 1 << 20, ..Options::at(directory.path().join("kv")) };
    let first = serve(options.clone(), directory);
    assert!(store(&first.cache("model"), 0..40).is_empty());
    first.server.stop();
    first.server.wait().unwrap();
    let second = serve(options, first.directory);
    let cache = second.cache("model");
    assert_eq!(cache.match_prefix(packed(&names(0..40))).unwrap(), 40);
    let lease = cache.lease(packed(&names(0..40)), LONG).unwrap();
    // Four times what memory holds: they pass through it.
    let (blocks, failed) = load(&cache, &lease);
    assert!(failed.is_empty());
    assert_eq!(blocks, (0..40).map(|block| vec![block; BLOCK_BYTES]).collect::<Vec<_>>());
}
