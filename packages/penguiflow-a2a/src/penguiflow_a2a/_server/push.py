"""Push notifications: who is called when a task changes, and the calls."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
from collections import deque
from collections.abc import Callable
from urllib.parse import SplitResult

import httpx

from penguiflow_a2a._protocol.errors import ErrorKind, ProtocolError
from penguiflow_a2a._protocol.requests import TaskPushNotificationConfig
from penguiflow_a2a._server.addresses import Target, is_clean, refused, resolve, split_url
from penguiflow_a2a._server.checks import check_id
from penguiflow_a2a._server.limits import ServerLimits
from penguiflow_a2a._server.records import TaskRecord
from penguiflow_a2a._server.spellings import Event, Spelling, dump
from penguiflow_a2a._server.values import new_id

__all__ = ["Pusher"]

logger = logging.getLogger("penguiflow_a2a.server")

_LOOKUP_S = 2.0
_FIRST_WAIT_S = 0.5
_MAX_TEXT_CHARS = 4096


class Pusher:
    """Keeps push configurations and posts to them: in order for each configuration, and never to a private address."""

    def __init__(
        self, limits: ServerLimits, *, is_enabled: bool, note: Callable[[TaskRecord, str, bytes], None]
    ) -> None:
        self.is_enabled = is_enabled
        self._limits = limits
        self._policy = limits.push
        self._note = note
        self._waiting: dict[tuple[str, str], deque[bytes]] = {}
        self._workers: set[asyncio.Task[None]] = set()
        self._client: httpx.AsyncClient | None = None

    async def set(
        self, record: TaskRecord, config: TaskPushNotificationConfig, spelling: Spelling = Spelling.V1
    ) -> TaskPushNotificationConfig:
        """Add a configuration to a task, or replace the one of its id, and return it as it is kept.

        Raises:
            ProtocolError: push notifications are not supported, or not to this URL.
        """
        await self.check(config)
        return self.keep(record, config, spelling)

    def keep(
        self, record: TaskRecord, config: TaskPushNotificationConfig, spelling: Spelling
    ) -> TaskPushNotificationConfig:
        """Add a configuration that was checked; see `set`."""
        config_id = config.id or new_id()
        if config_id not in record.push and len(record.push) >= self._limits.max_push_configs:
            raise ProtocolError(ErrorKind.RESOURCE_EXHAUSTED, "The task has too many push configurations")
        kept = config.model_copy(update={"id": config_id, "task_id": record.id})
        record.set_push(kept, spelling.value)
        self._note(record, "push", dump({"config": kept.to_wire(), "spelling": spelling.value}))
        return kept

    def delete(self, record: TaskRecord, config_id: str) -> None:
        """Remove a configuration; nothing is posted to it any more. One that is not there is no error.

        Raises:
            ProtocolError: push notifications are not supported.
        """
        self.require()
        if record.drop_push(config_id):
            self._note(record, "push", dump({"deleted": config_id}))
        self._waiting.get((record.id, config_id), deque()).clear()

    def require(self) -> None:
        """Refuse where the agent does not support push notifications.

        Raises:
            ProtocolError: it does not.
        """
        if not self.is_enabled:
            raise ProtocolError(ErrorKind.PUSH_NOTIFICATION_NOT_SUPPORTED)

    async def check(self, config: TaskPushNotificationConfig) -> None:
        """Refuse a configuration that may not be posted to.

        Raises:
            ProtocolError: it may not, or push notifications are not supported.
        """
        self.require()
        check_id(config.id, "pushNotificationConfig.id", self._limits)
        texts = [config.token]
        if config.authentication is not None:
            texts += [config.authentication.scheme, config.authentication.credentials]
        if not all(is_clean(text) and len(text) <= _MAX_TEXT_CHARS for text in texts):
            field = "pushNotificationConfig"
            text = "token, scheme and credentials hold printable ASCII characters only"
            raise ProtocolError(ErrorKind.INVALID_PARAMS, f"{field}: {text}", violations=[(field, text)])
        # A host that has no address just now is looked up again when there is something to post.
        await resolve(split_url(config.url, self._policy), self._policy, timeout_s=_LOOKUP_S)

    def dispatch(self, record: TaskRecord, event: Event) -> None:
        """Post an event to every configuration of a task, without waiting for it."""
        for config_id, (config, number) in record.push.items():
            spelling = Spelling(number)
            # Clients of 0.3 expect the task itself, whatever has changed in it.
            body = (
                event.written(Spelling.V1)
                if spelling is Spelling.V1
                else dump(spelling.codec.task_to_wire(json.loads(record.document())))
            )
            key = (record.id, config_id)
            waiting = self._waiting.get(key)
            if waiting is None:
                waiting = self._waiting[key] = deque(maxlen=self._policy.max_pending)
                worker = asyncio.create_task(self._work(key, waiting, config, spelling))
                self._workers.add(worker)
                worker.add_done_callback(self._workers.discard)
            waiting.append(body)

    async def _work(
        self, key: tuple[str, str], waiting: deque[bytes], config: TaskPushNotificationConfig, spelling: Spelling
    ) -> None:
        try:
            while waiting:
                await self._post(config, waiting.popleft(), spelling)
        finally:
            del self._waiting[key]

    async def _post(self, config: TaskPushNotificationConfig, body: bytes, spelling: Spelling) -> None:
        wait_s = _FIRST_WAIT_S
        for attempt in range(self._policy.attempts):
            if attempt:
                await asyncio.sleep(wait_s)
                wait_s *= 2
            try:
                async with asyncio.timeout(self._policy.timeout_s):
                    if await self._post_once(config, body, spelling):
                        return
            except ProtocolError as error:
                logger.warning("a push notification of task %s was not sent: %s", config.task_id, error)
                return
            except (httpx.HTTPError, OSError, TimeoutError) as error:
                logger.info("a push notification of task %s failed: %r", config.task_id, error)

    async def _post_once(self, config: TaskPushNotificationConfig, body: bytes, spelling: Spelling) -> bool:
        parts = split_url(config.url, self._policy)
        target = await resolve(parts, self._policy, timeout_s=_LOOKUP_S)
        if target is None:
            raise OSError(f"{parts.hostname} has no address")
        request = self._open_client().build_request(
            "POST",
            _pinned(parts, target),
            content=body,
            headers=_headers(config, parts, spelling),
            # The certificate has to be that of the name, though the connection goes to the address.
            extensions={"sni_hostname": target.host},
        )
        response = await self._open_client().send(request, stream=True)
        await response.aclose()
        # What the client has done wrong will be wrong the next time too; a redirect is not followed.
        return response.status_code < 500 and response.status_code != 429

    def _open_client(self) -> httpx.AsyncClient:
        if self._client is None:
            self._client = httpx.AsyncClient(
                follow_redirects=False, trust_env=False, timeout=httpx.Timeout(self._policy.timeout_s)
            )
        return self._client

    async def stop(self, timeout_s: float) -> None:
        """Send what waits, for so long at most, and give the rest up."""
        if self._workers:
            await asyncio.wait(self._workers, timeout=timeout_s)
        for worker in tuple(self._workers):
            worker.cancel()
        if self._workers:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait(self._workers)
        if self._client is not None:
            await self._client.aclose()
            self._client = None


def _pinned(parts: SplitResult, target: Target) -> str:
    address = f"[{target.address}]" if ":" in target.address else target.address
    query = f"?{parts.query}" if parts.query else ""
    return f"{parts.scheme}://{address}:{target.port}{parts.path or '/'}{query}"


def _headers(config: TaskPushNotificationConfig, parts: SplitResult, spelling: Spelling) -> dict[str, str]:
    if not parts.netloc:
        raise refused("is not a URL")
    media_type = "application/a2a+json" if spelling is Spelling.V1 else "application/json"
    headers = {"host": parts.netloc, "content-type": media_type, "user-agent": "penguiflow-a2a"}
    if config.token:
        headers["x-a2a-notification-token"] = config.token
    if config.authentication is not None:
        headers["authorization"] = f"{config.authentication.scheme} {config.authentication.credentials}".strip()
    return headers
