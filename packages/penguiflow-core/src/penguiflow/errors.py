"""What can go wrong, as one hierarchy.

::

    FlowError                     a trace failed; `code` says how
    ├── TraceCancelled            cancel() or `async with trace` ended it
    ├── JoinIncomplete            a join can no longer get its k parts (have, need)
    ├── ValidationFailed          a payload does not fit its model (details)
    ├── MultipleResults           result() on a trace with more than one value
    ├── TraceActive               this trace id is in use
    ├── QueueFull                 a *_nowait call met a full queue
    ├── FlowStopped               the flow stopped before the trace ended
    ├── LeaseLost                 another process has taken this work over; nothing was written (owner, epoch)
    ├── TraceOver                 the trace has ended in the store; nothing was written
    ├── TraceUnknown              no trace with this id is known to the store
    ├── NotSerialisable           a payload cannot go over a process boundary (field)
    ├── GraphChanged              a trace was begun by a flow of another shape (differences)
    ├── RemoteFailed              a remote agent failed, or did not answer as agreed (agent_url, state, task_id)
    ├── NotRunning                used before run() or after stop()
    └── FlowDefinitionError       the flow itself is wrong (also a ValueError)
        ├── CycleError            a cycle that nothing allows
        ├── NodeSignatureError    a node function of the wrong shape (also a TypeError)
        └── UnknownTarget         a name that is no node, or no successor
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, Self

__all__ = [
    "CycleError",
    "FlowDefinitionError",
    "FlowError",
    "FlowErrorCode",
    "FlowStopped",
    "GraphChanged",
    "JoinIncomplete",
    "LeaseLost",
    "MultipleResults",
    "NodeSignatureError",
    "NotRunning",
    "NotSerialisable",
    "QueueFull",
    "RemoteFailed",
    "TraceActive",
    "TraceCancelled",
    "TraceOver",
    "TraceUnknown",
    "UnknownTarget",
    "ValidationFailed",
]


class FlowErrorCode(StrEnum):
    """Stable codes of `FlowError.code`; a node may raise a `FlowError` with a code of its own."""

    NODE_EXCEPTION = "NODE_EXCEPTION"
    """A node raised, and its retries are used up."""
    NODE_TIMEOUT = "NODE_TIMEOUT"
    """A node ran longer than its `timeout_s`, and its retries are used up."""
    NODE_CANCELLED = "NODE_CANCELLED"
    """A node raised `asyncio.CancelledError` by itself."""
    TRACE_CANCELLED = "TRACE_CANCELLED"
    """The trace was cancelled."""
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    """The trace's deadline passed."""
    VALIDATION_FAILED = "VALIDATION_FAILED"
    """A payload does not fit the model registered for a node."""
    QUEUE_OVERFLOW = "QUEUE_OVERFLOW"
    """More messages of one trace wait on a cycle, or more results of it are kept, than the cap."""
    QUEUE_FULL = "QUEUE_FULL"
    """A call that may not wait met a full queue."""
    JOIN_INCOMPLETE = "JOIN_INCOMPLETE"
    """A join can no longer get all its parts."""
    NO_ROUTE = "NO_ROUTE"
    """A router found no target for a message."""
    UNKNOWN_TARGET = "UNKNOWN_TARGET"
    """A message was sent to a node that is not a successor."""
    MULTIPLE_RESULTS = "MULTIPLE_RESULTS"
    """One result was asked for, and the trace has more."""
    TRACE_ACTIVE = "TRACE_ACTIVE"
    """The trace id is in use by a trace that has not ended."""
    TRACE_ENDED = "TRACE_ENDED"
    """A context was used after its trace had ended."""
    CHUNKS_BUSY = "CHUNKS_BUSY"
    """A second reader asked for the chunks of one trace."""
    STREAM_ORDER = "STREAM_ORDER"
    """A chunk's `seq` does not follow, or its stream is done."""
    FLOW_STOPPED = "FLOW_STOPPED"
    """The flow was stopped before the trace ended."""
    NOT_RUNNING = "NOT_RUNNING"
    """The flow was used before `run()` or after `stop()`."""
    STORE_FAILED = "STORE_FAILED"
    """The state store could not save what it was given."""
    LEASE_LOST = "LEASE_LOST"
    """Another process has taken the trace, or this part of it, over; what was done here was not written."""
    TRACE_UNKNOWN = "TRACE_UNKNOWN"
    """The state store knows no trace with this id."""
    NOT_SERIALISABLE = "NOT_SERIALISABLE"
    """A payload that has to be written down, or to cross into another process, is not what JSON can hold."""
    MESSAGE_REFUSED = "MESSAGE_REFUSED"
    """The message bus never takes a message for a node in another process."""
    GRAPH_CHANGED = "GRAPH_CHANGED"
    """A trace was begun by a flow whose nodes or edges were others."""
    INTERRUPTED = "INTERRUPTED"
    """A node with `on_interrupted="fail"` was running when its process died."""
    REMOTE_FAILED = "REMOTE_FAILED"
    """A remote agent answered with an error, or not in the agreed form."""
    INVALID_DEFINITION = "INVALID_DEFINITION"
    """The flow, a node, a policy or a registry is not usable as given."""


