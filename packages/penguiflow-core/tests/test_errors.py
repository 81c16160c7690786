"""Errors: what they say, what they carry, and that they survive a process boundary."""

import json
import pickle
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel

from penguiflow import (
    Context,
    CycleError,
    FlowDefinitionError,
    FlowError,
    FlowErrorCode,
    FlowStopped,
    JoinIncomplete,
    ModelRegistry,
    MultipleResults,
    Node,
    NodeSignatureError,
    NotRunning,
    QueueFull,
    TraceActive,
    TraceCancelled,
    UnknownTarget,
    ValidationFailed,
    create,
)
from penguiflow.errors import RemoteFailed

DETAILS = [{"loc": ("items", 0), "msg": "wrong", "type": "int"}]

MADE: dict[str, Callable[[], FlowError]] = {
    FlowErrorCode.NODE_EXCEPTION: lambda: FlowError("t", "n", original_exc=ValueError("no")),
    FlowErrorCode.TRACE_CANCELLED: lambda: TraceCancelled("t"),
    FlowErrorCode.JOIN_INCOMPLETE: lambda: JoinIncomplete("t", "n", 1, 3),
    FlowErrorCode.VALIDATION_FAILED: lambda: ValidationFailed("t", "n", "in", DETAILS),
    FlowErrorCode.MULTIPLE_RESULTS: lambda: MultipleResults("t", [("a", 1), ("b", 2)]),
    FlowErrorCode.TRACE_ACTIVE: lambda: TraceActive("t"),
    FlowErrorCode.QUEUE_FULL: lambda: QueueFull("n", 64, "t"),
    FlowErrorCode.FLOW_STOPPED: lambda: FlowStopped("t"),
    FlowErrorCode.NOT_RUNNING: lambda: NotRunning("flow", "submit()"),
    FlowErrorCode.INVALID_DEFINITION: lambda: FlowDefinitionError("not usable", node_name="n"),
    FlowErrorCode.UNKNOWN_TARGET: lambda: UnknownTarget("x", ["b", "a"], source="n", trace_id="t"),
    FlowErrorCode.REMOTE_FAILED: lambda: RemoteFailed("down", agent_url="https://a", trace_id="t", task_id="task-1"),
}


@pytest.mark.parametrize("code", MADE)
def test_each_error_has_its_code_and_is_json_ready(code: str) -> None:
    error = MADE[code]()

    assert error.code == code
    assert json.loads(json.dumps(error.to_payload()))["code"] == code
    assert str(error).startswith(f"[{code}] ")


@pytest.mark.parametrize("code", MADE)
def test_each_error_survives_pickling_with_what_it_carries(code: str) -> None:
    error = MADE[code]()
    error.partial = [("exit", 1)]

    back = pickle.loads(pickle.dumps(error))

    assert type(back) is type(error)
    assert (str(back), back.partial, back.to_payload()) == (str(error), error.partial, error.to_payload())


@pytest.mark.parametrize(
    ("error", "bases"),
    [
        (NotRunning("flow", "emit()"), (FlowError, RuntimeError)),
        (FlowDefinitionError("x"), (FlowError, ValueError)),
        (CycleError(["a", "b"]), (FlowDefinitionError,)),
        (NodeSignatureError("x"), (FlowDefinitionError, TypeError)),
        (UnknownTarget("x", []), (FlowDefinitionError,)),
    ],
)
def test_errors_are_also_what_python_would_raise(error: FlowError, bases: tuple[type, ...]) -> None:
    assert all(isinstance(error, base) for base in bases)


def test_an_error_names_its_node_and_trace_and_keeps_its_cause() -> None:
    cause = ValueError("no such word")
    error = FlowError("t", "n", original_exc=cause)

    assert str(error) == "[NODE_EXCEPTION] ValueError('no such word') (node 'n', trace 't')"
    assert error.__cause__ is error.original_exc is cause
    assert error.to_payload()["exception"] == "ValueError"


def test_an_error_takes_trace_and_node_only_where_it_has_none() -> None:
    error = FlowError(None, "mine", code="MY_CODE", message="x").within("t", "theirs")

    assert (error.trace_id, error.node_name, error.code) == ("t", "mine", "MY_CODE")


def test_messages_say_what_to_do_next() -> None:
    assert "pass on_incomplete='emit'" in str(JoinIncomplete("t", "n", 1, 3))
    assert "await trace.results()" in str(MultipleResults("t", [("a", 1), ("b", 2), ("a", 3)]))
    assert "raise queue_maxsize" in str(QueueFull("n", 64))
    assert "call flow.run()" in str(NotRunning("flow", "submit()"))
    assert "a → b → a" in str(CycleError(["a", "b"]))
    assert "a node of the flow (there is: 'a', 'b')" in str(UnknownTarget("x", ["b", "a"]))
    assert "there is: none" in str(UnknownTarget("x", [], source="n"))


def test_validation_details_are_shortened_in_the_message_and_complete_in_the_payload() -> None:
    details = [{"loc": (), "msg": f"wrong {number}", "type": "x"} for number in range(5)]
    error = ValidationFailed("t", "n", "out", details)

    assert "invalid output: value: wrong 0; value: wrong 1; value: wrong 2 (and 2 more)" in str(error)
    assert len(error.to_payload()["details"]) == 5


async def test_validation_details_hold_no_input() -> None:
    class Secretive(BaseModel):
        number: int

    async def passes(message: Any, ctx: Context) -> Any:
        return message

    registry = ModelRegistry()
    registry.register("passes", Secretive, Secretive)
    async with create(Node(passes)).run(registry) as flow:
        with pytest.raises(ValidationFailed) as caught:
            await flow.ask({"number": "hunter2"})

    assert caught.value.details[0]["loc"] == ("number",)
    assert "hunter2" not in json.dumps(caught.value.to_payload())
    assert "hunter2" not in caught.value.message


def test_every_code_is_stable() -> None:
    assert {code.name for code in FlowErrorCode} == {code.value for code in FlowErrorCode}
