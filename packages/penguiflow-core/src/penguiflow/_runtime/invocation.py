"""One call of a node function: from the message to what it returned, raised, or was stopped for."""

from __future__ import annotations

import asyncio
import contextvars
import types
from collections.abc import Coroutine, Generator
from copy import copy
from enum import Enum
from typing import TYPE_CHECKING, Any

from penguiflow._described import describe
from penguiflow._runtime.blocking import Blocked
from penguiflow._runtime.context import Context
from penguiflow._runtime.delivery import is_adopted, rewrap, send, wait_for_room
from penguiflow._runtime.kinds import KINDS, MESSAGE, PLAIN, Kind, kind_of
from penguiflow._runtime.outbox import Outbox
from penguiflow._runtime.posting import post
from penguiflow._runtime.shutdown import loop_shuts_down
from penguiflow._runtime.station import Station
from penguiflow._runtime.timers import Timer
from penguiflow._runtime.validation import validation_failed
from penguiflow.errors import FlowError, FlowErrorCode
from penguiflow.types import Payload

if TYPE_CHECKING:
    from penguiflow._runtime.workers import Workers

__all__ = ["GRACE_S", "Invocation", "begin"]

GRACE_S = 5.0
"""Seconds a cancelled node may take to unwind; after that its slot is free and the trace goes on without it."""


class _Why(Enum):
    """Why an invocation is being cancelled."""

    ENDED = "its run has ended"
    TIMEOUT = "its time-out has passed"
    ABANDONED = "it did not stop in time"


class Invocation:
    """A call that has suspended, so that it can be interrupted.

    A call that never awaits has none: nothing else can run before it returns.
    """

    __slots__ = ("_context", "_coro", "_ctx", "_delivering", "_first", "_grace", "_station", "_task", "_timer", "_why")

    def __init__(
        self,
        station: Station,
        ctx: Context,
        coro: Coroutine[Any, Any, Payload],
        context: contextvars.Context,
        first: Any,
        *,
        delivering: bool = False,
    ) -> None:
        self._station = station
        self._ctx = ctx
        self._coro = coro
        self._context = context
        self._first = first
        self._delivering = delivering
        self._task: asyncio.Task[None] | None = None
        self._timer: Timer | None = None
        self._grace: Timer | None = None
        self._why: _Why | None = None

    def belongs_to(self, ctx: Context) -> bool:
        """Say whether this is the call that was given `ctx`."""
        return self._ctx is ctx and not self._delivering

    def interrupt(self) -> None:
        """Cancel the call, because its run has ended."""
        self._cancel(_Why.ENDED)

    async def run(self, workers: Workers, task: asyncio.Task[None]) -> bool:
        """See the call through to its end; False if the worker was cancelled for it and has to end too."""
        run = self._ctx._run
        self._task = task
        if run.running is None:
            run.running = set()
        run.running.add(self)
        timeout_s = self._station.policy.timeout_s
        if timeout_s is not None and not self._delivering:
            self._timer = self._station.runtime.timers.after(timeout_s, self._time_out)
        if run.done:
            # Ended by the node itself before it first suspended, when there was nothing yet to interrupt.
            self.interrupt()
        value: Payload = None
        raised: BaseException | None = None
        try:
            value = await _drive(workers, self._context, self._coro, self._first)
        except BaseException as error:
            raised = error
        finally:
            self._leave()
        if self._why is not None:
            self._interrupted()
            return False
        rest = self._ended(value, raised, task)
        return True if rest is None else await rest.run(workers, task)

    def _ended(self, value: Payload, raised: BaseException | None, task: asyncio.Task[None]) -> Invocation | None:
        station, ctx = self._station, self._ctx
        if raised is None and not self._delivering:
            return _returned(station, ctx, value, self._context)
        if raised is None:
            station.end(ctx._run)
        elif isinstance(raised, asyncio.CancelledError) and loop_shuts_down():
            # Not by this runtime: the event loop is being shut down around a flow that was not stopped.
            station.runtime.abort()
            raise raised
        else:
            _raised(station, ctx, raised)
        return None

    def _interrupted(self) -> None:
        station, run = self._station, self._ctx._run
        if self._why is _Why.ABANDONED:
            return
        if self._why is _Why.TIMEOUT:
            _failed(station, self._ctx, _time_out_error(station, self._ctx, "ran"))
            return
        events = station.runtime.events
        if events is not None and run.error is not None:
            events.node_failed(station, run, self._ctx, run.error)
        station.end(run)

    def _time_out(self) -> None:
        self._cancel(_Why.TIMEOUT)

    def _cancel(self, why: _Why) -> None:
        if self._why is None or (self._why is _Why.TIMEOUT and why is _Why.ENDED):
            if self._why is None and self._task is not None:
                self._task.cancel()
                self._grace = self._station.runtime.timers.after(GRACE_S, self._abandon)
            self._why = why

    def _abandon(self) -> None:
        """Go on without a call that ignores its cancellation."""
        timed_out = self._why is _Why.TIMEOUT
        self._why = _Why.ABANDONED
        run = self._ctx._run
        if run.running is not None:
            run.running.discard(self)
        self._station.runtime.log_stuck(self._station.name, run.trace_id)
        if timed_out:
            run.fail(_time_out_error(self._station, self._ctx, "ignored its cancellation after it ran"))
        self._station.end(run)
        run.runtime.note_unwound(run)

    def _leave(self) -> None:
        for timer in (self._timer, self._grace):
            if timer is not None:
                timer.cancel()
        run = self._ctx._run
        if run.running is not None:
            run.running.discard(self)
            if run.done:
                run.runtime.note_unwound(run)


