//! A sidecar and its clients, over a real socket and a real arena.

#![cfg(target_os = "linux")]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use pega_core::arena::Sharing;
use pega_core::sidecar::{Client, Put, ServeOptions, Server, Write};
use pega_core::{ErrorKind, FeedOp, Options, PegaEngine};
use tempfile::TempDir;

const MIB: usize = 1 << 20;

struct Sidecar {
    server: Server,
    path: PathBuf,
    _directory: TempDir,
}

fn sidecar(memory_bytes: usize) -> Sidecar {
    serve(memory_bytes, |_| {})
}

fn serve(memory_bytes: usize, configure: impl FnOnce(&mut ServeOptions)) -> Sidecar {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let options = Options { memory_bytes: memory_bytes as u64, sharing: Sharing::Shared, ..Options::default() };
    let mut serve = ServeOptions::new(&path);
    configure(&mut serve);
    let server = Server::start(PegaEngine::open(options).unwrap(), serve).unwrap();
    Sidecar { server, path, _directory: directory }
}

impl Sidecar {
    fn client(&self) -> Client {
        Client::connect(&self.path).unwrap()
    }

    fn figure(&self, name: &str) -> u64 {
        self.server.figures().into_iter().find(|(known, _)| known == name).unwrap().1
    }

    /// Waits for a figure that another thread is about to change.
    fn await_figure(&self, name: &str, wanted: u64) {
        let deadline = Instant::now() + Duration::from_secs(10);
        while self.figure(name) != wanted {
            assert!(Instant::now() < deadline, "{name} is {}, not {wanted}", self.figure(name));
            std::thread::yield_now();
        }
    }
}

fn bytes(seed: usize, size_bytes: usize) -> Vec<u8> {
    (0..size_bytes).map(|i| (i * 31 + seed * 7 + (i >> 8)) as u8).collect()
}

#[test]
fn values_of_every_size_come_back_to_another_client() {
    let sidecar = sidecar(64 * MIB);
    let (writer, reader) = (sidecar.client(), sidecar.client());
    for size_bytes in [0, 1, 63, 64, 4096, 32 << 10, (32 << 10) + 1, MIB, 5 * MIB] {
        let (key, value) = (format!("key-{size_bytes}"), bytes(size_bytes, size_bytes));
        writer.put(key.as_bytes(), &value, None).unwrap();
        assert_eq!(reader.get(key.as_bytes()).unwrap().unwrap(), value);
        assert_eq!(&*reader.view(key.as_bytes()).unwrap().unwrap(), value);
    }
    assert_eq!(reader.count().unwrap(), 9);
}

#[test]
fn a_key_that_was_never_put_is_missing() {
    let sidecar = sidecar(MIB);
    let client = sidecar.client();
    assert!(client.get(b"key").unwrap().is_none());
    assert!(client.view(b"key").unwrap().is_none());
    assert_eq!(client.contains_many(&[b"key"]).unwrap(), [false]);
    assert_eq!(client.remove_many(&[b"key"]).unwrap(), [false]);
}

#[test]
fn a_removed_key_is_gone_for_all_clients() {
    let sidecar = sidecar(MIB);
    let (one, other) = (sidecar.client(), sidecar.client());
    one.put(b"key", b"value", None).unwrap();
    assert_eq!(other.remove_many(&[b"key"]).unwrap(), [true]);
    assert!(one.get(b"key").unwrap().is_none());
}

#[test]
fn batches_longer_than_a_frame_arrive_whole() {
    let sidecar = sidecar(64 * MIB);
    let client = sidecar.client();
    let keys: Vec<Vec<u8>> = (0..20_000_u32).map(|i| format!("{i:0>100}").into_bytes()).collect();
    let writes: Vec<Write<'_>> = keys.iter().map(|key| Write::Put(Put { key, value: &key[90..], ttl: None })).collect();
    client.write(&writes).unwrap();
    assert_eq!(client.scan(b"000").unwrap(), keys);
    let asked: Vec<&[u8]> = keys.iter().map(Vec::as_slice).collect();
    assert!(client.contains_many(&asked).unwrap().into_iter().all(|found| found));
}

#[test]
fn an_atomic_batch_applies_in_order() {
    let sidecar = sidecar(16 * MIB);
    let client = sidecar.client();
    let large = bytes(1, MIB);
    client.put(b"old", b"1", None).unwrap();
    let put = |key, value| Write::Put(Put { key, value, ttl: None });
    let existed = client.write_atomic(&[put(b"new", &large), Write::Remove(b"old"), put(b"new", b"2")]).unwrap();
    assert_eq!(existed, [false, true, true]);
    assert_eq!(client.get(b"new").unwrap().unwrap(), b"2");
}

