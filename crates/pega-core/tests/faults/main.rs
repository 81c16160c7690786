//! What an engine survives, with counts: run by `nox -s faults`, or by hand with
//! `cargo test --release -p pega-core --test faults -- --nocapture`.
//!
//! `PENGUIFLOW_TEST_SCALE=full` runs as often as the documentation says; the default is shorter.

mod damage;
mod hostile;
mod kill;
mod load;
mod many_threads;
mod no_space;
mod scale;
