//! A sidecar under the load of its clients is killed, again and again, and its directory opened: every byte is right,
//! every transaction whole or absent, and under `sync` what was acknowledged to a client is there. One that is asked
//! to end keeps that under any durability.
//!
//! Run by `nox -s faults`, or by hand with
//! `cargo test --release -p pega-core --test sidecar_faults -- --nocapture`.

#![cfg(target_os = "linux")]

#[allow(dead_code)]
#[path = "../faults/load.rs"]
mod load;
#[path = "../faults/scale.rs"]
mod scale;

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use load::{KEYS, Model};
use pega_core::log::Durability;
use pega_core::sidecar::{Client, ServeOptions, Server};
use pega_core::{ErrorKind, Handle, Options, PegaEngine, PutOptions};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

/// Threads that write through the killed sidecar; two share a connection.
const CLIENTS: u8 = 4;

/// Kills between two new directories: damage that one recovery leaves must show in the next.
const KILLS_PER_DIRECTORY: u64 = 8;

fn options(dir: &Path) -> Options {
    Options {
        memory_bytes: 4 << 20,
        disk_bytes: 16 << 20,
        segment_bytes: Some(256 << 10),
        durability: Durability::Sync,
        ..Options::at(dir.join("log"))
    }
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("socket")
}

/// The process that is killed; `PEGA_SIDECAR_FAULT` holds its directory.
#[test]
#[ignore = "the process that the other tests kill"]
fn the_killed_sidecar() {
    let Some(dir) = std::env::var_os("PEGA_SIDECAR_FAULT").map(PathBuf::from) else { return };
    Server::open(options(&dir), ServeOptions::new(socket(&dir))).unwrap().wait().unwrap();
}

/// What is known of the keys of one client.
struct Life {
    model: Model,
    /// The first step that is not in `model`.
    next: u64,
}

#[derive(Debug, Default)]
struct Counts {
    kills: u64,
    acknowledged_steps: u64,
    values_compared: u64,
}

struct Scenario {
    dir: tempfile::TempDir,
    seed: u64,
    lives: Vec<Life>,
}

/// Applies a step to the engine of a sidecar, as one transaction if it has several changes.
fn apply(handle: &Handle, seed: u64, thread: u8, number: u64) -> pega_core::Result<()> {
    let step = load::step(seed, thread, number);
    let keys: Vec<_> = step.iter().map(|(key, _)| load::key(thread, *key)).collect();
    let values: Vec<_> =
        step.iter().map(|(key, size)| size.map(|size| load::value(seed, thread, number, *key, size))).collect();
    let writes: Vec<_> = keys
        .iter()
        .zip(&values)
        .map(|(key, value)| (key.as_slice(), value.as_ref().map(|value| (value.as_slice(), PutOptions::default()))))
        .collect();
    handle.commit(&writes).map(drop)
}

/// Applies steps until the sidecar is gone; gives the first that was not acknowledged.
fn run_until_killed(handle: &Handle, seed: u64, thread: u8, first: u64) -> u64 {
    for number in first.. {
        match apply(handle, seed, thread, number) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::Disconnected => return number,
            Err(error) => panic!("thread {thread} failed at step {number}: {error}"),
        }
    }
    unreachable!("the sidecar is killed long before")
}

fn connect(socket: &Path, process: &mut Child) -> Handle {
    let began = Instant::now();
    loop {
        if let Ok(client) = Client::connect(socket) {
            return Handle::There(client);
        }
        assert!(began.elapsed() < Duration::from_secs(60), "the sidecar never served");
        assert!(process.try_wait().unwrap().is_none(), "the sidecar ended by itself");
        std::thread::sleep(Duration::from_millis(1));
    }
}

impl Scenario {
    fn new(seed: u64) -> Self {
        let lives = (0..CLIENTS).map(|_| Life { model: Model::new(), next: 0 }).collect();
        Self { dir: tempfile::tempdir().unwrap(), seed, lives }
    }