def begin(ctx: Context) -> Invocation | None:
    """Call a node with its message, up to the first suspension; None when the call has already ended."""
    station, run = ctx._station, ctx._run
    if run.deadline is not None and station.runtime.loop.time() >= run.deadline:
        run.expire()
        station.end(run)
        return None
    value, wrapped = ctx._value, False
    if station.typed:
        try:
            if KINDS.get(type(value)) is not PLAIN:
                value, wrapped = _open(station, value)
            elif station.check_in is not None:
                value = station.check_in.validate(value)
        except Exception as error:
            _give_up(station, ctx, validation_failed(run.trace_id, station.name, "in", error))
            return None
    events = station.runtime.events
    if events is not None and not (run.unit is not None and run.unit.is_recorded(ctx)):
        ctx._started = events.node_started(station, run, ctx)
    context = run.context.copy()
    coro: Any = station.func(value, ctx)
    try:
        first = context.run(coro.send, None)
    except StopIteration as stop:
        value = stop.value
        if station.simple and not wrapped and events is None and not run.done:
            kind = KINDS.get(type(value))
            if kind is PLAIN or (kind is MESSAGE and is_adopted(ctx, value)):
                return _hand_over(station, ctx, value, kind, context)
        return _returned(station, ctx, value, context)
    except BaseException as error:
        _raised(station, ctx, error)
        return None
    return Invocation(station, ctx, coro, context, first)


def _open(station: Station, value: Payload) -> tuple[Payload, bool]:
    """Validate what is, or may be, a message; returns what the node takes, and whether that was in a message."""
    if station.check_in is not None:
        value = station.check_in(value)
    if station.unwraps and kind_of(value) is MESSAGE:
        return value.payload, True
    return value, False


def _hand_over(
    station: Station, ctx: Context, value: Payload, kind: Kind, context: contextvars.Context
) -> Invocation | None:
    """What most calls come to, without the calls that `_returned` would take.

    The value is plain, or a message that belongs to the trace as it is, and the station has at most one successor.
    """
    run, target, check = ctx._run, station.only_target, station.check_out
    if check is not None:
        try:
            checked = check.validate(value) if kind is PLAIN else check(value)
        except Exception as error:
            _failed(station, ctx, validation_failed(run.trace_id, station.name, "out", error))
            return None
        if type(checked) is not type(value):
            # What it has become may be something that the runtime acts on.
            return _returned(station, ctx, checked, context, checked=True)
        value = checked
    if target is None:
        if not run.keep(station.name, value):
            return _returned(station, ctx, value, context, checked=True)
    else:
        sent = Context(run, target, value, ctx._hop, (ctx._origin, station.name, ctx._sent))
        if not target.offer(sent):
            return _deliver(station, ctx, [Blocked(target, sent)], context)
    station.end(run)
    return None


def _returned(
    station: Station, ctx: Context, value: Payload, context: contextvars.Context, *, checked: bool = False
) -> Invocation | None:
    """Send on what the node returned; an `Invocation` is left over where a successor is full."""
    run = ctx._run
    if run.done:
        station.end(run)
        return None
    if value is not None and station.check_out is not None and not checked and type(value) is not Outbox:
        try:
            value = station.check_out(rewrap(ctx, value))
        except Exception as error:
            _failed(station, ctx, validation_failed(run.trace_id, station.name, "out", error))
            return None
    events = station.runtime.events
    if events is not None and not (type(value) is Outbox and value.replayed):
        events.node_ended(station, run, ctx)
    if value is not None:
        try:
            if type(value) is Outbox:
                rest = post(value, ctx)
                if rest is not None:
                    return _see_off(station, ctx, rest, context)
                blocked = None
            else:
                blocked = send(ctx, value, None)
        except Exception as error:
            # Not by the runtime alone: a Message of the user's own class may copy itself in its own way.
            _give_up(station, ctx, _as_flow_error(ctx, error))
            return None
        if blocked:
            return _deliver(station, ctx, blocked, context)
    station.end(run)
    return None


