"""A session that is over gives up what is its own."""

import pytest

from pegaflow_vllm._shared import Recent


def chain(*blocks: str) -> bytes:
    """Name blocks as a chain does: the same name only behind the same beginning."""
    return b"".join("/".join(blocks[: end + 1]).encode().ljust(32) for end in range(len(blocks)))


MINE = chain("system", "tools", "a", "b")


@pytest.mark.parametrize(
    ("live", "kept"),
    [([], 0), ([chain("other")], 0), ([chain("system", "tools", "c")], 2), ([chain("system"), MINE], 4)],
)
def test_what_a_live_request_shares_stays(live: list[bytes], kept: int) -> None:
    assert Recent().own(MINE, None, live) == MINE[kept * 32 :]


def test_what_another_session_had_in_its_last_turn_stays() -> None:
    recent = Recent()
    recent.end(chain("system", "tools", "c"), None)
    assert recent.own(MINE, None, []) == MINE[2 * 32 :]


def test_earlier_turns_of_the_same_session_are_given_up() -> None:
    recent = Recent()
    recent.end(chain("system", "tools", "a"), None)
    recent.end(chain("system", "tools", "a", "thought"), "mine")
    assert recent.own(MINE, "mine", []) == MINE


def test_what_ended_long_ago_is_forgotten() -> None:
    recent = Recent()
    recent.end(chain("system", "c"), None)
    for _ in range(64):
        recent.end(chain("other"), None)
    assert recent.own(MINE, None, []) == MINE
