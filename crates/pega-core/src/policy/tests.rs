use super::{EvictionPolicy, Hint, PolicyKind, PolicyLimits};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn build(kind: PolicyKind, entries: u32) -> Box<dyn EvictionPolicy> {
    kind.build(PolicyLimits { capacity_weight: u64::from(entries), max_entries: entries })
}

fn insert_new(policy: &mut dyn EvictionPolicy, id: u32, weight: u32) {
    let key_hash = u64::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    policy.announce(key_hash);
    policy.insert(id, key_hash, weight);
}

fn evict_all(policy: &mut dyn EvictionPolicy) -> Vec<u32> {
    std::iter::from_fn(|| policy.victim(&mut |_| true)).collect()
}

#[test]
fn a_policy_is_found_by_its_name_alone() {
    for &kind in PolicyKind::ALL {
        assert_eq!(kind.name().parse::<PolicyKind>().unwrap(), kind);
    }
    let message = "clock".parse::<PolicyKind>().unwrap_err().to_string();
    assert!(message.contains("\"clock\"") && message.contains("s3-fifo"), "{message}");
}

#[test]
fn every_policy_gives_back_each_entry_once() {
    for &kind in PolicyKind::ALL {
        let mut policy = build(kind, 100);
        for id in 0..100 {
            insert_new(&mut *policy, id, 1);
            policy.touch(id / 2);
        }
        let mut victims = evict_all(&mut *policy);
        victims.sort_unstable();
        assert_eq!(victims, (0..100).collect::<Vec<_>>(), "{}", kind.name());
        assert!(policy.is_empty(), "{}", kind.name());
    }
}

#[test]
fn every_policy_passes_over_pinned_entries_and_keeps_them() {
    for &kind in PolicyKind::ALL {
        let mut policy = build(kind, 20);
        for id in 0..20 {
            insert_new(&mut *policy, id, 1);
        }
        for _ in 0..19 {
            assert_ne!(policy.victim(&mut |id| id != 7), Some(7), "{}", kind.name());
        }
        assert_eq!(policy.victim(&mut |id| id != 7), None, "{}", kind.name());
        assert_eq!(policy.victim(&mut |_| true), Some(7), "{}", kind.name());
    }
}

#[test]
fn every_policy_takes_released_entries_first_unless_they_are_used() {
    for &kind in PolicyKind::ALL {
        let mut policy = build(kind, 20);
        for id in 0..20 {
            insert_new(&mut *policy, id, 1);
            policy.touch(id);
        }
        for id in [15, 16, 17] {
            policy.hint(id, Hint::Release);
        }
        policy.touch(16);
        let victims = [policy.victim(&mut |_| true), policy.victim(&mut |_| true)];
        assert_eq!(victims, [Some(15), Some(17)], "{}", kind.name());
        assert_ne!(policy.victim(&mut |_| true), Some(16), "{}", kind.name());
    }
}

#[test]
fn arranging_a_new_chain_orders_it_and_counts_no_use() {
    for &kind in PolicyKind::ALL {
        let mut policy = build(kind, 1000);
        (0..8).for_each(|id| insert_new(&mut *policy, id, 1));
        (0..8).rev().for_each(|id| policy.arrange(id));
        assert_eq!(evict_all(&mut *policy), (0..8).rev().collect::<Vec<_>>(), "{}", kind.name());
    }
}

#[test]
fn an_entry_stored_again_was_used() {
    for &kind in PolicyKind::ALL.iter().filter(|&&kind| kind != PolicyKind::Fifo) {
        let mut policy = build(kind, 8);
        (0..8).for_each(|id| insert_new(&mut *policy, id, 1));
        (0..8).for_each(|id| policy.arrange(id));
        (0..2).for_each(|_| policy.arrange(0));
        assert_eq!(evict_all(&mut *policy).last(), Some(&0), "{}", kind.name());
    }
}

#[test]
fn fifo_ignores_use_and_lru_follows_it() {
    let mut orders = [PolicyKind::Fifo, PolicyKind::Lru].map(|kind| {
        let mut policy = build(kind, 4);
        (0..4).for_each(|id| insert_new(&mut *policy, id, 1));
        policy.touch(0);
        evict_all(&mut *policy)
    });
    assert_eq!(std::mem::take(&mut orders[0]), [0, 1, 2, 3]);
    assert_eq!(std::mem::take(&mut orders[1]), [1, 2, 3, 0]);
}

#[test]
fn arc_keeps_what_was_used_twice_through_a_scan() {
    let mut policy = build(PolicyKind::Arc, 10);
    for id in 0..5 {
        insert_new(&mut *policy, id, 1);
        policy.touch(id);
    }
    (5..10).for_each(|id| insert_new(&mut *policy, id, 1));
    let first_five: Vec<_> = (0..5).map_while(|_| policy.victim(&mut |_| true)).collect();
    assert_eq!(first_five, [5, 6, 7, 8, 9]);
}

#[test]
fn arc_returns_an_evicted_key_to_the_entries_used_again() {
    let mut policy = build(PolicyKind::Arc, 2);
    insert_new(&mut *policy, 0, 1);
    insert_new(&mut *policy, 1, 1);
    policy.touch(1);
    assert_eq!(policy.victim(&mut |_| true), Some(0));
    insert_new(&mut *policy, 0, 1);
    assert_eq!(evict_all(&mut *policy), [1, 0], "both were used twice, so the older use goes first");
}