class FlowError(Exception):
    """A trace failed.

    Raised to whoever awaits the trace. `code` is stable (see `FlowErrorCode`); `original_exc` is the exception of
    the node where there was one; `partial` holds the `(exit_name, value)` pairs that the trace gave before it failed.
    """

    def __init__(
        self,
        trace_id: str | None = None,
        node_name: str | None = None,
        code: str = FlowErrorCode.NODE_EXCEPTION,
        message: str = "",
        original_exc: BaseException | None = None,
    ) -> None:
        super().__init__(trace_id, node_name, code, message, original_exc)
        self.trace_id = trace_id
        self.node_name = node_name
        self.code = str(code)
        self.message = message or (repr(original_exc) if original_exc is not None else "")
        self.original_exc = original_exc
        self.partial: list[tuple[str, Any]] = []
        if original_exc is not None:
            self.__cause__ = original_exc

    def __str__(self) -> str:
        where = [f"node {self.node_name!r}"] if self.node_name else []
        if self.trace_id:
            where.append(f"trace {self.trace_id!r}")
        return f"[{self.code}] {self.message}" + (f" ({', '.join(where)})" if where else "")

    def __reduce__(self) -> tuple[Any, ...]:
        return _restore, (type(self), self.args, dict(self.__dict__))

    def to_payload(self) -> dict[str, Any]:
        """Return the error as JSON-ready data, without the exception object and without partial results."""
        original = self.original_exc
        return {
            "code": self.code,
            "message": self.message,
            "trace_id": self.trace_id,
            "node_name": self.node_name,
            "exception": None if original is None else type(original).__name__,
        }

    def within(self, trace_id: str | None, node_name: str | None) -> Self:
        """Fill in trace and node where they are still unknown, and return the error itself."""
        self.trace_id = self.trace_id or trace_id
        self.node_name = self.node_name or node_name
        return self


def _restore(cls: type[FlowError], args: tuple[Any, ...], state: dict[str, Any]) -> FlowError:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class TraceCancelled(FlowError):
    """The trace was cancelled. An ordinary exception, never an `asyncio.CancelledError`."""

    def __init__(self, trace_id: str | None = None, message: str = "the trace was cancelled") -> None:
        super().__init__(trace_id, None, FlowErrorCode.TRACE_CANCELLED, message)


class JoinIncomplete(FlowError):
    """A join got `have` of the `need` parts it waits for, and no work is left that could send more."""

    def __init__(self, trace_id: str | None, node_name: str, have: int, need: int) -> None:
        message = (
            f"join got {have} of {need} parts and nothing is left that could send more; "
            f"lower k, or pass on_incomplete='emit' to go on with what there is"
        )
        super().__init__(trace_id, node_name, FlowErrorCode.JOIN_INCOMPLETE, message)
        self.have = have
        self.need = need

    def to_payload(self) -> dict[str, Any]:
        """Return the error as JSON-ready data, the numbers of parts included."""
        return {**super().to_payload(), "have": self.have, "need": self.need}


