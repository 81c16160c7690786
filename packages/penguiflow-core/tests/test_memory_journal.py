"""The journal of the store in memory: leases, steps, joins and what is forgotten."""

import pytest

from penguiflow import LeaseLost, TraceActive, TraceOver, TraceUnknown
from penguiflow.state import (
    EventBatches,
    InMemoryStateStore,
    JoinPart,
    JournalStore,
    Lease,
    Pruning,
    RemoteBindings,
    Step,
    TraceListing,
    TraceOutcome,
    TraceStart,
    TraceValue,
)


def start(trace_id: str) -> TraceStart:
    graph = {"a": ("b",), "b": ()}
    return TraceStart(trace_id=trace_id, flow="f", version="1", graph=graph, message={"n": 1}, entries=("a",))


async def opened(store: InMemoryStateStore, trace_id: str = "t") -> Lease:
    return await store.open_trace(start(trace_id), owner="me", lease_s=30)


def test_it_can_do_all_that_a_store_can() -> None:
    store = InMemoryStateStore()
    for protocol in (EventBatches, JournalStore, Pruning, RemoteBindings, TraceListing):
        assert isinstance(store, protocol)


async def test_an_id_is_used_once_at_a_time_and_again_after_its_end() -> None:
    store = InMemoryStateStore()
    first = await opened(store)
    with pytest.raises(TraceActive):
        await opened(store)
    await store.finish_trace("t", TraceOutcome(state="completed"), lease=first)
    second = await opened(store)

    assert (first.generation, second.generation) == (1, 2)
    with pytest.raises(LeaseLost):
        await store.record_step(first, Step(message_id="m", node_name="a"))


async def test_a_held_unit_is_refused_and_taken_by_force() -> None:
    store = InMemoryStateStore()
    lease = await opened(store)
    refused = await store.claim("t", "", owner="you", lease_s=30)
    forced = await store.claim("t", "", owner="you", lease_s=30, force=True)

    assert (refused.lease, refused.holder, refused.state) == (None, "me", "running")
    assert 29 < refused.remaining_s <= 30
    assert forced.lease is not None
    assert forced.lease.epoch == lease.epoch + 1
    assert await store.extend([lease, forced.lease], lease_s=30) == [lease]
    with pytest.raises(LeaseLost, match="'me' claimed it as epoch 1"):
        await store.reopen(lease, "m")


async def test_a_finished_unit_is_not_handed_out_again() -> None:
    store = InMemoryStateStore()
    await store.release(await opened(store), done=True)

    assert (await store.claim("t", "", owner="you", lease_s=30, force=True)).finished
    assert await store.unfinished("f", owner="you", host="") == []


async def test_what_was_given_up_and_what_a_neighbour_held_is_unfinished() -> None:
    store = InMemoryStateStore()
    await store.release(await opened(store, "given-up"), done=False)
    await opened(store, "held")
    await store.open_trace(start("far"), owner="far/1", lease_s=30)
    await store.open_trace(start("lapsed"), owner="far/1", lease_s=0)

    found = await store.unfinished("f", owner="you", host="me")
    assert [holder.trace_id for holder in found] == ["given-up", "held", "lapsed"]
    assert [holder.trace_id for holder in await store.unfinished("f", owner="me", host="me")] == ["given-up", "lapsed"]


async def test_a_step_is_recorded_once_and_counted_once() -> None:
    store = InMemoryStateStore()
    lease = await opened(store)
    value = TraceValue("v", "b", {"x": 1})
    first = await store.record_step(lease, Step(message_id="m", node_name="a", produced=3, values=[value]))
    again = await store.record_step(lease, Step(message_id="m", node_name="a", outputs=[1], produced=9))
    other = await store.record_step(lease, Step(message_id="n", node_name="b", consumed=["o"], values=[value]))

    assert (first.first, first.pending) == (True, 3)
    assert (again.first, again.pending, again.step) == (False, 3, first.step)
    assert other.pending == 1
    assert await store.load_steps("t") == [first.step, other.step]
    ended = await store.finish_trace("t", TraceOutcome(state="completed"), lease=lease)
    assert ended is not None
    assert ended.values == (value,)


