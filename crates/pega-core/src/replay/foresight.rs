//! What a replay may tell its policy about the future: it has read the trace to the end, a server has not.

use super::trace::Trace;
use crate::policy::Hint;

/// Which hints a replay gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Foresight {
    /// None: the policy sees uses only.
    None,
    /// Blocks that nothing will use again are released this long after their last use, as a server does that learns
    /// late which conversations ended.
    Ended {
        /// Milliseconds between the last use of a block and its release.
        delay_ms: u64,
    },
    /// The next use of every block. With [`crate::policy::PolicyKind::NextUse`] this is Belady's optimum.
    Exact,
}

const NEVER: u32 = u32::MAX;

/// Reads the hints off the trace.
pub(super) struct Oracle {
    foresight: Foresight,
    /// By block: the last request that refers to it, where releases are asked for.
    last_request: Vec<u32>,
    /// By reference: the next request that refers to the same block, where next uses are asked for.
    next_request: Vec<u32>,
    /// Where the search for ended blocks stands: a request and how many of its references were looked at.
    cursor: (usize, usize),
}

impl Oracle {
    pub(super) fn new(trace: &Trace, foresight: Foresight) -> Self {
        let mut last_request = vec![NEVER; trace.unique_blocks()];
        let mut next_request = vec![NEVER; if foresight == Foresight::Exact { trace.references() } else { 0 }];
        for request in (0..trace.len()).rev() {
            for index in trace.range(request) {
                let block = trace.block_at(index) as usize;
                match foresight {
                    Foresight::None => {}
                    Foresight::Ended { .. } if last_request[block] != NEVER => {}
                    Foresight::Ended { .. } => last_request[block] = request as u32,
                    Foresight::Exact => {
                        next_request[index] = last_request[block];
                        last_request[block] = request as u32;
                    }
                }
            }
        }
        Self { foresight, last_request, next_request, cursor: (0, 0) }
    }

    /// The clock of the policy at `request`: time, or the count of requests where next uses are known by it.
    pub(super) fn now(&self, trace: &Trace, request: usize) -> u64 {
        match self.foresight {
            Foresight::Exact => request as u64,
            Foresight::None | Foresight::Ended { .. } => trace.timestamp_ms(request),
        }
    }

    /// The next block whose release is due when `request` comes, from the end of each prompt to its start.
    pub(super) fn next_ended(&mut self, trace: &Trace, request: usize) -> Option<u32> {
        let Foresight::Ended { delay_ms } = self.foresight else { return None };
        let now_ms = trace.timestamp_ms(request);
        while self.cursor.0 < request && trace.timestamp_ms(self.cursor.0) + delay_ms <= now_ms {
            let (ended, looked_at) = self.cursor;
            let blocks = trace.blocks(ended);
            if looked_at == blocks.len() {
                self.cursor = (ended + 1, 0);
                continue;
            }
            self.cursor.1 += 1;
            let block = blocks[blocks.len() - 1 - looked_at];
            if self.last_request[block as usize] == ended as u32 {
                return Some(block);
            }
        }
        None
    }

    /// What to tell of the block that was just used by the reference at `index`.
    pub(super) fn after_use(&self, request: usize, index: usize) -> Option<Hint> {
        match self.next_request.get(index) {
            None => None,
            Some(&NEVER) => Some(Hint::Release),
            Some(&next) if next as usize == request => None,
            Some(&next) => Some(Hint::NextUse { at_ms: u64::from(next) }),
        }
    }
}
