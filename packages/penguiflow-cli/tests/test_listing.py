"""`pf traces`, `pf tail` and `pf cancel`."""

import asyncio
import json
import re
from typing import Any

import pytest

from penguiflow.state import TraceOutcome, TraceStart

Pf = Any


async def begin(pf: Pf, trace_id: str, flow: str = "shop") -> Any:
    start = TraceStart(trace_id=trace_id, flow=flow, version="1", graph={"a": []}, message=1, entries=["a"])
    return await pf.store.open_trace(start, owner="host/1/x", lease_s=60)


async def fail(pf: Pf, trace_id: str) -> None:
    await begin(pf, trace_id)
    await pf.store.finish_trace(
        trace_id, TraceOutcome(state="failed", error={"code": "NODE_TIMEOUT", "message": "slow"})
    )


def listed(pf: Pf, *arguments: str) -> list[str]:
    return [record["trace_id"] for record in pf.lines("traces", *arguments)]


def test_traces_are_listed_from_the_latest_on(pf: Pf) -> None:
    for number in range(3):
        pf.do(begin(pf, f"t{number}"))

    header, *rows = pf("traces").stdout.splitlines()

    assert header.split("\t")[:3] == ["trace", "flow", "state"]
    assert [row.split("\t")[0] for row in rows] == ["t2", "t1", "t0"]
    assert rows[0].split("\t")[1:3] == ["shop", "running"]


def test_traces_are_filtered_by_state_flow_and_age(pf: Pf) -> None:
    pf.do(begin(pf, "running"))
    pf.do(fail(pf, "failed"))
    pf.do(begin(pf, "other", flow="office"))

    assert listed(pf, "--status", "failed") == ["failed"]
    assert listed(pf, "--flow", "office") == ["other"]
    assert listed(pf, "--older-than", "1h") == []
    assert len(listed(pf, "--newer-than", "1h")) == 3
    assert listed(pf, "--limit", "1") == ["other"]


def test_more_traces_than_a_page_are_listed(pf: Pf) -> None:
    async def begin_all() -> None:
        for number in range(230):
            await begin(pf, f"t{number}")

    pf.do(begin_all())

    assert listed(pf, "--limit", "220") == [f"t{number}" for number in range(229, 9, -1)]


@pytest.mark.parametrize("age", ["soon", "-1s", "5 parsecs"])
def test_what_is_no_length_of_time_is_refused(pf: Pf, age: str) -> None:
    assert "10m" in pf("traces", "--older-than", age, status=2).stderr


def test_a_store_that_cannot_list_says_so(pf: Pf) -> None:
    result = pf("traces", "--state", "plain://", status=4)

    assert "Plain cannot list traces: it is no TraceListing" in result.stderr


def test_cancelling_ends_a_trace_once(pf: Pf) -> None:
    pf.do(begin(pf, "t1"))

    assert pf("cancel", "t1").stdout == "t1 cancelled\n"
    assert pf("cancel", "t1").stdout == "t1 cancelled\n"
    record = pf.do(pf.store.load_trace("t1"))
    assert record.outcome.error["code"] == "TRACE_CANCELLED"


def test_what_has_ended_or_is_unknown_cannot_be_cancelled(pf: Pf) -> None:
    pf.do(fail(pf, "failed"))
    pf.do(begin(pf, "running"))

    assert "it is failed" in pf("cancel", "failed", status=1).stderr
    result = pf("cancel", "failed", "nowhere", "running", status=3)
    assert "knows no trace 'nowhere'" in result.stderr
    assert result.stdout == "running cancelled\n"


def test_tail_of_one_trace_ends_with_it(pf: Pf) -> None:
    pf.do(begin(pf, "t1"))
    pf.do(pf.store.save_event("t1", 1.5, "node_start", {"node_name": "a", "attempt": 2}))
    pf.do(pf.store.save_event("t2", 1.5, "node_start", {"node_name": "b"}))
    pf.do(pf.store.finish_trace("t1", TraceOutcome(state="failed")))

    (line,) = pf("tail", "t1", "--from-start", status=1).stdout.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d\.500 t1 node_start a attempt=2", line)


def test_tail_shows_what_happens_meanwhile(pf: Pf, capsys: pytest.CaptureFixture[str]) -> None:
    from penguiflow_cli._commands.tail import _follow

    async def follow_and_write() -> list[Any]:
        seen = ""
        await begin(pf, "t1")
        await pf.store.save_event("t1", 1.0, "emit", {"number": "before"})
        following = asyncio.create_task(_follow(pf.store, None, {"emit"}, False, 0.001, True))
        # It has asked where to begin before it first waits.
        await asyncio.sleep(0)
        for number in range(3):
            await pf.store.save_event(f"t{number}", 1.0, "emit", {"number": number})
            await pf.store.save_event(f"t{number}", 1.0, "fetch", {})
        while (shown := seen + capsys.readouterr().out).count("\n") < 3:
            seen = shown
            await asyncio.sleep(0)
        following.cancel()
        await asyncio.wait([following])
        return [json.loads(line)["data"]["number"] for line in shown.splitlines()]

    assert pf.do(follow_and_write()) == [0, 1, 2]


def test_tail_of_an_unknown_trace_is_not_found(pf: Pf) -> None:
    assert "knows no trace" in pf("tail", "nowhere", status=3).stderr
