//! Two-level segregated fit: the allocator of the arena, in constant time and with its bookkeeping kept apart.
//!
//! Free runs are filed by size in classes of which each octave has 32, so a run taken is at most 1/32 larger than a
//! run that would have fitted exactly, and neighbours that become free are joined at once (Masmano et al., "TLSF: a
//! new dynamic memory allocator for real-time systems", 2004). Sizes and offsets count granules.

const NIL: u32 = u32::MAX;
const SUBCLASS_BITS: u32 = 5;
const SUBCLASSES: usize = 1 << SUBCLASS_BITS;
const OCTAVES: usize = 32 - SUBCLASS_BITS as usize + 1;

#[derive(Clone, Copy)]
struct Run {
    offset: u32,
    size: u32,
    before: u32,
    after: u32,
    /// Links of the free list of the run's class. `next` also links the runs that are not in use as nodes.
    previous: u32,
    next: u32,
    is_free: bool,
}

/// Where an allocation lies, and the name of its bookkeeping.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Taken {
    pub(super) run: u32,
    pub(super) offset: u32,
}

pub(super) struct Tlsf {
    runs: Vec<Run>,
    spare: u32,
    octaves: u32,
    subclasses: [u32; OCTAVES],
    heads: [[u32; SUBCLASSES]; OCTAVES],
}

impl Tlsf {
    pub(super) fn new(size: u32) -> Self {
        let mut tlsf = Self {
            runs: Vec::with_capacity(1024),
            spare: NIL,
            octaves: 0,
            subclasses: [0; OCTAVES],
            heads: [[NIL; SUBCLASSES]; OCTAVES],
        };
        let whole =
            tlsf.node(Run { offset: 0, size, before: NIL, after: NIL, previous: NIL, next: NIL, is_free: false });
        tlsf.file(whole);
        tlsf
    }

    /// Takes `size > 0` granules, or gives `None` if no free run is surely long enough.
    pub(super) fn take(&mut self, size: u32) -> Option<Taken> {
        let run = self.find(size)?;
        self.unfile(run);
        let Run { offset, size: found, after, .. } = self.runs[run as usize];
        if found > size {
            let rest = self.node(Run {
                offset: offset + size,
                size: found - size,
                before: run,
                after,
                previous: NIL,
                next: NIL,
                is_free: false,
            });
            if after != NIL {
                self.runs[after as usize].before = rest;
            }
            let taken = &mut self.runs[run as usize];
            taken.size = size;
            taken.after = rest;
            self.file(rest);
        }
        Some(Taken { run, offset })
    }

    /// Gives a run back and returns its size.
    pub(super) fn give(&mut self, run: u32) -> u32 {
        let size = self.runs[run as usize].size;
        debug_assert!(!self.runs[run as usize].is_free, "run {run} is given back twice");
        let mut run = run;
        let before = self.runs[run as usize].before;
        if before != NIL && self.runs[before as usize].is_free {
            self.unfile(before);
            self.join(before, run);
            run = before;
        }
        let after = self.runs[run as usize].after;
        if after != NIL && self.runs[after as usize].is_free {
            self.unfile(after);
            self.join(run, after);
        }
        self.file(run);
        size
    }

    /// The shortest filed run that is certain to hold `size` granules: the search starts one class up, except that
    /// the head of the size's own class is looked at, because values of one size are the usual case.
    fn find(&self, size: u32) -> Option<u32> {
        let (octave, subclass) = class_of(size);
        let own = self.heads[octave][subclass];
        if own != NIL && self.runs[own as usize].size >= size {
            return Some(own);
        }
        let in_octave = self.subclasses[octave] & u32::MAX.checked_shl(subclass as u32 + 1).unwrap_or(0);
        if in_octave != 0 {
            return Some(self.heads[octave][in_octave.trailing_zeros() as usize]);
        }
        let above = self.octaves & u32::MAX.checked_shl(octave as u32 + 1).unwrap_or(0);
        if above == 0 {
            return None;
        }
        let octave = above.trailing_zeros() as usize;
        Some(self.heads[octave][self.subclasses[octave].trailing_zeros() as usize])
    }