async def test_a_join_fires_once_and_gives_the_same_answer_again() -> None:
    store = InMemoryStateStore()
    lease = await opened(store)
    parts = [JoinPart(message_id=name, join="j", turn=0, need=2, value=name) for name in "abc"]
    answers = [await store.add_join_part(lease, part) for part in parts]
    again = [await store.add_join_part(lease, part) for part in parts]

    assert [(answer.parts, answer.late) for answer in answers] == [(None, False), (parts[:2], False), (None, True)]
    assert [(answer.parts, answer.late) for answer in again] == [(None, False), (parts[:2], False), (None, True)]
    assert [answer.pending for answer in answers] == [0, 0, -1]
    assert {answer.pending for answer in again} == {-1}


async def test_a_flush_fires_a_join_with_what_there_is() -> None:
    store = InMemoryStateStore()
    lease = await opened(store)
    part = JoinPart(message_id="a", join="j", turn=1, need=3, value=1)
    await store.add_join_part(lease, part)
    (unfilled,) = await store.unfilled_joins("t")
    assert (unfilled.join, unfilled.turn, unfilled.have, unfilled.need) == ("j", 1, 1, 3)
    assert [await store.reopen(lease, "flush") for _ in range(2)] == [1, 1]

    flushed = await store.add_join_part(lease, JoinPart(message_id="flush", join="j", turn=1, need=3, flush=True))
    assert (flushed.parts, flushed.pending) == ([part], 1)
    assert await store.unfilled_joins("t") == []


async def test_after_its_end_a_trace_takes_nothing_and_keeps_its_first_outcome() -> None:
    store = InMemoryStateStore()
    lease = await opened(store)
    failed = TraceOutcome(state="failed", error={"code": "X"})
    assert await store.finish_trace("t", failed, generation=2) is None
    assert await store.finish_trace("nobody", failed) is None
    assert await store.finish_trace("t", failed) == failed
    assert await store.finish_trace("t", TraceOutcome(state="completed"), lease=lease) == failed

    with pytest.raises(TraceOver, match="failed"):
        await store.mark_started(lease, "m", "a")
    assert (await store.claim("t", "u", owner="me", lease_s=1)).state == "failed"
    assert (await store.claim("t", "u", owner="me", lease_s=1, generation=7)).state is None
    assert await store.load_states(["t", "nobody"]) == {"t": (1, "failed")}


async def test_a_start_is_noted_with_the_epoch_before() -> None:
    store = InMemoryStateStore()
    lease = await opened(store)
    assert await store.mark_started(lease, "m", "a") is None
    later = (await store.claim("t", "", owner="me", lease_s=30)).lease
    assert later is not None

    assert await store.mark_started(later, "m", "a") == 1
    assert await store.mark_started(later, "m", "a") == 2


async def test_traces_are_listed_latest_first_in_pages() -> None:
    store = InMemoryStateStore()
    for number in range(5):
        await opened(store, f"t{number}")
    await store.finish_trace("t3", TraceOutcome(state="cancelled"))
    page = await store.list_traces(limit=2)

    assert [record.start.trace_id for record in page] == ["t4", "t3"]
    assert [r.start.trace_id for r in await store.list_traces(limit=2, after="t3")] == ["t2", "t1"]
    assert [r.start.trace_id for r in await store.list_traces(state="cancelled")] == ["t3"]
    assert await store.list_traces(flow="other") == []
    assert await store.list_traces(older_than_s=60) == []
    assert len(await store.list_traces(newer_than_s=60)) == 5
    with pytest.raises(TraceUnknown):
        await store.list_traces(after="nobody")


async def test_events_of_all_traces_are_read_on_from_where_one_stood() -> None:
    store = InMemoryStateStore()
    for trace_id in ("a", "b", "a"):
        await store.save_event(trace_id, 1.0, "emit", {})
    events, stand = await store.load_events(limit=2)
    rest, end = await store.load_events(after=stand)
    assert [event["trace_id"] for event in events + rest] == ["a", "b", "a"]
    assert await store.load_events(after=-1) == ([], end)


async def test_a_running_trace_is_neither_pruned_nor_pushed_out() -> None:
    store = InMemoryStateStore(max_traces=2)
    for trace_id in ("running", "ended"):
        await opened(store, trace_id)
    await store.finish_trace("ended", TraceOutcome(state="completed"))
    await store.save_event("events", 1.0, "emit", {})

    assert await store.load_trace("ended") is None
    assert await store.prune(older_than_s=60) == 0
    assert await store.prune(older_than_s=0) == 1
    record = await store.load_trace("running")
    assert record is not None
    assert (record.start, record.pending, record.steps) == (start("running"), 1, 0)
    assert [holder.owner for holder in record.holders] == ["me"]