class ValidationFailed(FlowError):
    """A payload does not fit the model of a node; `details` are pydantic's errors, `stage` is "in" or "out"."""

    def __init__(
        self,
        trace_id: str | None,
        node_name: str,
        stage: str,
        details: list[dict[str, Any]],
        original_exc: BaseException | None = None,
    ) -> None:
        shown = "; ".join(f"{'.'.join(map(str, d['loc'])) or 'value'}: {d['msg']}" for d in details[:3])
        more = f" (and {len(details) - 3} more)" if len(details) > 3 else ""
        direction = "input" if stage == "in" else "output"
        super().__init__(
            trace_id, node_name, FlowErrorCode.VALIDATION_FAILED, f"invalid {direction}: {shown}{more}", original_exc
        )
        self.stage = stage
        self.details = details

    def to_payload(self) -> dict[str, Any]:
        """Return the error as JSON-ready data, pydantic's details included."""
        details = [{"loc": list(d["loc"]), "msg": d["msg"], "type": d["type"]} for d in self.details]
        return {**super().to_payload(), "stage": self.stage, "details": details}


class MultipleResults(FlowError):
    """`result()` was asked of a trace that gave `count` values; `results()` returns them all."""

    def __init__(self, trace_id: str, results: list[tuple[str, Any]]) -> None:
        exits = ", ".join(dict.fromkeys(name for name, _ in results))
        message = f"the trace gave {len(results)} values (from {exits}); use 'await trace.results()'"
        super().__init__(trace_id, None, FlowErrorCode.MULTIPLE_RESULTS, message)
        self.count = len(results)
        self.partial = list(results)


class TraceActive(FlowError):
    """The trace id is in use; wait for that trace, cancel it, or leave the id out to get a fresh one."""

    def __init__(self, trace_id: str) -> None:
        message = "a trace with this id is active; await or cancel it first, or submit under another id"
        super().__init__(trace_id, None, FlowErrorCode.TRACE_ACTIVE, message)


class LeaseLost(FlowError):
    """Another process has claimed this unit of the trace; what was about to be written was not."""

    def __init__(self, trace_id: str, unit: str, owner: str, epoch: int) -> None:
        what = f"message {unit}" if unit else "the trace"
        message = (
            f"{what} was taken over by another process since {owner!r} claimed it as epoch {epoch}; "
            f"'await flow.attach(trace_id)' follows it there"
        )
        super().__init__(trace_id, None, FlowErrorCode.LEASE_LOST, message)
        self.unit = unit
        self.owner = owner
        self.epoch = epoch


class TraceOver(FlowError):
    """The trace has ended in the state store as `state`, so nothing more can be written for it."""

    def __init__(self, trace_id: str, state: str) -> None:
        super().__init__(trace_id, None, FlowErrorCode.TRACE_ENDED, f"the trace has ended: it is {state}")
        self.state = state


class TraceUnknown(FlowError):
    """The state store knows no trace with this id."""

    def __init__(self, trace_id: str) -> None:
        message = "the state store knows no trace with this id; check the id, and that it is the store it ran with"
        super().__init__(trace_id, None, FlowErrorCode.TRACE_UNKNOWN, message)


class NotSerialisable(FlowError):
    """A payload has to be written as JSON and cannot be; `field` says where in it."""

    def __init__(self, trace_id: str | None, node_name: str | None, field: str, problem: str) -> None:
        message = (
            f"{field} cannot be written as JSON: {problem}; with a state store or a message bus, payloads are "
            f"pydantic models or plain data"
        )
        super().__init__(trace_id, node_name, FlowErrorCode.NOT_SERIALISABLE, message)
        self.field = field
        self.problem = problem


