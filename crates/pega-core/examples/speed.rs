//! What one thread does a second, next to a copy of the same bytes.
//!
//! `cargo run --release --example speed`

use std::hint::black_box;
use std::time::Instant;

use pega_core::{Options, PegaEngine, Result};

const ROUNDS: usize = 5;

fn median(mut rates: Vec<f64>) -> f64 {
    rates.sort_by(f64::total_cmp);
    rates[rates.len() / 2]
}

fn rate(count: usize, mut work: impl FnMut(usize)) -> f64 {
    let start = Instant::now();
    (0..count).for_each(&mut work);
    count as f64 / start.elapsed().as_secs_f64()
}

fn small_values(engine: &PegaEngine) {
    let value = [7_u8; 100];
    let mut target = [0_u8; 100];
    let keys: Vec<[u8; 8]> = (0..100_000_u64).map(u64::to_le_bytes).collect();
    let (mut puts, mut gets, mut pairs) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        puts.push(rate(keys.len(), |i| engine.put(&keys[i], &value).expect("room for all")));
        gets.push(rate(keys.len(), |i| {
            black_box(engine.get_into(&keys[i], &mut target).expect("whole"));
        }));
        pairs.push(rate(keys.len(), |i| {
            engine.put(&keys[i], &value).expect("room for all");
            black_box(engine.get_into(&keys[i], &mut target).expect("whole"));
        }));
    }
    println!(
        "100 B: put {:.2} M/s, get {:.2} M/s, put and get {:.2} M/s",
        median(puts) / 1e6,
        median(gets) / 1e6,
        median(pairs) / 1e6
    );
}

fn large_values(engine: &PegaEngine, size: usize) {
    let count = (64 << 20) / size;
    let sources: Vec<Vec<u8>> = (0..4_u8).map(|i| vec![i; size]).collect();
    let mut arena = vec![1_u8; count * size];
    let mut target = vec![1_u8; size];
    let (mut copies, mut puts, mut gets, mut views) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let gigabytes = size as f64 / 1e9;
    for _ in 0..ROUNDS {
        copies.push(gigabytes * rate(count, |i| arena[i * size..][..size].copy_from_slice(black_box(&sources[i % 4]))));
        puts.push(gigabytes * rate(count, |i| engine.put(&i.to_le_bytes(), &sources[i % 4]).expect("room for all")));
        gets.push(
            gigabytes
                * rate(count, |i| {
                    black_box(engine.get_into(&i.to_le_bytes(), &mut target).expect("whole"));
                }),
        );
        views.push(rate(count, |i| {
            black_box(engine.get_view(&i.to_le_bytes()).expect("whole"));
        }));
    }
    let copy = median(copies);
    let (put, get) = (median(puts), median(gets));
    println!(
        "{} KiB: copy {copy:.2} GB/s, put {put:.2} ({:.2}), get_into {get:.2} ({:.2}), get_view {:.2} M/s",
        size >> 10,
        put / copy,
        get / copy,
        median(views) / 1e6
    );
}

fn main() -> Result<()> {
    let engine = PegaEngine::open(Options { memory_bytes: 256 << 20, ..Options::default() })?;
    small_values(&engine);
    for size in [64 << 10, 1 << 20, 2 << 20] {
        large_values(&engine, size);
    }
    Ok(())
}