#[test]
fn a_batch_larger_than_the_arena_is_refused_whole() {
    let sidecar = sidecar(4 * MIB);
    let client = sidecar.client();
    let value = bytes(1, 3 * MIB);
    let put = |key| Write::Put(Put { key, value: &value, ttl: None });
    assert_eq!(client.write_atomic(&[put(b"a"), put(b"b")]).unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(client.count().unwrap(), 0);
    client.put(b"a", &value, None).unwrap();
}

#[test]
fn a_batch_with_more_keys_than_a_frame_holds_is_refused_whole() {
    let sidecar = sidecar(64 * MIB);
    let client = sidecar.client();
    let keys: Vec<Vec<u8>> = (0..300_u32).map(|i| format!("{i:0>4000}").into_bytes()).collect();
    let value = bytes(1, 100_000);
    let writes: Vec<_> = keys.iter().map(|key| Write::Put(Put { key, value: &value, ttl: None })).collect();
    assert_eq!(client.write_atomic(&writes).unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(client.write(&writes).unwrap(), [false; 300]);
    assert_eq!(client.count().unwrap(), 300);
}

#[test]
fn what_listens_and_never_greets_is_given_up() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("socket");
    let _silent = std::os::unix::net::UnixListener::bind(&path).unwrap();
    assert_eq!(Client::connect(&path).err().unwrap().kind(), ErrorKind::TimedOut);
}

#[test]
fn a_value_past_its_time_is_missing() {
    let sidecar = sidecar(MIB);
    let client = sidecar.client();
    client.put(b"key", b"value", Some(Duration::from_millis(1))).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while client.get(b"key").unwrap().is_some() {
        assert!(Instant::now() < deadline);
    }
}

#[test]
fn hostile_keys_are_refused_without_harm() {
    let sidecar = sidecar(MIB);
    let client = sidecar.client();
    for key in [&b""[..], &[0; 4097]] {
        assert_eq!(client.put(key, b"value", None).unwrap_err().kind(), ErrorKind::InvalidKey);
        assert_eq!(client.get(key).unwrap_err().kind(), ErrorKind::InvalidKey);
    }
    client.put(&[0; 4096], b"value", None).unwrap();
}

#[test]
fn a_view_keeps_its_bytes_while_everything_around_it_is_replaced() {
    let sidecar = sidecar(8 * MIB);
    let client = sidecar.client();
    let value = bytes(1, MIB);
    client.put(b"held", &value, None).unwrap();
    let view = client.view(b"held").unwrap().unwrap();
    client.remove_many(&[b"held"]).unwrap();
    for i in 0..64_usize {
        client.put(&i.to_le_bytes(), &bytes(i, MIB), None).unwrap();
    }
    assert_eq!(&*view, value);
}

#[test]
fn a_view_that_is_dropped_frees_its_room() {
    let sidecar = sidecar(8 * MIB);
    let client = sidecar.client();
    for i in 0..32 {
        client.put(b"key", &bytes(i, 5 * MIB), None).unwrap();
        assert_eq!(client.view(b"key").unwrap().unwrap()[0], bytes(i, 1)[0]);
        client.remove_many(&[b"key"]).unwrap();
    }
}

#[test]
fn threads_of_one_client_work_side_by_side() {
    let sidecar = sidecar(64 * MIB);
    let client = sidecar.client();
    std::thread::scope(|scope| {
        // More threads than a client opens connections.
        for thread in 0..40_usize {
            let client = &client;
            scope.spawn(move || {
                for i in 0..50 {
                    let value = bytes(i, 1 + i * 1000);
                    client.put(&thread.to_le_bytes(), &value, None).unwrap();
                    assert_eq!(client.get(&thread.to_le_bytes()).unwrap().unwrap(), value);
                }
            });
        }
    });
}

#[test]
fn readers_of_a_key_that_is_replaced_all_the_time_see_whole_values() {
    let sidecar = sidecar(4 * MIB);
    let client = sidecar.client();
    client.put(b"key", &[0; 100_000], None).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| (0..500_u32).for_each(|i| client.put(b"key", &[i as u8; 100_000], None).unwrap()));
        scope.spawn(|| {
            let reader = sidecar.client();
            for _ in 0..500 {
                let value = reader.get(b"key").unwrap().unwrap();
                assert!(value.iter().all(|byte| *byte == value[0]));
            }
        });
    });
}

