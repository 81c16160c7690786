"""What engines are asked: prompts that share beginnings, of lengths around block boundaries, some of them given up."""

from __future__ import annotations

import dataclasses
import random

BLOCK_TOKENS = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adapter:
    """A LoRA adapter under the name and number that an engine is told."""

    path: str
    name: str
    number: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ask:
    """One request."""

    name: str
    tokens: tuple[int, ...]
    max_tokens: int
    salt: str | None = None
    adapter: Adapter | None = None
    abort_after: int | None = None
    """In steps of the engine since it was asked; None lets it finish."""
    params: dict[str, object] | None = None
    """What goes to the connector as `kv_transfer_params`."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """What came of a request."""

    tokens: tuple[int, ...]
    gaps: tuple[float, ...]
    """For each token, how far the best logit was ahead of the second."""
    is_whole: bool
    """False for one that was given up."""
    cached_tokens: int = 0
    """Tokens of the prompt that were not computed, wherever they came from."""
    params: dict[str, object] | None = None
    """What the connector gave as `kv_transfer_params`."""


def random_tokens(draw: random.Random, count: int) -> tuple[int, ...]:
    """Draw tokens that are bytes."""
    return tuple(draw.randrange(256) for _ in range(count))


def mixed(count: int, *, seed: int, aborts: bool = True, longest: int = 12) -> list[Ask]:
    """Make requests of which most begin like others, as system prompts and growing histories do.

    Lengths lie around multiples of a block, up to `longest` blocks; one in nine is given up after some steps.
    """
    draw = random.Random(seed)
    beginnings = [random_tokens(draw, _around_a_boundary(draw, longest // 2)) for _ in range(8)]
    asks = []
    for number in range(count):
        beginning = draw.choice(beginnings)
        tokens = beginning + random_tokens(draw, _around_a_boundary(draw, longest // 2))
        if draw.random() < 0.2:
            tokens = random_tokens(draw, _around_a_boundary(draw, longest))
        if draw.random() < 0.3:
            # The history of a conversation, which later requests go on with.
            beginnings[draw.randrange(len(beginnings))] = tokens[: longest * BLOCK_TOKENS // 2]
        abort_after = draw.randrange(12) if aborts and draw.random() < 1 / 9 else None
        asks.append(
            Ask(name=f"ask-{number}", tokens=tokens, max_tokens=draw.choice((1, 4, 9, 16, 50)), abort_after=abort_after)
        )
    return asks


def _around_a_boundary(draw: random.Random, most_blocks: int) -> int:
    length = draw.randint(0, most_blocks) * BLOCK_TOKENS + draw.choice((-1, 0, 0, 1, 2, draw.randrange(BLOCK_TOKENS)))
    return max(1, length)