def _see_off(
    station: Station, ctx: Context, sending: Coroutine[Any, Any, None], context: contextvars.Context
) -> Invocation | None:
    """Wait until everything that a recorded invocation sends is on its way."""
    try:
        first = context.run(sending.send, None)
    except StopIteration:
        station.end(ctx._run)
        return None
    return Invocation(station, ctx, sending, context, first, delivering=True)


def _deliver(station: Station, ctx: Context, blocked: list[Blocked], context: contextvars.Context) -> Invocation:
    coro = wait_for_room(station, blocked)
    return Invocation(station, ctx, coro, context, context.run(coro.send, None), delivering=True)


def _raised(station: Station, ctx: Context, error: BaseException) -> None:
    if isinstance(error, Exception):
        _failed(station, ctx, _as_flow_error(ctx, error))
    elif isinstance(error, asyncio.CancelledError):
        message = "the node raised asyncio.CancelledError by itself, or awaited something that was cancelled"
        code = FlowErrorCode.NODE_CANCELLED
        _give_up(station, ctx, FlowError(ctx._run.trace_id, station.name, code, message, error))
    else:
        # KeyboardInterrupt and SystemExit end the program; the trace is told first.
        _give_up(station, ctx, _as_flow_error(ctx, error))
        raise error


def _as_flow_error(ctx: Context, error: BaseException) -> FlowError:
    trace_id, name = ctx._run.trace_id, ctx._station.name
    if not isinstance(error, FlowError):
        return FlowError(trace_id, name, FlowErrorCode.NODE_EXCEPTION, describe(error), error)
    if error.trace_id == trace_id and error.node_name:
        return error
    # A copy: the same object may be raised in many traces, or be the error of another one.
    own = copy(error)
    own.__traceback__, own.__cause__, own.__context__ = error.__traceback__, error.__cause__, error.__context__
    own.__suppress_context__ = error.__suppress_context__
    return own.within(trace_id, name)


def _failed(station: Station, ctx: Context, error: FlowError) -> None:
    """An attempt failed: try again after a back-off that holds no worker, or give up."""
    run, policy = ctx._run, station.policy
    if run.done or ctx._attempt >= policy.max_retries:
        _give_up(station, ctx, error)
        return
    delay_s = policy.backoff_s(ctx._attempt)
    events = station.runtime.events
    if events is not None:
        events.node_failed(station, run, ctx, error)
        events.post("retry", run, station, attempt=ctx._attempt, exception=error, delay_s=delay_s)
    timers = run.timers = run.timers if run.timers is not None else set()

    def again() -> None:
        timers.discard(timer)
        station.put_back(ctx._again())

    timer = station.runtime.timers.after(delay_s, again)
    timers.add(timer)
    station.free_slot()


def _give_up(station: Station, ctx: Context, error: FlowError) -> None:
    run = ctx._run
    events = station.runtime.events
    if events is not None and not run.done:
        events.node_failed(station, run, ctx, error)
    run.fail(error)
    station.end(run)


def _time_out_error(station: Station, ctx: Context, what: str) -> FlowError:
    message = f"the node {what} longer than timeout_s={station.policy.timeout_s}"
    return FlowError(ctx._run.trace_id, station.name, FlowErrorCode.NODE_TIMEOUT, message, TimeoutError(message))


@types.coroutine
def _drive(
    workers: Workers, context: contextvars.Context, coro: Coroutine[Any, Any, Payload], awaiting: Any
) -> Generator[Any, Any, Payload]:
    """Step a started coroutine inside `context` until it returns.

    What a task would do, without a task for each message: the worker's own task yields what the coroutine awaits,
    and each step runs in the context variables of whoever submitted the trace.
    """
    while True:
        workers.pause()
        try:
            sent = yield awaiting
        except BaseException as error:
            workers.hot = True
            thrown: BaseException | None = error
        else:
            workers.hot = True
            thrown = None
        try:
            awaiting = context.run(coro.send, sent) if thrown is None else context.run(coro.throw, thrown)
        except StopIteration as stop:
            return stop.value
