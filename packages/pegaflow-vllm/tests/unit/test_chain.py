"""Names of blocks stand for everything that shapes their KV, and for nothing else."""

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pegaflow_vllm._chain import HASH_BYTES, Chain, Inset, root

TOKENS = list(range(100, 164))
IDENTITY = hashlib.sha256(b"an engine").digest()


def names(tokens: list[int], *, start: bytes = IDENTITY, insets: tuple[Inset, ...] = ()) -> bytes:
    chain = Chain(start, 16, insets)
    chain.extend(tokens)
    return chain.packed(0, len(chain))


def test_the_names_are_the_same_in_every_process() -> None:
    # Written down once: another hash would give up what users have stored.
    assert (
        names(TOKENS)[:8].hex()
        == hashlib.sha256(IDENTITY + b"".join(token.to_bytes(8, "little") for token in TOKENS[:16])).hexdigest()[:16]
    )


def test_only_full_blocks_have_names() -> None:
    assert [len(names(TOKENS[:count])) // HASH_BYTES for count in (0, 15, 16, 31, 32, 64)] == [0, 0, 1, 1, 2, 4]


@given(st.lists(st.integers(0, 2**31), max_size=80), st.lists(st.integers(0, 80), max_size=5))
def test_it_does_not_matter_when_tokens_become_known(tokens: list[int], cuts: list[int]) -> None:
    chain = Chain(IDENTITY, 16)
    for cut in sorted(cuts):
        chain.extend(tokens[:cut])
    chain.extend(tokens)
    assert chain.packed(0, len(chain)) == names(tokens)


@given(st.integers(0, 63), st.integers(1, 1000))
def test_a_token_changes_its_block_and_those_after_it(at: int, by: int) -> None:
    changed = [token + by if index == at else token for index, token in enumerate(TOKENS)]
    same = at // 16 * HASH_BYTES
    assert names(changed)[:same] == names(TOKENS)[:same]
    before, after = names(TOKENS), names(changed)
    assert all(before[i : i + HASH_BYTES] != after[i : i + HASH_BYTES] for i in range(same, len(before), HASH_BYTES))


@pytest.mark.parametrize(
    "other",
    [
        root(b"another engine"),
        root(IDENTITY, salt="tenant"),
        root(IDENTITY, adapter=b"content"),
        root(IDENTITY, salt="content"),
        root(IDENTITY + b"tenant"),
    ],
)
def test_engines_tenants_and_adapters_share_no_block(other: bytes) -> None:
    assert not set(_each(names(TOKENS, start=other))) & set(_each(names(TOKENS, start=root(IDENTITY))))


def test_what_an_image_shows_counts_from_its_first_block_on() -> None:
    plain = names(TOKENS)
    one, two = (names(TOKENS, insets=(Inset(shown, 20, 20),)) for shown in ("a cat", "a dog"))
    assert one[:HASH_BYTES] == two[:HASH_BYTES] == plain[:HASH_BYTES]
    assert not set(_each(one)[1:]) & set(_each(two)[1:])
    assert names(TOKENS, insets=(Inset("a cat", 21, 20),))[HASH_BYTES:] != one[HASH_BYTES:]


def _each(packed: bytes) -> list[bytes]:
    return [packed[i : i + HASH_BYTES] for i in range(0, len(packed), HASH_BYTES)]
