use super::{Foresight, Replay, Score, Trace};
use crate::policy::PolicyKind;
use proptest::prelude::*;

fn trace(requests: &[(u64, &[u64])]) -> Trace {
    let mut trace = Trace::new();
    for (timestamp_ms, blocks) in requests {
        trace.push(*timestamp_ms, blocks).unwrap();
    }
    trace
}

fn score(trace: &Trace, kind: PolicyKind, capacity_blocks: u32, foresight: Foresight) -> Score {
    let mut replay = Replay::new(trace.clone(), kind, capacity_blocks, foresight);
    while replay.advance(3) > 0 {}
    replay.score()
}

#[test]
fn a_block_hits_only_if_all_before_it_do() {
    let trace = trace(&[(0, &[1, 2, 3]), (1, &[1, 9, 3])]);
    let score = score(&trace, PolicyKind::Lru, 10, Foresight::None);
    assert_eq!(score, Score { references: 6, hits: 1, ideal_hits: 1 });
}

#[test]
fn a_prompt_loses_its_tail_first() {
    let trace = trace(&[(0, &[1, 2, 3]), (1, &[8]), (2, &[1, 2, 3])]);
    assert_eq!(score(&trace, PolicyKind::Lru, 3, Foresight::None).hits, 2);
}

#[test]
fn a_cache_without_room_never_hits() {
    let trace = trace(&[(0, &[1]), (1, &[1])]);
    for &kind in PolicyKind::ALL {
        assert_eq!(score(&trace, kind, 0, Foresight::None).hits, 0, "{}", kind.name());
    }
}

#[test]
fn blocks_that_ended_make_room_after_the_delay_only() {
    let trace = trace(&[(0, &[1]), (10, &[2]), (70, &[3]), (80, &[4]), (90, &[1])]);
    let hits = |delay_ms| score(&trace, PolicyKind::Lru, 2, Foresight::Ended { delay_ms }).hits;
    assert_eq!((hits(1), hits(60)), (1, 0));
}

#[test]
fn a_request_before_its_predecessor_is_refused() {
    let mut trace = trace(&[(5, &[1])]);
    assert_eq!(trace.push(4, &[1]).unwrap_err().get("request"), Some("1"));
}

proptest! {
    #[test]
    fn no_policy_beats_an_infinite_cache_and_a_large_one_reaches_it(
        requests in prop::collection::vec(prop::collection::vec(0_u64..30, 0..8), 0..60),
        which in 0..PolicyKind::ALL.len(),
    ) {
        let mut trace = Trace::new();
        for (time, blocks) in requests.iter().enumerate() {
            trace.push(time as u64, blocks).unwrap();
        }
        let kind = PolicyKind::ALL[which];
        let small = score(&trace, kind, 10, Foresight::None);
        prop_assert!(small.hits <= small.ideal_hits);
        prop_assert_eq!(score(&trace, kind, 30, Foresight::None).hits, small.ideal_hits);
    }

    #[test]
    fn knowing_every_next_use_beats_every_policy_on_single_blocks(
        blocks in prop::collection::vec(0_u64..12, 0..150),
        capacity in 1_u32..8,
    ) {
        let mut trace = Trace::new();
        for (time, block) in blocks.iter().enumerate() {
            trace.push(time as u64, &[*block]).unwrap();
        }
        let optimum = score(&trace, PolicyKind::NextUse, capacity, Foresight::Exact).hits;
        for &kind in PolicyKind::ALL {
            prop_assert!(score(&trace, kind, capacity, Foresight::None).hits <= optimum, "{}", kind.name());
        }
    }
}
