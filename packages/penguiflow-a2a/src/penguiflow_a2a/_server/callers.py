"""Who calls: what an authentication hook says of them, how much they may ask, and where they may come from."""

from __future__ import annotations

import inspect
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias
from urllib.parse import quote

from penguiflow_a2a._protocol.errors import ErrorKind, ProtocolError

__all__ = ["Authenticator", "Caller", "Principal", "RateLimiter", "authenticate"]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who a client is."""

    id: str
    """Names the client; tasks belong to it, and no other principal sees them."""
    claims: Mapping[str, Any] = field(default_factory=dict)
    """What else is known, for the server's hooks."""


Authenticator: TypeAlias = Callable[[Mapping[str, str]], Principal | str | Awaitable[Principal | str | None] | None]
"""Takes the headers of a request, their names in lower case, and returns who sends it; None refuses the request."""

ANYONE = Principal("")


@dataclass(frozen=True, slots=True)
class Caller:
    """A principal within a tenant, which is what tasks belong to."""

    principal: Principal
    tenant: str = ""

    @property
    def owner(self) -> str:
        """The name under which tasks are kept."""
        if not self.tenant:
            return self.principal.id
        return f"{quote(self.tenant, safe='')}/{self.principal.id}"


async def authenticate(hook: Authenticator, headers: Mapping[str, str], challenge: str) -> Principal:
    """Return who sends a request.

    Raises:
        ProtocolError: the hook refuses, with `WWW-Authenticate` set to the challenge.
    """
    found = hook(headers)
    if inspect.isawaitable(found):
        found = await found
    if found is None or found == "":
        raise ProtocolError(ErrorKind.UNAUTHENTICATED, headers={"www-authenticate": challenge})
    return Principal(found) if isinstance(found, str) else found


class RateLimiter:
    """Lets each key make so many requests a second in the long run, and a burst at once; it forgets the oldest keys."""

    def __init__(self, requests_per_s: float, burst: int, *, max_keys: int = 10_000) -> None:
        self._rate = requests_per_s
        self._burst = float(burst)
        self._max_keys = max_keys
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def check(self, key: str) -> None:
        """Count a request.

        Raises:
            ProtocolError: there were too many; `Retry-After` says when the next one is welcome.
        """
        now = time.monotonic()
        left, at = self._left.get(key, (self._burst, now))
        left = min(self._burst, left + (now - at) * self._rate)
        is_allowed = left >= 1
        self._left[key] = (left - 1 if is_allowed else left, now)
        self._left.move_to_end(key)
        if len(self._left) > self._max_keys:
            self._left.popitem(last=False)
        if not is_allowed:
            wait_s = max(1, int((1 - left) / self._rate + 0.999))
            raise ProtocolError(ErrorKind.RESOURCE_EXHAUSTED, headers={"retry-after": str(wait_s)})
