//! A process under load is killed, again and again, and its directory opened: every byte is right, every transaction
//! whole or absent, and what was acknowledged is there as far as durability promises.
//!
//! The changes of one thread reach the log in their order. So for each thread the directory holds the state after
//! some number of its steps; under `sync` that is the last acknowledged step, or the one that was under way.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use pega_core::log::Durability;
use pega_core::{Options, PegaEngine};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::load::{self, KEYS, Model};
use super::scale;

const THREADS: u8 = 3;

/// Kills between two new directories: damage that one recovery leaves must show in the next.
const KILLS_PER_DIRECTORY: u64 = 8;

const FLUSH_INTERVAL: Duration = Duration::from_millis(20);

fn options(dir: &Path, durability: Durability) -> Options {
    Options {
        memory_bytes: 256 << 10,
        disk_bytes: 4 << 20,
        segment_bytes: Some(256 << 10),
        durability,
        flush_interval: FLUSH_INTERVAL,
        ..Options::at(dir)
    }
}

fn durability_of(name: &str) -> Durability {
    match name {
        "sync" => Durability::Sync,
        "batched" => Durability::Batched,
        "none" => Durability::None,
        other => panic!("no durability is called {other}"),
    }
}

/// Acknowledged steps of one thread, a line each: its number, and when it was acknowledged.
fn acknowledgements(dir: &Path, thread: u8) -> PathBuf {
    dir.join(format!("acknowledged-{thread}"))
}

/// The process that is killed: `PEGA_FAULT` holds the directory, the durability, the seed, and each thread's first step.
#[test]
#[ignore = "the process that the other tests kill"]
fn the_killed_process() {
    let Ok(orders) = std::env::var("PEGA_FAULT") else { return };
    let mut orders = orders.split('|');
    let mut next = || orders.next().expect("four orders and the first steps");
    let (dir, durability) = (PathBuf::from(next()), durability_of(next()));
    let seed = next().parse().unwrap();
    let first: Vec<u64> = next().split(',').map(|step| step.parse().unwrap()).collect();
    let engine = PegaEngine::open(options(&dir.join("log"), durability)).unwrap();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (engine, dir, first) = (&engine, &dir, first[usize::from(thread)]);
            scope.spawn(move || {
                let path = acknowledgements(dir, thread);
                let mut file = OpenOptions::new().create(true).append(true).open(path).unwrap();
                for number in first.. {
                    load::apply(engine, seed, thread, number).unwrap();
                    writeln!(file, "{number} {}", unix_ms()).unwrap();
                }
            });
        }
    });
}

fn unix_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
}

/// What is known of one thread of the killed process.
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
    lost_steps: u64,
    longest_loss_ms: u64,
}

struct Scenario {
    dir: tempfile::TempDir,
    durability: &'static str,
    seed: u64,
    lives: Vec<Life>,
}

impl Scenario {
    fn new(durability: &'static str, seed: u64) -> Self {
        let lives = (0..THREADS).map(|_| Life { model: Model::new(), next: 0 }).collect();
        Self { dir: tempfile::tempdir().unwrap(), durability, seed, lives }
    }

