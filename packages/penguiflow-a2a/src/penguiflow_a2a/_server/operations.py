"""Each operation of the protocol, from its parameters in one of the spellings to its result in the same."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias, TypeVar

from pydantic import BaseModel, ValidationError

from penguiflow_a2a._protocol.card_wire import card_to_v03, card_to_v1
from penguiflow_a2a._protocol.cards import AgentCard
from penguiflow_a2a._protocol.codecs import invalid_params
from penguiflow_a2a._protocol.errors import ErrorKind, ProtocolError
from penguiflow_a2a._protocol.operations import Operation
from penguiflow_a2a._protocol.requests import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTasksRequest,
    PushNotificationConfigRequest,
    SendMessageRequest,
    SubscribeToTaskRequest,
    TaskPushNotificationConfig,
)
from penguiflow_a2a._protocol.v03 import no_limit
from penguiflow_a2a._server.callers import Caller, Principal
from penguiflow_a2a._server.checks import check_id
from penguiflow_a2a._server.elsewhere import StreamFromElsewhere
from penguiflow_a2a._server.engine import Engine, extra_of
from penguiflow_a2a._server.push import Pusher
from penguiflow_a2a._server.records import Artifacts, TaskRecord
from penguiflow_a2a._server.spellings import Spelling, WireEvent, dump
from penguiflow_a2a._server.store import from_token, to_token
from penguiflow_a2a._server.streams import Source, TaskStream

__all__ = ["ExtendedCard", "Operations"]

ExtendedCard: TypeAlias = AgentCard | Callable[[Principal], AgentCard]
"""The card for clients that are known: the same for all of them, or made for each."""

_T = TypeVar("_T", bound=BaseModel)
_NULL = b"null"


class Operations:
    """Calls the engine. What fails is a `ProtocolError`."""

    def __init__(self, engine: Engine, pusher: Pusher, card: AgentCard, extended_card: ExtendedCard | None) -> None:
        self._engine = engine
        self._pusher = pusher
        self._card = card
        self._extended_card = extended_card
        self._handlers: dict[Operation, Callable[[Any, Principal, Spelling], Awaitable[bytes]]] = {
            Operation.SEND: self._send,
            Operation.GET: self._get,
            Operation.LIST: self._list,
            Operation.CANCEL: self._cancel,
            Operation.SET_PUSH: self._set_push,
            Operation.GET_PUSH: self._get_push,
            Operation.LIST_PUSH: self._list_push,
            Operation.DELETE_PUSH: self._delete_push,
            Operation.EXTENDED_CARD: self._get_extended_card,
        }

    async def call(self, operation: Operation, params: Any, principal: Principal, spelling: Spelling) -> bytes:
        """Do what does not stream, and return its result."""
        return await self._handlers[operation](params, principal, spelling)

    async def open(
        self, operation: Operation, params: Any, principal: Principal, spelling: Spelling, after: int | None
    ) -> Source:
        """Begin a stream; `after` is the last event that the client has had of its task."""
        if not self._card.capabilities.streaming:
            raise ProtocolError(ErrorKind.UNSUPPORTED_OPERATION, "The agent does not stream")
        if operation is Operation.STREAM:
            return await self._stream(params, principal, spelling)
        request = _read(SubscribeToTaskRequest, params)
        caller = self._caller(principal, request.tenant, request.id)
        record, live = await self._engine.find(caller.owner, request.id)
        if record.state.is_terminal and after is None:
            text = f"The task is {record.state.name.lower()}: there is nothing more to follow"
            raise ProtocolError(ErrorKind.UNSUPPORTED_OPERATION, text, metadata={"taskId": request.id})
        if live is None and not record.state.is_settled:
            return StreamFromElsewhere(self._engine, record, caller.owner)
        live = self._engine.adopt(record)
        return TaskStream(self._engine, live, caller.owner, after=after)

    def _caller(self, principal: Principal, tenant: str, *ids: str) -> Caller:
        limits = self._engine.limits
        if tenant:
            check_id(tenant, "tenant", limits)
        for each in ids:
            # As any other id that no task has; the length of what is looked up has a bound all the same.
            if len(each) > limits.max_id_chars:
                check_id(each, "id", limits)
        return Caller(principal, tenant)

    # Messages.

    async def _send(self, params: Any, principal: Principal, spelling: Spelling) -> bytes:
        request, caller = self._sent(params, principal, spelling)
        if self._engine.answer_kind(request) == "message":
            message = await self._engine.reply(request, caller)
            return WireEvent("message", message.to_wire_json()).written(spelling)
        live = await self._engine.send(request, caller, spelling)
        _note_spelling(live.record, spelling)
        configuration = request.configuration
        if configuration is None or not configuration.return_immediately:
            await live.settled(self._engine.limits.max_wait_s)
        if self._engine.keeps_changes:
            await self._engine.store.flush(live.record)
        live.sync()
        length = None if configuration is None else configuration.history_length
        document = live.record.document(history_length=length)
        return WireEvent("task", document).written(spelling)

    async def _stream(self, params: Any, principal: Principal, spelling: Spelling) -> Source:
        request, caller = self._sent(params, principal, spelling)
        if self._engine.answer_kind(request) == "message":
            return Source(await self._engine.reply(request, caller))
        live = await self._engine.send(request, caller, spelling)
        _note_spelling(live.record, spelling)
        length = None if request.configuration is None else request.configuration.history_length
        ends = extra_of(request.message).cancel_on_disconnect
        return TaskStream(self._engine, live, caller.owner, history_length=length, cancels=ends)

    def _sent(self, params: Any, principal: Principal, spelling: Spelling) -> tuple[SendMessageRequest, Caller]:
        request = spelling.codec.decode_send(params)
        return request, self._caller(principal, request.tenant)

    # Tasks.

    async def _get(self, params: Any, principal: Principal, spelling: Spelling) -> bytes:
        if spelling is not Spelling.V1:
            params = _without_zero(params)
        request = _read(GetTaskRequest, params)
        caller = self._caller(principal, request.tenant, request.id)
        record, _ = await self._engine.find(caller.owner, request.id)
        return _task(record.document(history_length=request.history_length), spelling)

    async def _list(self, params: Any, principal: Principal, spelling: Spelling) -> bytes:
        request = _read(ListTasksRequest, params)
        caller = self._caller(principal, request.tenant, request.context_id, request.page_token)
        page = await self._engine.list(caller.owner, request)
        artifacts: Artifacts = "listed" if request.include_artifacts else "none"
        documents = (each.document(history_length=request.history_length, artifacts=artifacts) for each in page.records)
        tasks = b",".join(documents)
        rest = {
            "nextPageToken": page.next_token,
            "pageSize": request.page_size or 50,
            "totalSize": page.total,
        }
        return b'{"tasks":[%s],%s' % (tasks, dump(rest)[1:])

    async def _cancel(self, params: Any, principal: Principal, spelling: Spelling) -> bytes:
        request = _read(CancelTaskRequest, params)
        caller = self._caller(principal, request.tenant, request.id)
        record = await self._engine.cancel(caller.owner, request.id)
        return _task(record.document(), spelling)

    # Push configurations.

    async def _set_push(self, params: Any, principal: Principal, spelling: Spelling) -> bytes:
        self._pusher.require()
        config = spelling.codec.decode_push(params)
        if not config.task_id:
            raise ProtocolError(ErrorKind.INVALID_PARAMS, "taskId: missing", violations=[("taskId", "missing")])
        record = await self._task_of(principal, config.tenant, config.task_id)
        kept = await self._pusher.set(record, config, spelling)
        await self._engine.store.flush(record)
        return dump(spelling.codec.encode_push(kept))

    async def _get_push(self, params: Any, principal: Principal, spelling: Spelling) -> bytes:
        self._pusher.require()
        request = _read(PushNotificationConfigRequest, _push_params(params, spelling))
        if spelling is Spelling.V1:
            _require_id(request, spelling)
        record = await self._task_of(principal, request.tenant, request.task_id)
        found = record.push.get(request.id)
        if found is None and not request.id:
            found = next(iter(record.push.values()), None)
        if found is None:
            raise ProtocolError(ErrorKind.TASK_NOT_FOUND, "The task has no such push configuration")
        return dump(spelling.codec.encode_push(found[0]))

    async def _list_push(self, params: Any, principal: Principal, spelling: Spelling) -> bytes:
        self._pusher.require()
        request = _read(ListTaskPushNotificationConfigsRequest, _push_params(params, spelling))
        record = await self._task_of(principal, request.tenant, request.task_id)
        page, token = _page_of_push(record, request)
        configs = [spelling.codec.encode_push(config) for config in page]
        if spelling is Spelling.V03:
            return dump(configs)
        return dump({"configs": configs, "nextPageToken": token} if token else {"configs": configs})

    async def _delete_push(self, params: Any, principal: Principal, spelling: Spelling) -> bytes:
        self._pusher.require()
        request = _read(PushNotificationConfigRequest, _push_params(params, spelling))
        _require_id(request, spelling)
        record = await self._task_of(principal, request.tenant, request.task_id)
        self._pusher.delete(record, request.id)
        await self._engine.store.flush(record)
        return _NULL

    async def _task_of(self, principal: Principal, tenant: str, task_id: str) -> TaskRecord:
        caller = self._caller(principal, tenant, task_id)
        record, live = await self._engine.find(caller.owner, task_id)
        # In memory, so that the next change of the task is told to what is set here.
        return self._engine.adopt(record).record if live is None and record.state.is_settled else record

    # The card.

    async def _get_extended_card(self, params: Any, principal: Principal, spelling: Spelling) -> bytes:
        if not self._card.capabilities.extended_agent_card:
            kind = (
                ErrorKind.UNSUPPORTED_OPERATION
                if spelling is Spelling.V1
                else ErrorKind.EXTENDED_AGENT_CARD_NOT_CONFIGURED
            )
            raise ProtocolError(kind, "The agent has no extended card")
        card = self._extended_card
        if card is None:
            raise ProtocolError(ErrorKind.EXTENDED_AGENT_CARD_NOT_CONFIGURED)
        made = card if isinstance(card, AgentCard) else card(principal)
        return dump(card_to_v1(made) if spelling is Spelling.V1 else card_to_v03(made))


def _read(model: type[_T], params: Any) -> _T:
    if not isinstance(params, dict):
        raise ProtocolError(ErrorKind.INVALID_PARAMS, "params: expected an object")
    try:
        return model.model_validate(params)
    except ValidationError as error:
        raise invalid_params(error) from None


def _without_zero(params: Any) -> Any:
    if isinstance(params, dict) and no_limit(params.get("historyLength")):
        return {key: value for key, value in params.items() if key != "historyLength"}
    return params


def _push_params(params: Any, spelling: Spelling) -> Any:
    if spelling is Spelling.V1 or not isinstance(params, dict) or "taskId" in params:
        return params
    return {"taskId": params.get("id"), "id": params.get("pushNotificationConfigId")}


def _require_id(request: PushNotificationConfigRequest, spelling: Spelling) -> None:
    if not request.id:
        field = "id" if spelling is Spelling.V1 else "pushNotificationConfigId"
        raise ProtocolError(ErrorKind.INVALID_PARAMS, f"{field}: missing", violations=[(field, "missing")])


def _page_of_push(
    record: TaskRecord, request: ListTaskPushNotificationConfigsRequest
) -> tuple[list[TaskPushNotificationConfig], str]:
    """Return the page that was asked for and the token of the next one; all of them where no size was asked for."""
    after = "" if not request.page_token else from_token(request.page_token)
    # By their ids, so that a page begins at the same place after a configuration has been deleted.
    left = [record.push[config_id][0] for config_id in sorted(record.push) if config_id > after]
    page = left[: request.page_size or None]
    return page, to_token(page[-1].id) if len(page) < len(left) else ""


def _note_spelling(record: TaskRecord, spelling: Spelling) -> None:
    if spelling is not Spelling.V1 and record.rest_spelling is None:
        record.rest_spelling = spelling.value


def _task(document: bytes, spelling: Spelling) -> bytes:
    if spelling is Spelling.V1:
        return document
    return dump(spelling.codec.task_to_wire(json.loads(document)))