    fn file(&mut self, run: u32) {
        let (octave, subclass) = class_of(self.runs[run as usize].size);
        let head = self.heads[octave][subclass];
        let filed = &mut self.runs[run as usize];
        filed.is_free = true;
        filed.previous = NIL;
        filed.next = head;
        if head != NIL {
            self.runs[head as usize].previous = run;
        }
        self.heads[octave][subclass] = run;
        self.subclasses[octave] |= 1 << subclass;
        self.octaves |= 1 << octave;
    }

    fn unfile(&mut self, run: u32) {
        let Run { size, previous, next, .. } = self.runs[run as usize];
        self.runs[run as usize].is_free = false;
        if next != NIL {
            self.runs[next as usize].previous = previous;
        }
        if previous != NIL {
            self.runs[previous as usize].next = next;
            return;
        }
        let (octave, subclass) = class_of(size);
        self.heads[octave][subclass] = next;
        if next == NIL {
            self.subclasses[octave] &= !(1 << subclass);
            if self.subclasses[octave] == 0 {
                self.octaves &= !(1 << octave);
            }
        }
    }

    /// Joins `right` to its neighbour `left` and lets its node go.
    fn join(&mut self, left: u32, right: u32) {
        let Run { size, after, .. } = self.runs[right as usize];
        let joined = &mut self.runs[left as usize];
        joined.size += size;
        joined.after = after;
        if after != NIL {
            self.runs[after as usize].before = left;
        }
        self.runs[right as usize].next = self.spare;
        self.spare = right;
    }

    fn node(&mut self, run: Run) -> u32 {
        if self.spare != NIL {
            let id = self.spare;
            self.spare = self.runs[id as usize].next;
            self.runs[id as usize] = run;
            return id;
        }
        self.runs.push(run);
        u32::try_from(self.runs.len() - 1).expect("there are fewer runs than granules")
    }
}

/// The class that holds runs of `size`: octave 0 counts single granules, each later one divides a power of two.
fn class_of(size: u32) -> (usize, usize) {
    let bits = u32::BITS - 1 - size.max(1).leading_zeros();
    if bits < SUBCLASS_BITS {
        return (0, size as usize);
    }
    let subclass = (size >> (bits - SUBCLASS_BITS)) as usize & (SUBCLASSES - 1);
    ((bits - SUBCLASS_BITS) as usize + 1, subclass)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn free_total(tlsf: &Tlsf) -> u64 {
        let mut total = 0;
        for heads in &tlsf.heads {
            for &head in heads {
                let mut run = head;
                while run != NIL {
                    assert!(tlsf.runs[run as usize].is_free);
                    total += u64::from(tlsf.runs[run as usize].size);
                    run = tlsf.runs[run as usize].next;
                }
            }
        }
        total
    }

    #[test]
    fn everything_can_be_taken_in_equal_runs_and_given_back_whole() {
        let mut tlsf = Tlsf::new(1000);
        let runs: Vec<_> = (0..10).map(|_| tlsf.take(100).unwrap().run).collect();
        assert_eq!(tlsf.take(1), None);
        runs.into_iter().for_each(|run| {
            tlsf.give(run);
        });
        assert_eq!(tlsf.take(1000).unwrap().offset, 0);
    }

    proptest! {
        #[test]
        fn runs_never_overlap_and_none_is_lost(steps in prop::collection::vec((1_u32..200, any::<bool>(), any::<usize>()), 1..400)) {
            let mut tlsf = Tlsf::new(5000);
            let mut live: Vec<(Taken, u32)> = Vec::new();
            for (size, takes, pick) in steps {
                if takes || live.is_empty() {
                    if let Some(taken) = tlsf.take(size) {
                        for (other, length) in &live {
                            prop_assert!(taken.offset + size <= other.offset || other.offset + length <= taken.offset);
                        }
                        prop_assert!(taken.offset + size <= 5000);
                        live.push((taken, size));
                    }
                } else {
                    let (taken, size) = live.swap_remove(pick % live.len());
                    prop_assert_eq!(tlsf.give(taken.run), size);
                }
                let used: u64 = live.iter().map(|(_, size)| u64::from(*size)).sum();
                prop_assert_eq!(free_total(&tlsf) + used, 5000);
            }
            for (taken, _) in live {
                tlsf.give(taken.run);
            }
            prop_assert!(tlsf.take(5000).is_some());
        }
    }
}
