"""`pf doctor`: one test for each thing that can be stuck."""

import time
from typing import Any

from penguiflow.state import JoinPart, Step, TraceOutcome, TraceStart

Pf = Any


async def begin(pf: Pf, *, lease_s: float = 60.0, trace_id: str = "t1", **changes: Any) -> Any:
    values: dict[str, Any] = {
        "flow": "shop",
        "version": "1",
        "graph": {"a": []},
        "message": 1,
        "entries": ["a"],
    } | changes
    return await pf.store.open_trace(TraceStart(trace_id=trace_id, **values), owner="host/1/x", lease_s=lease_s)


async def take_all(pf: Pf, *, join: bool = False, **changes: Any) -> None:
    """Begin a trace of which nothing is outstanding."""
    lease = await begin(pf, **changes)
    if join:
        await pf.store.add_join_part(lease, JoinPart(message_id="m1", join="both", turn=0, need=3))
    else:
        await pf.store.record_step(lease, Step(message_id="m1", node_name="a"))


def codes(pf: Pf, *arguments: str, status: int = 1) -> list[tuple[str, str, str]]:
    return [(f["severity"], f["subject"], f["code"]) for f in pf.lines("doctor", *arguments, status=status)]


def test_nothing_is_stuck_where_all_goes_on(pf: Pf) -> None:
    pf.do(begin(pf))

    assert pf("doctor").stdout == "nothing is stuck\n"


def test_an_ended_trace_is_not_stuck(pf: Pf) -> None:
    pf.do(begin(pf, lease_s=0.001))
    pf.do(pf.store.finish_trace("t1", TraceOutcome(state="failed")))

    assert codes(pf, status=0) == []


def test_a_lapsed_lease_is_stuck(pf: Pf) -> None:
    pf.do(begin(pf, lease_s=0.001))
    time.sleep(0.005)

    assert codes(pf) == [("stuck", "t1", "lease_lapsed")]
    shown = pf("doctor", status=1).stdout
    assert "host/1/x has let its lease lapse" in shown
    assert "pf resume MODULE:FLOW t1" in shown


def test_a_deadline_that_passed_is_stuck(pf: Pf) -> None:
    pf.do(begin(pf, deadline_s=time.time() - 60))

    assert codes(pf) == [("stuck", "t1", "deadline_passed")]


def test_a_join_that_nothing_can_fill_is_stuck(pf: Pf) -> None:
    pf.do(take_all(pf, join=True))

    assert codes(pf) == [("stuck", "t1", "join_unfilled")]
    assert "join both has 1 of 3 parts" in pf("doctor", status=1).stdout


def test_a_trace_that_nobody_ended_is_stuck(pf: Pf) -> None:
    pf.do(take_all(pf))

    assert codes(pf) == [("stuck", "t1", "not_ended")]


def test_messages_that_nobody_takes_are_stuck(pf: Pf) -> None:
    pf.do(begin(pf))
    pf.do(pf.store.save_event("t1", time.time() - 300, "emit", {"targets": ["a"]}))

    assert codes(pf) == [("stuck", "t1", "messages_unclaimed")]
    assert "1 message outstanding and no node runs" in pf("doctor", status=1).stdout
    assert codes(pf, "--quiet", "1h", status=0) == []


def test_a_node_that_takes_long_is_waited_for(pf: Pf) -> None:
    pf.do(begin(pf))
    pf.do(pf.store.save_event("t1", time.time() - 300, "node_start", {"node_name": "slow", "attempt": 1}))

    assert codes(pf, status=0) == [("waiting", "t1", "node_running")]
    assert "node slow, attempt 1, has been at work for 5m" in pf("doctor").stdout


async def bury(pf: Pf, message: Any) -> None:
    await pf.bus.put("shop:a→b", message)
    delivery = await pf.bus.get("shop:a→b", timeout_s=5)
    await pf.bus.nack(delivery)


def test_a_dead_letter_of_a_running_trace_is_stuck(pf: Pf) -> None:
    pf.do(begin(pf))
    pf.do(bury(pf, {"trace_id": "t1"}))

    assert codes(pf) == [("stuck", "t1", "dead_letter")]


def test_other_dead_letters_are_told_by_queue(pf: Pf) -> None:
    for _ in range(2):
        pf.do(bury(pf, "poison"))

    assert codes(pf) == [("stuck", "shop:a→b", "dead_letters")]
    assert "2 dead letters" in pf("doctor", status=1).stdout


def test_one_flow_is_looked_at_alone(pf: Pf) -> None:
    pf.do(take_all(pf, trace_id="t1"))
    pf.do(take_all(pf, trace_id="t2", flow="office"))
    pf.do(bury(pf, "poison"))

    assert codes(pf, "--flow", "office") == [("stuck", "t2", "not_ended")]


def test_dead_letters_are_listed_and_replayed(pf: Pf) -> None:
    for number in range(3):
        pf.do(bury(pf, {"number": number}))
    letters = pf.lines("dlq", "list")
    assert [letter["message"]["number"] for letter in letters] == [0, 1, 2]
    assert "shop:a→b\t" in pf("dlq", "list", "shop:a→b").stdout

    assert pf("dlq", "replay", "shop:a→b", letters[1]["letter_id"]).stdout == "1 put back into shop:a→b\n"
    assert pf("dlq", "replay", "shop:a→b", "--all").stdout == "2 put back into shop:a→b\n"
    assert "no such dead letter" in pf("dlq", "replay", "shop:a→b", "--all", status=3).stderr


def test_a_replay_says_what_it_replays(pf: Pf) -> None:
    assert "--all" in pf("dlq", "replay", "q", status=2).stderr
    assert "--all" in pf("dlq", "replay", "q", "1", "--all", status=2).stderr