class GraphChanged(FlowError):
    """A trace was begun by a flow of another shape, so it cannot go on here; `differences` names them."""

    def __init__(self, trace_id: str, flow: str, differences: Iterable[str]) -> None:
        self.differences = list(differences)
        message = (
            f"flow {flow!r} has changed since the trace began: {'; '.join(self.differences)}; "
            f"run the version that it began with to finish it, or cancel it"
        )
        super().__init__(trace_id, None, FlowErrorCode.GRAPH_CHANGED, message)


class QueueFull(FlowError):
    """A call that may not wait met a full queue of `maxsize` messages."""

    def __init__(self, node_name: str, maxsize: int, trace_id: str | None = None) -> None:
        message = f"the queue holds {maxsize} messages already; use the awaiting form, or raise queue_maxsize"
        super().__init__(trace_id, node_name, FlowErrorCode.QUEUE_FULL, message)
        self.maxsize = maxsize


class FlowStopped(FlowError):
    """The flow stopped before the trace ended, or before it could be accepted."""

    def __init__(self, trace_id: str | None = None, message: str = "the flow was stopped") -> None:
        super().__init__(trace_id, None, FlowErrorCode.FLOW_STOPPED, message)


class NotRunning(FlowError, RuntimeError):
    """The flow was used before `run()` or after `stop()`."""

    def __init__(self, flow_name: str, operation: str) -> None:
        message = f"flow {flow_name!r} is not running: call flow.run(), or use 'async with flow', before {operation}"
        super().__init__(None, None, FlowErrorCode.NOT_RUNNING, message)
        self.flow_name = flow_name


class RemoteFailed(FlowError):
    """A remote agent or its transport failed, or did not answer as agreed; `state` is the task's where it named one.

    A transport may raise subclasses with a `code` of their own.
    """

    def __init__(
        self,
        message: str,
        *,
        agent_url: str,
        trace_id: str | None = None,
        node_name: str | None = None,
        state: str | None = None,
        context_id: str | None = None,
        task_id: str | None = None,
        code: str = FlowErrorCode.REMOTE_FAILED,
        original_exc: BaseException | None = None,
    ) -> None:
        super().__init__(trace_id, node_name, code, f"{agent_url}: {message}", original_exc)
        self.agent_url = agent_url
        self.state = state
        self.context_id = context_id
        self.task_id = task_id


class FlowDefinitionError(FlowError, ValueError):
    """A flow, node, policy or registry is not usable as given; raised where it is built or started."""

    def __init__(
        self,
        message: str,
        *,
        node_name: str | None = None,
        code: str = FlowErrorCode.INVALID_DEFINITION,
        trace_id: str | None = None,
    ) -> None:
        super().__init__(trace_id, node_name, code, message)


class CycleError(FlowDefinitionError):
    """The nodes in `cycle` lead back to the first of them, and nothing allows that."""

    def __init__(self, cycle: Iterable[str]) -> None:
        self.cycle = list(cycle)
        shown = " → ".join([*self.cycle, self.cycle[0]])
        super().__init__(
            f"cycle {shown} is not allowed; if the loop is meant, pass allow_cycle=True to one of its nodes "
            f"or allow_cycles=True to the flow"
        )


class NodeSignatureError(FlowDefinitionError, TypeError):
    """A node function is not `async def func(message, ctx)`."""


class UnknownTarget(FlowDefinitionError):
    """A message was addressed to `target`, which is none of the `known` nodes."""

    def __init__(
        self, target: str, known: Iterable[str], *, source: str | None = None, trace_id: str | None = None
    ) -> None:
        self.target = target
        self.known = sorted(known)
        listed = ", ".join(map(repr, self.known)) or "none"
        place = f"a successor of {source!r}" if source else "a node of the flow"
        super().__init__(
            f"{target!r} is not {place} (there is: {listed}); connect it with .to(...) or correct the name",
            node_name=source,
            code=FlowErrorCode.UNKNOWN_TARGET,
            trace_id=trace_id,
        )
