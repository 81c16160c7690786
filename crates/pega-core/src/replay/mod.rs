//! Replays a trace of block references through an eviction policy and counts the hits a prefix cache would have.
//!
//! A request names the blocks of its prompt in order. A block hits only if it and all blocks before it in the
//! request are resident; the hits are counted first, then every block of the request is used from the last to the
//! first, resident or not, so that of two blocks of one prompt the later one is the older use: a prefix without its
//! tail is worth something, a tail without its prefix nothing.

mod foresight;
mod trace;

#[cfg(test)]
mod tests;

pub use foresight::Foresight;
pub use trace::Trace;

use crate::policy::{EvictionPolicy, Hint, PolicyKind, PolicyLimits};
use foresight::Oracle;
use std::sync::Arc;

const ABSENT: u32 = u32::MAX;

/// What a replay has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Score {
    /// Blocks referred to.
    pub references: u64,
    /// References that found their block and all before it resident.
    pub hits: u64,
    /// References that an infinite cache would have hit.
    pub ideal_hits: u64,
}

impl Score {
    /// Share of references that hit; zero for no references.
    #[must_use]
    pub fn hit_rate(&self) -> f64 {
        share(self.hits, self.references)
    }

    /// Share of references that an infinite cache would have hit.
    #[must_use]
    pub fn ideal_hit_rate(&self) -> f64 {
        share(self.ideal_hits, self.references)
    }
}

fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { part as f64 / whole as f64 }
}

/// One pass of one policy over a trace, in steps.
pub struct Replay {
    trace: Arc<Trace>,
    policy: Box<dyn EvictionPolicy>,
    oracle: Oracle,
    /// Slot of each block, or `ABSENT`.
    slot_of: Vec<u32>,
    /// Block in each slot.
    block_of: Vec<u32>,
    free_slots: Vec<u32>,
    seen: Vec<bool>,
    next_request: usize,
    score: Score,
}

impl Replay {
    /// A replay through `kind` in a cache of `capacity_blocks`, with the hints that `foresight` gives.
    #[must_use]
    pub fn new(trace: impl Into<Arc<Trace>>, kind: PolicyKind, capacity_blocks: u32, foresight: Foresight) -> Self {
        let trace = trace.into();
        let limits = PolicyLimits { capacity_weight: u64::from(capacity_blocks), max_entries: capacity_blocks };
        let unique = trace.unique_blocks();
        Self {
            policy: kind.build(limits),
            oracle: Oracle::new(&trace, foresight),
            slot_of: vec![ABSENT; unique],
            block_of: vec![ABSENT; capacity_blocks as usize],
            free_slots: (0..capacity_blocks).rev().collect(),
            seen: vec![false; unique],
            next_request: 0,
            score: Score::default(),
            trace,
        }
    }

    /// Replays up to `requests` more requests and says how many are left.
    pub fn advance(&mut self, requests: usize) -> usize {
        let end = self.trace.len().min(self.next_request.saturating_add(requests));
        for request in self.next_request..end {
            self.step(request);
        }
        self.next_request = end;
        self.trace.len() - end
    }

    /// What was counted so far.
    #[must_use]
    pub fn score(&self) -> Score {
        self.score
    }

    fn step(&mut self, request: usize) {
        let blocks = self.trace.blocks(request);
        self.score.references += blocks.len() as u64;
        self.score.hits += leading(blocks, |block| self.slot_of[block as usize] != ABSENT);
        self.score.ideal_hits += leading(blocks, |block| self.seen[block as usize]);
        for index in self.trace.range(request) {
            self.seen[self.trace.block_at(index) as usize] = true;
        }
        self.policy.advance(self.oracle.now(&self.trace, request));
        self.release_ended(request);
        for index in self.trace.range(request).rev() {
            self.use_block(request, index);
        }
    }

    fn release_ended(&mut self, request: usize) {
        while let Some(block) = self.oracle.next_ended(&self.trace, request) {
            let slot = self.slot_of[block as usize];
            if slot != ABSENT {
                self.policy.hint(slot, Hint::Release);
            }
        }
    }

    fn use_block(&mut self, request: usize, index: usize) {
        let block = self.trace.block_at(index);
        let slot = match self.slot_of[block as usize] {
            ABSENT => match self.admit(block) {
                Some(slot) => slot,
                None => return,
            },
            slot => {
                self.policy.touch(slot);
                slot
            }
        };
        if let Some(hint) = self.oracle.after_use(request, index) {
            self.policy.hint(slot, hint);
        }
    }

    fn admit(&mut self, block: u32) -> Option<u32> {
        let key_hash = spread(u64::from(block) + 1);
        self.policy.announce(key_hash);
        if self.free_slots.is_empty() {
            let victim = self.policy.victim(&mut |_| true)?;
            self.slot_of[self.block_of[victim as usize] as usize] = ABSENT;
            self.free_slots.push(victim);
        }
        let slot = self.free_slots.pop()?;
        self.slot_of[block as usize] = slot;
        self.block_of[slot as usize] = block;
        self.policy.insert(slot, key_hash, 1);
        Some(slot)
    }
}

fn leading(blocks: &[u32], is_there: impl Fn(u32) -> bool) -> u64 {
    blocks.iter().take_while(|&&block| is_there(block)).count() as u64
}

/// The finaliser of SplitMix64: block numbers are dense, key hashes must not be.
fn spread(number: u64) -> u64 {
    let mixed = (number ^ (number >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}