    /// Runs the load until the sidecar is killed; gives for each client its first step that was not acknowledged.
    fn live_and_die(&self, rng: &mut SmallRng) -> Vec<u64> {
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "the_killed_sidecar", "--ignored", "--nocapture"])
            .env("PEGA_SIDECAR_FAULT", self.dir.path())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let path = socket(self.dir.path());
        let handles: Vec<_> = (0..CLIENTS / 2).map(|_| connect(&path, &mut process)).collect();
        // The moment of the kill is what is random, not something that is waited for.
        let moment = Duration::from_micros(rng.random_range(0..120_000));
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|thread| {
                    let (handle, first) = (&handles[usize::from(thread) / 2], self.lives[usize::from(thread)].next);
                    scope.spawn(move || run_until_killed(handle, self.seed, thread, first))
                })
                .collect();
            std::thread::sleep(moment);
            process.kill().unwrap();
            assert!(!process.wait().unwrap().success());
            clients.into_iter().map(|client| client.join().unwrap()).collect()
        })
    }

    /// Runs the load until the sidecar, here in this process, is asked to end; as [`Self::live_and_die`] otherwise.
    fn live_and_drain(&self, rng: &mut SmallRng) -> Vec<u64> {
        let path = socket(self.dir.path());
        let engine = Options { durability: Durability::None, ..options(self.dir.path()) };
        let server = Server::open(engine, ServeOptions::new(&path)).unwrap();
        let handles: Vec<_> = (0..CLIENTS / 2).map(|_| Handle::There(Client::connect(&path).unwrap())).collect();
        std::thread::scope(|scope| {
            let clients: Vec<_> = (0..CLIENTS)
                .map(|thread| {
                    let handle = &handles[usize::from(thread) / 2];
                    scope.spawn(move || run_until_killed(handle, self.seed, thread, 0))
                })
                .collect();
            std::thread::sleep(Duration::from_micros(rng.random_range(0..60_000)));
            server.stop();
            server.wait().unwrap();
            clients.into_iter().map(|client| client.join().unwrap()).collect()
        })
    }

    /// Opens what the kill left and compares it with what each client did.
    fn verify(&mut self, under_way: &[u64], counts: &mut Counts) {
        let engine = PegaEngine::open(options(self.dir.path())).unwrap();
        for (thread, under_way) in (0..CLIENTS).zip(under_way) {
            let first = self.lives[usize::from(thread)].next;
            counts.acknowledged_steps += under_way - first;
            self.find_state(&engine, thread, *under_way);
            counts.values_compared += u64::from(KEYS);
        }
        engine.close().unwrap();
    }

    /// Finds that the engine holds what all acknowledged steps leave, with or without the one under way.
    fn find_state(&mut self, engine: &PegaEngine, thread: u8, under_way: u64) {
        let found: Vec<_> = (0..KEYS).map(|key| engine.get(&load::key(thread, key)).unwrap()).collect();
        let (seed, life) = (self.seed, &mut self.lives[usize::from(thread)]);
        for number in life.next..under_way {
            load::apply_to_model(&mut life.model, seed, thread, number);
        }
        let holds = |model: &Model| {
            (0..KEYS).all(|key| {
                let expected = model.get(&key).map(|(number, size)| load::value(seed, thread, *number, key, *size));
                found[usize::from(key)] == expected
            })
        };
        let mut with_next = life.model.clone();
        load::apply_to_model(&mut with_next, seed, thread, under_way);
        if holds(&with_next) {
            *life = Life { model: with_next, next: under_way + 1 };
        } else {
            assert!(holds(&life.model), "client {thread} was acknowledged {under_way} steps, and finds something else");
            life.next = under_way;
        }
    }
}

#[test]
fn a_killed_sidecar_loses_nothing_that_it_acknowledged() {
    let kills = scale::of(12, 200);
    let mut rng = SmallRng::seed_from_u64(kills);
    let mut counts = Counts::default();
    let mut scenario = Scenario::new(0);
    for kill in 0..kills {
        if kill % KILLS_PER_DIRECTORY == 0 {
            scenario = Scenario::new(kill);
        }
        let under_way = scenario.live_and_die(&mut rng);
        scenario.verify(&under_way, &mut counts);
        counts.kills += 1;
    }
    println!("kill -9, through a sidecar, durability sync: {counts:?}");
    assert!(counts.acknowledged_steps > counts.kills);
}

#[test]
fn a_drained_sidecar_loses_nothing_that_it_acknowledged() {
    let drains = scale::of(12, 100);
    let mut rng = SmallRng::seed_from_u64(drains);
    let mut counts = Counts::default();
    for seed in 0..drains {
        let mut scenario = Scenario::new(seed);
        let under_way = scenario.live_and_drain(&mut rng);
        scenario.verify(&under_way, &mut counts);
        counts.kills += 1;
    }
    println!("drained under load, durability none: {counts:?}");
    assert!(counts.acknowledged_steps > counts.kills);
}
