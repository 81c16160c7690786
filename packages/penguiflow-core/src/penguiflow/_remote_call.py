"""One call of a remote agent: what is sent, what comes back, and how it is called off."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from penguiflow._json import encode, to_plain
from penguiflow._remote_task import REMOTE_TASK, find_task, fingerprint
from penguiflow._runtime.context import Context
from penguiflow.errors import FlowError, FlowErrorCode, RemoteFailed
from penguiflow.types import Payload

if TYPE_CHECKING:
    from penguiflow.remote import RemoteTransport

__all__ = ["RemoteCall", "Resubscribe"]

Resubscribe: TypeAlias = Callable[[str, str, str | None, dict[str, Any] | None], AsyncIterator[dict[str, Any]]]
"""`ResumableTransport.resubscribe`."""

logger = logging.getLogger("penguiflow")

_COMPLETED = "completed"
_UNSUCCESSFUL = {
    "failed": "the agent failed",
    "rejected": "the agent rejected the message",
    "canceled": "the task was cancelled at the agent",
    "input-required": "the agent asks for more input",
    "auth-required": "the agent asks for authentication",
}


class RemoteCall:
    """A call on its way: it knows the remote task as soon as the agent names it."""

    def __init__(
        self,
        transport: RemoteTransport,
        agent_url: str,
        agent_card: dict[str, Any],
        ctx: Context,
        *,
        cancel_timeout_s: float,
    ) -> None:
        self._transport = transport
        self._agent_url = agent_url
        self._agent_card = agent_card
        self._ctx = ctx
        self._cancel_timeout_s = cancel_timeout_s
        self._context_id: str | None = None
        self._task_id: str | None = None
        self._saved: tuple[str | None, str | None] = (None, None)
        self._request: dict[str, Any] = {}
        self._open = False
        """Whether the agent works on a task of ours that has not ended."""
        self._resuming = False
        """Whether the agent was asked for a task of ours and has not answered yet."""
        self._lost = False
        """Whether the agent was lost while it was at work; the next attempt may find it so."""
        self._streams: dict[str, str] = {}
        self._started = 0.0
        self._sent_bytes = 0
        self._received_bytes = 0

    async def run(
        self, skill: str, payload: Payload, *, streams: bool, resubscribe: Resubscribe | None = None
    ) -> Payload:
        """Send the payload, or take up the task that it was sent for before, and return the agent's result.

        Raises:
            RemoteFailed: the agent or the transport failed.
        """
        self._request = self._build_request(skill, payload)
        self._started = time.perf_counter()
        self._sent_bytes = self._size(self._request)
        self._post("remote_call_start", skill=skill, streaming=streams)
        self._open = True
        try:
            result = await (self._stream(resubscribe) if streams else self._send())
        except asyncio.CancelledError:
            await self._call_off()
            raise
        except FlowError as error:
            error.within(self._ctx.trace_id, self._ctx.node_name)
            await self._call_off(error)
            raise
        self._post("remote_call_end", latency_ms=self._latency_ms(), state=_COMPLETED)
        return result

    async def _send(self) -> Payload:
        try:
            answer = await self._transport.send(self._agent_url, self._agent_card, self._request)
        except Exception as error:
            raise self._transport_failed(error) from error
        await self._note(answer)
        return self._result(answer)

    async def _stream(self, resubscribe: Resubscribe | None) -> Payload:
        task_id = None if resubscribe is None else await self._find_task()
        if resubscribe is not None and task_id is not None:
            self._task_id, self._resuming = task_id, True
            self._post("core.remote_resumed")
            try:
                return await self._follow(resubscribe(self._agent_url, task_id, None, self._agent_card))
            except LookupError:
                self._task_id, self._resuming = None, False
        return await self._follow(self._transport.stream(self._agent_url, self._agent_card, self._request))

    async def _follow(self, stream: AsyncIterator[dict[str, Any]]) -> Payload:
        parts: AsyncIterator[dict[str, Any]] | None = None
        try:
            parts = aiter(stream)
            while True:
                part = await self._next(parts)
                self._resuming = False
                await self._note(part)
                if part.get("kind") == "result":
                    return self._result(part)
                await self._pass_on(part)
        finally:
            await self._close(parts)

    async def _find_task(self) -> str | None:
        store = self._ctx._state_store
        if store is None:
            return None
        try:
            return await find_task(store, self._request, self._agent_url)
        except Exception as error:
            message = f"the state store could not load the remote tasks: {type(error).__name__}: {error}"
            raise FlowError(None, None, FlowErrorCode.STORE_FAILED, message, error) from error

    async def _close(self, parts: AsyncIterator[dict[str, Any]] | None) -> None:
        """Close a stream in the task that read it: a transport may hold a cancel scope open in it."""
        close = getattr(parts, "aclose", None)
        if close is None:
            return
        try:
            async with asyncio.timeout(self._cancel_timeout_s):
                await close()
        except Exception as error:
            self._warn("close the stream from", error)

    async def _next(self, parts: AsyncIterator[dict[str, Any]]) -> dict[str, Any]:
        try:
            return await anext(parts)
        except StopAsyncIteration:
            raise self._failed("the stream ended without a result") from None
        except LookupError as error:
            # Said first of a task that was to be taken up again; at any other time it is a failure like others.
            if self._resuming:
                raise
            raise self._transport_failed(error) from error
        except Exception as error:
            raise self._transport_failed(error) from error

    async def _pass_on(self, part: dict[str, Any]) -> None:
        kind = part.get("kind")
        if kind == "status":
            state = self._state(part)
            self._post("core.remote_status", state=state)
            if state in _UNSUCCESSFUL:
                raise self._unsuccessful(state, part)
        elif kind == "chunk":
            await self._emit(part)
        else:
            raise self._failed(f"a part of the stream is neither chunk, status nor result: {_shown(part)}")

    async def _emit(self, part: dict[str, Any]) -> None:
        text, meta = part.get("text", ""), part.get("meta") or {}
        if not isinstance(text, str) or not isinstance(meta, dict) or not all(isinstance(key, str) for key in meta):
            raise self._failed(f"a chunk of the stream is not as agreed: {_shown(part)}")
        stream_id = self._stream_id(part.get("stream_id"))
        try:
            await self._ctx.emit_chunk(stream_id, text=text, done=part.get("done") is True, meta=meta)
        except FlowError as error:
            if error.code != FlowErrorCode.STREAM_ORDER:
                raise
            raise self._failed(f"a chunk came after its stream was done: {_shown(part)}") from error

    def _stream_id(self, remote: object) -> str | None:
        """Give each stream of the agent one here: its own id may be in use by another call, or an earlier attempt."""
        if remote is None:
            return None
        key = str(remote)
        if key not in self._streams:
            self._streams[key] = self._ctx._new_stream(key)
        return self._streams[key]

    async def _note(self, answer: object) -> None:
        """Take from an answer which task it belongs to, and save that once it is known."""
        if not isinstance(answer, dict):
            raise self._failed(f"the answer is no object: {_shown(answer)}")
        self._received_bytes += self._size(answer)
        for key in ("context_id", "task_id"):
            value = answer.get(key)
            if value is not None and not isinstance(value, str):
                raise self._failed(f"{key} of the answer is no string: {_shown(value)}")
        self._context_id = answer.get("context_id") or self._context_id
        self._task_id = answer.get("task_id") or self._task_id
        binding, store = (self._context_id, self._task_id), self._ctx._state_store
        if store is None or self._task_id is None or binding == self._saved:
            return
        self._saved = binding
        self._post(REMOTE_TASK, fingerprint=fingerprint(self._request))
        try:
            await store.save_remote_binding(self._ctx.trace_id, self._context_id or "", self._task_id, self._agent_url)
        except Exception as error:
            message = f"the state store could not save the remote task: {type(error).__name__}: {error}"
            raise FlowError(None, None, FlowErrorCode.STORE_FAILED, message, error) from error

    def _result(self, answer: dict[str, Any]) -> Payload:
        state = self._state(answer)
        if state in _UNSUCCESSFUL:
            raise self._unsuccessful(state, answer)
        if state != _COMPLETED:
            raise self._failed(f"the answer came while the task is {state!r}; the transport has to wait for its end")
        self._open = False
        if "result" not in answer:
            raise self._failed(f"the answer has no 'result': {_shown(answer)}")
        return answer["result"]

    def _state(self, answer: dict[str, Any]) -> str:
        state = answer.get("state")
        if not isinstance(state, str):
            raise self._failed(f"the answer has no 'state': {_shown(answer)}")
        # Two versions of A2A spell it "input-required" and "TASK_STATE_INPUT_REQUIRED"; others write "cancelled".
        spelled = state.lower().removeprefix("task_state_").replace("_", "-")
        return "canceled" if spelled == "cancelled" else spelled

    def _unsuccessful(self, state: str, answer: dict[str, Any]) -> RemoteFailed:
        # A task that asks for more is open for an answer; the others have ended.
        self._open = False
        said = answer.get("result") or answer.get("message") or answer.get("error")
        return self._failed(_UNSUCCESSFUL[state] + (f": {_shown(said)}" if said else ""), state=state)

    def _transport_failed(self, error: Exception) -> FlowError:
        # The agent may be at work still, and the next attempt, which has the same message id, may find it so.
        if not self._ctx._is_last_attempt:
            self._open, self._lost = False, self._task_id is not None
        if isinstance(error, FlowError):
            return error
        return self._failed(f"{type(error).__name__}: {error}", original_exc=error)

    def _failed(
        self, message: str, *, state: str | None = None, original_exc: BaseException | None = None
    ) -> RemoteFailed:
        return RemoteFailed(
            message,
            agent_url=self._agent_url,
            trace_id=self._ctx.trace_id,
            node_name=self._ctx.node_name,
            state=state,
            context_id=self._context_id,
            task_id=self._task_id,
            original_exc=original_exc,
        )

    async def _call_off(self, error: FlowError | None = None) -> None:
        """End a call that gave no result: cancel what the agent still does for it."""
        latency_ms = self._latency_ms()
        ended = error or self._ctx._run.error
        extra: dict[str, Any] = {"code": "INTERRUPTED" if ended is None else ended.code}
        if self._lost:
            extra["left_running"] = True
        try:
            if self._open and self._task_id is not None:
                await self._cancel(self._task_id, extra)
        finally:
            self._post("remote_call_error", latency_ms=latency_ms, exception=error, **extra)

    async def _cancel(self, task_id: str, extra: dict[str, Any]) -> None:
        """Cancel the remote task, even while this side is cancelled once more; note how that went in `extra`."""
        began = time.perf_counter()
        task = asyncio.ensure_future(self._cancel_in_time(task_id))
        again: asyncio.CancelledError | None = None
        while not task.done():
            try:
                await asyncio.wait({task})
            except asyncio.CancelledError as error:
                again = error
        extra.update(remote_cancelled=task.result(), cancel_latency_ms=(time.perf_counter() - began) * 1000.0)
        if again is not None:
            raise again

    async def _cancel_in_time(self, task_id: str) -> bool:
        try:
            async with asyncio.timeout(self._cancel_timeout_s):
                await self._transport.cancel(self._agent_url, task_id)
        except Exception as error:
            self._warn(f"cancel task {task_id!r} at", error)
            return False
        return True

    def _warn(self, what: str, error: Exception) -> None:
        logger.warning("trace %s could not %s %s: %r", self._ctx.trace_id, what, self._agent_url, error)

    def _build_request(self, skill: str, payload: Payload) -> dict[str, Any]:
        ctx = self._ctx
        try:
            encoded, meta = to_plain(payload), to_plain(ctx.meta)
        except ValueError as error:
            problem = f"the message cannot be sent as JSON: {error}; send a pydantic model, or plain data"
            raise self._failed(problem, original_exc=error) from error
        return {
            "skill": skill,
            "payload": encoded,
            "trace_id": ctx.trace_id,
            "message_id": ctx.idempotency_key,
            "meta": meta,
            "deadline_s": ctx.deadline_s,
        }

    def _size(self, data: object) -> int:
        if not self._ctx._listened_to:
            return 0
        try:
            return len(encode(data))
        except ValueError:
            return 0

    def _latency_ms(self) -> float:
        return (time.perf_counter() - self._started) * 1000.0

    def _post(self, event_type: str, **extra: Any) -> None:
        self._ctx._post(
            event_type,
            agent_url=self._agent_url,
            message_id=self._request["message_id"],
            context_id=self._context_id,
            task_id=self._task_id,
            bytes_sent=self._sent_bytes,
            bytes_received=self._received_bytes,
            **extra,
        )


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else text[:200] + "…"
