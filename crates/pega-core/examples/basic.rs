//! The first steps: put, get, remove, and a batch that happens as one.
//!
//! `cargo run --release --example basic`

use std::time::Duration;

use pega_core::{PegaEngine, PutOptions, Result};

fn main() -> Result<()> {
    let engine = PegaEngine::new()?;

    engine.put(b"greeting", b"hello")?;
    assert_eq!(engine.get(b"greeting")?.as_deref(), Some(&b"hello"[..]));

    let view = engine.get_view(b"greeting")?.expect("just put");
    engine.put(b"greeting", b"good evening")?;
    assert_eq!(&*view, b"hello", "a view keeps what it was made of");

    let for_an_hour = PutOptions { ttl: Some(Duration::from_secs(3600)) };
    let mut batch = engine.transaction();
    batch.put(b"session/1", b"alice", for_an_hour)?.put(b"session/2", b"bob", for_an_hour)?.remove(b"greeting")?;
    batch.commit()?;

    for key in engine.scan(b"session/")? {
        println!("{} = {:?}", String::from_utf8_lossy(&key), engine.get(&key)?);
    }
    println!("{:#?}", engine.stats());
    engine.close()
}
