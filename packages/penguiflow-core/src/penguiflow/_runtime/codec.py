"""Writes what travels through a flow as JSON, and reads it back as what the next node takes."""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from penguiflow._annotations import payload_annotation, result_annotation
from penguiflow._described import describe
from penguiflow._json import to_plain
from penguiflow._runtime.graph import Graph
from penguiflow._runtime.kinds import CHUNK, FINAL, MESSAGE, WORKING, kind_of
from penguiflow.errors import FlowError, FlowErrorCode, NotSerialisable
from penguiflow.registry import ModelRegistry
from penguiflow.types import WM, FinalAnswer, Headers, Json, Message, Payload, StreamChunk

__all__ = ["Codec", "encode_chunk", "encode_value"]

_OF_CORE: dict[str, type[BaseModel]] = {"wm": WM, "final": FinalAnswer, "chunk": StreamChunk}
_TAGS = {WORKING: "wm", FINAL: "final", CHUNK: "chunk"}
# Where a payload holds itself, the search for what JSON cannot hold ends here.
_DEPTH_CAP = 20


def encode_value(value: Payload, *, trace_id: str | None, node_name: str | None) -> Json:
    """Return a payload as JSON; types that the runtime acts on keep their kind.

    Raises:
        NotSerialisable: it holds something that JSON cannot; the error names where.
    """
    kind = kind_of(value)
    if kind is MESSAGE:
        return {
            "is": "message",
            "payload": encode_value(value.payload, trace_id=trace_id, node_name=node_name),
            "headers": value.headers.model_dump(mode="json"),
            "ts": value.ts,
            "deadline_s": value.deadline_s,
            "meta": _plain(value.meta, "meta", trace_id, node_name),
        }
    plain = _plain(value, "payload", trace_id, node_name)
    tag = _TAGS.get(kind)
    return {"v": plain} if tag is None else {"is": tag, "v": plain}


def encode_chunk(chunk: StreamChunk, *, trace_id: str) -> Json:
    """Return a chunk as JSON.

    Raises:
        NotSerialisable: its metadata holds something that JSON cannot; the error names where.
    """
    return _plain(chunk, "chunk", trace_id, None)


def _plain(value: Any, root: str, trace_id: str | None, node_name: str | None) -> Json:
    try:
        plain = to_plain(value)
        json.dumps(plain, allow_nan=False)
    except (ValueError, TypeError, RecursionError) as error:
        field, problem = _offender(value, root, error)
        raise NotSerialisable(trace_id, node_name, field, problem) from error
    return plain


def _offender(value: Any, path: str, error: Exception, depth: int = 0) -> tuple[str, str]:
    """Return where in a value the part lies that cannot be written, and why not."""
    parts: list[tuple[str, Any]] = []
    if isinstance(value, BaseModel):
        parts = [(f".{name}", getattr(value, name)) for name in type(value).model_fields]
    elif isinstance(value, Mapping):
        parts = [(f"[{key!r}]", part) for key, part in value.items()]
    elif isinstance(value, list | tuple | set | frozenset):
        parts = [(f"[{index}]", part) for index, part in enumerate(value)]
    if depth < _DEPTH_CAP:
        for step, part in parts:
            try:
                json.dumps(to_plain(part), allow_nan=False)
            except (ValueError, TypeError, RecursionError) as problem:
                return _offender(part, path + step, problem, depth + 1)
    return path, f"{type(value).__name__}, {describe(error)}"


class Codec:
    """Knows what each node takes and gives: by its registered models, or else by its annotations.

    A value is read as what the receiving node takes; where that says nothing, as what its source gives; and where
    that says nothing either, as plain JSON.
    """

    def __init__(self, graph: Graph, registry: ModelRegistry | None) -> None:
        self._takes: dict[str, _Reader | None] = {}
        self._gives: dict[str, _Reader | None] = {}
        for name, node in graph.nodes.items():
            if registry is not None and name in registry:
                models = registry.models(name)
                self._takes[name] = _Reader(models.in_model, models.in_adapter)
                self._gives[name] = _Reader(models.out_model, models.out_adapter)
            else:
                self._takes[name] = _reader(payload_annotation(node.func))
                self._gives[name] = _reader(result_annotation(node.func))

    def decode(self, encoded: Json, *, source: str | None, target: str | None, trace_id: str) -> Payload:
        """Return what `encode_value` was given, as `target` takes it or `source` gives it.

        Raises:
            FlowError: `VALIDATION_FAILED`, it does not fit any more.
        """
        reader = None if target is None else self._takes.get(target)
        if (reader is None or not reader.tells_payload) and source is not None:
            reader = self._gives.get(source)
        try:
            return self._read(encoded, reader, trace_id)
        except (ValidationError, AttributeError, KeyError, TypeError, ValueError) as error:
            where = target or source
            message = f"what was stored for the node does not fit it: {describe(error)}"
            raise FlowError(trace_id, where, FlowErrorCode.VALIDATION_FAILED, message, error) from error

    def _read(self, encoded: Json, reader: _Reader | None, trace_id: str) -> Payload:
        kind = encoded.get("is")
        if reader is not None and not reader.tells_payload:
            reader = None
        if kind == "message":
            return Message(
                payload=self._read(encoded["payload"], reader, trace_id),
                headers=Headers.model_validate(encoded["headers"]),
                trace_id=trace_id,
                ts=encoded["ts"],
                deadline_s=encoded["deadline_s"],
                meta=encoded["meta"],
            )
        value = encoded["v"]
        if kind is not None:
            return _of_core(kind, value, reader)
        if reader is None or value is None:
            return value
        return reader.adapter.validate_json(json.dumps(value))


def _of_core(kind: str, value: Json, reader: _Reader | None) -> Payload:
    model = _OF_CORE[kind]
    if reader is not None and inspect.isclass(reader.model) and issubclass(reader.model, model):
        model = reader.model
    return model.model_validate(value)


class _Reader:
    """Reads JSON as a model."""

    __slots__ = ("adapter", "model", "tells_payload")

    def __init__(self, model: Any, adapter: TypeAdapter[Any]) -> None:
        self.model = model
        self.adapter = adapter
        whole = inspect.isclass(model) and issubclass(model, Message)
        self.tells_payload = model is not Any and not whole
        """Whether it says what a payload is; a whole message, or anything at all, does not."""


def _reader(annotation: Any) -> _Reader | None:
    if annotation is None or annotation is inspect.Parameter.empty or isinstance(annotation, str) or annotation is Any:
        return None
    try:
        return _Reader(annotation, TypeAdapter(annotation))
    except Exception:  # an annotation is arbitrary code; one that pydantic does not know tells nothing
        return None
