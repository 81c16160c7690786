"""FlowTestKit: tests of flows in a few lines.

```python
from penguiflow.testkit import assert_node_sequence, run_one, simulate_error


async def test_answers_in_spite_of_a_flaky_search():
    with simulate_error("search", "NODE_TIMEOUT", times=2) as fault:
        answer = await run_one(flow, registry, Message(payload=question, trace_id="t"))
    assert answer.payload.text == "42"
    assert fault.raised == 2
    assert_node_sequence("t", ["triage", "search", "answer"])
```

`run_one` starts the flow, sends one message through it and stops it; the nodes are the real ones. What ran is kept
for the last 256 traces, so `assert_node_sequence` may be asked afterwards.
"""

from __future__ import annotations

import asyncio
import difflib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from penguiflow._bounds import invalid_bound
from penguiflow._runtime.context import Context
from penguiflow._runtime.flow import PenguiFlow
from penguiflow.errors import FlowDefinitionError, FlowError, UnknownTarget
from penguiflow.metrics import FlowEvent
from penguiflow.node import Node, NodeFunc
from penguiflow.registry import ModelRegistry
from penguiflow.types import Payload

__all__ = ["SimulatedError", "assert_node_sequence", "last_trace_id", "run_one", "simulate_error"]

_TRACES_KEPT = 256

# For each trace, the nodes that were called, each with the number of the attempt.
_calls: OrderedDict[str, list[tuple[str, int]]] = OrderedDict()


async def run_one(
    flow: PenguiFlow, registry: ModelRegistry | None, input_msg: Payload, *, timeout_s: float = 10.0
) -> Payload:
    """Start `flow`, send it one message and return the trace's only value, None if it gave none; then stop the flow.

    Raises:
        FlowError: the trace failed, or gave more than one value (`partial` holds them).
        FlowDefinitionError: the flow runs already, or a simulated error names a node that it does not have.
        TimeoutError: the trace took longer than `timeout_s`; the message names the nodes that were called.
    """
    called: list[tuple[str, int]] = []

    def note(event: FlowEvent) -> None:
        if event.event_type == "node_start":
            called.append((event.node_name or "", event.attempt))

    _start(flow, registry, note)
    try:
        trace = await flow.submit(input_msg)
        _keep(trace.trace_id, called)
        try:
            async with asyncio.timeout(timeout_s), trace:
                return await trace.result()
        finally:
            await flow.stop(drain=False)
    except TimeoutError as error:
        ran = _shown([name for name, _ in called])
        raise TimeoutError(f"the trace took longer than {timeout_s} s; it had called {ran}") from error
    finally:
        flow._listeners.remove(note)


def last_trace_id() -> str:
    """Return the id of the trace that `run_one` ran last: for messages that brought no id of their own.

    Raises:
        LookupError: `run_one` has run nothing.
    """
    if not _calls:
        raise LookupError("no trace was run yet; call run_one() first")
    return next(reversed(_calls))


def assert_node_sequence(trace_id: str, expected_nodes: Sequence[str | Node], *, retries: bool = False) -> None:
    """Check which nodes a trace called, in the order in which they began; nodes of its subflows included.

    A node that is tried again counts once, or with `retries` once for each attempt.

    Raises:
        AssertionError: other nodes were called, or the trace was not run by `run_one`.
    """
    __tracebackhide__ = True
    called = _calls.get(trace_id)
    if called is None:
        known = ", ".join(map(repr, list(_calls)[-5:])) or "none"
        raise AssertionError(f"run_one() ran no trace {trace_id!r} (the last ones: {known})")
    ran = [name for name, attempt in called if retries or not attempt]
    expected = [node.name if isinstance(node, Node) else node for node in expected_nodes]
    if ran != expected:
        changes = "\n".join(f"  {line}" for line in difflib.ndiff(expected, ran) if not line.startswith("?"))
        raise AssertionError(
            f"trace {trace_id!r} called other nodes than expected\n"
            f"expected: {_shown(expected)}\n"
            f"called:   {_shown(ran)}\n"
            f"(- expected, + called)\n{changes}"
        )


class SimulatedError:
    """An error that a node raises in place of its work; see `simulate_error`."""

    def __init__(self, node_name: str, code: str, times: int | None, exception: Exception | None) -> None:
        self.node_name = node_name
        """The node that fails."""
        self.raised = 0
        """How often it has failed so far."""
        self._code = code
        self._times = times
        self._exception = exception

    def wrap(self, func: NodeFunc) -> NodeFunc:
        """Return a node function that fails as long as it should, and then does what `func` does."""

        async def failing(message: Payload, ctx: Context) -> Any:
            if self._times is None or self.raised < self._times:
                self.raised += 1
                raise self._exception or FlowError(ctx.trace_id, self.node_name, self._code, "simulated")
            return await func(message, ctx)

        return failing


_simulated: ContextVar[tuple[SimulatedError, ...]] = ContextVar("penguiflow_simulated", default=())


@contextmanager
def simulate_error(
    node_name: str, code: str, *, times: int | None = 1, exception: Exception | None = None
) -> Iterator[SimulatedError]:
    """Make a node fail with `code`, in every flow that `run_one` runs inside the `with` block.

    The node fails the first `times` times it is called (None: always), instead of doing its work, and its policy
    applies: with enough retries the trace ends well. `exception` is raised in place of a `FlowError` with `code`.

    Raises:
        FlowDefinitionError: `times` is not positive.
    """
    if times is not None and times < 1:
        raise invalid_bound("times", times, "at least 1, or None for always")
    fault = SimulatedError(node_name, code, times, exception)
    token = _simulated.set((*_simulated.get(), fault))
    try:
        yield fault
    finally:
        _simulated.reset(token)


def _start(flow: PenguiFlow, registry: ModelRegistry | None, note: Any) -> None:
    """Start the flow with its nodes' functions wrapped; the nodes themselves may be shared, and stay as they are."""
    if flow.running:
        raise FlowDefinitionError(f"flow {flow.name!r} runs already; run_one() starts and stops the flow itself")
    originals: dict[Node, NodeFunc] = {}
    flow.add_middleware(note)
    try:
        for fault in _simulated.get():
            if fault.node_name not in flow.nodes:
                raise UnknownTarget(fault.node_name, flow.nodes)
            node = flow.nodes[fault.node_name]
            originals.setdefault(node, node.func)
            node.func = fault.wrap(node.func)
        flow.run(registry)
    except BaseException:
        flow._listeners.remove(note)
        raise
    finally:
        for node, func in originals.items():
            node.func = func


def _keep(trace_id: str, called: list[tuple[str, int]]) -> None:
    _calls[trace_id] = called
    _calls.move_to_end(trace_id)
    if len(_calls) > _TRACES_KEPT:
        _calls.popitem(last=False)


def _shown(names: Sequence[str]) -> str:
    return " → ".join(names) or "no node"