#[test]
fn s3_fifo_evicts_what_was_used_once_before_it_reaches_the_main_queue() {
    let mut policy = build(PolicyKind::S3Fifo, 10);
    insert_new(&mut *policy, 0, 1);
    policy.touch(0);
    policy.touch(0);
    (1..10).for_each(|id| insert_new(&mut *policy, id, 1));
    let first_nine: Vec<_> = (0..9).map_while(|_| policy.victim(&mut |_| true)).collect();
    assert_eq!(first_nine, (1..10).collect::<Vec<_>>());
}

#[test]
fn sieve_spares_a_used_entry_once() {
    let mut policy = build(PolicyKind::Sieve, 3);
    (0..3).for_each(|id| insert_new(&mut *policy, id, 1));
    policy.touch(0);
    assert_eq!(evict_all(&mut *policy), [1, 2, 0]);
}

#[test]
fn w_tinylfu_does_not_let_a_newcomer_displace_a_popular_entry() {
    let mut policy = build(PolicyKind::WTinyLfu, 100);
    for id in 0..99 {
        insert_new(&mut *policy, id, 1);
        policy.touch(id);
        policy.touch(id);
    }
    insert_new(&mut *policy, 99, 1);
    assert_eq!(policy.victim(&mut |_| true), Some(99));
}

#[test]
fn weighted_lru_evicts_the_larger_of_two_entries_idle_about_as_long() {
    let mut policy = build(PolicyKind::WeightedLru, 4);
    insert_new(&mut *policy, 0, 1);
    insert_new(&mut *policy, 1, 1000);
    insert_new(&mut *policy, 2, 1);
    assert_eq!(evict_all(&mut *policy), [1, 0, 2]);
}

#[test]
fn next_use_evicts_the_furthest_hint_and_otherwise_the_least_recent() {
    let mut policy = build(PolicyKind::NextUse, 4);
    (0..4).for_each(|id| insert_new(&mut *policy, id, 1));
    policy.hint(1, Hint::NextUse { at_ms: 50 });
    policy.hint(2, Hint::NextUse { at_ms: 90 });
    policy.hint(3, Hint::NextUse { at_ms: 30 });
    policy.advance(25);
    assert_eq!(evict_all(&mut *policy), [2, 1, 0, 3], "65, 25, idle for 25, and 5 ms ahead");
}

#[test]
fn a_hint_whose_time_has_passed_protects_no_more_than_a_use() {
    let mut policy = build(PolicyKind::NextUse, 2);
    insert_new(&mut *policy, 0, 1);
    policy.hint(0, Hint::NextUse { at_ms: 10 });
    policy.advance(100);
    insert_new(&mut *policy, 1, 1);
    assert_eq!(evict_all(&mut *policy), [0, 1]);
}

#[derive(Clone, Debug)]
enum Step {
    Insert(u32, u32),
    Touch(u32),
    Arrange(u32),
    Remove(u32),
    Reweigh(u32, u32),
    Release(u32),
    NextUse(u32, u64),
    Victim(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let (id, weight) = (0_u32..24, 1_u32..5000);
    let step = prop_oneof![
        4 => (id.clone(), weight.clone()).prop_map(|(id, weight)| Step::Insert(id, weight)),
        4 => id.clone().prop_map(Step::Touch),
        2 => id.clone().prop_map(Step::Arrange),
        1 => id.clone().prop_map(Step::Remove),
        1 => (id.clone(), weight).prop_map(|(id, weight)| Step::Reweigh(id, weight)),
        1 => id.clone().prop_map(Step::Release),
        1 => (id.clone(), 0_u64..100).prop_map(|(id, at_ms)| Step::NextUse(id, at_ms)),
        3 => id.prop_map(Step::Victim),
    ];
    prop::collection::vec(step, 0..400)
}

proptest! {
    /// Ids run beyond `max_entries` on purpose: that costs an allocation and nothing else.
    #[test]
    fn any_policy_knows_exactly_the_entries_it_was_given(steps in steps(), which in 0..PolicyKind::ALL.len()) {
        let mut policy = PolicyKind::ALL[which].build(PolicyLimits { capacity_weight: 10_000, max_entries: 16 });
        let mut model = BTreeSet::new();
        for (time, step) in steps.into_iter().enumerate() {
            policy.advance(time as u64 / 4);
            match step {
                Step::Insert(id, weight) if model.insert(id) => insert_new(&mut *policy, id, weight),
                Step::Insert(id, _) | Step::Touch(id) => policy.touch(id),
                Step::Arrange(id) => policy.arrange(id),
                Step::Remove(id) => { model.remove(&id); policy.remove(id) }
                Step::Reweigh(id, weight) => policy.reweigh(id, weight),
                Step::Release(id) => policy.hint(id, Hint::Release),
                Step::NextUse(id, at_ms) => policy.hint(id, Hint::NextUse { at_ms }),
                Step::Victim(pinned) => {
                    let victim = policy.victim(&mut |id| id != pinned);
                    let expected = model.iter().any(|&id| id != pinned);
                    prop_assert_eq!(victim.is_some(), expected);
                    prop_assert!(victim.is_none_or(|id| id != pinned && model.remove(&id)));
                }
            }
            prop_assert_eq!(policy.len(), model.len());
        }
        prop_assert_eq!(evict_all(&mut *policy).into_iter().collect::<BTreeSet<_>>(), model);
    }
}
