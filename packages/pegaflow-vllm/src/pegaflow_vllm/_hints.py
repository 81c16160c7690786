"""What an agent tells about a request: taken from its parameters, and bounded."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

KEY = "pegaflow"
"""The key in `kv_transfer_params`."""

_MOST_ACTIONS = 16


@dataclass(frozen=True)
class Hints:
    """What is known of a request's blocks."""

    pin_s: float | None = None
    """Keep them in memory for so long after the request."""

    next_use_s: float | None = None
    """They are needed in so many seconds after it."""

    is_over: bool = False
    """Nobody needs them any more."""

    prefetch: bool = False
    """Bring those of the prompt to memory now."""

    await_blocks: int = 0
    """Another engine is about to store so many of the first blocks of the prompt."""


def read(request: Any, *, longest_s: float) -> Hints:
    """Take the hints of a request. What is unknown or makes no sense is ignored, and what is too long cut short."""
    given: dict[str, Any] = {}
    parameters = request.kv_transfer_params
    if isinstance(parameters, Mapping) and isinstance(parameters.get(KEY), Mapping):
        given.update(parameters[KEY])
    given.update(_of_envelope(getattr(request, "kv_hints", None)))
    return Hints(
        pin_s=_seconds(given.get("pin_s"), longest_s),
        next_use_s=_seconds(given.get("next_use_s"), longest_s),
        is_over=given.get("session_over") is True,
        prefetch=given.get("prefetch") is True,
        await_blocks=_count(given.get("await_blocks")),
    )


def _of_envelope(envelope: Any) -> dict[str, Any]:
    """Read vLLM's envelope: actions like `pegaflow.pin`, version 1, with a payload."""
    given: dict[str, Any] = {}
    for action in list(getattr(envelope, "actions", None) or ())[:_MOST_ACTIONS]:
        payload = action.payload if isinstance(action.payload, Mapping) else {}
        match (action.action_type, str(action.action_version).partition(".")[0]):
            case ("pegaflow.pin", "1"):
                given["pin_s"] = payload.get("for_s")
            case ("pegaflow.next_use", "1"):
                given["next_use_s"] = payload.get("in_s")
            case ("pegaflow.session_over", "1"):
                given["session_over"] = True
            case ("pegaflow.prefetch", "1"):
                given["prefetch"] = True
    return given


def _seconds(value: object, longest_s: float) -> float | None:
    # Compared before it is converted: a whole number may be too large for a float.
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < math.inf:
        return None
    return float(min(value, longest_s))


def _count(value: object) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 < value < 1 << 31 else 0
