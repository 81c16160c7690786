"""Where a transport may go: the origins it was told, whatever a card or a redirect says."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

from penguiflow import FlowDefinitionError
from penguiflow_a2a._client.failures import AgentElsewhere

__all__ = ["Origins"]

_PORTS = {"http": 80, "https": 443}
# Three names of one machine: an agent under development names another than the one it is called by.
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

_Origin = tuple[str, str, int]


class Origins:
    """A set of origins: scheme, host and port."""

    def __init__(self, urls: Iterable[str]) -> None:
        self._known = set()
        for url in urls:
            origin = _origin(url)
            if origin is None:
                raise FlowDefinitionError(f"{url!r} is not usable: it must be an http or https URL with a host")
            self._known.add(origin)

    def check(self, url: str, agent_url: str, what: str) -> str:
        """Return a URL as it is, if it may be called.

        Raises:
            AgentElsewhere: its origin is none of these.
        """
        if _origin(url) not in self._known:
            hint = (
                f"{what} is not of an origin that this transport may call (add it to allow_origins if it is meant); it"
            )
            raise AgentElsewhere(agent_url, hint, location=url)
        return url


def _origin(url: str) -> _Origin | None:
    """Return scheme, host and port; None for what is no such URL, or hides its host behind a user name."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    if parts.scheme not in _PORTS or not parts.hostname or "@" in parts.netloc:
        return None
    if any(sign in url for sign in "\\\t\r\n "):
        return None
    host = "localhost" if parts.hostname in _LOOPBACK else parts.hostname
    return parts.scheme, host, port if port is not None else _PORTS[parts.scheme]
