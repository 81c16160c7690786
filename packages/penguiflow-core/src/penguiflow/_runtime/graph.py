"""The shape of a flow: who follows whom, where it starts, and which edges close a loop."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from penguiflow.errors import CycleError, FlowDefinitionError, UnknownTarget
from penguiflow.node import Adjacency, Node

__all__ = ["Graph"]


class Graph:
    """Nodes in the order they were named, with their edges; everything here is deterministic.

    `cyclic` holds the edges whose two ends lie on a common cycle; `closing` those that lead back to a node on the
    way from an entry (a depth-first walk in the order of naming), so that each turn of a loop crosses exactly one.
    """

    def __init__(self, adjacencies: Iterable[Adjacency | Node], *, allow_cycles: bool) -> None:
        self.nodes: dict[str, Node] = {}
        self.successors: dict[str, tuple[str, ...]] = {}
        for adjacency in adjacencies:
            self._add(adjacency)
        if not self.nodes:
            raise FlowDefinitionError("a flow needs at least one node: create(first.to(second))")
        self.cyclic, self.closing = frozenset[tuple[str, str]](), frozenset[tuple[str, str]]()
        self._find_loops()
        if not allow_cycles:
            self._refuse_cycles()
        self.entries = self._entries()
        self.exits = tuple(name for name in self.nodes if not [s for s in self.successors[name] if s != name])
        self._find_closing_edges()

    def entry_names(self, to: Iterable[str]) -> tuple[str, ...]:
        """Check that every name is a node of the flow, and return them in order.

        Raises:
            UnknownTarget: one is not.
        """
        names = tuple(to)
        for name in names:
            if name not in self.nodes:
                raise UnknownTarget(name, self.nodes)
        return names

    def edges(self) -> Iterator[tuple[str, str]]:
        """Yield every edge, by source and then in the order it was named."""
        for source, targets in self.successors.items():
            for target in targets:
                yield source, target

    def _add(self, adjacency: Adjacency | Node) -> None:
        if isinstance(adjacency, Node):
            adjacency = adjacency.to()
        if not isinstance(adjacency, Adjacency):
            raise FlowDefinitionError(
                f"a flow is made of node.to(...) or of nodes, not of {adjacency!r}; write create(a.to(b), b.to(c))"
            )
        for node in (adjacency.source, *adjacency.targets):
            known = self.nodes.setdefault(node.name, node)
            if known is not node:
                raise FlowDefinitionError(
                    f"two nodes are named {node.name!r}; pass Node(func, name=...) a name of its own",
                    node_name=node.name,
                )
            self.successors.setdefault(node.name, ())
        added = tuple(node.name for node in adjacency.targets)
        merged = dict.fromkeys(self.successors[adjacency.source.name] + added)
        self.successors[adjacency.source.name] = tuple(merged)

    def _entries(self) -> tuple[str, ...]:
        fed = {target for source, target in self.edges() if source != target}
        entries = [name for name in self.nodes if name not in fed]
        reached: set[str] = set()
        for name in entries:
            reached |= self._reachable(name)
        # A loop that nothing leads into is entered at the node that was named first.
        for name in self.nodes:
            if name not in reached:
                entries.append(name)
                reached |= self._reachable(name)
        return tuple(entries)

    def _reachable(self, start: str) -> set[str]:
        seen, stack = {start}, [start]
        while stack:
            for target in self.successors[stack.pop()]:
                if target not in seen:
                    seen.add(target)
                    stack.append(target)
        return seen

    def _find_loops(self) -> None:
        reach = {name: self._reachable(name) for name in self.nodes}
        self.cyclic = frozenset((s, t) for s, t in self.edges() if s in reach[t])

    def _refuse_cycles(self) -> None:
        """A cycle is fine when one of its nodes allows it: what is left after removing those must be acyclic."""
        strict = [name for name, node in self.nodes.items() if not node.allow_cycle]
        allowed = set(strict)
        path: list[str] = []
        state: dict[str, int] = {}
        for root in strict:
            if root in state:
                continue
            stack: list[tuple[str, Iterator[str]]] = [(root, iter(self.successors[root]))]
            state[root] = 1
            path.append(root)
            while stack:
                targets = stack[-1][1]
                target = next((t for t in targets if t in allowed and state.get(t) != 2), None)
                if target is None:
                    stack.pop()
                    state[path.pop()] = 2
                elif state.get(target) == 1:
                    raise CycleError(path[path.index(target) :])
                else:
                    state[target] = 1
                    path.append(target)
                    stack.append((target, iter(self.successors[target])))

    def _find_closing_edges(self) -> None:
        closing: set[tuple[str, str]] = set()
        state: dict[str, int] = {}
        for entry in self.entries:
            if entry in state:
                continue
            state[entry] = 1
            stack = [(entry, iter(self.successors[entry]))]
            while stack:
                name, targets = stack[-1]
                target = next(targets, None)
                if target is None:
                    state[name] = 2
                    stack.pop()
                elif state.get(target) == 1:
                    closing.add((name, target))
                elif target not in state:
                    state[target] = 1
                    stack.append((target, iter(self.successors[target])))
        self.closing = frozenset(closing)
