"""Diagrams of flows: what is drawn, and that it is the same everywhere."""

import os
import re
import subprocess
import sys
from typing import Any

import pytest

from penguiflow import Context, FlowDefinitionError, Node, PenguiFlow, create, join_k, predicate_router
from penguiflow.viz import to_dot, to_mermaid


async def work(message: Any, ctx: Context) -> Any:
    return message


def node(name: str, **options: Any) -> Node:
    return Node(work, name=name, **options)


def branching() -> PenguiFlow:
    start, route, join = node("start"), predicate_router("route", lambda _: "left"), join_k("join", 2)
    left, right = node("left"), node("right")
    return create(start.to(route), route.to(left, right), left.to(join), right.to(join))


def looping() -> PenguiFlow:
    plan, act = node("plan", allow_cycle=True), node("act")
    return create(plan.to(act, node("answer")), act.to(plan))


def test_mermaid_draws_the_flow_in_the_order_of_its_nodes() -> None:
    assert to_mermaid(branching()).splitlines() == [
        "flowchart TD",
        '    source(["OpenSea"])',
        '    start["start"]',
        '    route{"route"}',
        '    left["left"]',
        '    right["right"]',
        '    join{{"join"}}',
        '    sink(["Rookery"])',
        "    source --> start",
        "    start --> route",
        "    route --> left",
        "    route --> right",
        "    left --> join",
        "    right --> join",
        "    join --> sink",
    ]


def test_dot_draws_the_same_arrows_as_mermaid() -> None:
    for flow in (branching(), looping()):
        drawn = re.findall(r"(\w+) (?:-->|-\. loop \.->) (\w+)", to_mermaid(flow))

        assert re.findall(r"(\w+) -> (\w+)", to_dot(flow)) == drawn


def test_dot_marks_routers_and_joins() -> None:
    drawn = to_dot(branching())

    assert '    route [label="route", shape=diamond];' in drawn
    assert '    join [label="join", shape=hexagon];' in drawn


def test_the_arrow_that_closes_a_loop_is_marked() -> None:
    assert "    act -. loop .-> plan" in to_mermaid(looping())
    assert '    act -> plan [label="loop", style=dashed];' in to_dot(looping())
    assert to_mermaid(looping()).count("loop") == to_dot(looping()).count("loop") == 1


def test_a_node_that_loops_on_itself_is_an_exit_and_marked() -> None:
    again = node("again", allow_cycle=True)

    drawn = to_mermaid(create(again.to(again)))

    assert "    again -. loop .-> again\n    again --> sink" in drawn


def test_the_flows_a_node_calls_stand_inside() -> None:
    inner = create(node("find").to(node("rank")), name="retrieval")
    flow = create(node("ask", playbooks=[inner]))

    assert to_mermaid(flow).endswith(
        '    subgraph ask__0___flow["retrieval"]\n        ask__0__find["find"]\n        ask__0__rank["rank"]\n'
        "        ask__0__find --> ask__0__rank\n    end\n    ask -. calls .-> ask__0___flow\n"
    )
    assert '    ask[["ask"]]' in to_mermaid(flow)
    assert '    ask -> ask__0__find [label="calls", style=dotted, lhead=cluster_ask__0___flow];' in to_dot(flow)


def test_no_two_things_that_are_drawn_share_an_id() -> None:
    inner = create(node("flow").to(node("a b"), node("_flow"), node("n")), name="flow")
    flow = create(node("n", playbooks=[inner, inner]), node("n n", playbooks=[inner]), node("flow"))

    drawn = re.findall(r'^ *(?:subgraph )?(\w+)\W*"', to_mermaid(flow), flags=re.MULTILINE)

    assert len(drawn) == 2 + 3 + 3 + 3 * 4
    assert len(set(drawn)) == len(drawn)


def test_a_function_that_makes_a_playbook_is_asked_for_it() -> None:
    flow = create(node("ask", playbooks=[lambda: (create(node("find"), name="made"), None)]))

    assert 'subgraph ask__0___flow["made"]' in to_mermaid(flow)
    assert "subgraph cluster_ask__0___flow {" in to_dot(flow)


def test_a_playbook_that_calls_itself_is_drawn_once() -> None:
    def again() -> PenguiFlow:
        return create(node("inner", playbooks=[again]), name="again")

    assert to_mermaid(create(node("outer", playbooks=[again]))).count("subgraph") == 1


def test_what_makes_no_flow_is_refused() -> None:
    with pytest.raises(FlowDefinitionError, match="a playbook is a flow"):
        to_mermaid(create(node("ask", playbooks=[lambda: "flow"])))


def test_remote_nodes_and_unknown_kinds_are_drawn() -> None:
    far, odd = node("far"), node("odd")
    far.kind, odd.kind = "remote", "mystery"

    drawn = to_mermaid(create(far.to(odd)))

    assert '[/"far"/]' in drawn
    assert '["odd"]' in drawn


@pytest.mark.parametrize(
    ("name", "mermaid", "dot"),
    [
        ("end", "end", "end"),
        ('say "hi"', "say #34;hi#34;", r"say \"hi\""),
        ("two words", "two words", "two words"),
        ("a;b]}", "a#59;b#93;#125;", "a;b]}"),
        ("<b>&amp;", "#60;b#62;#38;amp#59;", "<b>&amp;amp;"),
        ("back\\slash\n", "back#92;slash", r"back\\slash"),
        ("- item", "#45; item", "- item"),
        ("prüfen → 🐧", "prüfen → 🐧", "prüfen → 🐧"),
    ],
)
def test_any_name_is_drawn_and_becomes_no_syntax(name: str, mermaid: str, dot: str) -> None:
    flow = create(node(name), name=name)

    assert f'    n__0["{mermaid}"]' in to_mermaid(flow)
    assert f'    n__0 [label="{dot}", shape=box];' in to_dot(flow)
    assert to_dot(flow).startswith(f'digraph "{dot}" {{')


def test_a_name_that_looks_like_an_id_takes_no_other_nodes_place() -> None:
    inner = create(node("find"), name="inner")
    names = ["two words", "n__0", "source", "ask__0__find", "_x"]
    flow = create(node("ask", playbooks=[inner]), *(node(name) for name in names))

    ids = re.findall(r"^ +(\w+)[\[({]", to_mermaid(flow), re.MULTILINE)

    assert len(ids) == len(set(ids)) == len(names) + 4


PROGRAM = """
from penguiflow import Node, create, viz
async def work(message, ctx): return message
names = [chr(97 + place * 7 % 26) for place in range(20)]
nodes = [Node(work, name=name, allow_cycle=True) for name in names]
flow = create(nodes[0].to(*nodes), *(node.to(*nodes[:5]) for node in nodes), allow_cycles=True)
print(viz.to_mermaid(flow), viz.to_dot(flow))
"""


def test_every_process_draws_the_same() -> None:
    drawn = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2", "3")
    }

    assert len(drawn) == 1
    assert "digraph" in drawn.pop()
