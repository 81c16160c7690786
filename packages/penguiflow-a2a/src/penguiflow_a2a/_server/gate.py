"""What every request passes before its operation: origin, authentication, rate, version and extensions."""

from __future__ import annotations

from dataclasses import dataclass

from penguiflow_a2a._protocol.cards import AgentCard
from penguiflow_a2a._protocol.errors import ErrorKind, ProtocolError
from penguiflow_a2a._protocol.operations import Operation
from penguiflow_a2a._server.callers import ANYONE, Authenticator, Principal, RateLimiter, authenticate
from penguiflow_a2a._server.http import Headers, Scope, check_origin, origin_of
from penguiflow_a2a._server.limits import ServerLimits

__all__ = ["Gate"]


@dataclass(slots=True)
class Gate:
    """Lets requests in."""

    limits: ServerLimits
    auth: Authenticator | None
    origins: frozenset[str]
    challenge: str
    extensions: frozenset[str]
    required: frozenset[str]
    limiter: RateLimiter | None

    @classmethod
    def of(
        cls, card: AgentCard, limits: ServerLimits, auth: Authenticator | None, allowed_origins: frozenset[str]
    ) -> Gate:
        """Make the gate of a server with this card: pages of its own origin may call it, and those allowed besides."""
        own = frozenset(origin_of(each.url) for each in card.supported_interfaces)
        extensions = card.capabilities.extensions
        return cls(
            limits=limits,
            auth=auth,
            origins=own | allowed_origins,
            challenge=_challenge(card),
            extensions=frozenset(each.uri for each in extensions),
            required=frozenset(each.uri for each in extensions if each.required),
            limiter=None if limits.requests_per_s is None else RateLimiter(limits.requests_per_s, limits.burst),
        )

    async def admit(self, scope: Scope, headers: Headers) -> Principal:
        """Return who sends a request.

        Raises:
            ProtocolError: the request is refused.
        """
        check_origin(headers, self.origins)
        address = (scope.get("client") or ("",))[0]
        if self.auth is None:
            if self.limiter is not None:
                self.limiter.check(f"address {address}")
            return ANYONE
        principal = await self._authenticate(headers, address)
        if self.limiter is not None:
            self.limiter.check(f"principal {principal.id}")
        return principal

    async def _authenticate(self, headers: Headers, address: str) -> Principal:
        assert self.auth is not None
        try:
            return await authenticate(self.auth, headers, self.challenge)
        except ProtocolError:
            # Whoever guesses at credentials is held to the rate too.
            if self.limiter is not None:
                self.limiter.check(f"refused {address}")
            raise

    def activate(self, operation: Operation, headers: Headers) -> list[tuple[bytes, bytes]] | None:
        """Return the headers that tell which of the extensions a client asks for are active.

        Raises:
            ProtocolError: the client does not declare one that the agent requires.
        """
        if not self.extensions:
            return None
        asked = headers.get("a2a-extensions") or headers.get("x-a2a-extensions", "")
        wanted = {each.strip() for each in asked.split(",") if each.strip()}
        missing = self.required - wanted
        if missing and operation in (Operation.SEND, Operation.STREAM):
            text = f"The agent requires extensions that the request does not declare: {', '.join(sorted(missing))}"
            raise ProtocolError(ErrorKind.EXTENSION_SUPPORT_REQUIRED, text)
        active = sorted(wanted & self.extensions)
        return [(b"a2a-extensions", ",".join(active).encode("latin-1"))] if active else None


def _challenge(card: AgentCard) -> str:
    for scheme in card.security_schemes.values():
        if scheme.http_auth_security_scheme is not None:
            return scheme.http_auth_security_scheme.scheme.capitalize()
        if scheme.api_key_security_scheme is not None:
            return f'ApiKey realm="{scheme.api_key_security_scheme.name}"'
    return "Bearer"
