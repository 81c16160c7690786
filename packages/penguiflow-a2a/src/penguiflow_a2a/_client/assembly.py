"""The artifacts of a task, put together from a stream, and the chunks that they give on the way."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from penguiflow_a2a._client.content import NAMESPACE, merged, value_of, value_of_part
from penguiflow_a2a._protocol.tasks import Artifact, Part, Task, TaskArtifactUpdateEvent

__all__ = ["Assembly", "AssemblyFull", "Chunk"]

Chunk = dict[str, Any]

# What a part, and a stream of chunks, take beside their content: very many empty ones are bounded too.
_PART_COST = 100
_STREAM_COST = 1000


class AssemblyFull(ValueError):
    """The artifacts of a task are larger than what is kept."""


@dataclass(slots=True)
class _Held:
    """One artifact, as far as it is known."""

    name: str | None
    role: str | None
    """`result` or `stream`, where a flow made it."""
    contents: list[Any] = field(default_factory=list)
    size: int = _STREAM_COST
    generation: int = 0
    """How often it was replaced, or went on after its last chunk: each time under another stream id."""
    done: bool = False
    chunked: bool = False
    """Whether chunks of it were given."""


class Assembly:
    """What the artifacts of one task are so far; at most `most_bytes` of them.

    Every change of an artifact gives a chunk: its text and, under `parts` of the chunk's `meta`, what is no text. An
    artifact that a flow marked as its result gives none: it comes as a value.
    """

    def __init__(self, *, most_bytes: int) -> None:
        self._most_bytes = most_bytes
        self._held: dict[str, _Held] = {}
        self._size = 0

    def update(self, event: TaskArtifactUpdateEvent) -> list[Chunk]:
        """Take an event of the stream.

        Raises:
            AssemblyFull: the artifacts become too large.
        """
        artifact = event.artifact
        held = self._held.get(artifact.artifact_id)
        if held is None or not event.append:
            held = self._replace(artifact, held)
        elif held.done and (artifact.parts or event.last_chunk):
            held.generation, held.done = held.generation + 1, False
            self._grow(held, _STREAM_COST)
        return self._extend(artifact.artifact_id, held, artifact.parts, done=event.last_chunk)

    def snapshot(self, task: Task) -> list[Chunk]:
        """Take a task as a whole: gives chunks of what is new in it.

        Raises:
            AssemblyFull: the artifacts become too large.
        """
        chunks: list[Chunk] = []
        for artifact in task.artifacts:
            held = self._held.get(artifact.artifact_id)
            fresh = None if held is None else _rest(held.contents, [value_of_part(part) for part in artifact.parts])
            if held is None or fresh is None:
                held = self._replace(artifact, held)
                chunks += self._extend(artifact.artifact_id, held, artifact.parts, done=False)
            elif fresh:
                chunks += self._extend(artifact.artifact_id, held, fresh, done=False)
        return chunks

    def close(self) -> list[Chunk]:
        """Return the ends of streams that were not told to end: the task has."""
        ends: list[Chunk] = []
        for artifact_id, held in self._held.items():
            if held.chunked and not held.done:
                ends += self._extend(artifact_id, held, (), done=True)
        return ends

    def value(self) -> tuple[bool, Any]:
        """Return whether there is a value, and which: those that a flow marked as results, or else all artifacts."""
        results = [held for held in self._held.values() if held.role == "result"]
        if not results:
            results = [held for held in self._held.values() if held.role is None]
        values = [value_of(held.contents) for held in results]
        if not values:
            return bool(self._held), None
        return True, values[0] if len(values) == 1 else values

    def _replace(self, artifact: Artifact, held: _Held | None) -> _Held:
        fresh = self._held[artifact.artifact_id] = _Held(artifact.name, _role(artifact))
        if held is not None:
            fresh.generation = held.generation + bool(held.contents or held.done)
            # Streams of chunks last longer than what they replace.
            fresh.size += _STREAM_COST * fresh.generation
            self._size -= held.size
        self._size += fresh.size
        self._grow(fresh, 0)
        return fresh

    def _grow(self, held: _Held, by: int) -> None:
        held.size += by
        self._size += by
        if self._size > self._most_bytes:
            raise AssemblyFull

    def _extend(self, artifact_id: str, held: _Held, parts: Iterable[Any], *, done: bool) -> list[Chunk]:
        texts: list[str] = []
        others: list[Any] = []
        for part in parts:
            content = value_of_part(part) if isinstance(part, Part) else part
            (texts if isinstance(content, str) else others).append(content)
            held.contents.append(content)
            self._grow(held, _PART_COST + (len(content) if isinstance(content, str) else len(repr(content))))
        held.done = held.done or done
        if held.role == "result" or not (texts or others or done):
            return []
        held.chunked = True
        meta: dict[str, Any] = {} if held.name is None else {"artifact": held.name}
        if others:
            meta["parts"] = others
        stream_id = artifact_id if not held.generation else f"{artifact_id}#{held.generation}"
        return [{"kind": "chunk", "text": "".join(texts), "stream_id": stream_id, "done": done, "meta": meta}]


def _rest(held: list[Any], whole: list[Any]) -> list[Any] | None:
    """Return what `whole` has beyond `held`, both as the contents of parts; None where it does not begin with it."""
    # A snapshot may hold as one text what came as many.
    known, now = merged(held), merged(whole)
    if not known:
        return now
    shared = len(known) - 1
    if len(now) < len(known) or now[:shared] != known[:shared]:
        return None
    last, same = known[shared], now[shared]
    if last == same:
        return now[len(known) :]
    if isinstance(last, str) and isinstance(same, str) and same.startswith(last):
        return [same[len(last) :], *now[len(known) :]]
    return None


def _role(artifact: Artifact) -> str | None:
    ours = (artifact.metadata or {}).get(NAMESPACE)
    role = ours.get("role") if isinstance(ours, dict) else None
    return role if role in ("result", "stream") else None
