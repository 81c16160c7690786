"""`pf run`, `pf resume` and `pf viz`: flows named on the command line."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from penguiflow import Context, Message, Node, create, to_dot, to_mermaid

Pf = Any


def test_chunks_come_first_and_then_the_value(pf: Pf, module: str) -> None:
    assert pf("run", f"{module}:flow", "--input", "20").stdout == "two times\n41\n"


def test_json_is_a_line_for_each_event(pf: Pf, module: str) -> None:
    lines = pf.lines("run", f"{module}:flow", "--input=-1", "--trace-id", "t1", status=1)

    assert [next(iter(line)) for line in lines] == ["chunk", "chunk", "error"]
    assert [line["trace_id"] for line in lines] == ["t1"] * 3


def test_a_trace_may_have_an_id_and_a_deadline(pf: Pf, module: str) -> None:
    lines = pf.lines("run", f"{module}:make_pair", "--input", "20", "--trace-id", "t1", "--deadline", "1h")

    assert lines[-1] == {"result": {"results": [{"exit": "add", "value": 41}]}, "trace_id": "t1"}
    assert pf.do(pf.store.load_trace("t1")).outcome.state == "completed"


def test_a_failed_trace_ends_in_1_and_says_why(pf: Pf, module: str) -> None:
    result = pf("run", f"{module}:flow", "--input=-1", status=1)

    assert result.stdout == "two times\n"
    assert "NODE_EXCEPTION: ValueError: it is negative (node double)" in result.stderr


def test_a_message_is_read_from_a_file_or_from_stdin(pf: Pf, module: str, tmp_path: Path) -> None:
    (tmp_path / "in.json").write_text("4", encoding="utf-8")

    assert pf("run", f"{module}:flow", "--input", "@in.json").stdout.endswith("\n9\n")
    assert pf("run", f"{module}:flow", "--input", "-", stdin="5").stdout.endswith("\n11\n")
    assert "cannot be read" in pf("run", f"{module}:flow", "--input", "@nowhere.json", status=2).stderr


@pytest.mark.parametrize("arguments", [[], ["--input", "1", "--text", "x"], ["--input", "not json"]])
def test_a_message_is_one_and_is_json(pf: Pf, module: str, arguments: list[str]) -> None:
    assert "--text" in pf("run", f"{module}:flow", *arguments, status=2).stderr


def test_a_function_makes_its_flow(pf: Pf, module: str) -> None:
    assert pf("run", f"{module}:make", "--input", "1").stdout.endswith("\n3\n")


def test_the_only_flow_of_a_module_needs_no_name(pf: Pf, module: str) -> None:
    assert pf("run", module, "--input", "1").stdout.endswith("\n3\n")


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("{}:flwo", "did you mean {}:flow"),
        ("{}:mkae", "did you mean {}:make"),
        ("{}x:flow", "did you mean {}"),
        ("{}:number", "{}:number is 7; it should be a flow"),
        ("{}:broken", "RuntimeError: no key is set"),
        (":flow", "write module:flow"),
        ("{}:", "write module:flow"),
        ("json:loads", "json:loads"),
    ],
)
def test_a_wrong_name_gets_the_nearest_right_one(pf: Pf, module: str, target: str, told: str) -> None:
    result = pf("viz", target.format(module), status=2)

    assert told.format(module) in result.stderr


def test_a_module_that_cannot_be_imported_says_where(pf: Pf, tmp_path: Path) -> None:
    (tmp_path / "crooked_flows.py").write_text("x = 1\nimport nothing_of_that_name\n", encoding="utf-8")

    told = pf("viz", "crooked_flows:flow", status=2).stderr

    assert "crooked_flows' cannot be imported: ModuleNotFoundError" in told
    assert "line 2 of" in told


def test_a_diagram_is_that_of_the_library(pf: Pf, module: str) -> None:
    async def double(number: int, ctx: Context) -> int:
        return number

    flow = create(Node(double).to(Node(double, name="add")), name="arithmetic")

    assert pf("viz", f"{module}:flow").stdout == to_mermaid(flow)
    assert pf("viz", f"{module}:flow", "--format", "dot").stdout == to_dot(flow)


async def interrupt(pf: Pf) -> None:
    """Leave a trace of the flow of the module behind that was submitted and has not run."""
    reached = asyncio.Event()

    async def double(number: int, ctx: Context) -> int:
        reached.set()
        await asyncio.Event().wait()
        return number

    async def add(number: int, ctx: Context) -> int:
        return number

    flow = create(Node(double).to(Node(add)), name="arithmetic")
    async with flow.run(state_store=pf.store, lease_s=0.05):
        await flow.submit(Message(payload=20, trace_id="t1"))
        await reached.wait()
        await flow.stop(drain=False)


def test_a_trace_that_ended_is_resumed_to_its_end(pf: Pf, module: str) -> None:
    pf("run", f"{module}:make_pair", "--input", "20", "--trace-id", "t1")

    assert json.loads(pf("resume", f"{module}:make_pair", "t1").stdout) == 41


def test_an_unknown_trace_cannot_be_resumed(pf: Pf, module: str) -> None:
    assert "TRACE_UNKNOWN" in pf("resume", f"{module}:flow", "nowhere", status=3).stderr


def test_a_stopped_trace_is_resumed_from_what_is_recorded(pf: Pf, module: str) -> None:
    pf.do(interrupt(pf))

    assert pf("resume", f"{module}:make_pair", "t1", "--force").stdout == "two times\n41\n"
