//! A load that two processes can compute alike: what each thread does is a function of its number and the step's.

use std::collections::BTreeMap;

use pega_core::{PegaEngine, PutOptions};
use rand::rngs::SmallRng;
use rand::{Rng, RngCore, SeedableRng};

/// Keys of one thread; no other thread writes them.
pub const KEYS: u8 = 40;

/// One step: a put, a remove, or a transaction of several. `None` removes.
pub type Step = Vec<(u8, Option<usize>)>;

/// What each key of one thread holds: the step that put it and the size of the value.
pub type Model = BTreeMap<u8, (u64, usize)>;

/// What thread `thread` does as its `number`th step.
pub fn step(seed: u64, thread: u8, number: u64) -> Step {
    let mut rng = rng(seed, thread, number);
    let count = if rng.random_range(0..5) == 0 { rng.random_range(2..6) } else { 1 };
    let mut step: Step = Vec::new();
    for _ in 0..count {
        let key = rng.random_range(0..KEYS);
        let is_put = rng.random_range(0..4) > 0;
        let size = if rng.random_range(0..10) == 0 { rng.random_range(0..60_000) } else { rng.random_range(0..3000) };
        if step.iter().all(|(other, _)| *other != key) {
            step.push((key, is_put.then_some(size)));
        }
    }
    step
}

pub fn key(thread: u8, key: u8) -> Vec<u8> {
    format!("thread {thread} key {key}").into_bytes()
}

/// The value that step `number` puts under `key`: no other step, key or thread puts the same.
pub fn value(seed: u64, thread: u8, number: u64, key: u8, size: usize) -> Vec<u8> {
    let mut bytes = vec![0; size];
    rng(seed ^ u64::from(key).rotate_left(40), thread, number).fill_bytes(&mut bytes);
    let name = [&number.to_le_bytes()[..], &[thread, key]].concat();
    let len = name.len().min(size);
    bytes[..len].copy_from_slice(&name[..len]);
    bytes
}

fn rng(seed: u64, thread: u8, number: u64) -> SmallRng {
    SmallRng::seed_from_u64(seed ^ number.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ (u64::from(thread) << 56))
}

/// Applies a step to an engine, as one transaction if it has several changes.
pub fn apply(engine: &PegaEngine, seed: u64, thread: u8, number: u64) -> pega_core::Result<()> {
    let step = step(seed, thread, number);
    let changes: Vec<_> = step
        .iter()
        .map(|(k, size)| (key(thread, *k), size.map(|size| value(seed, thread, number, *k, size))))
        .collect();
    if let [(key, value)] = &changes[..] {
        return match value {
            Some(value) => engine.put(key, value),
            None => engine.remove(key).map(drop),
        };
    }
    let mut transaction = engine.transaction();
    for (key, value) in &changes {
        match value {
            Some(value) => transaction.put(key, value, PutOptions::default())?,
            None => transaction.remove(key)?,
        };
    }
    transaction.commit().map(drop)
}

/// Applies a step to a model.
pub fn apply_to_model(model: &mut Model, seed: u64, thread: u8, number: u64) {
    for (key, size) in step(seed, thread, number) {
        match size {
            Some(size) => drop(model.insert(key, (number, size))),
            None => drop(model.remove(&key)),
        }
    }
}
