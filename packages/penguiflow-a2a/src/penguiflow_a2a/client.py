"""The transport by which a flow calls agents over A2A."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from http.cookiejar import CookieJar, DefaultCookiePolicy
from typing import TYPE_CHECKING, Any, Literal, Self

import httpx

from penguiflow import FlowDefinitionError
from penguiflow_a2a._client.agents import Agent, Choice, fetch_card, make_agent
from penguiflow_a2a._client.bounds import A2ATimeouts, AnswerLimits
from penguiflow_a2a._client.call import Call, Part
from penguiflow_a2a._client.content import make_message
from penguiflow_a2a._client.doubts import Doubts
from penguiflow_a2a._client.exchange import Exchange
from penguiflow_a2a._client.failures import (
    A2AError,
    AgentElsewhere,
    AgentIncompatible,
    AgentMisbehaved,
    AgentRefused,
    AgentTooSlow,
    AgentUnreachable,
    AnswerTooLarge,
    MessageInDoubt,
    TaskUnknown,
)
from penguiflow_a2a._client.feeds import cancel_task
from penguiflow_a2a._client.origins import Origins
from penguiflow_a2a._protocol.requests import SendMessageRequest

if TYPE_CHECKING:
    from httpx._types import AuthTypes

__all__ = [
    "A2AClientTransport",
    "A2AError",
    "A2ATimeouts",
    "AgentElsewhere",
    "AgentIncompatible",
    "AgentMisbehaved",
    "AgentRefused",
    "AgentTooSlow",
    "AgentUnreachable",
    "AnswerLimits",
    "AnswerTooLarge",
    "MessageInDoubt",
    "TaskUnknown",
]

_AGENTS_CAP = 256
_CARD_TTL_S = 300.0
# Below the 5 s after which servers commonly close an idle connection: one that closes as a message is sent on it
# leaves open whether that arrived.
_KEEPALIVE_S = 3.0
_NOT_CANCELLED = frozenset({"TASK_NOT_FOUND", "TASK_NOT_CANCELABLE"})

_logger = logging.getLogger("penguiflow.a2a")


class A2AClientTransport:
    """Calls agents over A2A 1.0 and 0.3, over JSON-RPC or HTTP+JSON, as their cards say.

    Implements `ResumableTransport`. One transport may serve any number of nodes and calls at once, in one event loop.
    An agent that streams is streamed from; of another the task is asked for until it has ended. In either case the
    task is known early, so that a call that is cancelled cancels it.

    A message is sent once. It is sent again only where the agent surely did not act on it: there was no connection,
    or the agent said so (status 429, or 503 with `Retry-After`). After a connection was lost the stream of the task
    is taken up again, or the task asked for; where no task is known, a second attempt at the same message raises
    `MessageInDoubt`.

    The transport calls nothing but the origins of `base_url` and `allow_origins`, whatever a card says, and follows
    no redirect, so that `auth` goes nowhere else. What an agent sends is bounded by `limits`, and how long it takes
    by `timeouts`.

    Use it in `async with`, or call `aclose()`. A `client` that was passed in is left open.

    Args:
        base_url: where the agents are; an `agent_url` may be relative to it.
        auth: for every request: what httpx takes, such as `("user", "password")` or an `httpx.Auth`.
        timeouts: how long to wait, and how often to try again.
        limits: how much an agent may send.
        client: the client to use in place of one of its own, for proxies, certificates, or tests.
        headers: sent along with every request, such as `{"Authorization": "Bearer …"}`.
        allow_origins: further URLs whose scheme, host and port may be called.
        versions: versions of the protocol that may be spoken, the preferred one first.
        bindings: bindings that may be used, the preferred one first; None for the order of the card.
        extensions: URIs of extensions of the protocol that you support.
        share_meta: whether the metadata of a flow's messages are sent to the agent.
        resend_in_doubt: whether a message that may have arrived may be sent again, under the same id.

    Raises:
        FlowDefinitionError: something here is not usable.
    """

    def __init__(
        self,
        *,
        base_url: str,
        auth: AuthTypes | None = None,
        timeouts: A2ATimeouts | None = None,
        limits: AnswerLimits | None = None,
        client: httpx.AsyncClient | None = None,
        headers: Mapping[str, str] | None = None,
        allow_origins: Sequence[str] = (),
        versions: Sequence[Literal["1.0", "0.3"]] = ("1.0", "0.3"),
        bindings: Sequence[Literal["JSONRPC", "HTTP+JSON"]] | None = None,
        extensions: Sequence[str] = (),
        share_meta: bool = False,
        resend_in_doubt: bool = False,
    ) -> None:
        self._base_url = base_url
        self._origins = Origins([base_url, *allow_origins])
        self._auth = auth
        self._timeouts = timeouts or A2ATimeouts()
        self._limits = limits or AnswerLimits()
        self._given_client = client
        self._own_client: tuple[asyncio.AbstractEventLoop, httpx.AsyncClient] | None = None
        self._headers = dict(headers or {})
        self._choice = _choice(versions, bindings, extensions)
        self._share_meta = share_meta
        self._resend_in_doubt = resend_in_doubt
        self._found: OrderedDict[str, tuple[float, Agent]] = OrderedDict()
        self._given: OrderedDict[str, tuple[dict[str, Any], Agent]] = OrderedDict()
        self._finding: dict[str, asyncio.Lock] = {}
        self._doubts = Doubts()

    async def send(self, agent_url: str, agent_card: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
        """Send a message and wait for the result; see `RemoteTransport`.

        A call that is cancelled cancels its task.

        Raises:
            A2AError: the agent failed, or what lies between.
        """
        task_id: str | None = None
        try:
            async with aclosing(self.stream(agent_url, agent_card, message)) as parts:
                async for part in parts:
                    task_id = part.get("task_id") or task_id
                    if part["kind"] == "result":
                        return {key: part[key] for key in ("result", "context_id", "task_id", "state")}
        except asyncio.CancelledError:
            if task_id is not None:
                await self._cancel_soon(agent_url, task_id)
            raise
        raise AgentMisbehaved(agent_url, "the answer has no result")

    async def stream(
        self, agent_url: str, agent_card: dict[str, Any], message: dict[str, Any]
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Send a message and give the parts of the answer in order; see `RemoteTransport`.

        Text of artifacts comes as chunks of a stream an artifact; what is no text stands in the chunk's `meta` under
        `parts`. What the agent says while it works comes as chunks of the stream `status`. The result is what the
        artifacts hold, or else what the agent said last: text as a string, data as it is, a file as an object.

        Raises:
            A2AError: the agent failed, or what lies between.
        """
        url, message_id = self._address(agent_url), message["message_id"]
        doubt = self._doubts.find(url, message_id)
        if doubt is not None and doubt.task_id is not None:
            begun = False
            try:
                async with aclosing(self.resubscribe(url, doubt.task_id, None, agent_card)) as parts:
                    async for part in parts:
                        begun = True
                        yield part
            except TaskUnknown:
                # An agent that has forgotten the task does nothing more for it.
                self._doubts.settle(url, message_id)
                if begun:
                    raise
            else:
                self._doubts.settle(url, message_id)
                return
        elif doubt is not None and not self._resend_in_doubt:
            raise MessageInDoubt(url, message_id)
        repeated = doubt is not None and doubt.task_id is None
        async with aclosing(self._send(url, agent_card, message, repeated=repeated)) as parts:
            async for part in parts:
                yield part

    async def _send(
        self, url: str, agent_card: dict[str, Any], message: dict[str, Any], *, repeated: bool
    ) -> AsyncGenerator[Part, None]:
        agent = await self._agent(url, agent_card)
        request = SendMessageRequest(
            message=make_message(message, share_meta=self._share_meta, repeated=repeated),
            tenant=agent.binding.tenant,
        )
        call = Call(agent, message=request)
        with self._doubts.about(url, message["message_id"], call):
            async with aclosing(self._follow(call, url)) as parts:
                async for part in parts:
                    yield part

    async def resubscribe(
        self,
        agent_url: str,
        task_id: str,
        after: str | None = None,
        agent_card: dict[str, Any] | None = None,
    ) -> AsyncGenerator[dict[str, Any], None]:
        """Give the parts of a task that was started before; see `ResumableTransport`.

        Where the agent gives ids to its events, nothing is lost and nothing comes twice. Otherwise what the task
        holds already comes first, as one chunk an artifact.

        Raises:
            TaskUnknown: the agent does not know the task; also a LookupError.
            A2AError: the agent failed, or what lies between.
        """
        url = self._address(agent_url)
        agent = await self._agent(url, agent_card or {})
        async with aclosing(self._follow(Call(agent, task_id=task_id, after=after), url)) as parts:
            async for part in parts:
                yield part

    async def _follow(self, call: Call, url: str) -> AsyncGenerator[Part, None]:
        try:
            async with aclosing(call.parts()) as parts:
                async for part in parts:
                    yield part
        except A2AError:
            # Its card may have changed; the next call reads it again.
            self._found.pop(url, None)
            raise

    async def cancel(self, agent_url: str, task_id: str) -> None:
        """Ask the agent to cancel a task; one that has ended, or is not known, is no error.

        Raises:
            A2AError: the agent refused otherwise, or could not be reached.
        """
        url = self._address(agent_url)
        self._doubts.forget_task(url, task_id)
        agent = await self._agent(url, {})
        try:
            await cancel_task(agent, task_id)
        except AgentRefused as error:
            if error.reason not in _NOT_CANCELLED and not isinstance(error, TaskUnknown):
                raise

    async def _cancel_soon(self, agent_url: str, task_id: str) -> None:
        """Cancel the task of a call that is itself cancelled."""
        cancelling = asyncio.ensure_future(self.cancel(agent_url, task_id))
        try:
            await asyncio.wait({cancelling}, timeout=self._timeouts.cancel_s)
        finally:
            if not cancelling.done():
                cancelling.cancel()
                await asyncio.wait({cancelling}, timeout=1.0)
            elif not cancelling.cancelled() and (error := cancelling.exception()) is not None:
                _logger.warning("task %s at %s may still run: %r", task_id, agent_url, error)

    async def read_card(self, agent_url: str = "") -> dict[str, Any]:
        """Read the card of an agent, as the agent writes it.

        Raises:
            A2AError: it is not there, or cannot be read.
        """
        card = await fetch_card(self._exchange(self._address(agent_url)))
        if not isinstance(card, dict):
            raise AgentMisbehaved(agent_url, "the agent card is no object")
        return card

    async def aclose(self) -> None:
        """Close the connections, unless they belong to a client that was passed in."""
        if self._own_client is not None:
            _, client = self._own_client
            self._own_client = None
            self._found.clear()
            self._given.clear()
            await client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    def _address(self, agent_url: str) -> str:
        if "://" not in agent_url:
            agent_url = f"{self._base_url.rstrip('/')}/{agent_url.lstrip('/')}" if agent_url else self._base_url
        return self._origins.check(agent_url, agent_url, "the address of the agent")

    async def _agent(self, url: str, card: dict[str, Any]) -> Agent:
        """Return the agent at a URL by the card that was given with it, or that was given before, or by its own."""
        if card.get("supportedInterfaces") or card.get("url"):
            known = self._given.get(url)
            if known is None or known[0] != card:
                known = card, make_agent(self._exchange(url), card, self._choice, self._origins)
                _keep(self._given, url, known)
            return known[1]
        given = self._given.get(url)
        if given is not None:
            return given[1]
        async with self._finding.setdefault(url, asyncio.Lock()):
            found = self._found.get(url)
            if found is None or time.monotonic() - found[0] > _CARD_TTL_S:
                exchange = self._exchange(url)
                agent = make_agent(exchange, await fetch_card(exchange), self._choice, self._origins)
                found = time.monotonic(), agent
                _keep(self._found, url, found)
        if len(self._finding) > _AGENTS_CAP:
            self._finding = {url: lock for url, lock in self._finding.items() if lock.locked()}
        return found[1]

    def _exchange(self, url: str) -> Exchange:
        return Exchange(
            self._client(),
            url,
            auth=self._auth,
            headers=self._headers,
            timeouts=self._timeouts,
            limits=self._limits,
        )

    def _client(self) -> httpx.AsyncClient:
        if self._given_client is not None:
            return self._given_client
        loop = asyncio.get_running_loop()
        # Connections belong to the loop they were made in; scripts may use a second one.
        if self._own_client is None or self._own_client[0] is not loop:
            # Cookies of agents would outlive their calls, and there is no end to how many an agent may set.
            no_cookies = CookieJar(DefaultCookiePolicy(allowed_domains=[]))
            limits = httpx.Limits(max_connections=None, max_keepalive_connections=64, keepalive_expiry=_KEEPALIVE_S)
            self._own_client = loop, httpx.AsyncClient(limits=limits, cookies=no_cookies)
            self._found.clear()
            self._given.clear()
            self._finding.clear()
        return self._own_client[1]


def _keep(cache: OrderedDict[str, Any], url: str, value: object) -> None:
    cache[url] = value
    cache.move_to_end(url)
    if len(cache) > _AGENTS_CAP:
        cache.popitem(last=False)


def _choice(versions: Sequence[Any], bindings: Sequence[Any] | None, extensions: Sequence[str]) -> Choice:
    for name, given, known in (
        ("versions", versions, ("1.0", "0.3")),
        ("bindings", ("JSONRPC",) if bindings is None else bindings, ("JSONRPC", "HTTP+JSON")),
    ):
        if not given or isinstance(given, str) or any(each not in known for each in given):
            allowed = " and ".join(known)
            raise FlowDefinitionError(f"{name}={given!r} is not usable: it must be a list of {allowed}, or one of them")
    return Choice(tuple(versions), None if bindings is None else tuple(bindings), tuple(extensions))


for _name in __all__:
    _exported = globals()[_name]
    # Tracebacks show what users type; a dataclass keeps the module in which its annotations are looked up.
    if not vars(_exported).get("__dataclass_fields__"):
        _exported.__module__ = "penguiflow_a2a"
