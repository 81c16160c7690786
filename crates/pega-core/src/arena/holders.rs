//! How many hold a piece of the arena: the one thing that is decided without a lock.

#[cfg(loom)]
use loom::sync::atomic::{AtomicU32, Ordering, fence};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicU32, Ordering, fence};

/// A count of holders. Whoever takes it to zero, and nobody else, frees the piece.
pub(super) struct Holders(AtomicU32);

impl Default for Holders {
    fn default() -> Self {
        Self(AtomicU32::new(0))
    }
}

impl Holders {
    /// Begins with one holder. The allocator's lock keeps others from doing the same.
    pub(super) fn start(&self) {
        self.0.store(1, Ordering::Relaxed);
    }

    /// Adds a holder. The caller is one, or has the lock of the index while it is one.
    pub(super) fn add(&self) {
        let before = self.0.fetch_add(1, Ordering::Relaxed);
        debug_assert!(before > 0, "a piece without a holder was held");
    }

    /// Takes a holder away. True if it was the last one: everything that any holder did with the piece has happened
    /// then.
    pub(super) fn remove(&self) -> bool {
        if self.0.fetch_sub(1, Ordering::Release) != 1 {
            return false;
        }
        fence(Ordering::Acquire);
        true
    }

    /// How many there are; a hint, unless the caller keeps others from changing it. If it is one, what earlier holders
    /// did has happened.
    pub(super) fn count(&self) -> u32 {
        self.0.load(Ordering::Acquire)
    }
}

#[cfg(all(test, loom))]
mod models {
    use super::*;
    use loom::cell::UnsafeCell;
    use loom::sync::Arc;
    use loom::thread;

    /// A piece that says what is done to it, so that the model checker sees a read after it was freed.
    #[derive(Default)]
    struct Piece {
        holders: Holders,
        bytes: UnsafeCell<u32>,
    }

    // SAFETY: the count decides who may touch the bytes; that it does so rightly is what is checked.
    unsafe impl Sync for Piece {}

    impl Piece {
        fn read(&self) -> u32 {
            // SAFETY: loom reports a conflicting access.
            self.bytes.with(|bytes| unsafe { *bytes })
        }

        fn release(&self) -> u32 {
            if !self.holders.remove() {
                return 0;
            }
            // SAFETY: loom reports a conflicting access.
            self.bytes.with_mut(|bytes| unsafe { *bytes = 7 });
            1
        }
    }

    #[test]
    fn the_last_holder_frees_after_every_read_and_only_once() {
        loom::model(|| {
            let piece = Arc::new(Piece::default());
            piece.holders.start();
            let readers: Vec<_> = (0..2)
                .map(|_| {
                    piece.holders.add();
                    let piece = Arc::clone(&piece);
                    thread::spawn(move || {
                        assert_eq!(piece.read(), 0);
                        piece.release()
                    })
                })
                .collect();
            let freed = piece.release() + readers.into_iter().map(|reader| reader.join().unwrap()).sum::<u32>();
            assert_eq!(freed, 1);
        });
    }

    #[test]
    fn whoever_sees_itself_alone_may_write() {
        loom::model(|| {
            let piece = Arc::new(Piece::default());
            piece.holders.start();
            piece.holders.add();
            let reader = {
                let piece = Arc::clone(&piece);
                thread::spawn(move || {
                    piece.read();
                    piece.release();
                })
            };
            if piece.holders.count() == 1 {
                // SAFETY: loom reports a conflicting access.
                piece.bytes.with_mut(|bytes| unsafe { *bytes = 9 });
            }
            reader.join().unwrap();
        });
    }
}