    /// Runs the load until it is killed; gives when that was.
    fn live_and_die(&self, rng: &mut SmallRng) -> u64 {
        for thread in 0..THREADS {
            std::fs::write(acknowledgements(self.dir.path(), thread), "").unwrap();
        }
        let first: Vec<_> = self.lives.iter().map(|life| life.next.to_string()).collect();
        let orders =
            [self.dir.path().to_str().unwrap(), self.durability, &self.seed.to_string(), &first.join(",")].join("|");
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "kill::the_killed_process", "--ignored", "--nocapture"])
            .env("PEGA_FAULT", orders)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let began = Instant::now();
        while self.acknowledged(0).is_empty() {
            assert!(began.elapsed() < Duration::from_secs(60), "the load never began");
            assert!(process.try_wait().unwrap().is_none(), "the load ended by itself");
            std::thread::sleep(Duration::from_millis(1));
        }
        // The moment of the kill is what is random, not something that is waited for.
        std::thread::sleep(Duration::from_micros(rng.random_range(0..120_000)));
        process.kill().unwrap();
        let killed_at = unix_ms();
        assert!(!process.wait().unwrap().success());
        killed_at
    }

    fn acknowledged(&self, thread: u8) -> Vec<(u64, u64)> {
        let file = std::fs::File::open(acknowledgements(self.dir.path(), thread)).unwrap();
        let lines = BufReader::new(file).lines().map_while(Result::ok);
        lines
            .filter_map(|line| line.split_once(' ').and_then(|(n, ms)| Some((n.parse().ok()?, ms.parse().ok()?))))
            .collect()
    }

    /// Opens what the kill left and compares it with what each thread did.
    fn verify(&mut self, killed_at: u64, counts: &mut Counts) {
        let engine = PegaEngine::open(options(&self.dir.path().join("log"), durability_of(self.durability))).unwrap();
        for thread in 0..THREADS {
            let acknowledged = self.acknowledged(thread);
            counts.acknowledged_steps += acknowledged.len() as u64;
            let under_way = acknowledged.last().map_or(self.lives[usize::from(thread)].next, |(number, _)| number + 1);
            let reached = self.find_state(&engine, thread, under_way, counts);
            let lost = acknowledged.iter().filter(|(number, _)| *number >= reached);
            for (_, acknowledged_at) in lost {
                assert_ne!(self.durability, "sync", "an acknowledged step is lost");
                counts.lost_steps += 1;
                counts.longest_loss_ms = counts.longest_loss_ms.max(killed_at.saturating_sub(*acknowledged_at));
            }
        }
        engine.close().unwrap();
    }

    /// The number of the first step of `thread` that the engine does not hold, all before being whole.
    fn find_state(&mut self, engine: &PegaEngine, thread: u8, under_way: u64, counts: &mut Counts) -> u64 {
        let found: Vec<_> = (0..KEYS).map(|key| engine.get(&load::key(thread, key)).unwrap()).collect();
        let life = &mut self.lives[usize::from(thread)];
        let mut model = life.model.clone();
        let (first, seed) = (life.next, self.seed);
        let mut matching = None;
        for next in first..=under_way + 1 {
            let holds = |key: u8| {
                let expected = model.get(&key).map(|(number, size)| load::value(seed, thread, *number, key, *size));
                found[usize::from(key)] == expected
            };
            if (0..KEYS).all(holds) {
                matching = Some((next, model.clone()));
            }
            if next <= under_way {
                load::apply_to_model(&mut model, seed, thread, next);
            }
        }
        counts.values_compared += u64::from(KEYS);
        let (next, model) = matching.unwrap_or_else(|| panic!("thread {thread} holds what no number of steps leaves"));
        *life = Life { model, next };
        next
    }
}

fn kill_again_and_again(durability: &'static str, kills: u64) -> Counts {
    let mut rng = SmallRng::seed_from_u64(kills);
    let mut counts = Counts::default();
    let mut scenario = Scenario::new(durability, 0);
    for kill in 0..kills {
        if kill % KILLS_PER_DIRECTORY == 0 {
            scenario = Scenario::new(durability, kill);
        }
        let killed_at = scenario.live_and_die(&mut rng);
        scenario.verify(killed_at, &mut counts);
        counts.kills += 1;
    }
    println!("kill -9, embedded, durability {durability}: {counts:?}");
    counts
}

#[test]
fn under_sync_a_kill_loses_nothing_that_was_acknowledged() {
    let counts = kill_again_and_again("sync", scale::of(16, 200));
    assert!(counts.acknowledged_steps > counts.kills);
    assert_eq!(counts.lost_steps, 0);
}

#[test]
fn batched_a_kill_loses_no_more_than_the_last_interval() {
    let counts = kill_again_and_again("batched", scale::of(8, 120));
    // Twice the interval, and room for a machine that is busy with other things.
    assert!(counts.longest_loss_ms <= 2 * FLUSH_INTERVAL.as_millis() as u64 + 1000, "{counts:?}");
}

#[test]
fn without_durability_a_kill_leaves_no_wrong_byte_and_no_half_transaction() {
    kill_again_and_again("none", scale::of(4, 80));
}
