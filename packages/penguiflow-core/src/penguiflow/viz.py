"""Draws a flow as a Mermaid or DOT diagram: the same text on every run, in every process."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from penguiflow._runtime.flow import PenguiFlow
from penguiflow._runtime.playbook import Playbook, open_playbook
from penguiflow.node import Node

__all__ = ["to_dot", "to_mermaid"]

_SOURCE, _SINK = "OpenSea", "Rookery"

_MERMAID_SHAPES = {
    "outside": ("([", "])"),
    "node": ("[", "]"),
    "router": ("{", "}"),
    "join": ("{{", "}}"),
    "remote": ("[/", "/]"),
    "subflow": ("[[", "]]"),
}
_DOT_SHAPES = {
    "outside": "shape=oval, style=dashed",
    "node": "shape=box",
    "router": "shape=diamond",
    "join": "shape=hexagon",
    "remote": "shape=parallelogram",
    "subflow": "shape=box, peripheries=2",
}


@dataclass(frozen=True, slots=True)
class _Box:
    """One thing to draw, under an id that no name can collide with or make invalid."""

    id: str
    name: str
    kind: str


@dataclass(frozen=True, slots=True)
class _Arrow:
    """From one box to another; `closing` leads back along a loop."""

    source: str
    target: str
    closing: bool = False


@dataclass(frozen=True, slots=True)
class _Group:
    """A flow within the node `caller`, None for the flow itself."""

    id: str
    name: str
    caller: str | None
    boxes: tuple[_Box, ...]
    arrows: tuple[_Arrow, ...]
    entry: str
    groups: tuple[_Group, ...]


def to_mermaid(flow: PenguiFlow) -> str:
    """Return the flow as a Mermaid flowchart.

    Nodes are drawn in the order in which they were connected: routers as diamonds, joins as hexagons, remote nodes
    as parallelograms, nodes that call playbooks with double sides and a dotted line to the flows they call. Dotted
    arrows labelled "loop" are those that close a loop. `OpenSea` and `Rookery` are the outside, where messages come
    from and results go. A function that makes a playbook is called once for each node that names it.
    """
    return "\n".join(["flowchart TD", *_mermaid_lines(_lay_out(flow), "    ")]) + "\n"


def to_dot(flow: PenguiFlow) -> str:
    """Return the flow as a graph in the DOT language of Graphviz, drawn as in `to_mermaid`."""
    lines = [f"digraph {_dot_text(flow.name)} {{", "    compound=true;", *_dot_lines(_lay_out(flow), "    "), "}"]
    return "\n".join(lines) + "\n"


def _lay_out(flow: PenguiFlow) -> _Group:
    return _group(flow, "", flow.name, None, (flow,))


# A name that both languages take as it stands; others are drawn under a number.
_PLAIN_NAME = re.compile(r"[A-Za-z][A-Za-z0-9]*(_[A-Za-z0-9]+)*")
_KEYWORDS = frozenset(
    {
        "call",
        "class",
        "classdef",
        "click",
        "default",
        "digraph",
        "direction",
        "edge",
        "end",
        "flowchart",
        "graph",
        "href",
        "linkstyle",
        "node",
        "o",
        "sink",
        "source",
        "strict",
        "style",
        "subgraph",
        "x",
    }
)


def _id(prefix: str, index: int, name: str) -> str:
    """Return the id of a node: its name where that is plain, since a diagram is read as text too.

    Numbers stand behind two underscores, and so do the nodes of inner flows, which no plain name holds: ids differ.
    """
    plain = _PLAIN_NAME.fullmatch(name) is not None and name.lower() not in _KEYWORDS
    return f"{prefix}{name}" if plain else f"{prefix}n__{index}"


def _group(flow: PenguiFlow, prefix: str, name: str, caller: str | None, within: tuple[Playbook, ...]) -> _Group:
    graph = flow.graph
    ids = {node: _id(prefix, index, node) for index, node in enumerate(graph.nodes)}
    boxes = [_Box(ids[node.name], node.name, _kind(node)) for node in graph.nodes.values()]
    arrows = [_Arrow(ids[s], ids[t], (s, t) in graph.closing) for s, t in graph.edges()]
    if caller is None:
        boxes = [_Box("source", _SOURCE, "outside"), *boxes, _Box("sink", _SINK, "outside")]
        into = [_Arrow("source", ids[entry]) for entry in graph.entries]
        arrows = [*into, *arrows, *(_Arrow(ids[end], "sink") for end in graph.exits)]
    groups = [group for node in graph.nodes.values() for group in _called(node, ids[node.name], within)]
    # No plain name begins with an underscore, so no node of the group has its id.
    return _Group(f"{prefix}_flow", name, caller, tuple(boxes), tuple(arrows), ids[graph.entries[0]], tuple(groups))


def _called(node: Node, caller: str, within: tuple[Playbook, ...]) -> Iterator[_Group]:
    for index, playbook in enumerate(node.playbooks):
        # A playbook that calls itself is drawn once.
        if playbook in within:
            continue
        flow, _ = open_playbook(playbook)
        yield _group(flow, f"{caller}__{index}__", flow.name, caller, (*within, playbook, flow))


def _kind(node: Node) -> str:
    return node.kind if node.kind in _MERMAID_SHAPES else "node"


def _mermaid_lines(group: _Group, indent: str) -> Iterator[str]:
    for box in group.boxes:
        before, after = _MERMAID_SHAPES[box.kind]
        yield f'{indent}{box.id}{before}"{_mermaid_text(box.name)}"{after}'
    for arrow in group.arrows:
        yield f"{indent}{arrow.source} {'-. loop .->' if arrow.closing else '-->'} {arrow.target}"
    for inner in group.groups:
        yield f'{indent}subgraph {inner.id}["{_mermaid_text(inner.name)}"]'
        yield from _mermaid_lines(inner, indent + "    ")
        yield f"{indent}end"
        yield f"{indent}{inner.caller} -. calls .-> {inner.id}"


def _dot_lines(group: _Group, indent: str) -> Iterator[str]:
    for box in group.boxes:
        yield f"{indent}{box.id} [label={_dot_text(box.name)}, {_DOT_SHAPES[box.kind]}];"
    for arrow in group.arrows:
        closing = ' [label="loop", style=dashed]' if arrow.closing else ""
        yield f"{indent}{arrow.source} -> {arrow.target}{closing};"
    for inner in group.groups:
        yield f"{indent}subgraph cluster_{inner.id} {{"
        yield f"{indent}    label={_dot_text(inner.name)};"
        yield from _dot_lines(inner, indent + "    ")
        yield f"{indent}}}"
        yield f'{indent}{inner.caller} -> {inner.entry} [label="calls", style=dotted, lhead=cluster_{inner.id}];'


def _escaper(pattern: str, escape: Callable[[str], str]) -> Callable[[str], str]:
    compiled = re.compile(pattern)
    return lambda text: compiled.sub(lambda found: escape(found[0]), " ".join(text.splitlines()))


# Every ASCII sign that Mermaid could take for its own syntax, for HTML or for Markdown, as an entity.
_mermaid_text = _escaper(r"[\x00-\x1f!-,./:-@\[-^`{-\x7f]|^-", lambda sign: f"#{ord(sign)};")
_escape_dot = _escaper(r'["\\&]', lambda sign: "&amp;" if sign == "&" else "\\" + sign)


def _dot_text(text: str) -> str:
    return f'"{_escape_dot(text)}"'
