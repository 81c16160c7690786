"""`pf inspect`: a trace's history, readable and as JSON."""

import json
from contextlib import suppress
from typing import Any

import pytest

from penguiflow import Context, FlowError, Message, Node, NodePolicy, TraceCancelled, create, join_k
from penguiflow.state import JoinPart, StoredEvent, TraceOutcome, TraceStart
from penguiflow_cli._timeline import timeline

Pf = Any


async def ask(pf: Pf, *nodes: Any, trace_id: str = "t1", payload: Any = 1) -> None:
    async with create(*nodes, name="shop", state_store=pf.store) as flow:
        trace = await flow.submit(Message(payload=payload, trace_id=trace_id))
        with suppress(FlowError):
            await trace.result()


async def flaky(message: Any, ctx: Context) -> Any:
    if not ctx.attempt:
        raise ConnectionError("reset")
    for text in ("a", "b"):
        await ctx.emit_chunk(text=text)
    return message


async def broken(message: Any, ctx: Context) -> Any:
    raise ValueError("no such shelf")


def test_nodes_attempts_chunks_and_errors_are_told(pf: Pf) -> None:
    pf.do(ask(pf, Node(flaky, policy=NodePolicy(max_retries=1, backoff_base=0.001)).to(Node(broken))))

    rows = [line.split("\t") for line in pf("inspect", "t1", status=1).stdout.splitlines() if "\t" in line]

    told = [(row[1], row[2], row[3], row[5]) for row in rows[1:]]
    assert told[0] == ("", "submit", "", "→ flaky")
    assert ("flaky", "run failed", "", "NODE_EXCEPTION: ConnectionError: reset") in told
    assert ("flaky", "run", "1", "→ broken") in told
    assert any(what == "chunks" and detail.startswith("2 of stream") for _, what, _, detail in told)
    assert ("broken", "run failed", "", "NODE_EXCEPTION: ValueError: no such shelf") in told


def test_a_trace_that_failed_says_so_first_and_ends_in_1(pf: Pf) -> None:
    pf.do(ask(pf, Node(broken)))

    shown = pf("inspect", "t1", status=1).stdout

    assert "state     failed" in shown
    assert "NODE_EXCEPTION" in shown.partition("error")[2].splitlines()[0]
    assert "flow      shop, version 1" in shown


def test_an_unknown_trace_is_not_found(pf: Pf) -> None:
    result = pf("inspect", "nowhere", status=3)

    assert "knows no trace 'nowhere'" in result.stderr
    assert "pf traces" in result.stderr


def test_json_has_everything(pf: Pf) -> None:
    pf.do(ask(pf, Node(flaky, policy=NodePolicy(max_retries=1, backoff_base=0.001))))
    pf.do(pf.store.save_remote_binding("t1", "context-7", "task-9", "https://agent"))

    (shown,) = pf.lines("inspect", "t1")

    assert shown["trace"]["state"] == "completed"
    assert shown["remote"] == [{"context_id": "context-7", "task_id": "task-9", "agent_url": "https://agent"}]
    assert [event["kind"] for event in shown["events"]].count("node_start") == 2
    assert shown["steps"][0]["node_name"] == "flaky"


def test_remote_ids_are_shown(pf: Pf) -> None:
    pf.do(pf.store.save_remote_binding("t1", "context-7", "task-9", "https://agent"))

    assert "remote    task task-9, context context-7 at https://agent" in pf("inspect", "t1").stdout


def test_remote_calls_are_told_with_their_task_and_size(pf: Pf) -> None:
    sent = {"node_name": "search", "attempt": 0, "agent_url": "https://agent", "task_id": "task-9", "context_id": "c"}

    async def save(*events: tuple[str, dict[str, Any]]) -> None:
        for number, (kind, data) in enumerate(events):
            await pf.store.save_event("t1", 1.0 + number, kind, data)

    call = ("remote_call_start", {**sent, "skill": "find"})
    ended = ("remote_call_end", {**sent, "latency_ms": 250.0, "bytes_sent": 10, "bytes_received": 0})
    failed = ("remote_call_error", {**sent, "latency_ms": 5.0, "code": "REMOTE_FAILED", "exception": "X: gone"})
    other = ("core.remote_status", {**sent, "state": "working"})
    pf.do(save(call, other, ended, call, failed))

    rows = [
        line.split("\t")[2:] for line in pf("inspect", "t1").stdout.splitlines() if "remote" in line and "\t" in line
    ]
    agent = "https://agent task=task-9 context=c"
    assert rows == [
        ["remote", "", "250.0ms", f"{agent} sent=10B"],
        ["core.remote_status", "", "", "agent_url=https://agent task_id=task-9 context_id=c state=working"],
        ["remote failed", "", "5.0ms", f"{agent} REMOTE_FAILED: X: gone"],
    ]


