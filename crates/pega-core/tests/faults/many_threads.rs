//! Random operations from several threads against a model each, over an engine whose memory holds a part of them.

use pega_core::log::Durability;
use pega_core::{Options, PegaEngine};
use rand::rngs::SmallRng;
use rand::{Rng, SeedableRng};

use super::load::{self, KEYS, Model};
use super::scale;

const THREADS: u8 = 4;
const SEED: u64 = 5;

/// Works through steps, and after each reads a key of its own and one of another thread.
fn work(engine: &PegaEngine, thread: u8, steps: u64) -> Model {
    let mut rng = SmallRng::seed_from_u64(thread.into());
    let mut model = Model::new();
    for number in 0..steps {
        load::apply(engine, SEED, thread, number).unwrap();
        load::apply_to_model(&mut model, SEED, thread, number);
        let key = rng.random_range(0..KEYS);
        assert!(engine.get(&load::key(thread, key)).unwrap() == expected(&model, thread, key));
        let (other, key) = (rng.random_range(0..THREADS), rng.random_range(0..KEYS));
        if let Some(value) = engine.get(&load::key(other, key)).unwrap()
            && value.len() >= 10
        {
            let number = u64::from_le_bytes(value[..8].try_into().unwrap());
            assert!(value == load::value(SEED, other, number, key, value.len()));
        }
    }
    model
}

fn expected(model: &Model, thread: u8, key: u8) -> Option<Vec<u8>> {
    model.get(&key).map(|(number, size)| load::value(SEED, thread, *number, key, *size))
}

#[test]
fn a_million_operations_of_several_threads_agree_with_their_models() {
    let dir = tempfile::tempdir().unwrap();
    let steps = scale::of(10_000, 100_000);
    let options = Options {
        memory_bytes: 256 << 10,
        disk_bytes: 8 << 20,
        durability: Durability::Batched,
        ..Options::at(dir.path())
    };
    let engine = PegaEngine::open(options.clone()).unwrap();
    let models: Vec<_> = std::thread::scope(|scope| {
        let engine = &engine;
        let threads: Vec<_> = (0..THREADS).map(|thread| scope.spawn(move || work(engine, thread, steps))).collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let counts = engine.stats().counts;
    engine.close().unwrap();
    let engine = PegaEngine::open(options).unwrap();
    for (thread, model) in (0..THREADS).zip(&models) {
        for key in 0..KEYS {
            assert!(engine.get(&load::key(thread, key)).unwrap() == expected(model, thread, key));
        }
    }
    assert_eq!(engine.len(), models.iter().map(Model::len).sum::<usize>());
    // A step that writes, and two reads.
    let operations = steps * u64::from(THREADS) * 3;
    println!("random operations of {THREADS} threads against models: {operations}, none wrong; {counts:?}");
}