#[test]
fn what_a_client_reserved_and_pinned_is_free_when_it_closes() {
    let sidecar = sidecar(16 * MIB);
    let client = sidecar.client();
    client.put(b"key", &bytes(1, MIB), None).unwrap();
    let view = client.view(b"key").unwrap().unwrap();
    client.close();
    assert_eq!(client.get(b"key").unwrap_err().kind(), ErrorKind::Closed);
    // What a view shows stays as it is until the view is gone, also after its client.
    sidecar.client().put(b"key", &bytes(2, MIB), None).unwrap();
    assert_eq!(view.as_ref(), bytes(1, MIB));
    drop(view);
    sidecar.await_figure("sidecar_clients", 0);
    assert!(sidecar.figure("sidecar_reclaimed_reservations_total") >= 1);
    sidecar.client().put(b"key", &bytes(2, 15 * MIB), None).unwrap();
}

#[test]
fn a_server_that_stops_answers_no_more_and_removes_its_socket() {
    let sidecar = sidecar(MIB);
    let client = sidecar.client();
    client.put(b"key", b"value", None).unwrap();
    sidecar.server.stop();
    sidecar.server.wait().unwrap();
    assert_eq!(client.get(b"key").unwrap_err().kind(), ErrorKind::Disconnected);
    assert_eq!(Client::connect(&sidecar.path).err().unwrap().kind(), ErrorKind::Disconnected);
    assert!(!sidecar.path.exists());
}

#[test]
fn a_server_without_clients_ends_by_itself() {
    let sidecar = serve(MIB, |options| options.idle_exit = Some(Duration::from_millis(50)));
    let client = sidecar.client();
    client.put(b"key", b"value", None).unwrap();
    client.close();
    sidecar.server.wait().unwrap();
    assert!(!sidecar.path.exists());
}

#[test]
fn a_client_beyond_the_limit_is_told_so() {
    let sidecar = serve(MIB, |options| options.max_connections = 1);
    let client = sidecar.client();
    assert_eq!(Client::connect(&sidecar.path).err().unwrap().kind(), ErrorKind::Locked);
    client.put(b"key", b"value", None).unwrap();
}

#[test]
fn settings_other_than_the_running_ones_are_an_error() {
    let setting = |value: &str| vec![("memory_bytes".to_owned(), value.to_owned())];
    let sidecar = serve(MIB, |options| options.settings = setting("1048576"));
    let client = sidecar.client();
    client.require_settings(&setting("1048576")).unwrap();
    let error = client.require_settings(&setting("5")).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SettingsDiffer);
    assert!(error.message().contains("memory_bytes=1048576, not 5"));
}

#[test]
fn a_private_arena_cannot_be_served() {
    let directory = tempfile::tempdir().unwrap();
    let options = ServeOptions::new(directory.path().join("socket"));
    let engine = PegaEngine::open(Options { memory_bytes: MIB as u64, ..Options::default() }).unwrap();
    assert_eq!(Server::start(engine, options).err().unwrap().kind(), ErrorKind::InvalidArgument);
}

#[test]
fn a_client_follows_the_changes_of_another() {
    let sidecar = sidecar(16 * MIB);
    let (writer, follower) = (sidecar.client(), sidecar.client());
    writer.put(b"before", b"1", None).unwrap();
    let mut feed = follower.subscribe(None).unwrap();
    assert!(feed.next(Some(Duration::ZERO)).unwrap().is_none());
    let large = bytes(1, MIB);
    writer.put(b"large", &large, None).unwrap();
    writer.remove_many(&[b"before"]).unwrap();
    let first = feed.next(None).unwrap().unwrap();
    assert_eq!((first.key, first.op), (b"large".to_vec(), FeedOp::Put { value: large, expires_at_ms: 0 }));
    let second = feed.next(None).unwrap().unwrap();
    assert_eq!((second.seq, second.key, second.op), (first.seq + 1, b"before".to_vec(), FeedOp::Remove));
    assert_eq!(follower.position().unwrap().0, second.seq);
}

#[test]
fn a_snapshot_larger_than_the_arena_passes_through_it() {
    let directory = tempfile::tempdir().unwrap();
    let engine = Options { memory_bytes: MIB as u64, ..Options::at(directory.path().join("kv")) };
    let path = directory.path().join("socket");
    let _server = Server::open(engine, ServeOptions::new(&path)).unwrap();
    let client = Client::connect(&path).unwrap();
    for i in 0..50_usize {
        client.put(&i.to_le_bytes(), &bytes(i, 100_000), None).unwrap();
    }
    let mut snapshot = client.snapshot().unwrap();
    let mut found = 0;
    while let Some(event) = snapshot.next(None).unwrap() {
        let i = usize::from_le_bytes(event.key.try_into().unwrap());
        assert_eq!(event.op, FeedOp::Put { value: bytes(i, 100_000), expires_at_ms: 0 });
        found += 1;
    }
    assert_eq!(found, 50);
}
