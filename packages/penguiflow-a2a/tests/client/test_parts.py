"""The pieces that streams are taken apart with and put together from."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penguiflow_a2a._client.assembly import Assembly
from penguiflow_a2a._client.bounds import A2ATimeouts
from penguiflow_a2a._client.failures import A2AError, AgentElsewhere, AgentRefused, AgentTooSlow, AgentUnreachable
from penguiflow_a2a._client.origins import Origins
from penguiflow_a2a._client.retries import backoff_s, pause_s
from penguiflow_a2a._client.sse import EventTooLarge, SseParser
from penguiflow_a2a.types import Artifact, Part, Task, TaskArtifactUpdateEvent, TaskStatus

URL = "https://agent.example"
STREAM = (
    b"\xef\xbb\xbf: hello\r\n\r\nid: 1\rdata: a\rdata:b\r\revent: error\ndata:  c\n\n"
    b"data\nid: \x00\n\nretry: 5\nunknown: x\nid: 2\n\ndata: d\r\n\r\ndata: never finished"
)
EVENTS = [(b"a\nb", "message", "1"), (b" c", "error", "1"), (b"", "message", "1"), (b"d", "message", "2")]


@given(st.lists(st.integers(1, 9), min_size=1, max_size=200))
def test_events_are_the_same_whatever_pieces_they_come_in(sizes: list[int]) -> None:
    parser, found, rest = SseParser(event_bytes=10_000), [], STREAM
    for size in sizes:
        found += parser.feed(rest[:size])
        rest = rest[size:]
    found += parser.feed(rest)

    assert [(event.data, event.name, event.event_id) for event in found] == EVENTS


@given(st.binary(max_size=300), st.integers(1, 50))
def test_anything_at_all_can_be_read(data: bytes, size: int) -> None:
    whole, split = SseParser(event_bytes=10**6), SseParser(event_bytes=10**6)
    pieces = [data[start : start + size] for start in range(0, len(data), size)]

    assert [event for piece in pieces for event in split.feed(piece)] == whole.feed(data)


def feed_all(parser: SseParser, pieces: list[bytes]) -> None:
    for piece in pieces:
        parser.feed(piece)


def test_an_event_that_is_too_large_is_refused_in_every_piece() -> None:
    for pieces in ([b"data: " + b"x" * 200], [b"data: "] + [b"x"] * 200, [b"data:\n"] * 200):
        with pytest.raises(EventTooLarge):
            feed_all(SseParser(event_bytes=100), pieces)


def test_the_parser_knows_when_it_is_inside_an_event() -> None:
    parser = SseParser(event_bytes=100)
    inside = [parser.inside_event]
    for piece in (b": ping\n\n", b"da", b"ta: x\n", b"\n"):
        parser.feed(piece)
        inside.append(parser.inside_event)

    assert inside == [False, False, True, True, False]


def update(text: str, *, append: bool = True, last: bool = False) -> TaskArtifactUpdateEvent:
    artifact = Artifact(artifact_id="a", parts=[Part(text=text)] if text else [])
    return TaskArtifactUpdateEvent(task_id="t", artifact=artifact, append=append, last_chunk=last)


def whole(*contents: Any) -> Task:
    parts = [Part(text=each) if isinstance(each, str) else Part(data=each) for each in contents]
    return Task(id="t", status=TaskStatus(), artifacts=[Artifact(artifact_id="a", parts=parts)])


WORDS = st.lists(st.text(max_size=3), max_size=8)


@given(WORDS, WORDS, WORDS)
def test_a_snapshot_gives_exactly_what_was_missed(before: list[str], missed: list[str], after: list[str]) -> None:
    assembly = Assembly(most_bytes=10**6)
    chunks = [chunk for text in before for chunk in assembly.update(update(text))]
    chunks += assembly.snapshot(whole(*before, *missed)) if before or missed else []
    chunks += [chunk for text in after for chunk in assembly.update(update(text))]

    expected = "".join([*before, *missed, *after])
    assert "".join(chunk["text"] for chunk in chunks) == expected
    assert {chunk["stream_id"] for chunk in chunks} <= {"a"}
    assert (assembly.value()[1] or "") == expected


@pytest.mark.parametrize(
    ("held", "snapshot", "chunks"),
    [
        (["a", {"n": 1}], ["a", {"n": 1}, "b"], [("a", "b")]),
        (["a", {"n": 1}], ["ab", {"n": 1}], [("a#1", "ab")]),
        (["ab"], ["a"], [("a#1", "a")]),
        (["a"], ["a"], []),
        ([{"n": 1}], [{"n": 2}], [("a#1", "")]),
    ],
)
def test_a_snapshot_that_tells_another_story_begins_a_new_stream(held: Any, snapshot: Any, chunks: Any) -> None:
    assembly = Assembly(most_bytes=10**6)
    assembly.snapshot(whole(*held))

    found = assembly.snapshot(whole(*snapshot))

    assert [(chunk["stream_id"], chunk["text"]) for chunk in found] == chunks


def test_what_comes_after_the_last_chunk_is_another_stream() -> None:
    assembly = Assembly(most_bytes=10**6)
    events = update("a", last=True), update("b"), update("", last=True)

    chunks = [chunk for event in events for chunk in assembly.update(event)]

    assert [(chunk["stream_id"], chunk["text"], chunk["done"]) for chunk in chunks] == [
        ("a", "a", True),
        ("a#1", "b", False),
        ("a#1", "", True),
    ]
    assert assembly.value() == (True, "ab")
    assert assembly.close() == []


@pytest.mark.parametrize(
    ("error", "idempotent", "others"),
    [
        (AgentUnreachable(URL, "no", sent=False), True, True),
        (AgentUnreachable(URL, "no", sent=True), True, False),
        (AgentTooSlow(URL, "it", limit="idle_s", limit_s=1), True, False),
        (AgentTooSlow(URL, "it", limit="call_s", limit_s=1), False, False),
        (AgentRefused(URL, "no", http_status=429), True, True),
        (AgentRefused(URL, "no", http_status=429, retry_after_s=99), False, False),
        (AgentRefused(URL, "no", http_status=503), True, False),
        (AgentRefused(URL, "no", http_status=503, retry_after_s=1), True, True),
        (AgentRefused(URL, "no", http_status=500), False, False),
        (AgentElsewhere(URL, "it", location="x"), False, False),
    ],
)
def test_what_may_be_tried_again(error: A2AError, idempotent: bool, others: bool) -> None:
    timeouts = A2ATimeouts()

    assert (pause_s(error, timeouts, 0, idempotent=True) is not None) is idempotent
    assert (pause_s(error, timeouts, 0, idempotent=False) is not None) is others


def test_pauses_grow_and_have_an_end() -> None:
    timeouts = A2ATimeouts(backoff_s=0.2)

    assert 0.1 <= backoff_s(timeouts, 0) <= 0.2
    assert 5 <= backoff_s(timeouts, 10**9) <= 10


@pytest.mark.parametrize(
    ("url", "allowed"),
    [
        ("https://agent.example/x?y#z", True),
        ("https://AGENT.example:443/", True),
        ("http://agent.example/", False),
        ("https://agent.example:444/", False),
        ("https://agent.example.evil/", False),
        ("https://agent.example@evil/", False),
        ("https://evil\\.agent.example/", False),
        ("https:///x", False),
        ("", False),
        ("javascript:alert(1)", False),
    ],
)
def test_an_origin_is_scheme_host_and_port(url: str, allowed: bool) -> None:
    origins = Origins([URL])
    if allowed:
        assert origins.check(url, URL, "it") == url
        return
    with pytest.raises(AgentElsewhere):
        origins.check(url, URL, "it")