async def begin(pf: Pf, **changes: Any) -> Any:
    start = TraceStart(trace_id="t1", flow="shop", version="1", graph={"a": []}, message=1, entries=["a"], **changes)
    return await pf.store.open_trace(start, owner="host/1/x", lease_s=60)


async def begin_with_join(pf: Pf) -> None:
    lease = await begin(pf)
    await pf.store.add_join_part(lease, JoinPart(message_id="m", join="both", turn=0, need=2))


def test_a_running_trace_tells_who_holds_it_and_what_it_waits_for(pf: Pf) -> None:
    pf.do(begin_with_join(pf))

    shown = pf("inspect", "t1").stdout

    assert "state     running" in shown
    assert "held by   host/1/x, for" in shown
    assert "join      both has 1 of 2 parts" in shown
    assert "pending   0 messages outstanding" in shown


def test_a_second_run_of_an_id_says_so(pf: Pf) -> None:
    pf.do(begin(pf))
    pf.do(pf.store.finish_trace("t1", TraceOutcome(state="cancelled", error=TraceCancelled("t1").to_payload())))
    pf.do(begin(pf))

    assert "run       number 2 of this id" in pf("inspect", "t1").stdout


def test_a_store_of_events_only_is_enough(pf: Pf) -> None:
    plain = "plain://"
    pf.do(pf.shelf.open_plain(plain).save_event("t1", 1.0, "node_start", {"node_name": "a", "attempt": 0}))

    shown = pf("inspect", "t1", "--state", plain).stdout

    assert "state     unknown" in shown
    assert "\trun\t\trunning" in shown


def test_a_terminal_gets_colours_and_a_chart(pf: Pf, monkeypatch: pytest.MonkeyPatch) -> None:
    pf.do(ask(pf, Node(flaky, policy=NodePolicy(max_retries=1, backoff_base=0.001))))

    shown = pf("inspect", "t1", FORCE_COLOR="1", TERM="xterm-256color").stdout

    assert "\x1b[32m" in shown
    assert "█" in shown


def test_nothing_but_text_is_piped(pf: Pf) -> None:
    pf.do(ask(pf, Node(broken)))

    result = pf("inspect", "t1", status=1)

    assert "\x1b" not in result.stdout
    assert "█" not in result.stdout
    assert json.loads(pf("inspect", "t1", "--json", status=1).stdout)["trace_id"] == "t1"


def test_a_join_is_a_node_like_any_other(pf: Pf) -> None:
    async def send(message: Any, ctx: Context) -> Any:
        return message

    first, left, right = (Node(send, name=name) for name in ("first", "left", "right"))
    join = join_k("both", 2)
    pf.do(ask(pf, first.to(left, right), left.to(join), right.to(join)))

    shown = pf("inspect", "t1").stdout

    assert "first\trun\t\t" in shown
    assert "both\trun" in shown


def test_the_end_of_a_node_is_told_of_the_process_that_ran_it_and_not_of_one_that_died() -> None:
    def event(ts: float, kind: str, **data: Any) -> StoredEvent:
        return {"trace_id": "t", "ts": ts, "kind": kind, "data": {"node_name": "hotel", "attempt": 0, **data}}

    dead, alive = timeline([event(1, "node_start"), event(7, "node_start"), event(9, "node_end", latency_ms=2000.0)])

    assert (dead.ts, dead.took_s, dead.outcome) == (1, None, "running")
    assert (alive.ts, alive.took_s, alive.outcome) == (7, 2.0, "ok")
