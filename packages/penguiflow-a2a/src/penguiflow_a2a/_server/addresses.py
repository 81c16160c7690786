"""Which addresses a URL leads to, and whether the server may go there."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
from dataclasses import dataclass
from typing import TypeAlias
from urllib.parse import SplitResult, urlsplit

from penguiflow_a2a._protocol.errors import ErrorKind, ProtocolError
from penguiflow_a2a._server.limits import PushPolicy

__all__ = ["Target", "is_clean", "resolve", "split_url"]

_Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_MAX_URL_CHARS = 2048


@dataclass(frozen=True, slots=True)
class Target:
    """Where a URL leads: a checked address, to be connected to as it is."""

    host: str
    port: int
    address: str
    """None of the names again: the address itself."""


def is_clean(text: str) -> bool:
    """Whether text can stand in a header or a request line: no line break or other control character in it."""
    return text.isprintable() and text.isascii()


def split_url(url: str, policy: PushPolicy) -> SplitResult:
    """Return the parts of a URL that may be posted to, as far as one can tell without looking its host up.

    Raises:
        ProtocolError: it may not.
    """
    if len(url) > _MAX_URL_CHARS or not is_clean(url) or " " in url:
        raise refused("must be a URL of printable ASCII characters, without spaces")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise refused("is not a URL") from None
    if parts.scheme not in ("https", "http") or not parts.hostname:
        raise refused("must be an absolute https URL")
    if parts.username is not None or parts.password is not None:
        raise refused("must not hold a user name or a password")
    if port == 0:
        raise refused("names port 0")
    if parts.scheme == "http" and not (policy.allow_http or policy.allow_loopback):
        raise refused("must be an https URL")
    return parts


async def resolve(parts: SplitResult, policy: PushPolicy, *, timeout_s: float) -> Target | None:
    """Return the address to connect to for a URL, every address of its host being allowed; None if it has none now.

    Raises:
        ProtocolError: one of its addresses is not allowed.
    """
    host = parts.hostname or ""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        async with asyncio.timeout(timeout_s):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError):
        return None
    addresses = [str(each[4][0]) for each in found]
    for address in addresses:
        _check(address, parts.scheme, policy)
    return Target(host, port, addresses[0]) if addresses else None


def _check(text: str, scheme: str, policy: PushPolicy) -> None:
    address = _innermost(ipaddress.ip_address(text.partition("%")[0]))
    if address.is_loopback and policy.allow_loopback:
        return
    if scheme == "http" and not policy.allow_http:
        raise refused("must be an https URL")
    if address.is_private and not _never(address) and policy.allow_private:
        return
    if not address.is_global or address.is_multicast or _never(address):
        raise refused("leads to an address that is not public")


def _never(address: _Address) -> bool:
    return address.is_loopback or address.is_link_local or address.is_unspecified or address.is_multicast


def _innermost(address: _Address) -> _Address:
    """Return the IPv4 address that an IPv6 address stands for, where it does."""
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address.ipv4_mapped or address.sixtofour or (address.teredo or (None, None))[1] or address


def refused(text: str) -> ProtocolError:
    """Return the error of a URL that is not posted to. What its host resolves to is not told."""
    field = "pushNotificationConfig.url"
    return ProtocolError(ErrorKind.INVALID_PARAMS, f"{field} {text}", violations=[(field, text)])
